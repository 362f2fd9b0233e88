"""A measured spectrum as a question: what would the model have said of this molecule under these conditions?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from ..errors import DataError
from ..models.predict.asking import QUERIES, Defaults, Question, queries
from ..spectra.formats import read

_LISTED = 5


def measured(path: Path, identifier: str | None = None) -> dict[str, Any]:
    """The spectrum of a file as a row: the named one, else the only one.

    Raises DataError where none is named and there are several, or none has that identifier or name.
    """
    frame = read(path, on_error="skip").frame
    if frame.is_empty():
        raise DataError("no spectrum can be read", where=str(path), remedy="give a file of `mslitmus list formats`")
    if identifier is not None:
        found = frame.filter((pl.col("identifier") == identifier) | (pl.col("name") == identifier))
    else:
        found = frame
    if found.height == 1:
        return found.row(0, named=True)
    some = ", ".join(repr(name) for name in (found if found.height else frame)["identifier"].head(_LISTED).to_list())
    what = f"no spectrum {identifier!r}" if found.is_empty() else f"{found.height:,} spectra"
    raise DataError(what, where=str(path), remedy=f"name one with --spectrum, e.g. {some}")


def query_of(
    row: dict[str, Any], smiles: str | None, adduct: str | None, energy: str | None, instrument: str | None
) -> pl.DataFrame:
    """One row of QUERIES: what is given, else what the record says. Raises ChemistryError or DataError."""
    name = row["identifier"]
    if smiles is None and row["smiles"] is None:
        raise DataError("the record states no structure", where=name, remedy="give its SMILES as an argument")
    stated = adduct or row["adduct"] or ("[M-H]-" if row["ion_mode"] == "negative" else "[M+H]+")
    question = Question(smiles or row["smiles"], name, name, stated, energy, instrument or row["instrument_type"])
    frame, problems = queries([question], Defaults())
    if problems:
        raise problems[0]
    if energy is not None:
        return frame
    said = [pl.lit(row[n], dtype=QUERIES[n]).alias(n) for n in QUERIES if n.startswith("collision")]
    return frame.with_columns(said)
