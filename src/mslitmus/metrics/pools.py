"""Scores laid beside the pools that they rank: one entry a candidate, duplicates merged, nothing left out in silence.

4.5 million candidates (17,556 queries × 256) are matched in some seconds: a query and a candidate make one 64-bit key,
keys are sorted and searched, and the strings behind equal keys are compared, so that the match is exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..errors import DataError, PredictionError, SchemaError
from ..schemas import PREDICTED_SCORES
from .missing import check_truth, conformed, refuse

ABSENT = ("raise", "fail")
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # odd multiplier that spreads query numbers over 64 bits
_FINITE = 'leave out what cannot be scored, or score with missing="fail"'


@dataclass(frozen=True)
class Pools:
    """The candidates of n queries end to end (m entries, a query's together), each candidate once in its pool.

    query: (m,) number of the query; scores: (m,) NaN where there is no finite score; is_truth: (m,);
    entry: (m,) the row of `explode(truth)`.
    """

    query: NDArray[np.int64]
    scores: NDArray[np.float64]
    is_truth: NDArray[np.bool_]
    entry: NDArray[np.int64]
    n: int

    def count(self, mask: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Entries of each query that are marked. Shape (n,)."""
        return np.bincount(self.query[mask], minlength=self.n)

    def top(self, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Highest score of each query among the marked entries; −inf where none is marked. Shape (n,)."""
        highest = np.full(self.n, -np.inf)
        np.maximum.at(highest, self.query[mask], self.scores[mask])
        return highest


def lay_out(predictions: pl.DataFrame, truth: pl.DataFrame, missing: str, absent: str) -> Pools:
    """Predictions (schema PREDICTED_SCORES) laid beside the pools of the truth (identifier, inchikey14, candidates).

    A candidate that a pool lists twice counts once; rows that repeat a score are merged. Raises PredictionError for
    unknown queries or candidates, for one candidate with two scores, and with missing="raise" for queries or
    candidates without a score and scores that are not finite; DataError for a pool without its truth, unless
    absent="fail". Each names up to five.
    """
    check_truth(truth, ("identifier", "inchikey14", "candidates"))
    rows = _rows(conformed(predictions, PREDICTED_SCORES), truth)
    pool = explode(truth)
    query = pool.get_column("query").to_numpy().astype(np.int64)
    index = _Index(query, pool.get_column("candidates"))
    place = index.find(rows.get_column("query").to_numpy(), rows.get_column("candidate"))
    _refuse_rows(rows, place < 0, "of candidates that are not in the query's pool", "score the pool's candidates only")
    values = rows.get_column("score").to_numpy()
    seen = np.bincount(place, minlength=pool.height)
    if (seen > 1).any():
        _refuse_rows(rows, _disagree(place, values), "with another score for the same candidate", "give one score each")
    scores = np.full(pool.height, np.nan)
    scores[place] = np.where(np.isfinite(values), values, np.nan)
    is_truth = np.zeros(pool.height, dtype=bool)
    own = index.find(np.arange(truth.height), truth.get_column("inchikey14"))
    is_truth[own[own >= 0]] = True
    first = index.first
    found = Pools(query[first], scores[first], is_truth[first], np.flatnonzero(first), truth.height)
    if absent == "raise":
        without = truth.filter(pl.Series(own < 0, dtype=pl.Boolean))
        remedy = 'put the truth into the pool, or score with absent="fail" (the truth-absent arm: such a query fails)'
        refuse(without, "whose candidates lack the truth", DataError, "truth", remedy)
    if missing == "raise":
        _refuse_missing(truth, pool, first & (seen == 0), found)
        _refuse_rows(rows, ~np.isfinite(values), "with a score that is NaN or infinite", _FINITE)
    return found


def explode(truth: pl.DataFrame, *parallel: str) -> pl.DataFrame:
    """One row a candidate: query (number of the row of truth), `candidates`, and lists `parallel` to it."""
    lists = ("candidates", *parallel)
    lengths = [pl.col(column).list.len().fill_null(0) for column in lists]
    uneven = truth.filter(pl.any_horizontal([length != lengths[0] for length in lengths]))
    refuse(uneven, f"with lists of unequal length: {', '.join(lists)}", SchemaError, "truth", "keep them parallel")
    rows = truth.select(lists).with_row_index("query").explode(lists)
    empty = rows.get_column("candidates").null_count()  # an empty pool becomes a row of null
    return rows.filter(pl.col("candidates").is_not_null()) if empty else rows


def _rows(predictions: pl.DataFrame, truth: pl.DataFrame) -> pl.DataFrame:
    """Predictions with the number of their query."""
    numbered = truth.select("identifier").with_row_index("query")
    rows = predictions.join(numbered, on="identifier", how="left", maintain_order="left")
    unknown = rows.filter(pl.col("query").is_null())
    refuse(unknown, "not among the queries", PredictionError, "predictions", "score the queries only")
    return rows


class _Index:
    """Finds the entry of a query's candidate. `first` (m,): one entry of each candidate of a pool."""

    def __init__(self, query: NDArray[np.int64], candidate: pl.Series) -> None:
        self._candidate = candidate
        for self._seed in range(8):  # one seed is enough but for one run in a million
            keys = _keys(query, candidate, self._seed)
            order = np.argsort(keys)
            ordered = keys[order]
            again = np.flatnonzero(ordered[1:] == ordered[:-1]) + 1
            if (candidate.gather(order[again]) == candidate.gather(order[again - 1])).all():
                break
        else:
            raise DataError("candidates cannot be told apart by eight hashes", where="truth", remedy="report this")
        self.first = np.ones(query.size, dtype=bool)
        self.first[order[again]] = False
        self._entry = np.delete(order, again)
        self._ordered = keys[self._entry]

    def find(self, query: NDArray[np.integer], candidate: pl.Series) -> NDArray[np.int64]:  # type: ignore[type-arg]
        """Entry of each pair, −1 where the pool has no such candidate. Shape (r,)."""
        wanted = _keys(query, candidate, self._seed)
        place = np.full(wanted.size, -1, dtype=np.int64)
        if self._entry.size:
            by_key = np.argsort(wanted)  # searched in ascending order: that stays in the cache
            nearest = np.empty(wanted.size, dtype=np.int64)
            nearest[by_key] = np.searchsorted(self._ordered, wanted[by_key])
            nearest = np.minimum(nearest, self._entry.size - 1)
            entry = self._entry[nearest]
            same = (self._ordered[nearest] == wanted) & (self._candidate.gather(entry) == candidate).fill_null(
                False
            ).to_numpy()
            place[same] = entry[same]
        return place


def _keys(query: NDArray[np.integer], candidate: pl.Series, seed: int) -> NDArray[np.uint64]:  # type: ignore[type-arg]
    keys: NDArray[np.uint64] = candidate.hash(seed).to_numpy() ^ (query.astype(np.uint64) * _GOLDEN)
    return keys


def _disagree(place: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Rows whose score differs from the one before them for the same entry; two NaN do not differ."""
    order = np.argsort(place, kind="stable")
    place, ordered = place[order], values[order]
    again = np.flatnonzero(place[1:] == place[:-1]) + 1
    same = (ordered[again] == ordered[again - 1]) | (np.isnan(ordered[again]) & np.isnan(ordered[again - 1]))
    differ = np.zeros(values.size, dtype=bool)
    differ[order[again[~same]]] = True
    return differ


def _refuse_rows(rows: pl.DataFrame, bad: NDArray[np.bool_], what: str, remedy: str) -> None:
    if bad.any():
        named = rows.filter(pl.Series(bad)).select(pl.format("{} / {}", "identifier", "candidate").alias("identifier"))
        refuse(named, what, PredictionError, "predictions", remedy)


def _refuse_missing(truth: pl.DataFrame, pool: pl.DataFrame, unseen: NDArray[np.bool_], pools: Pools) -> None:
    number = pool.get_column("query").to_numpy()[unseen]
    sizes = pools.count(np.ones(pools.query.size, dtype=bool))
    empty = (np.bincount(number, minlength=truth.height) == sizes) & (sizes > 0)
    remedy = 'score every query, or pass missing="fail" (a query without scores then fails)'
    refuse(
        truth.filter(pl.Series(empty, dtype=pl.Boolean)), "without a prediction", PredictionError, "predictions", remedy
    )
    some = pool.filter(pl.Series(unseen, dtype=pl.Boolean)).with_columns(
        truth.get_column("identifier").gather(number).alias("query")
    )
    remedy = 'score every candidate, or pass missing="fail" (a missing decoy then stands above the truth)'
    named = some.select(pl.format("{} / {}", "query", "candidates").alias("identifier"))
    refuse(named, "of the pools (query / candidate) without a score", PredictionError, "predictions", remedy)
