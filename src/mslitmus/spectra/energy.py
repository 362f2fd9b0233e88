"""Collision energies: from the many spellings to eV, with the kind, where the unit comes from, and by what rule.

Consumers must look at `collision_energy_kind`:

- `eV`, `NCE`, `ramp`, `stepped`: `collision_energy` is in eV, or null where the conversion lacks something (precursor
  m/z, charge, or a unit). `ramp` and `stepped` hold the mean of `collision_energy_steps`, which are in eV too unless
  `collision_energy` is null; then the steps are the numbers as written.
- `resonant-%` (ion-trap CID) and `unitless` (unit not stated, nothing settles it): `collision_energy` is the number as
  written, not comparable with eV.
- null: nothing stated, or nothing that can be compared (`3 kV`, `scaled by m/z`); the raw text is kept.

HCD: eV = NCE × precursor m/z / 500 × f(z), f = 1, .9, .85, .8, .75 for z = 1…5 (Thermo's normalised collision energy).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import polars as pl

from .instruments import Instrument, classify

_NUMBER = r"\d+(?:\.\d+)?(?:e[+-]?\d+)?"
_WORDS = re.compile(
    r"nominal|units?|normali[sz]ed|collision|energ(?:y|ies)|stepped|steps?|ramp(?:ed)?|with|and|from|to|ce|nce|cad"
    r"|ft-?ms(?: ii)?|it-?ms|argon|\bar\b|\bn2\b|ev|electron ?volts?|volts?|\bv\b|%|percent"
)
_MODES = re.compile(r"\b(hcd|cid|etd|ecd|ead|uvpd)\b")
_HIGHEST = 10_000.0  # above it a number is something else, e.g. a scan number
_CHARGE_FACTORS = (1.0, 0.9, 0.85, 0.8, 0.75)


@dataclass(frozen=True)
class Reading:
    """What a text says by itself. `form`: single, ramp, stepped, or none with the reason in `why`."""

    form: str
    values: tuple[float, ...] = ()
    unit: str | None = None  # eV, V, NCE, %
    nominal: bool = False
    mode: str | None = None  # HCD, CID, ... where the text names it
    why: str = ""


@lru_cache(maxsize=65536)
def parse_energy(text: str) -> Reading:
    """Read one spelling, without regard to the instrument: `15 % (nominal)`, `Ramp 5-60 V`, `35 NCE`, `20, 40, 60`."""
    plain = re.sub(r"\s+", " ", text.strip().lower()).replace("−", "-").replace("–", "-").strip("[]")
    if re.search(r"\d\s*ke?v\b", plain):
        return Reading("none", why="an acceleration voltage (kV), not a collision energy")
    if re.search(r"scaled|mz|m/z", plain):
        return Reading("none", why="scaled by m/z, the energy itself is not stated")
    if re.search(r"\bor\b", plain):
        return Reading("none", why="several alternatives, which one is not said")
    if both := re.fullmatch(rf"(?:hcd )?nce\s*=?\s*{_NUMBER}\s*%?\s+({_NUMBER})\s*ev", plain):  # NIST states both
        return Reading("single", (float(both.group(1)),), "eV", mode="HCD")
    mode = _MODES.search(plain)
    plain = re.split(r"\bby\b", _MODES.sub(" ", plain))[0].replace("(n)ce", "nce")
    plain = re.sub(r"(\d),(\d)(?=\s*-|\s*e?v\b|$)", r"\1.\2", plain) if plain.count(",") == 1 else plain
    unit, nominal = _unit(plain), "nominal" in plain
    form = "stepped" if "step" in plain else "ramp" if "ramp" in plain else "single"
    body = plain.split("stepped collision energies", 1)[-1]
    rest = re.sub(_NUMBER, " ", re.sub(r"(?<=\d)(?=[a-z%])", " ", body))
    if re.sub(r"[\s,;/()=:\[\]+-]", "", _WORDS.sub(" ", rest)):
        return Reading("none", why="not read")
    body = re.sub(r"\bn2\b|ms ii", " ", body)
    body = body[:200]
    pair = re.search(rf"({_NUMBER})[\s%ev]*-\s*({_NUMBER})", body) if form == "ramp" else None
    values = tuple(float(number) for number in (pair.groups() if pair else re.findall(_NUMBER, body)))
    if not values or max(values) > _HIGHEST:
        return Reading("none", why="not an energy" if values else "no number")
    if form == "single" and len(values) == 2 and re.search(r"\d[\s%ev]*-\s*\d", body):
        form = "ramp"
    elif form == "single" and len(values) > 1:
        form = "stepped"
    return Reading(form, values, unit, nominal, _mode(mode))


def _mode(match: re.Match[str] | None) -> str | None:
    return match.group(1).upper() if match else None


def _unit(plain: str) -> str | None:
    for pattern, unit in ((r"nce|normali[sz]ed", "NCE"), (r"%|percent", "%"), (r"ev\b|electron ?volt", "eV")):
        if re.search(pattern, plain):
            return unit
    return "V" if re.search(r"(?:\d|\b)v\b|\bvolts?\b", plain) else None


@dataclass(frozen=True)
class Meaning:
    """A reading on an instrument. `scale` is how to get eV: `eV` (as it is), `V` (× |z|), `NCE`, or `none`."""

    kind: str | None
    origin: str | None
    rule: str | None
    scale: str = "none"


_NO_UNIT = Meaning("unitless", "unknown", "no unit stated, nothing settles it")
_RULES: dict[tuple[str, str], tuple[str, str, str]] = {  # (unit as written, what it means) → kind, origin, rule
    ("eV", "eV"): ("eV", "stated", "eV stated"),
    ("NCE", "NCE"): ("NCE", "stated", "NCE stated"),
    ("V", "V"): ("eV", "inferred", "V on a collision cell = eV per charge"),
    ("%", "NCE"): ("NCE", "inferred", "% on HCD Orbitrap = NCE"),
    ("%", "resonant-%"): ("resonant-%", "inferred", "% on ion-trap CID = resonant-%"),
    ("nominal", "NCE"): ("NCE", "inferred", "(nominal) on HCD Orbitrap = NCE"),
    ("nominal", "resonant-%"): ("resonant-%", "inferred", "(nominal) on ion-trap CID = resonant-%"),
    ("none", "NCE"): ("NCE", "inferred", "no unit, LTQ Orbitrap HCD knows only NCE"),
    ("none", "resonant-%"): ("resonant-%", "inferred", "no unit, ion-trap CID knows only % = resonant-%"),
    ("none", "V"): ("eV", "inferred", "no unit, collision cell of this model knows only V = eV per charge"),
    ("NCE", "resonant-%"): ("resonant-%", "inferred", "NCE stated on ion-trap CID = resonant-%"),
    ("eV", "resonant-%"): ("resonant-%", "inferred", "eV stated on ion-trap CID, which knows only % = resonant-%"),
    ("eV", "unknown"): ("unitless", "unknown", "eV stated on an LTQ Orbitrap, which knows only %, mode not said"),
    ("V", "unknown"): ("unitless", "unknown", "V stated, but the instrument is not known to have a collision cell"),
    ("%", "unknown"): ("unitless", "unknown", "% stated, of what is not known"),
    ("nominal", "unknown"): ("unitless", "unknown", "(nominal) stated, the unit is not known"),
}  # fmt: skip


def interpret(reading: Reading, instrument: Instrument, fragmentation: str | None) -> Meaning:
    """What a reading means on this instrument under this fragmentation mode; every inference is a named rule."""
    if reading.form == "none":
        return Meaning(None, "unknown", reading.why)
    mode = fragmentation or reading.mode or instrument.fragmentation
    hcd = instrument.type == "Orbitrap" and mode == "HCD"
    collisional = mode in ("CID", "HCD")  # the energy of an electron beam is another thing
    trap = instrument.scale == "normalised" or instrument.type in ("Orbitrap", "IonTrap")
    resonant = mode == "CID" and trap and instrument.fragmentation != "HCD"
    written = "nominal" if reading.unit is None and reading.nominal else reading.unit or "none"
    meaning = "unknown"
    if resonant:
        meaning = "resonant-%" if written != "V" else "unknown"
    elif written == "NCE":
        meaning = "NCE"
    elif written == "eV":
        meaning = "unknown" if instrument.scale == "normalised" and mode is None else "eV"
    elif written in ("%", "nominal"):
        meaning = "NCE" if hcd else "unknown"
    elif written == "V":
        meaning = "V" if instrument.type in ("QTOF", "QqQ") and collisional else "unknown"
    elif instrument.scale == "volts" and collisional:
        meaning = "V"
    elif hcd and instrument.scale == "normalised":
        meaning = "NCE"
    if (written, meaning) not in _RULES:
        return _with_form(_NO_UNIT, reading)
    kind, origin, rule = _RULES[(written, meaning)]
    scale = meaning if meaning in ("eV", "V") else "NCE" if meaning == "NCE" and mode == "HCD" else "none"
    return _with_form(Meaning(kind, origin, rule, scale), reading)


def _with_form(meaning: Meaning, reading: Reading) -> Meaning:
    if reading.form == "single":
        return meaning
    return Meaning(reading.form, meaning.origin, meaning.rule, meaning.scale)


_KEYS = (
    "collision_energy_raw",
    "collision_energy_unit",
    "_type",
    "instrument",
    "fragmentation",
    "resolution",
)
_SCHEMA: dict[str, Any] = {
    "collision_energy": pl.Float32(),
    "collision_energy_kind": pl.String(),
    "collision_energy_origin": pl.String(),
    "collision_energy_steps": pl.List(pl.Float32),
    "charge": pl.Int8(),
    "precursor_mz": pl.Float64(),
}
_OUT = {
    "_values": pl.List(pl.Float64),
    "_scale": pl.String(),
    "_mode": pl.String(),
    "collision_energy_kind": pl.String(),
    "collision_energy_origin": pl.String(),
    "collision_energy_rule": pl.String(),
}


def meanings(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame's energies read once per distinct text and instrument: columns `_KEYS` and `_OUT`.

    `collision_energy_unit` is optional: the unit that a source documents for its column, which counts as stated.
    """
    distinct = _with_keys(frame).select(_KEYS).unique()
    rows: list[tuple[Any, ...]] = []
    for raw, unit, kind, model, fragmentation, resolution in distinct.rows():
        if (
            raw is None
            or not raw.strip()
            or raw.strip().lower() in ("n/a", "na", "none", "null", "nan", "unknown", "-")
        ):
            rows.append((None,) * len(_OUT))
            continue
        reading = parse_energy(raw)
        if unit and reading.unit is None and not reading.nominal:
            reading = Reading(reading.form, reading.values, unit, reading.nominal, reading.mode, reading.why)
        meaning = interpret(reading, classify(kind, model, resolution), fragmentation)
        rows.append((reading.values or None, meaning.scale, reading.mode, meaning.kind, meaning.origin, meaning.rule))
    return distinct.hstack(pl.DataFrame(rows, schema=_OUT, orient="row"))


def _with_keys(frame: pl.DataFrame) -> pl.DataFrame:
    """Every key present as text; `_type` is the instrument type as the source wrote it where that is still there."""
    types = [name for name in ("instrument_type_raw", "instrument_type") if name in frame.columns]
    written = pl.coalesce(pl.col(types).cast(pl.String)) if types else pl.lit(None, dtype=pl.String)
    others = [name for name in _KEYS if name != "_type"]
    given = [pl.col(name).cast(pl.String) for name in others if name in frame.columns]
    absent = [pl.lit(None, dtype=pl.String).alias(name) for name in others if name not in frame.columns]
    return frame.with_columns(*absent, *given, written.alias("_type"))


def with_energies(frame: pl.DataFrame) -> pl.DataFrame:
    """`frame` with every `collision_energy*` column of the schema and `collision_energy_rule`, from the raw text.

    A fragmentation mode that only the energy names (`35 HCD`) is taken over.

    Rows that already have a kind keep it (a file written by mslitmus, read again), except that a value in eV which
    could not be computed for want of precursor m/z or charge is computed once they are known.
    """
    added = [pl.lit(None, dtype=t).alias(name) for name, t in _SCHEMA.items() if name not in frame.columns]
    old = _with_keys(frame).with_columns(added)
    known = meanings(old).rename({n: f"{n}_new" for n in ("collision_energy_kind", "collision_energy_origin")})
    drop_rule = [c for c in ("collision_energy_rule",) if c in old.columns]
    joined = old.drop(drop_rule).join(known, on=list(_KEYS), how="left", nulls_equal=True, maintain_order="left")
    energy, steps = _in_ev()
    kept = pl.col("collision_energy_kind").is_not_null() & pl.col("collision_energy").is_not_null()
    joined = joined.with_columns(
        pl.when(kept).then(pl.col("collision_energy")).otherwise(energy).cast(pl.Float32).alias("collision_energy"),
        pl.when(kept).then(pl.col("collision_energy_steps")).otherwise(steps).cast(pl.List(pl.Float32))
        .alias("collision_energy_steps"),
        pl.coalesce("fragmentation", "_mode").alias("fragmentation"),
        *(pl.coalesce(n, f"{n}_new").alias(n) for n in ("collision_energy_kind", "collision_energy_origin")),
    )  # fmt: skip
    spare = [name for name in ("resolution", "collision_energy_unit", "instrument") if name not in frame.columns]
    return joined.drop(
        "_values", "_scale", "_mode", "collision_energy_kind_new", "collision_energy_origin_new", "_type", *spare
    )


def _in_ev() -> tuple[pl.Expr, pl.Expr]:
    """(energy, steps) of the reading's values: in eV where the scale allows, else as written."""
    charge = pl.col("charge").cast(pl.Int32).abs()
    table = pl.lit(pl.Series(_CHARGE_FACTORS)).implode()
    factor_of_charge = pl.when(charge > 0).then(table.list.get((charge - 1).clip(0, 4), null_on_oob=True))
    factor = (
        pl.when(pl.col("_scale") == "eV").then(1.0)
        .when(pl.col("_scale") == "V").then(pl.when(charge > 0).then(charge.cast(pl.Float64)))
        .when(pl.col("_scale") == "NCE").then(pl.col("precursor_mz") / 500 * factor_of_charge)
    )  # fmt: skip
    values, kind = pl.col("_values"), pl.col("collision_energy_kind_new")
    whole_ramp = values.list.len() > 1
    as_written = kind.is_in(["resonant-%", "unitless"])
    mean = values.list.mean()
    lone = kind.is_in(["ramp", "stepped"]) & ~whole_ramp
    energy = pl.when(as_written).then(mean).when(lone).then(None).otherwise(mean * factor)
    scaled = (values * factor.fill_null(1.0)).cast(pl.List(pl.Float32))
    steps = pl.when(kind.is_in(["ramp", "stepped"]) & whole_ramp).then(scaled)
    return energy, steps


def energy_report(frame: pl.DataFrame) -> pl.DataFrame:
    """Rows per kind × origin × rule, most first: columns kind, origin, rule, spectra, share (of all rows)."""
    if "collision_energy_rule" not in frame.columns:
        frame = with_energies(frame)
    names = ("collision_energy_kind", "collision_energy_origin", "collision_energy_rule")
    grouped = (
        frame.group_by(names).agg(pl.len().alias("spectra")).sort("spectra", *names, descending=[True, *[False] * 3])
    )
    return grouped.select(
        pl.col(names[0]).fill_null("none").alias("kind"),
        pl.col(names[1]).fill_null("none").alias("origin"),
        pl.coalesce(names[2], pl.when(pl.col(names[0]).is_not_null()).then(pl.lit("kept as the file says")))
        .fill_null("no collision energy stated")
        .alias("rule"),
        pl.col("spectra").cast(pl.Int64),
        (pl.col("spectra") / max(frame.height, 1)).alias("share"),
    )
