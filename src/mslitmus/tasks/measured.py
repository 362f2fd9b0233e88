"""What the tasks that start from a measured spectrum share: which rows, which columns, how the formula is told."""

from __future__ import annotations

from typing import Literal

import polars as pl

#: Whether a query names the formula of the neutral molecule. Stated in every table, since it decides most of the score.
FormulaKnown = Literal["hidden", "given"]

#: What a model sees of a measured spectrum, beside the formula where it is given.
MEASURED: tuple[str, ...] = (
    "identifier",
    "mzs",
    "intensities",
    "precursor_mz",
    "adduct",
    "charge",
    "ion_mode",
    "instrument_type",
    "fragmentation",
    "collision_energy",
    "collision_energy_kind",
)


def visible(formula: FormulaKnown) -> tuple[str, ...]:
    return (*MEASURED, "formula") if formula == "given" else MEASURED


def with_structure(frame: pl.DataFrame) -> pl.DataFrame:
    """Rows whose answer is known (structure and formula), with a precursor and at least one peak."""
    known = ("smiles", "inchikey14", "formula", "precursor_mz")
    return frame.filter(pl.all_horizontal(pl.col(c).is_not_null() for c in known) & (pl.col("mzs").list.len() > 0))
