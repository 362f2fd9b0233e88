"""Lists of molecules as people have them → questions, one at a time, so that a list of any length streams.

A table (CSV or TSV) is known by a column `smiles` in its first line; anything else is one SMILES a line with an
optional name behind a blank. `.gz` is seen through, and `-` is standard input.
"""

from __future__ import annotations

import csv
import gzip
import io
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TextIO

from ...errors import DataError
from .asking import Question

#: Column of a table → its field; spelt in any case, the first that a table has counts.
COLUMNS = {
    "smiles": ("smiles", "canonical_smiles"),
    "identifier": ("identifier", "id", "name"),
    "adduct": ("adduct", "precursor_type"),
    "energy": ("collision_energy", "energy"),
    "instrument": ("instrument_type", "instrument"),
    "ion_mode": ("ion_mode", "ionmode"),
}


def questions(path: str) -> Iterator[Question]:
    """The rows of a file or of standard input (`-`). Raises DataError for a file that cannot be read as text."""
    label = "stdin" if path == "-" else Path(path).name
    try:
        with _opened(path) as lines:
            yield from read_lines(lines, label)
    except (OSError, UnicodeDecodeError, EOFError) as error:
        remedy = "give a UTF-8 text file: SMILES one a line, or a CSV or TSV with a column smiles"
        raise DataError(f"cannot be read: {error}", where=path, remedy=remedy) from error


def of_arguments(smiles: Sequence[str]) -> list[Question]:
    """SMILES of a command line."""
    return [Question(text, f"SMILES {n}", f"molecule-{n}") for n, text in enumerate(smiles, 1)]


def read_lines(lines: Iterable[str], label: str) -> Iterator[Question]:
    """Questions of text lines; blank ones and lines that begin with # are skipped."""
    rest = enumerate(lines, 1)
    first = next(((number, line) for number, line in rest if line.strip() and not line.startswith("#")), None)
    if first is None:
        return
    header = first[1].lstrip("\ufeff")
    mark = "\t" if "\t" in header else ","
    named = [cell.strip().strip('"').lower() for cell in header.rstrip("\r\n").split(mark)]
    if any(name in named for name in COLUMNS["smiles"]):
        yield from _table(rest, named, mark, label)
    else:
        yield from _plain(chain([(first[0], header)], rest), label)


def _plain(lines: Iterable[tuple[int, str]], label: str) -> Iterator[Question]:
    for number, line in lines:
        words = line.split(None, 1)
        if words and not line.startswith("#"):
            name = words[1].strip() if len(words) > 1 else f"line-{number}"
            yield Question(words[0], f"{label}:{number}", name)


def _table(lines: Iterable[tuple[int, str]], named: list[str], mark: str, label: str) -> Iterator[Question]:
    """Rows with the line each begins on; a cell that is absent or empty says nothing."""
    at = [0]

    def texts() -> Iterator[str]:
        for number, line in lines:
            at[0] = number
            yield line

    columns = {}
    for field, spellings in COLUMNS.items():
        columns[field] = next((named.index(name) for name in spellings if name in named), None)
    for cells in csv.reader(texts(), delimiter=mark):
        if not any(cell.strip() for cell in cells):
            continue
        values = {
            field: cells[column].strip() or None
            for field, column in columns.items()
            if column is not None and column < len(cells)
        }
        smiles = values.pop("smiles", None) or ""
        name = values.pop("identifier", None) or f"line-{at[0]}"
        yield Question(smiles, f"{label}:{at[0]}", name, **values)


@contextmanager
def _opened(path: str) -> Iterator[TextIO]:
    if path == "-":
        yield sys.stdin
    elif path.lower().endswith(".gz"):
        with gzip.open(path, "rb") as packed, io.TextIOWrapper(packed, encoding="utf-8") as text:
            yield text
    else:
        with Path(path).open(encoding="utf-8") as text:
            yield text
