"""MassBank records: one text file a spectrum, or many in one file, closed by `//`.

Format: MassBank record format 2.6, https://github.com/MassBank/MassBank-web/blob/main/Documentation/MassBankRecordFormat.md
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

#: Tag → column; the first value of a repeated tag wins.
TAGS = {
    "ACCESSION": "identifier",
    "CH$NAME": "name",
    "CH$FORMULA": "formula",
    "CH$SMILES": "smiles",
    "CH$IUPAC": "inchi",
    "CH$EXACT_MASS": "parent_mass",
    "AC$INSTRUMENT": "instrument",
    "AC$INSTRUMENT_TYPE": "instrument_type",
    "LICENSE": "license",
    "PK$NUM_PEAK": "num_peaks",
}
#: Tag with a subtag (`AC$MASS_SPECTROMETRY: COLLISION_ENERGY 35 eV`) → column.
SUBTAGS = {
    "AC$MASS_SPECTROMETRY": {
        "MS_TYPE": "ms_type",
        "ION_MODE": "ion_mode",
        "IONIZATION": "ionization",
        "FRAGMENTATION_MODE": "fragmentation",
        "COLLISION_ENERGY": "collision_energy_raw",
        "RESOLUTION": "resolution",
    },
    "AC$CHROMATOGRAPHY": {"RETENTION_TIME": "retention_time"},
    "MS$FOCUSED_ION": {
        "PRECURSOR_M/Z": "precursor_mz",
        "PRECURSOR_TYPE": "adduct",
        "ION_TYPE": "ion_type",
    },
    "CH$LINK": {"INCHIKEY": "inchikey"},
}
_ONE_ADDUCT = re.compile(r"^\[[^\[\],]+\][0-9]*[+-]*\*?$")
_CONTRIBUTOR = re.compile(r"^MSBNK-(.+)-[^-]+$")


def looks_like(head: bytes) -> bool:
    """Does a file that begins so hold MassBank records?"""
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    return start.startswith((b"ACCESSION:", b"RECORD_TITLE:")) or (b"\nACCESSION:" in head and b"CH$" in head)


def read(sources: Iterable[Source], problems: Problems, batch: int = BATCH, **_: object) -> Iterator[pl.DataFrame]:
    """Raw frames of at most `batch` records."""
    rows = Rows(LINES, problems)
    for source in sources:
        for begin, text, complete in split_records(source, problems, b"\n//"):
            line = begin + (text.startswith(b"\n"))  # behind the // of the record before
            text = text.removeprefix(b"\n")
            if not complete:
                if text.strip():
                    accession = _accession(text)
                    problems.report(
                        record_error("the record is cut: no closing // line", source.label, line, accession)
                    )
                continue
            _add(rows, source.label, line, text, problems)
            if len(rows) >= batch:
                yield from rows.finish()
    if len(rows):
        yield from rows.finish()


def _accession(text: bytes) -> str | None:
    found = re.search(rb"^ACCESSION:[ \t]*(\S+)", text, re.MULTILINE)
    return found[1].decode("utf-8", "replace") if found else None


def _add(rows: Rows, label: str, line: int, text: bytes, problems: Problems) -> None:
    at = text.find(b"\nPK$PEAK:")
    peaks_at = text.find(b"\n", at + 1)
    if at < 0 or peaks_at < 0:
        what = "no PK$PEAK block" if at < 0 else "the PK$PEAK block is empty"
        problems.report(record_error(what, label, line, _accession(text)))
        return
    header = text[:at]
    annotation = header.find(b"\nPK$ANNOTATION")
    if annotation >= 0:
        count = header.find(b"\nPK$NUM_PEAK", annotation)
        header = header[:annotation] + (header[count:] if count >= 0 else b"")
    fields = _fields(decode(header, problems))
    name = fields.get("identifier")
    if not name:
        problems.report(record_error("no ACCESSION", label, line, remedy="give the record an ACCESSION line"))
        return
    stated = fields.pop("num_peaks", "").strip()
    if stated and not stated.isdecimal():
        problems.report(record_error(f"PK$NUM_PEAK is {stated!r}, not a number", label, line, name))
        return
    place = Place(label, line + text.count(b"\n", 0, peaks_at), name)
    rows.add(place, fields, text[peaks_at:], int(stated[:9]) if stated else -1)


def _fields(header: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    for entry in header.split("\n"):
        tag, _, value = entry.partition(": ")
        if tag in TAGS:
            fields.setdefault(TAGS[tag], value)
        elif tag in SUBTAGS:
            subtag, _, rest = value.partition(" ")
            column = SUBTAGS[tag].get(subtag)
            if column is not None:
                fields.setdefault(column, rest)
    ion_type = fields.pop("ion_type", None)
    if "adduct" not in fields and ion_type and _ONE_ADDUCT.match(ion_type.strip()):
        fields["adduct"] = ion_type
    if "ms_type" in fields:
        fields["ms_level"] = fields["ms_type"]
    if contributor := _CONTRIBUTOR.match(fields.get("identifier", "")):
        fields["source"] = contributor[1]
    return fields


FORMAT = Format("massbank", "MassBank record", looks_like, read)
