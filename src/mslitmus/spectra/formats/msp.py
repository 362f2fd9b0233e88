"""MSP, the text format of NIST, in the dialects of MoNA, MassBank, RIKEN/MS-DIAL, Golm and GNPS.

Format: NIST MS Search manual, "Importing spectra": records of `Key: value` lines, then `Num Peaks: n`, then pairs of
m/z and intensity, one or many a line, delimited by blanks, commas, colons, semicolons or brackets, with annotations.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import polars as pl

from ._container import Source
from ._format import Format
from ._peaks import PAIRS
from ._problems import Problems, record_error
from ._rows import BATCH, Place, Rows
from ._text import decode, split_records
from .keys import translate

_NUM_PEAKS = re.compile(rb"\n[Nn][Uu][Mm][ _]?[Pp][Ee][Aa][Kk][Ss][ \t]*[:=][ \t]*([^\n]*)")
_NEXT_RECORD = re.compile(rb"\n(?=[A-Za-z][^\n:]*:[^\n]*)")
_HEAD = re.compile(
    rb"^(name|compound_?name|inchi_?key|precursor_?mz|num ?_?peaks)[ \t]*:", re.IGNORECASE | re.MULTILINE
)
_KEY_VALUE = re.compile(r'"([^"=]+)=([^"]*)"|(\w+)="([^"]*)"|(\w+)=([^\s"]+)')
_IN_COMMENTS = 50  # what a comment says counts less than any key of the record itself


def looks_like(head: bytes) -> bool:
    """Does a file that begins so hold MSP?"""
    return _HEAD.search(head) is not None and b"BEGIN IONS" not in head


def read(sources: Iterable[Source], problems: Problems, batch: int = BATCH, **_: object) -> Iterator[pl.DataFrame]:
    """Frames of at most `batch` spectra."""
    rows = Rows(PAIRS, problems)
    for source in sources:
        for line, text, _complete in split_records(source, problems, b"\n\n"):
            if text and not text.isspace():
                _add(rows, source.label, line, b"\n" + text, problems)
                if len(rows) >= batch:
                    yield from rows.finish()
    if len(rows):
        yield from rows.finish()


def _add(rows: Rows, label: str, line: int, text: bytes, problems: Problems) -> None:
    """One record, or several that no blank line separates. `text` begins with a line feed in front of `line`."""
    counted = _NUM_PEAKS.search(text)
    if counted is None:
        what, remedy = "no 'Num Peaks' line", "add 'Num Peaks: n' in front of the peaks"
        problems.report(record_error(what, label, line, _called(text), remedy + ', or read with on_error="skip"'))
        return
    after = counted.end()
    if _NUM_PEAKS.search(text, after) and (following := _NEXT_RECORD.search(text, after)):
        rest = text[following.start() :]
        skipped = text.count(b"\n", 1, following.start() + 1)
        text = text[: following.start()]
        _one(rows, label, line, text, counted, problems)
        _add(rows, label, line + skipped, rest, problems)
    else:
        _one(rows, label, line, text, counted, problems)


def _called(text: bytes) -> str | None:
    found = re.search(rb"\n(?:name|db#|nist#)[ \t]*:[ \t]*([^\n]*)", text, re.IGNORECASE)
    return found[1].decode("utf-8", "replace") if found else None


def _one(rows: Rows, label: str, line: int, text: bytes, counted: re.Match[bytes], problems: Problems) -> None:
    header = decode(text[1 : counted.start()], problems)
    stated = counted[1].strip()
    at = line + text.count(b"\n", 1, counted.end())
    if not stated.isdigit():
        shown = stated.decode("utf-8", "replace")
        problems.report(record_error(f"Num Peaks is {shown!r}, not a number", label, at, _called(text)))
        return
    pairs = [(key, value.strip()) for key, colon, value in map(_partition, header.split("\n")) if colon]
    fields: dict[str, str] = {}
    if "mslitmus_schema:" in header:
        fields = {key: value for key, _, value in (entry.partition(": ") for entry in header.split("\n"))}
        if "compound_name" in fields:  # `Name` is for other programs and cannot be missing
            fields["name"] = fields["compound_name"]
    else:
        ranks: dict[str, int] = {}
        translate(pairs, fields, ranks)
        for key, value in pairs:
            if "=" in value and key[:7].lower() == "comment":
                found = ((m[1] or m[3] or m[5], m[2] or m[4] or m[6] or "") for m in _KEY_VALUE.finditer(value))
                translate(found, fields, ranks, penalty=_IN_COMMENTS)
    name = fields.get("identifier") or fields.get("name")
    rows.add(Place(label, at, name), fields, text[counted.end() :], int(stated[:9]))


def _partition(entry: str) -> tuple[str, str, str]:
    return entry.partition(":")


FORMAT = Format("msp", "NIST MSP", looks_like, read, suffixes=(".msp",))
