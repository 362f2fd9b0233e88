"""GNPS library JSON: an array (or lines) of objects whose `peaks_json` holds the peaks as text.

Format: https://external.gnps2.org/gnpslibrary, "JSON" downloads.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

import polars as pl

from ...errors import FormatError
from ._container import Source
from ._format import Format
from ._peaks import ARRAYS
from ._problems import Problems, record_error
from ._rows import BATCH, Place, Rows
from ._text import decode, text_blocks
from .keys import translate

_START = re.compile(rb"^\s*(\[\s*\{|\{\s*\"|\[\s*\]\s*$)")
_BETWEEN = re.compile(r"[\s,]*")
_PEAKS = ("peaks_json", "peaks", "Peaks")


def looks_like(head: bytes) -> bool:
    """Does a file that begins so hold JSON objects with peaks?"""
    return _START.match(head) is not None and (b"peaks" in head.lower() or b"spectrum" in head.lower())


def read(sources: Iterable[Source], problems: Problems, batch: int = BATCH, **_: object) -> Iterator[pl.DataFrame]:
    """Frames of at most `batch` spectra."""
    rows = Rows(ARRAYS, problems)
    for source in sources:
        for line, entry in _objects(source, problems):
            _add(rows, source.label, line, entry, problems)
            if len(rows) >= batch:
                yield from rows.finish()
    if len(rows):
        yield from rows.finish()


def _objects(source: Source, problems: Problems) -> Iterator[tuple[int, object]]:
    """(line, object) of each element, holding one block in memory."""
    decoder = json.JSONDecoder()
    line, text, started, closing = 1, "", False, ""
    blocks = text_blocks(source, problems)
    pending = b""
    while True:
        block = next(blocks, None)
        pending += block or b""
        cut = len(pending) if block is None else pending.rfind(b"\n") + 1 or len(pending) - 4
        text, pending = text + decode(pending[: max(cut, 0)], problems), pending[max(cut, 0) :]
        at = 0
        if not started and (opening := re.match(r"\s*\[", text)):
            at, closing = opening.end(), "]"
        started = started or bool(text.strip())
        counted = 0
        while True:
            gap = _BETWEEN.match(text, at)
            at = gap.end() if gap else at
            line, counted = line + text.count("\n", counted, at), at
            try:
                entry, at = decoder.raw_decode(text, at)
            except (json.JSONDecodeError, RecursionError) as error:
                if block is None and text[at:].strip() != closing:
                    problems.report(_broken(source.label, line, error))
                break
            yield line, entry
        text = text[at:]
        if block is None:
            return


def _broken(label: str, line: int, error: Exception) -> FormatError:
    reason = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deeply"
    return FormatError(
        f"the JSON is cut or broken in the object that begins here ({reason})",
        where=f"{label}:{line}",
        remedy='download it again, or read with on_error="skip" to keep the objects before it',
    )


def _add(rows: Rows, label: str, line: int, entry: object, problems: Problems) -> None:
    if not isinstance(entry, dict):
        problems.report(record_error(f"an object was expected, not {str(entry)[:40]!r}", label, line))
        return
    pairs = [
        (key, str(value)) for key, value in entry.items() if isinstance(value, (str, int, float)) and key not in _PEAKS
    ]
    fields: dict[str, str] = {}
    translate(pairs, fields, {})
    peaks = next((entry[key] for key in _PEAKS if entry.get(key)), "")
    text = peaks if isinstance(peaks, str) else json.dumps(peaks)
    place = Place(label, line, fields.get("identifier"))
    rows.add(place, fields, text.encode("utf-8", "replace"))


FORMAT = Format("gnps_json", "GNPS library JSON", looks_like, read)
