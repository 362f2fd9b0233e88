"""PK$ANNOTATION of MassBank records: which formula the contributor gave to which peak."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import polars as pl

from ._container import sources
from ._problems import Problems
from ._text import decode, split_records
from .massbank import looks_like

#: Header words of the column that holds a formula; columns of losses, ions or names are not formulae.
FORMULA_COLUMNS = ("tentative_formula", "formula")


def read_annotations(path: str | Path, on_error: str = "skip") -> pl.DataFrame:
    """Annotated peaks of MassBank records: identifier, mz (Da), formula (as written, e.g. `C6H5+`).

    Records whose annotation header names no formula column are left out. `path` as in `formats.read`.
    Raises FormatError with on_error="raise" for a file that breaks off.
    """
    problems = Problems(on_error)
    identifiers: list[str] = []
    mzs: list[float] = []
    formulas: list[str] = []
    with closing(sources(Path(path), problems)) as found:
        for source in found:
            if not looks_like(source.head):
                continue
            for _line, text, _complete in split_records(source, problems, b"\n//"):
                begin = text.find(b"\nPK$ANNOTATION:")
                if begin >= 0:
                    accession = decode(text[: text.find(b"\n", 1)].lstrip(), problems).partition(": ")[2].strip()
                    pairs = _pairs(decode(text[begin + 1 :], problems))
                    identifiers.extend([accession] * len(pairs))
                    mzs.extend(mz for mz, _ in pairs)
                    formulas.extend(formula for _, formula in pairs)
    return pl.DataFrame(
        {"identifier": identifiers, "mz": mzs, "formula": formulas},
        schema={"identifier": pl.String(), "mz": pl.Float64(), "formula": pl.String()},
    )


def _pairs(block: str) -> list[tuple[float, str]]:
    """(m/z, formula) of the block's lines, which are indented."""
    lines = block.split("\n")
    header = lines[0].partition(": ")[2].split()
    index = next((place for place, word in enumerate(header) if word in FORMULA_COLUMNS), None)
    if index is None:
        return []
    pairs = []
    for line in lines[1:]:
        if not line.startswith(" "):
            break
        words = line.split()
        if len(words) > index and words[index][:1].isalpha():
            try:
                pairs.append((float(words[0]), words[index]))
            except ValueError:
                continue  # a continuation line without m/z
    return pairs
