"""Scores of given pairs of a query and a library spectrum, all of them: what a ranking of candidates is made of."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..errors import DataError
from ..spectra.library import Library, Scoring, Subsets

_CELLS = 2_000_000  # of the table of hits of one block of queries


class Pairs(NamedTuple):
    """m pairs, ascending by query and then by library row, (m,) each."""

    query: NDArray[np.int64]
    row: NDArray[np.int64]

    def keep(self, mask: NDArray[np.bool_]) -> Pairs:
        return Pairs(self.query[mask], self.row[mask])

    def of(self, chosen: NDArray[np.int64], queries: int) -> Pairs:
        """The pairs of some of the queries, ascending, renumbered from 0."""
        number = np.full(queries, -1, np.int64)
        number[chosen] = np.arange(chosen.size)
        mine = number[self.query]
        return Pairs(mine[mine >= 0], self.row[mine >= 0])

    def sizes(self, queries: int) -> NDArray[np.int64]:
        """Candidates of each query, (queries,)."""
        return np.bincount(self.query, minlength=queries).astype(np.int64)

    def subsets(self, queries: int) -> Subsets:
        """A list of its own for every query, perhaps an empty one."""
        offsets = np.concatenate(([0], np.cumsum(self.sizes(queries)))).astype(np.int64)
        return Subsets(np.arange(queries), offsets, np.ascontiguousarray(self.row, np.int64))


def pairs_of(library: Library, queries: pl.DataFrame, candidates: str = "candidates") -> Pairs:
    """Pairs of a column of lists of library identifiers. Raises DataError for one that the library lacks."""
    numbered = queries.select(pl.int_range(pl.len()).alias("query"), pl.col(candidates).alias("identifier"))
    long = numbered.filter(pl.col("identifier").list.len() > 0).explode("identifier")
    rows = library.rows.select("identifier").with_row_index("row")
    found = long.join(rows, on="identifier", how="left", maintain_order="left")
    if found["row"].null_count():
        name = found.filter(pl.col("row").is_null())["identifier"][0]
        raise DataError(f"candidate {name!r} is not in the library", remedy="fit on the library that is searched")
    found = found.select("query", pl.col("row").cast(pl.Int64)).unique().sort("query", "row")
    return Pairs(found["query"].to_numpy().astype(np.int64), found["row"].to_numpy().astype(np.int64))


class PairScores(NamedTuple):
    """(m,) each: score (0 without a common peak), matched peaks, and the share of the query's and of the library
    spectrum's intensity in them."""

    score: NDArray[np.float64]
    matched: NDArray[np.int64]
    explained: NDArray[np.float64]
    explained_library: NDArray[np.float64]


def score_pairs(
    library: Library, queries: pl.DataFrame, scoring: Scoring, pairs: Pairs, threads: int | None = None
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Score (0 without a common peak) and number of matched peaks of every pair, (m,) each."""
    return measure_pairs(library, queries, scoring, pairs, threads)[:2]


def measure_pairs(
    library: Library, queries: pl.DataFrame, scoring: Scoring, pairs: Pairs, threads: int | None = None
) -> PairScores:
    """All that the index knows of every pair.

    Queries are taken in blocks of like size, so that the memory stays that of some millions of hits.
    """
    sizes = pairs.sizes(queries.height)
    found = PairScores(
        np.zeros(pairs.row.size), np.zeros(pairs.row.size, np.int64), *(np.zeros(pairs.row.size) for _ in range(2))
    )
    begin = np.concatenate(([0], np.cumsum(sizes)))
    order = np.argsort(sizes, kind="stable")
    order = order[sizes[order] > 0]
    key = pairs.query * np.int64(library.rows.height) + pairs.row  # ascending, as the pairs are
    while order.size:
        block = order[: _fitting(sizes[order])]
        order = order[block.size :]
        members = np.concatenate([np.arange(begin[q], begin[q + 1]) for q in block])
        lists = Subsets(np.arange(block.size), np.concatenate(([0], np.cumsum(sizes[block]))), pairs.row[members])
        hits = library.rank(queries[block], scoring, lists, top_k=int(sizes[block].max()), threads=threads)
        which, place = np.nonzero(hits.rows >= 0)
        at = np.searchsorted(key, block[which] * np.int64(library.rows.height) + hits.rows[which, place])
        for column, values in zip(found, hits[1:], strict=True):
            column[at] = values[which, place]
    return found


def _fitting(sizes: NDArray[np.int64]) -> int:
    """How many queries, in ascending order of their number of candidates, fit into one block; at least one."""
    cells = sizes * np.arange(1, sizes.size + 1)
    return max(1, int(np.searchsorted(cells, _CELLS, side="right")))
