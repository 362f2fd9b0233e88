"""mzXML: tandem spectra of a run (Seattle Proteome Center, schema revisions 2 and 3).

By default MS1 scans are passed over undecoded. Peaks are big-endian pairs of m/z and intensity.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from xml.parsers import expat

import numpy as np
import polars as pl

from ._container import Source
from ._format import Format
from ._problems import Problems
from ._rows import BATCH
from ._xml import BrokenArrayError, Scans, decode_array, scans_of, stem

_PRECISION: dict[str, np.dtype] = {"32": np.dtype(">f4"), "64": np.dtype(">f8"), "": np.dtype(">f4")}

_RUN = {"msModel": "instrument", "msMassAnalyzer": "instrument_type", "msIonisation": "ionization"}
_SCAN = {
    "msLevel": "ms_level",
    "retentionTime": "retention_time",
    "collisionEnergy": "collision_energy_raw",
    "precursorCharge": "charge",
    "activationMethod": "fragmentation",
}


def looks_like(head: bytes) -> bool:
    """Does a file that begins so hold mzXML?"""
    return re.search(rb"<(?:\w+:)?(mzXML|msRun)[\s>]", head) is not None


class _Scan:
    """One scan element; scans nest (MS2 inside their MS1)."""

    def __init__(self, attributes: dict[str, str], line: int) -> None:
        self.attributes, self.line = attributes, line
        self.precursor: dict[str, str] | None = None
        self.precursor_text: list[str] = []
        self.peaks: dict[str, str] = {}
        self.peaks_text: list[str] = []


class _Reader:
    parser: expat.XMLParserType

    def __init__(self, source: Source, problems: Problems, ms1: bool) -> None:
        self.scans = Scans(source.label, problems)
        self._ms1, self._stem = ms1, stem(source.label)
        self._open: list[_Scan] = []
        self._run: dict[str, str] = {}

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "scan":
            self._open.append(_Scan(attributes, self.parser.CurrentLineNumber))
        elif not self._open:
            if name in _RUN:
                self._run.setdefault(_RUN[name], attributes.get("value", ""))
        elif name == "precursorMz" and self._open[-1].precursor is None:
            self._open[-1].precursor = attributes
            self.parser.CharacterDataHandler = self._open[-1].precursor_text.append
        elif name == "peaks":
            self._open[-1].peaks = attributes
            if self._wanted(self._open[-1]):
                self.parser.CharacterDataHandler = self._open[-1].peaks_text.append

    def end(self, name: str) -> None:
        if name in ("peaks", "precursorMz"):
            self.parser.CharacterDataHandler = None
        elif name == "scan" and self._open:
            scan = self._open.pop()
            if self._wanted(scan):
                self._finish(scan)

    def _wanted(self, scan: _Scan) -> bool:
        return self._ms1 or scan.attributes.get("msLevel", "2") != "1"

    def _finish(self, scan: _Scan) -> None:
        given, precursor = scan.attributes, scan.precursor or {}
        name = f"{self._stem}:scan={given.get('num', '?')}"
        fields = {"identifier": name, "precursor_mz": "".join(scan.precursor_text).strip(), **self._run}
        if self._run.get("instrument"):
            fields.pop("instrument_type", None)  # mzXML names one analyser only: a Q Exactive is a "quadrupole" there
        if polarity := {"+": "positive", "-": "negative"}.get(given.get("polarity", "")):
            fields["ion_mode"] = polarity
        fields |= {_SCAN[key]: value for key, value in (given | precursor).items() if key in _SCAN and value}
        compression = scan.peaks.get("compressionType", "none")
        dtype = _PRECISION.get(scan.peaks.get("precision", ""))
        order = scan.peaks.get("contentType", scan.peaks.get("pairOrder", "m/z-int"))
        if compression not in ("none", "zlib", "") or dtype is None or order != "m/z-int":
            self.scans.refuse(f"peaks stored as {compression}, {order}, are not read here", scan.line, name)
            return
        try:
            pairs = decode_array("".join(scan.peaks_text), compression == "zlib", dtype)
        except BrokenArrayError as error:
            self.scans.refuse(f"the peaks: {error}", scan.line, name)
            return
        stated = given.get("peaksCount", "")
        if stated == "0" and len(pairs) == 2 and not pairs.any():
            pairs = pairs[:0]  # converters write one zero pair for an empty scan
        if len(pairs) % 2 or (stated.isdecimal() and int(stated[:12]) != len(pairs) // 2):
            self.scans.refuse(f"{len(pairs) / 2:g} peaks where {stated} are stated", scan.line, name)
            return
        self.scans.add(fields, pairs[0::2], pairs[1::2], scan.line)


def read(
    sources: Iterable[Source], problems: Problems, batch: int = BATCH, *, ms1: bool = False, **_: object
) -> Iterator[pl.DataFrame]:
    """Raw frames of at most about `batch` spectra of MS level 2 and above; with `ms1` of every level."""
    for source in sources:
        yield from scans_of(source, problems, _Reader(source, problems, ms1), batch)


FORMAT = Format("mzxml", "mzXML", looks_like, read)
