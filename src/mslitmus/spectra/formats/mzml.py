"""mzML: tandem spectra of a run (PSI mzML 1.1, https://www.psidev.info/mzML; terms of the PSI-MS vocabulary).

By default MS1 scans are passed over undecoded. Numpress compression is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from xml.parsers import expat

import numpy as np
import polars as pl

from ._container import Source
from ._format import Format
from ._problems import Problems
from ._rows import BATCH
from ._xml import BrokenArrayError, Scans, decode_array, scans_of, stem

ACTIVATIONS = {
    "MS:1000133": "CID", "MS:1002472": "CID", "MS:1001880": "CID", "MS:1000422": "HCD", "MS:1002481": "HCD",
    "MS:1000598": "ETD", "MS:1000250": "ECD", "MS:1000599": "PQD", "MS:1000262": "IRMPD", "MS:1000435": "UVPD",
    "MS:1003246": "UVPD", "MS:1002631": "EThcD", "MS:1003294": "EAD", "MS:1000136": "SID", "MS:1000242": "BIRD",
}  # fmt: skip
DTYPES: dict[str, np.dtype] = {
    "MS:1000523": np.dtype("<f8"), "MS:1000521": np.dtype("<f4"),
    "MS:1000522": np.dtype("<i8"), "MS:1000519": np.dtype("<i4"),
}  # fmt: skip
NUMPRESS = {
    "MS:1002312": "MS-Numpress linear", "MS:1002313": "MS-Numpress positive integer",
    "MS:1002314": "MS-Numpress short logged float", "MS:1002746": "MS-Numpress linear + zlib",
    "MS:1002747": "MS-Numpress positive integer + zlib", "MS:1002748": "MS-Numpress short logged float + zlib",
}  # fmt: skip
MZ_ARRAY, INTENSITY_ARRAY, ZLIB, NO_COMPRESSION = "MS:1000514", "MS:1000515", "MS:1000574", "MS:1000576"
#: Terms of a spectrum that become one field each.
FIELDS = {"MS:1000511": "ms_level", "MS:1000041": "charge", "MS:1000512": "filter"}
ORBITRAP = "orbitrap"
_NORMALISED = re.compile(r"@hcd(\d+(?:\.\d+)?)")


def looks_like(head: bytes) -> bool:
    """Does a file that begins so hold mzML?"""
    return re.search(rb"<(?:\w+:)?(indexed)?mzML[\s>]", head) is not None


@dataclass(slots=True)
class _Array:
    """One binaryDataArray."""

    kind: str | None = None
    dtype: np.dtype | None = None
    compressed: bool = False
    refused: str | None = None
    length: int | None = None
    text: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Configuration:
    instrument: str | None = None
    analyzers: list[str] = field(default_factory=list)
    ionization: str | None = None


class _Reader:
    """Elements in, scans out; `scans` is emptied by the caller between blocks."""

    parser: expat.XMLParserType

    def __init__(self, source: Source, problems: Problems, ms1: bool) -> None:
        self.scans = Scans(source.label, problems)
        self._label, self._ms1, self._stem = source.label, ms1, stem(source.label)
        self._groups: dict[str, list[dict[str, str]]] = {}
        self._group: list[dict[str, str]] | None = None
        self._configurations: dict[str, _Configuration] = {}
        self._configuration: _Configuration | None = None
        self._default, self._part = "", ""
        self._fields: dict[str, str] | None = None
        self._arrays: list[_Array] = []
        self._array: _Array | None = None
        self._length, self._line, self._fault = 0, 0, ""

    # --- elements

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "cvParam":
            self._term(attributes)
        elif name == "referenceableParamGroupRef":
            for term in self._groups.get(attributes.get("ref", ""), ()):
                self._term(term)
        elif name == "spectrum":
            self._begin(attributes)
        elif self._fields is not None:
            self._inside(name, attributes)
        elif name == "referenceableParamGroup":
            self._group = self._groups.setdefault(attributes.get("id", ""), [])
        elif name == "instrumentConfiguration":
            self._configuration = self._configurations.setdefault(attributes.get("id", ""), _Configuration())
            self._part = ""
        elif name in ("source", "analyzer", "detector"):
            self._part = name
        elif name == "run":
            self._default = attributes.get("defaultInstrumentConfigurationRef", "")

    def _inside(self, name: str, attributes: dict[str, str]) -> None:
        if name == "binaryDataArray":
            self._array = _Array(length=_integer(attributes.get("arrayLength")))
            self._arrays.append(self._array)
        elif name == "binary" and self._array is not None and self._wanted():
            self.parser.CharacterDataHandler = self._array.text.append
        elif name == "scan" and self._fields is not None:
            self._fields.setdefault("configuration", attributes.get("instrumentConfigurationRef", ""))

    def end(self, name: str) -> None:
        if name == "binary":
            self.parser.CharacterDataHandler = None
        elif name == "binaryDataArray":
            self._array = None
        elif name == "spectrum":
            self._finish()
            self._fields = None
        elif name == "referenceableParamGroup":
            self._group = None
        elif name == "instrumentConfiguration":
            self._configuration = None

    # --- one spectrum

    def _begin(self, attributes: dict[str, str]) -> None:
        identity = attributes.get("id", attributes.get("index", ""))
        scan = re.search(r"scan=\d+", identity)
        self._fields = {"identifier": f"{self._stem}:{scan[0] if scan else identity}"}
        self._arrays, self._array = [], None
        self._length, self._line = _integer(attributes.get("defaultArrayLength")) or 0, self.parser.CurrentLineNumber

    def _wanted(self) -> bool:
        return self._ms1 or (self._fields or {}).get("ms_level", "2") != "1"

    def _finish(self) -> None:
        if self._fields is None or not self._wanted():
            return
        fields = self._fields
        found: dict[str, np.ndarray] = {}
        for array in self._arrays:
            if array.kind is None or array.kind in found:
                continue
            which = "m/z" if array.kind == MZ_ARRAY else "intensity"
            if array.refused or array.dtype is None:
                what = f"the {which} array is compressed with {array.refused}" if array.refused else (
                    f"the {which} array states no precision"
                )  # fmt: skip
                remedy = "convert it with `msconvert --mzML --zlib --numpressAll off`"
                self.scans.refuse(what, self._line, fields["identifier"], remedy)
                return
            try:
                found[array.kind] = decode_array("".join(array.text), array.compressed, array.dtype)
            except BrokenArrayError as error:
                self.scans.refuse(f"the {which} array: {error}", self._line, fields["identifier"])
                return
            stated = self._length if array.length is None else array.length
            if len(found[array.kind]) != stated:
                what = f"the {which} array holds {len(found[array.kind])} values where {stated} are stated"
                self.scans.refuse(what, self._line, fields["identifier"])
                return
        empty = np.empty(0)
        mzs, intensities = found.get(MZ_ARRAY, empty), found.get(INTENSITY_ARRAY, empty)
        self.scans.add(self._complete(fields), mzs, intensities, self._line)

    def _complete(self, fields: dict[str, str]) -> dict[str, str]:
        """Instrument and collision energy, which need the whole spectrum."""
        name = fields.pop("configuration", "") or self._default
        fallback = next(iter(self._configurations.values()), _Configuration())
        used = self._configurations.get(name, fallback)
        analyzers = " ".join(dict.fromkeys(used.analyzers))
        stated_run = {"instrument": used.instrument, "instrument_type": analyzers, "ionization": used.ionization}
        fields |= {column: value for column, value in stated_run.items() if value}
        if "target_mz" in fields:
            fields.setdefault("precursor_mz", fields.pop("target_mz"))
        energy, unit = fields.pop("energy", None), fields.pop("energy_unit", "")
        low, high = fields.pop("energy_low", None), fields.pop("energy_high", None)
        normalised = _NORMALISED.search(fields.pop("filter", ""))
        if low and high:
            fields["collision_energy_raw"] = f"{low}-{high} eV"
        elif energy and normalised and float(normalised[1]) == _float(energy):
            fields["collision_energy_raw"] = f"{energy} (NCE)"  # Thermo's filter line: hcd is a normalised energy
        elif energy:
            # Thermo files state normalised energies as electronvolt: there the unit is not trusted
            stated = unit == "electronvolt" and ORBITRAP not in analyzers
            fields["collision_energy_raw"] = f"{energy} eV" if stated else energy
        return fields

    # --- vocabulary terms

    def _term(self, attributes: dict[str, str]) -> None:
        if self._group is not None:
            self._group.append(attributes)
        elif self._array is not None:
            self._array_term(attributes.get("accession", ""))
        elif self._fields is not None:
            self._spectrum_term(self._fields, attributes)
        elif self._configuration is not None:
            self._instrument_term(self._configuration, attributes.get("name", ""), attributes.get("accession", ""))

    def _array_term(self, accession: str) -> None:
        assert self._array is not None
        if accession in (MZ_ARRAY, INTENSITY_ARRAY):
            self._array.kind = accession
        elif accession in DTYPES:
            self._array.dtype = DTYPES[accession]
        elif accession == ZLIB:
            self._array.compressed = True
        elif accession in NUMPRESS:
            self._array.refused = NUMPRESS[accession]

    def _spectrum_term(self, fields: dict[str, str], attributes: dict[str, str]) -> None:
        accession, value = attributes.get("accession", ""), attributes.get("value", "")
        if accession in FIELDS:
            fields.setdefault(FIELDS[accession], value)
        elif accession in ("MS:1000744", "MS:1000040"):
            fields.setdefault("precursor_mz", value)
        elif accession == "MS:1000827":
            fields.setdefault("target_mz", value)
        elif accession in ("MS:1000130", "MS:1000129"):
            fields["ion_mode"] = "positive" if accession == "MS:1000130" else "negative"
        elif accession == "MS:1000016":
            minutes = attributes.get("unitAccession") in ("UO:0000031", "MS:1000038")
            fields.setdefault("rt_minutes" if minutes else "rt_seconds", value)
        elif accession in ACTIVATIONS:
            fields.setdefault("fragmentation", ACTIVATIONS[accession])
        elif accession == "MS:1000045":
            fields.setdefault("energy", value)
            fields.setdefault("energy_unit", attributes.get("unitName", ""))
        elif accession in ("MS:1002013", "MS:1002014"):
            fields.setdefault("energy_low" if accession == "MS:1002013" else "energy_high", value)

    def _instrument_term(self, used: _Configuration, name: str, accession: str) -> None:
        if self._part == "analyzer":
            used.analyzers.append(name)
        elif self._part == "source":
            used.ionization = used.ionization or name
        elif not self._part and accession != "MS:1000529":  # not the serial number
            used.instrument = used.instrument or name


def _integer(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() else None


def _float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def read(
    sources: Iterable[Source], problems: Problems, batch: int = BATCH, *, ms1: bool = False, **_: object
) -> Iterator[pl.DataFrame]:
    """Raw frames of at most about `batch` spectra of MS level 2 and above; with `ms1` of every level."""
    for source in sources:
        yield from scans_of(source, problems, _Reader(source, problems, ms1), batch)


FORMAT = Format("mzml", "mzML", looks_like, read)
