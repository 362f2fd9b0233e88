"""What an adapter is, and what all of them share: which file belongs to which query, which candidate to which pool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import polars as pl

from ...errors import PredictionError, unknown_name
from ...schemas import PREDICTED_SCORES, conform
from .. import tables
from ..intake_notes import Notes
from ..ranking_intake import keys_of

#: Members of a pool that a tool did not list: no score (the worst case, by the rule of missing predictions), or a score
#: below all that it listed, tied with each other.
Rest = Literal["missing", "lowest"]
RESTS = ("missing", "lowest")


class Read(Protocol):
    """`read(path, queries, **options)` → predictions in the schema of the adapter's task.

    Options: `unknown` as of `intake.read_predictions`; `rest`, which adapters of rankings take (see `in_pool`);
    `notes`, which count what was left out and filled in.
    """

    def __call__(self, path: str | Path, queries: pl.DataFrame, **options: Any) -> pl.DataFrame: ...


@dataclass(frozen=True)
class Adapter:
    """A tool whose files are read.

    Args:
        title: the tool and its versions, for people.
        task: name of the task that its output answers.
        files: what to hand over.
        read: see `Read`. Raises PredictionError that names the file.
    """

    title: str
    task: str
    files: str
    read: Read


def files_below(path: str | Path, patterns: Sequence[str], what: str) -> list[Path]:
    """`path` itself, or the files below it that match a pattern, sorted. Raises PredictionError if there are none."""
    root = Path(path)
    if root.is_file():
        return [root]
    if not root.exists():
        raise PredictionError("no such file or folder", where=str(root), remedy=f"give {what}")
    found = sorted({file for pattern in patterns for file in root.rglob(pattern) if file.is_file()})
    if not found:
        raise PredictionError(f"nothing like {' or '.join(patterns)} inside", where=str(root), remedy=f"give {what}")
    return found


def refuse_pickle(path: Path, remedy: str) -> None:
    """Raise PredictionError for a pickle: reading one runs whatever code it holds."""
    with path.open("rb") as file:
        head = file.read(1)
    if head == b"\x80" or path.suffix in (".p", ".pkl", ".pickle"):
        raise PredictionError("a pickle is not read: it can run any code", where=str(path), remedy=remedy)


def query_named(text: str, identifiers: frozenset[str]) -> str | None:
    """The query that a file or feature name means: the name itself, or the longest part of it between `_` or `.`.

    `pred_Q1.json` → `Q1`; SIRIUS's `0_input_Q1` → `Q1`. None where no part is a query.
    """
    if text in identifiers:
        return text
    cuts = [i for i, c in enumerate(text) if c in "_."]
    starts, ends = [0, *(i + 1 for i in cuts)], [*cuts, len(text)]
    parts = {text[a:b] for a in starts for b in ends if b > a}
    known = sorted((part for part in parts if part in identifiers), key=lambda part: (-len(part), part))
    return known[0] if known else None


def named(
    table: tables.Table, column: str, queries: pl.DataFrame, unknown: str = "raise", notes: Notes | None = None
) -> tables.Table:
    """Adds `identifier` by `query_named` of a text column.

    Rows of names that are no query raise PredictionError, or are left out with `unknown="drop"` and noted.
    """
    identifiers = frozenset(queries["identifier"].to_list())
    distinct = table.frame[column].unique().drop_nulls()
    means = pl.DataFrame(
        {
            column: distinct,
            "identifier": pl.Series([query_named(str(t), identifiers) for t in distinct], dtype=pl.String),
        }
    )
    frame = table.frame.join(means, on=column, how="left", maintain_order="left")
    if unknown == "drop":
        if notes is not None:
            notes.dropped += [str(t) for t in frame.filter(pl.col("identifier").is_null())[column]]
        return tables.Table(table.path, table.format, frame.filter(pl.col("identifier").is_not_null()))
    remedy = "name the spectra by the identifiers of the query file when the tool is run"
    tables.refuse(table, frame.filter(pl.col("identifier").is_null()), "of spectra that are no query", remedy, column)
    return tables.Table(table.path, table.format, frame)


def numbers(table: tables.Table, column: str) -> pl.Series:
    """A text column as finite floats. Raises PredictionError naming lines."""
    value = table.frame[column].cast(pl.Float64, strict=False)
    bad = table.frame.filter(value.is_null() | ~value.is_finite())
    tables.refuse(table, bad, f"have a {column} that is no finite number", "export the file again", column)
    return value


def in_pool(
    scored: pl.DataFrame, queries: pl.DataFrame, where: Path, rest: str = "missing", notes: Notes | None = None
) -> pl.DataFrame:
    """PREDICTED_SCORES from what a tool listed: the best score of each pool member; the others are left out.

    Args:
        scored: identifier, score, and `key` (InChIKey-14) or `smiles` (where `key` is null or absent).
        rest: see `Rest`; queries that the tool did not answer at all stay without predictions.
        notes: count the candidates that `rest` filled in.
    Raises PredictionError where nothing that the tool listed is in any pool.
    """
    if rest not in RESTS:
        raise unknown_name("rest", rest, RESTS)
    if "key" not in scored.columns:
        scored = scored.with_columns(key=pl.lit(None, pl.String))
    if "smiles" in scored.columns and scored["key"].null_count():
        open_ = scored.filter(pl.col("key").is_null())["smiles"].drop_nulls().unique(maintain_order=True)
        parsed = keys_of(open_).rename({"key": "parsed"})
        scored = scored.join(parsed, on="smiles", how="left").with_columns(pl.coalesce("key", "parsed").alias("key"))
    shown = queries.select("identifier", pl.col("candidates").alias("candidate")).explode("candidate")
    best = scored.group_by("identifier", pl.col("key").alias("candidate")).agg(pl.col("score").max())
    table = shown.join(best, on=["identifier", "candidate"], how="left", maintain_order="left")
    if table["score"].null_count() == table.height:
        remedy = "run the tool on the candidates of the query file, or check that the files are of these queries"
        raise PredictionError("no candidate inside is in a pool of these queries", where=str(where), remedy=remedy)
    if rest == "lowest":
        floor = scored.group_by("identifier").agg((pl.col("score").min() - 1.0).alias("floor"))
        table = table.join(floor, on="identifier", how="left", maintain_order="left")
        filled = table.filter(pl.col("score").is_null() & pl.col("floor").is_not_null())
        if notes is not None and filled.height:
            notes.filled, notes.filled_queries = filled.height, filled["identifier"].n_unique()
            notes.shown = table.join(filled.select("identifier").unique(), on="identifier", how="semi").height
        table = table.with_columns(pl.coalesce("score", "floor").alias("score"))
    return conform(table.drop_nulls("score"), PREDICTED_SCORES)
