"""Predicted rankings as arrays: the names in millions of rows are matched once a cell, for all audits that read them.

A fold's queries lie end to end, each with the rows of its molecule's pool in the order shown. A model's scores are one
array along them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numba
import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..data.candidates.sets import CandidateSet
from .evidence import CellKey, Evidence

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Layout:
    """The queries of a fold that have a pool, n of them, and their pools.

    Attributes:
        rows: `identifier`, `inchikey14` of each query.
        pools: rows of CANDIDATES of these molecules.
        offsets: (n + 1); pool_row (rows,): rows of `pools`; truth (n,): place among the rows, −1 where it is absent.
    """

    rows: pl.DataFrame = field(repr=False)
    pools: pl.DataFrame = field(repr=False)
    offsets: Integers
    pool_row: Integers
    truth: Integers

    @property
    def queries(self) -> int:
        return len(self.truth)

    @property
    def query(self) -> Integers:
        """Query of each row (rows,)."""
        return np.repeat(np.arange(self.queries), np.diff(self.offsets))

    def own(self, scores: Floats) -> Floats:
        """The truths' scores (n,); NaN where there is none."""
        if not len(scores):
            return np.full(self.queries, np.nan)
        return np.where(self.truth >= 0, scores[np.maximum(self.truth, 0)], np.nan)


@dataclass(frozen=True)
class Tops:
    """Of each query (n,): best and second score (NaN without an answer; the best again where one candidate alone was
    scored), how many share the best, the truth's score (NaN where it has none)."""

    best: Floats
    second: Floats
    tied: Integers
    own: Floats


def pools_of(evidence: Evidence) -> CandidateSet:
    """The candidate set of a retrieval run. Raises Absent."""
    pools: CandidateSet = evidence.require_task("retrieval").pools  # type: ignore[attr-defined]
    return pools


def layout(evidence: Evidence, split: str, fold: str = "test") -> Layout:
    """Of one fold, made once. Raises Absent."""
    pools = pools_of(evidence).pools

    def make() -> Layout:
        asked = evidence.folds(split)[fold].select("identifier", "inchikey14")
        wanted = asked["inchikey14"].drop_nulls().unique()
        table = pools.filter(pl.col("molecule").is_in(wanted.implode()))
        is_truth = pl.col("candidate") == pl.col("molecule")
        starts = table.with_row_index("row").group_by("molecule", maintain_order=True).agg(
            pl.col("row").min().cast(pl.Int64), pl.len().cast(pl.Int64).alias("size"),
            pl.col("row").filter(is_truth).min().cast(pl.Int64).alias("own"),
        )  # fmt: skip
        asked = asked.join(starts, left_on="inchikey14", right_on="molecule", maintain_order="left")
        size, row = asked["size"].to_numpy(), asked["row"].to_numpy()
        offsets = np.concatenate(([0], np.cumsum(size))).astype(np.int64)
        place = np.arange(offsets[-1]) - np.repeat(offsets[:-1], size)
        own = asked["own"].fill_null(-1).to_numpy()
        truth = np.where(own >= 0, offsets[:-1] + own - row, -1)
        return Layout(asked.select("identifier", "inchikey14"), table, offsets, np.repeat(row, size) + place, truth)

    found: Layout = evidence.kept(("layout", split, fold), make)
    return found


def laid_scores(evidence: Evidence, key: CellKey, fold: str = "test") -> Floats:
    """A cell's scores along `layout` (rows,), NaN where there is none; its file is read once for all folds."""

    def make() -> Mapping[str, Floats]:
        predictions = evidence.read_predictions(key)
        there = [name for name in ("val", "test") if name in evidence.folds(key.split)]
        return {name: align(layout(evidence, key.split, name), predictions) for name in there}

    found: Mapping[str, Floats] = evidence.kept(("laid scores", key), make)
    return found[fold]


def align(laid: Layout, predictions: pl.DataFrame) -> Floats:
    """Scores of predictions (schema PREDICTED_SCORES, any order, other queries among them) along a layout."""
    straight = _in_order(laid, predictions)
    if straight is not None:
        return straight
    codes = laid.pools.select("candidate").unique(maintain_order=True).with_row_index("code")
    numbers = laid.rows.select("identifier").with_row_index("query")
    known = predictions.join(numbers, on="identifier").join(codes, on="candidate")
    candidate = laid.pools.join(codes, on="candidate", maintain_order="left")["code"].to_numpy().astype(np.int64)
    wide = np.int64(codes.height)
    places = laid.query * wide + candidate[laid.pool_row]
    order = np.argsort(places, kind="stable")
    wanted = known["query"].to_numpy().astype(np.int64) * wide + known["code"].to_numpy().astype(np.int64)
    at = np.minimum(np.searchsorted(places[order], wanted), max(len(places) - 1, 0))
    out = np.full(len(places), np.nan)
    if len(places):
        fits = places[order][at] == wanted
        values = known["score"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        out[order[at[fits]][::-1]] = values[fits][::-1]  # the first of two wins, as everywhere
    return out


def _in_order(laid: Layout, predictions: pl.DataFrame) -> Floats | None:
    """The scores as they stand, where they stand as shown (our own models write them so); else None."""
    n = len(laid.pool_row)
    if not n or predictions.height < n:
        return None
    start = predictions["identifier"].index_of(laid.rows["identifier"][0])
    if start is None or start + n > predictions.height:
        return None
    part = predictions.slice(start, n)
    same = (part["candidate"] == laid.pools["candidate"].gather(laid.pool_row)).all()
    if not same or not (part["identifier"] == laid.rows["identifier"].gather(laid.query)).all():
        return None
    return part["score"].cast(pl.Float64).fill_null(float("nan")).to_numpy().copy()


def tops(laid: Layout, scores: Floats) -> Tops:
    """First and second places of every query."""
    best, second, tied = _tops(scores, laid.offsets)
    return Tops(best, second, tied, laid.own(scores))


def share_of_best(laid: Layout, scores: Floats, marked: NDArray[np.bool_]) -> Floats:
    """Of each query's candidates with the best score, the share that is marked (rows,); NaN without an answer."""
    found: Floats = _share_of_best(scores, laid.offsets, marked)
    return found


@numba.njit(cache=True, nogil=True)
def _tops(scores, offsets):  # type: ignore[no-untyped-def]
    n = offsets.size - 1
    best, second, tied = np.full(n, np.nan), np.full(n, np.nan), np.zeros(n, np.int64)
    for q in range(n):
        lone = False
        for k in range(offsets[q], offsets[q + 1]):
            value = scores[k]
            if np.isnan(value):
                continue
            if tied[q] == 0:
                best[q], second[q], tied[q] = value, value, 1
                lone = True
            elif value > best[q]:
                second[q], best[q], tied[q] = best[q], value, 1
                lone = False
            else:
                if value == best[q]:
                    tied[q] += 1
                if lone or value > second[q]:
                    second[q] = value
                lone = False
    return best, second, tied


@numba.njit(cache=True, nogil=True)
def _share_of_best(scores, offsets, marked):  # type: ignore[no-untyped-def]
    out = np.full(offsets.size - 1, np.nan)
    for q in range(out.size):
        best, first, hits = -np.inf, 0, 0
        for k in range(offsets[q], offsets[q + 1]):
            if np.isnan(scores[k]) or scores[k] < best:
                continue
            if scores[k] > best or first == 0:
                best, first, hits = scores[k], 0, 0
            first += 1
            hits += marked[k]
        if first:
            out[q] = hits / first
    return out
