"""What each test query is like: conditions, its molecule's size and flexibility, and what was measured of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from ..chem.molecule import parse, properties
from ..data.protocols import precursor_survival
from ..errors import ChemistryError
from ..schemas import TEST_QUERIES, conform
from .folder import RunFolder, read_table

_SHAPE = ("heavy_atoms", "rotatable_bonds")


def query_traits(run: RunFolder, folds: Mapping[str, Mapping[str, pl.DataFrame]], task: Any = None) -> pl.DataFrame:
    """One row a split and test query, in schema TEST_QUERIES.

    Args:
        folds: split name → fold name → the study's records (schema SPECTRA).
        task: the prepared task; library-search tells of the rivals of each query.

    Size and flexibility are computed once a molecule, about 0.3 ms each; they are null for a structure that does not
    parse. `similarity_to_train` is null where the study computed no difficulty.
    """
    tests = [parts["test"].with_columns(split=pl.lit(name)) for name, parts in folds.items()]
    rows = pl.concat(tests, how="diagonal")
    rows = rows.with_columns(
        pl.Series("survival", precursor_survival(rows), dtype=pl.Float64), peaks=pl.col("mzs").list.len()
    )
    rows = rows.join(_shapes(rows), on="smiles", how="left", maintain_order="left")
    nearest = [_nearest(run, name) for name in folds]
    near = pl.concat([table for table in nearest if table is not None] or [_no_similarity()])
    rows = rows.join(near, on=["split", "inchikey14"], how="left", maintain_order="left")
    if rivals := getattr(task, "rivals", None):
        rows = rows.join(rivals(folds), on=["split", "identifier"], how="left", maintain_order="left")
    return conform(rows, TEST_QUERIES)


def _shapes(rows: pl.DataFrame) -> pl.DataFrame:
    """smiles, heavy_atoms, rotatable_bonds of every structure that parses."""
    known = [smiles for smiles in rows["smiles"].drop_nulls().unique().sort().to_list() if _parses(smiles)]
    return properties(known).select(pl.Series("smiles", known, dtype=pl.String), *_SHAPE)


def _parses(smiles: str) -> bool:
    try:
        parse(smiles)
    except ChemistryError:
        return False
    return True


def _nearest(run: RunFolder, split: str) -> pl.DataFrame | None:
    path = run.beside(split) / "nearest.parquet"
    if not path.exists():
        return None
    table = read_table(path).select("inchikey14", pl.col("similarity_to_train").cast(pl.Float64))
    return table.unique("inchikey14").with_columns(split=pl.lit(split))


def _no_similarity() -> pl.DataFrame:
    return pl.DataFrame(schema={"inchikey14": pl.String, "similarity_to_train": pl.Float64, "split": pl.String})
