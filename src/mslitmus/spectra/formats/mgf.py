"""Mascot generic format and its library dialects (GNPS, MassSpecGym, MZmine).

Format: https://www.matrixscience.com/help/data_file_help.html. Records stand between BEGIN IONS and END IONS, hold
`KEY=value` lines and then peak lines (m/z, intensity, optionally a charge).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import polars as pl

from ._container import Source
from ._format import Format
from ._peaks import LINES
from ._problems import Problems, record_error
from ._rows import BATCH, Place, Rows
from ._text import decode, split_records
from .keys import translate

_FIRST_PEAK = re.compile(rb"\n[ \t]*[0-9.+-]")
_BEGIN, _END = b"BEGIN IONS", b"\nEND IONS"
_IDENTIFYING = ("SPECTRUMID=", "identifier=", "IDENTIFIER=", "TITLE=", "FEATURE_ID=", "SCANS=")


def looks_like(head: bytes) -> bool:
    """Does a file that begins so hold MGF?"""
    return b"\nBEGIN IONS" in b"\n" + head


def read(sources: Iterable[Source], problems: Problems, batch: int = BATCH, **_: object) -> Iterator[pl.DataFrame]:
    """Frames of at most `batch` spectra."""
    rows = Rows(LINES, problems)
    for source in sources:
        for line, text, complete in split_records(source, problems, _END):
            begin = text.rfind(_BEGIN)
            before = text.find(_BEGIN) if begin >= 0 else -1
            if begin < 0 and complete:
                at = line + text[: len(text) - len(text.lstrip())].count(b"\n")
                problems.report(record_error("END IONS without BEGIN IONS", source.label, at, None, _ADD_BEGIN))
                continue
            if before < begin or (begin >= 0 and not complete):
                cut = text[before:begin] if before < begin else text[begin:]
                at = line + text.count(b"\n", 0, before)
                problems.report(record_error("BEGIN IONS without END IONS", source.label, at, _called(cut), _ADD_END))
            if complete:
                _add(rows, source.label, line + text.count(b"\n", 0, begin), text[begin:], problems)
                if len(rows) >= batch:
                    yield from rows.finish()
    if len(rows):
        yield from rows.finish()


_ADD_END = 'close the record with END IONS (the file may be cut), or read with on_error="skip" to leave it out'
_ADD_BEGIN = 'open the record with BEGIN IONS, or read with on_error="skip" to leave it out'


def _called(text: bytes) -> str | None:
    """What the record calls itself, for messages."""
    for entry in text.decode("utf-8", "replace").split("\n"):
        if entry.startswith(_IDENTIFYING):
            return entry.partition("=")[2].strip()
    return None


def _add(rows: Rows, label: str, line: int, text: bytes, problems: Problems) -> None:
    first = _FIRST_PEAK.search(text)
    split = first.start() if first else len(text)
    header, peaks = decode(text[:split], problems), text[split:]
    if b"=" in peaks:  # keys behind or between the peaks
        lines = peaks.split(b"\n")
        header += "\n" + decode(b"\n".join(entry for entry in lines if b"=" in entry), problems)
        peaks = b"\n".join(b"" if b"=" in entry else entry for entry in lines)
    pairs = [(key, value) for key, equals, value in map(_partition, header.split("\n")) if equals]
    fields: dict[str, str] = {}
    if "MSLITMUS_SCHEMA=" in header:
        for key, value in pairs:
            fields.setdefault(key.lower(), value)  # our own keys stand first
    else:
        translate(pairs, fields, {})
    name = fields.get("identifier")
    rows.add(Place(label, line + text.count(b"\n", 0, split), name), fields, peaks)


def _partition(entry: str) -> tuple[str, str, str]:
    return entry.partition("=")


FORMAT = Format("mgf", "Mascot generic format", looks_like, read, suffixes=(".mgf",))
