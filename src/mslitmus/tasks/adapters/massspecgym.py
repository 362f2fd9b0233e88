"""MassSpecGym 1.x: what its retrieval models write in the test step.

`df_test_path` makes a pickled table with `identifier` and `sorted_candidate_smiles` (best first; scores are not kept)
and one column a metric. A pickle runs code when read, so it is refused: save the same table with
`DataFrame.to_parquet`, `.to_json(orient="records", lines=True)` or `.to_csv`. The score becomes minus the place, so
ties that the model had are lost (MassSpecGym breaks them by SMILES). A table with `scores` beside keeps the real
ones. Spectra that a simulation model writes as MGF or TSV need no adapter: `tasks.intake` reads them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from ...errors import PredictionError
from .. import tables
from ..intake_notes import Notes
from .adapter import Adapter, files_below, in_pool, named, refuse_pickle

_FILES = "the test table (df_test_path) saved as Parquet, JSON Lines or CSV"
_REMEDY = "in Python where you trust it: pandas.read_pickle(path).to_parquet('test.parquet'), and hand that in"


def read(
    path: str | Path,
    queries: pl.DataFrame,
    rest: str = "missing",
    unknown: str = "raise",
    notes: Notes | None = None,
    **_: Any,
) -> pl.DataFrame:
    """PREDICTED_SCORES of the pool members listed, see `adapter.in_pool` for `rest`."""
    file = files_below(path, ("*.parquet", "*.jsonl", "*.csv"), _FILES)[0]
    refuse_pickle(file, _REMEDY)
    table = tables.read_table(file, tables.sniff(file))
    if absent := [c for c in ("identifier", "sorted_candidate_smiles") if c not in table.frame.columns]:
        raise PredictionError(f"no column {absent[0]}", where=str(file), remedy=f"give {_FILES}")
    frame = table.frame.rename({"identifier": "query"}).with_columns(_smiles(table))
    table = named(
        tables.Table(file, table.format, frame.with_columns(pl.col("query").cast(pl.String))), "query", queries
    )
    frame = table.frame
    if "scores" in frame.columns and frame.schema["scores"] != pl.String:
        unequal = frame.filter(pl.col("scores").list.len() != pl.col("smiles").list.len())
        tables.refuse(table, unequal, "have scores and candidates of unequal number", "write one score a candidate")
        score = pl.col("scores").cast(pl.List(pl.Float64))
    else:
        score = pl.int_ranges(0, -pl.col("smiles").list.len().cast(pl.Int64), -1).cast(pl.List(pl.Float64))
    frame = frame.with_columns(score=score).filter(pl.col("smiles").list.len() > 0)
    return in_pool(frame.select("identifier", "smiles", "score").explode("smiles", "score"), queries, file, rest, notes)


def _smiles(table: tables.Table) -> pl.Expr:
    """A list of SMILES; a CSV holds it as Python writes it, `['CCO', 'CCN']`."""
    column = pl.col("sorted_candidate_smiles")
    if table.frame.schema["sorted_candidate_smiles"] != pl.String:
        return column.alias("smiles")
    return column.str.extract_all(r"'[^']*'|\"[^\"]*\"").list.eval(pl.element().str.strip_chars("'\"")).alias("smiles")


ADAPTER = Adapter("MassSpecGym 1.x retrieval test tables", "retrieval", _FILES, read)
