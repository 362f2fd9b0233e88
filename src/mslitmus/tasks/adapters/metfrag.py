"""MetFrag 2.4 to 2.6 (MetFragCL, MetFragR): the candidate list of each query.

Read are the files of `MetFragCandidateWriter = CSV` or `PSV` (also saved as TSV), one file a query whose name holds
the query's identifier (`SampleName = <identifier>`), or one table with a column `identifier`. The score is the column
`Score` (weighted sum; higher is better). Candidates are named by `InChIKey1`, `InChIKey` or `SMILES`, in this order.
Columns as MetFragCL writes them (https://ipb-halle.github.io/MetFrag/projects/metfragcl/).
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import polars as pl

from ...errors import PredictionError
from .. import tables
from ..intake_notes import Notes
from .adapter import Adapter, files_below, in_pool, named, numbers

_FILES = "a folder of <identifier>.csv (or .psv), one file a query, or one of them"
_KEYS = ("InChIKey1", "InChIKey")


def read(
    path: str | Path,
    queries: pl.DataFrame,
    rest: str = "missing",
    unknown: str = "raise",
    notes: Notes | None = None,
    **_: Any,
) -> pl.DataFrame:
    """PREDICTED_SCORES of the pool members that MetFrag listed, see `adapter.in_pool` for `rest`."""
    files = files_below(path, ("*.csv", "*.psv", "*.tsv"), _FILES)
    return in_pool(
        pl.concat([_one(file, queries, unknown, notes) for file in files], how="diagonal"),
        queries,
        Path(path),
        rest,
        notes,
    )


def _one(file: Path, queries: pl.DataFrame, unknown: str, notes: Notes | None) -> pl.DataFrame:
    head = file.read_bytes()[:4096].split(b"\n", 1)[0]
    if b"|" in head and b"," not in head:
        frame = pl.read_csv(
            io.BytesIO(file.read_bytes()), separator="|", infer_schema=False, truncate_ragged_lines=True
        )
        table = tables.Table(file, "psv", frame.with_row_index(tables.ROW))
    else:
        table = tables.read_table(file, tables.sniff(file, "tsv" if b"\t" in head else "csv"))
    columns = table.frame.columns
    key = next((name for name in _KEYS if name in columns), None)
    if "Score" not in columns or (key is None and "SMILES" not in columns):
        absent = "Score" if "Score" not in columns else "InChIKey1 or SMILES"
        raise PredictionError(f"no column {absent}", where=str(file), remedy="set MetFragCandidateWriter = CSV")
    if "identifier" not in columns:
        table = tables.Table(file, table.format, table.frame.with_columns(file=pl.lit(file.stem)))
        table = named(table, "file", queries, unknown, notes)
    else:
        table = named(
            tables.Table(file, table.format, table.frame.rename({"identifier": "query"})),
            "query",
            queries,
            unknown,
            notes,
        )
    smiles = pl.col("SMILES") if "SMILES" in columns else pl.lit(None, pl.String)
    block = pl.col(key).str.slice(0, 14) if key else pl.lit(None, pl.String)
    return table.frame.select("identifier", block.alias("key"), smiles.alias("smiles"), score=numbers(table, "Score"))


ADAPTER = Adapter("MetFrag 2.4 to 2.6", "retrieval", _FILES, read)
