"""Instruments: from what a source wrote to the canonical type, and what the instrument can do to an ion.

The model name wins over the type code, because sources mistype the code more often (MassBank files Q Exactive records
under `LC-ESI-QTOF`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from ..schemas import INSTRUMENT_TYPES


@dataclass(frozen=True)
class Instrument:
    """`type` is one of schemas.INSTRUMENT_TYPES or None where nothing is said.

    `fragmentation` is set where the instrument can do one kind only. `scale` is how its control software sets the
    collision energy: `volts` (collision cells: nothing but volts or eV), `normalised` (per cent only: LTQ Orbitraps
    and ion traps), or None where it depends or is not known.
    """

    type: str | None
    fragmentation: str | None = None
    scale: str | None = None


_HCD_ONLY = Instrument("Orbitrap", "HCD")  # Q Exactive, Exploris: NCE or eV, as the method says
_TRAP_ORBITRAP = Instrument("Orbitrap", None, "normalised")  # LTQ Orbitraps: HCD or ion-trap CID, both in per cent
_CLASSIC = Instrument("Orbitrap", "CID", "normalised")  # the first LTQ Orbitrap has no HCD cell
_QTOF = Instrument("QTOF", "CID", "volts")
_QQQ = Instrument("QqQ", "CID", "volts")
_TRAP = Instrument("IonTrap", "CID", "normalised")
_OTHER = Instrument("other")

# First match wins. Vendors' model names.
_MODELS = tuple(
    (re.compile(pattern), instrument)
    for pattern, instrument in (
        (r"ft-?icr|solarix|\bapex|ltq[ -]?ft\b|scimax|ion cyclotron", Instrument("FTICR")),
        (r"it-?tof|\bqit\b", Instrument("other", "CID", "normalised")),
        (r"orbit?rap classic", _CLASSIC),
        (r"ltq.*orbi|orbi.*ltq|orbitrap (xl|velos|elite|discovery)|velos pro|orbitrap elite", _TRAP_ORBITRAP),
        (r"fusion|lumos|eclipse|id-?x|tribrid|ascend|\bastral", Instrument("Orbitrap")),
        (r"exactive|exploris|\bqe\b|\bq-?orbitrap", _HCD_ONLY),
        (r"zeno ?tof", Instrument("QTOF", None, "volts")),  # also electron-activated
        (r"triple ?tof|x500|maxis|\bimpact\b|timstof|qstar|xevo g2|synapt", _QTOF),
        (r"microtof-?q|q-?tof.*(agilent|waters|micromass)|(agilent|waters|micromass).*q-?tof", _QTOF),
        (r"65[0-9]{2} (accurate-mass )?q-?tof|agilent.*65[0-9]{2}\b|qtof-?micro", _QTOF),
        (r"triple quad|\btsq\b|quattro|\bapi ?[2-6]\d{3}|xevo tq|lcms-80[3-6]\d|tq80|\b(64[1-9]0|7000[a-d])\b", _QQQ),
        (r"\blct\b|jms-t100|pegasus|voyager|6210 time", _OTHER),
        (r"\blcq\b|\bltq\b|esquire|\bamazon|\bhct\b|ion ?trap", _TRAP),
    )
)  # fmt: skip

# Type codes, the last words of `LC-ESI-QTOF`, and the spellings of GNPS, MoNA, NIST, mzML. The whole text is searched.
_TYPES = tuple(
    (re.compile(pattern), instrument)
    for pattern, instrument in (
        (r"fticr|ft-icr|ion cyclotron", Instrument("FTICR")),
        (r"q?it-?tof|ion trap.*tof", Instrument("other", "CID", "normalised")),
        (r"itft|it-ft|hybrid ft|orbitrap.*ion trap", Instrument("Orbitrap")),
        (r"qft|q-ft|q-?exactive|exploris", _HCD_ONLY),
        (r"orbitrap|\bft\b|fourier", Instrument("Orbitrap")),
        (r"\bhcd\b", Instrument("Orbitrap", "HCD")),
        (r"q-?tof|quadrupole.*(tof|time.of.flight)", Instrument("QTOF", "CID")),
        (r"\bqqq|\bqq\b|\btq\b|triple.?quad|tandem quad", Instrument("QqQ", "CID")),
        (r"\b(lit|qit|it|lcq|ltq)\b|ion.?trap", _TRAP),
        (r"\S", _OTHER),
    )
)
_BY_TYPE = {
    "Orbitrap": Instrument("Orbitrap"),
    "QTOF": Instrument("QTOF", "CID"),
    "FTICR": Instrument("FTICR"),
    "IonTrap": _TRAP,
    "QqQ": Instrument("QqQ", "CID"),
    "other": _OTHER,
}
_CANONICAL = {name.lower(): name for name in INSTRUMENT_TYPES}
_UNKNOWN = re.compile(r"^(n/?a|none|null|unknown|-|\?)?$")


@lru_cache(maxsize=65536)
def classify(type_text: str | None, model: str | None = None, resolution: str | None = None) -> Instrument:
    """Canonical instrument of a type code (`LC-ESI-QFT`) and a model name (`Q Exactive Plus Thermo`), either may lack.

    A type that is canonical already stays what it is.

    `resolution` as the source wrote it: `nominal` or `Low (ion trap)` says that a hybrid detected in its ion trap.
    A lone time-of-flight and an ion-trap TOF are `other`: neither fragments as a QTOF does.
    """
    kind, name = (re.sub(r"[\s_]+", " ", text or "").strip().lower() for text in (type_text, model))
    kind, name = ("" if _UNKNOWN.match(text) else text for text in (kind, name))
    if kind in _CANONICAL:
        named = _search(_MODELS, name)
        return named if named and named.type == _CANONICAL[kind] else _BY_TYPE[_CANONICAL[kind]]
    found = _search(_MODELS, name) or _search(_MODELS, kind) or _search(_TYPES, kind)
    if found is None:  # a model we do not know may still hold a type word: `Orbitrap`, `Bruker Q-TOF`
        named = _search(_TYPES, name)
        found = named if named and named.type != "other" else Instrument(None)
    elif found.type == "Orbitrap" and found.scale == "normalised" and _in_trap(resolution):
        found = _TRAP
    return found


def _search(table: tuple[tuple[re.Pattern[str], Instrument], ...], text: str) -> Instrument | None:
    return next((instrument for pattern, instrument in table if text and pattern.search(text)), None)


def _in_trap(resolution: str | None) -> bool:
    return bool(resolution) and bool(re.match(r"nominal|low", str(resolution).strip().lower()))


_FRAGMENTATION = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"ethcd", "EThcD"),
        (r"etcid", "ETciD"),
        (r"hcd|higher.energy|beam.type", "HCD"),
        (r"sori", "SORI-CID"),
        (r"in.source", "in-source CID"),
        (r"uvpd|photodissociation", "UVPD"),
        (r"irmpd|infrared", "IRMPD"),
        (r"\becd\b|electron capture", "ECD"),
        (r"\beid\b|\bead\b|electron.(activated|induced|impact)", "EAD"),
        (r"\betd\b|electron transfer", "ETD"),
        (r"\bcid\b|\bcad\b|collision.(induced|activated)|low.energy", "CID"),
    )
)


@lru_cache(maxsize=4096)
def fragmentation(text: str | None) -> str | None:
    """Canonical fragmentation mode (`HCD`, `CID`, …); other short names in capitals as they are, else None."""
    plain = (text or "").strip()
    if _UNKNOWN.match(plain.lower()):
        return None
    for pattern, name in _FRAGMENTATION:
        if pattern.search(plain.lower()):
            return name
    return plain.upper() if re.fullmatch(r"[A-Za-z][A-Za-z0-9-]{1,7}", plain) else None
