"""Tables that people hand in: Parquet, CSV, TSV or JSON Lines (plain or gzip), told by content, with lines to name.

Text columns stay text here: what they mean is the business of `intake`.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import polars as pl

from ..errors import PredictionError, unknown_name

TABLES = ("parquet", "csv", "tsv", "jsonl")
SPECTRUM_FILES = ("mgf", "msp")
FORMATS = (*TABLES, *SPECTRUM_FILES)
ROW = "row"  # number of a row in its file, from 0
SHOWN = 5
_ENDINGS = {".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".jsonl": "jsonl",
            ".ndjson": "jsonl", ".mgf": "mgf", ".msp": "msp"}  # fmt: skip
#: First bytes of files that are no predictions, what they are, what to do.
_STRANGE = (
    (
        b"\x80",
        "a pickle, which can run any code when it is read",
        "write it again with DataFrame.to_parquet or .to_csv",
    ),
    (b"\x89HDF", "HDF5", "write it again as Parquet, CSV, JSON Lines or MGF"),
    (b"\x93NUMPY", "a NumPy array, without identifiers", "write a table with the column identifier"),
    (b"PK\x03\x04", "a zip archive (or an Excel sheet)", "unpack it, or save the sheet as CSV"),
    (b"<", "HTML or XML", "check that the download gave the file and not an error page"),
    (b"version https://git-lfs", "a Git LFS pointer", "fetch the content with `git lfs pull`"),
)

_VERBS = {"have": "has", "hold": "holds", "answer": "answers", "score": "scores"}


@dataclass(frozen=True)
class Table:
    """A table as read. `frame` has the column `row` beside the file's own."""

    path: Path
    format: str
    frame: pl.DataFrame

    def places(self, rows: Sequence[int]) -> list[str]:
        """`line 12` of each row of a text file, `row 11` (from 1) of any other."""
        if self.format not in ("csv", "tsv", "jsonl"):
            return [f"row {row + 1:,}" for row in rows]
        wanted, lines = set(rows), {}
        for row, line in enumerate(_lines(self.path, self.format)):
            if row in wanted:
                lines[row] = line
            if len(lines) == len(wanted):
                break
        return [f"line {lines[row]:,}" if row in lines else f"row {row + 1:,}" for row in rows]


def sniff(path: Path, format: str | None = None) -> str:
    """Which of FORMATS a file is in: named, or told by its content, then by its ending.

    Raises PredictionError for a file that is absent, empty or of another kind.
    """
    if format is not None:
        if format not in FORMATS:
            raise unknown_name("format of predictions", format, FORMATS)
        _head(path)
        return format
    head = _head(path)
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if head.startswith(b"PAR1"):
        return "parquet"
    for magic, what, remedy in _STRANGE:
        if text.startswith(magic):
            raise PredictionError(f"the file is {what}, not predictions", where=str(path), remedy=remedy)
    if b"\0" in head:
        remedy = f"hand in one of {', '.join(FORMATS)}"
        raise PredictionError("the file is binary of an unknown kind", where=str(path), remedy=remedy)
    if b"BEGIN IONS" in head:
        return "mgf"
    if text.startswith(b"{"):
        return "jsonl"
    if text.startswith(b"["):
        remedy = "write one object a line (pandas: to_json(…, orient='records', lines=True))"
        raise PredictionError("a JSON array, not JSON Lines", where=f"{path}:1", remedy=remedy)
    ending = _ENDINGS.get(_suffix(path))
    if ending == "parquet":
        remedy = "the file is cut or of another kind: write it again"
        raise PredictionError("the file ends in .parquet but does not begin as Parquet", where=str(path), remedy=remedy)
    if ending == "msp":
        return "msp"
    first = text.split(b"\n", 1)[0]
    return "tsv" if b"\t" in first else "csv"


def read_table(path: Path, format: str, columns: Sequence[str] | None = None) -> Table:
    """The table at `path`. Args: columns: of a Parquet file, those to read (others need no memory).

    Raises PredictionError for a file that is cut, empty or not what it claims, with the line where there is one.
    """
    if format == "parquet":
        frame = _read_parquet(path, columns)
    elif format == "jsonl":
        frame = _read_lines(path)
    else:
        frame = _read_csv(path, format)
    if frame.is_empty():
        raise PredictionError("no predictions inside", where=str(path), remedy="write one row a query (or candidate)")
    frame = frame.drop(ROW, strict=False).with_row_index(ROW)
    if format in ("csv", "tsv"):
        frame = frame.filter(~pl.all_horizontal(pl.exclude(ROW).is_null()))  # blank lines
    return Table(path, format, frame)


def column_names(path: Path, format: str) -> list[str]:
    """Columns of a table by its beginning (of a Parquet file by its end), without reading it.

    The empty list where the beginning does not tell. Raises PredictionError for a Parquet file that is cut.
    """
    if format == "parquet":
        try:
            return list(pl.read_parquet_schema(path))
        except (OSError, pl.exceptions.PolarsError) as error:
            raise _cut(path, error) from error
    text = _head(path).decode("utf-8-sig", "replace").lstrip()
    if format == "jsonl":
        return _keys(text)
    return next(csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text, format)), [])


def _keys(text: str) -> list[str]:
    """Keys of all whole lines of the beginning of a JSON Lines file, in order of appearance."""
    found: dict[str, None] = {}
    for line in text.split("\n")[:-1] or [text]:
        try:
            value = json.loads(line)
        except ValueError:
            continue  # the reader of the whole file says what is wrong with it, and where
        found.update(dict.fromkeys(value if isinstance(value, dict) else ()))
    return list(found)


def _delimiter(text: str, format: str) -> str:
    if format == "tsv":
        return "\t"
    first = text.split("\n", 1)[0]
    return ";" if ";" in first and "," not in first else ","


def rename(found: Sequence[str], aliases: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Column of the file → our name: exact spelling first, then any case, then the aliases in order of preference."""
    letters = {_letters(name): name for name in reversed(found)}
    out: dict[str, str] = {}
    for ours, others in aliases.items():
        for spelling in (ours, *others):
            theirs = spelling if spelling in found else letters.get(_letters(spelling))
            if theirs is not None and theirs not in out:
                out[theirs] = ours
                break
    return out


def absent_column(path: Path, needed: str, found: Sequence[str], known: Sequence[str]) -> PredictionError:
    """The error for a column that no spelling matches, with the nearest name that the file has."""
    close = [name for name in found if get_close_matches(_letters(name), [_letters(k) for k in known], n=1, cutoff=0.6)]
    hint = f"did you mean {' or '.join(repr(name) for name in close[:2])} to be it? rename it" if close else "add it"
    has = ", ".join(found[:12]) or "none"
    return PredictionError(f"no column {needed}; the file has {has}", where=str(path), remedy=hint)


def refuse(table: Table, rows: pl.DataFrame, what: str, remedy: str, shown: str = "identifier") -> None:
    """Raise PredictionError that names up to five of `rows` (columns `row` and `shown`) and their lines."""
    if rows.is_empty():
        return
    first = rows.head(SHOWN)
    values = first[shown].to_list() if shown in first.columns else [None] * first.height
    places = table.places(first[ROW].to_list())
    named = [
        place if value is None else f"{_short(value)} ({place})" for value, place in zip(values, places, strict=True)
    ]
    more = f" and {rows.height - SHOWN:,} more" if rows.height > SHOWN else ""
    count = f"{rows.height:,} rows"
    if rows.height == 1:
        verb, _, rest = what.partition(" ")
        count, what = "1 row", f"{_VERBS.get(verb, verb)} {rest}"
    raise PredictionError(f"{count} {what}: {', '.join(named)}{more}", where=str(table.path), remedy=remedy)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…'"


def _letters(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())


def _suffix(path: Path) -> str:
    suffixes = [s.lower() for s in path.suffixes if s.lower() != ".gz"]
    return suffixes[-1] if suffixes else ""


def _head(path: Path, size: int = 65_536) -> bytes:
    if not path.exists():
        near = get_close_matches(
            path.name, [p.name for p in path.parent.glob("*")] if path.parent.is_dir() else [], n=1
        )
        hint = f"did you mean {near[0]!r}?" if near else "check the path"
        raise PredictionError("no such file", where=str(path), remedy=hint)
    if path.is_dir():
        raise PredictionError("a folder, not a file", where=str(path), remedy="name the file of predictions inside")
    try:
        with path.open("rb") as file:
            head = file.read(size)
        if head.startswith(b"\x1f\x8b"):
            with gzip.open(path) as packed:
                head = packed.read(size)
    except (OSError, EOFError, zlib.error) as error:
        raise _cut(path, error) from error
    if not head.strip():
        raise PredictionError("the file is empty", where=str(path), remedy="check that it was written completely")
    return head


def _cut(path: Path, error: Exception) -> PredictionError:
    reason = str(error).split("\n")[0][:200]
    return PredictionError(f"the file is cut or damaged ({reason})", where=str(path), remedy="write or copy it again")


def _content(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
    except (OSError, EOFError, zlib.error) as error:
        raise _cut(path, error) from error


def _read_parquet(path: Path, columns: Sequence[str] | None) -> pl.DataFrame:
    try:
        return pl.read_parquet(path, columns=None if columns is None else list(columns))
    except (OSError, pl.exceptions.PolarsError) as error:
        raise _cut(path, error) from error


def _read_csv(path: Path, format: str) -> pl.DataFrame:
    data = _content(path).removeprefix(b"\xef\xbb\xbf")
    first = data.lstrip().split(b"\n", 1)[0].decode("utf-8", "replace")
    try:
        return pl.read_csv(data, separator=_delimiter(first, format), infer_schema=False)
    except pl.exceptions.PolarsError as error:
        raise PredictionError(
            f"not a table: {str(error).split(chr(10))[0]}", where=f"{path}{_ragged(path, format)}",
            remedy="every line needs as many columns as the header; quote values that hold the separator (UTF-8 text)",
        ) from error  # fmt: skip


def _ragged(path: Path, format: str) -> str:
    """`:12` of the first line that has more columns than the header, else nothing."""
    rows = csv.reader(_text(path), delimiter=_delimiter(next(_text(path), ""), format))
    width = len(next(rows, []))
    for row in rows:
        if len(row) > width:
            return f":{rows.line_num}"
    return ""


def _text(path: Path) -> Iterator[str]:
    yield from io.StringIO(_content(path).decode("utf-8-sig", "replace"), newline="")


def _read_lines(path: Path) -> pl.DataFrame:
    data = _content(path)
    try:
        return pl.read_ndjson(io.BytesIO(data), infer_schema_length=None)
    except pl.exceptions.PolarsError as error:
        for number, line in enumerate(data.decode("utf-8", "replace").split("\n"), start=1):
            if line.strip():
                _check_line(path, number, line)
        raise _cut(path, error) from error


def _check_line(path: Path, number: int, line: str) -> None:
    """Raise PredictionError where one line is no JSON object (NaN and Infinity are no JSON)."""

    def constant(name: str) -> float:
        raise ValueError(f"{name} is not JSON")

    try:
        value = json.loads(line, parse_constant=constant)
        if not isinstance(value, dict):
            raise ValueError(f"a {type(value).__name__}, not an object")
    except ValueError as error:
        remedy = "every line is one JSON object with finite numbers; the last one may be cut"
        raise PredictionError(f"not JSON: {error}", where=f"{path}:{number}", remedy=remedy) from error


def _lines(path: Path, format: str) -> Iterator[int]:
    """Line number of each row of a text table, blank lines of a CSV counted as rows, as polars does."""
    if format == "jsonl":
        yield from (n for n, line in enumerate(_text(path), start=1) if line.strip())
        return
    rows = csv.reader(_text(path), delimiter=_delimiter(next(_text(path), ""), format))
    next(rows, None)
    before = rows.line_num
    for _ in rows:
        yield before + 1
        before = rows.line_num
