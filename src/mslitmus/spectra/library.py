"""The fast index: one query spectrum against a whole library of reference spectra, exactly.

`Library.build(frame)` holds the spectra in columns; each way of scoring (`Scoring`) gets its inverted index on first
use. Three scores, each equal to its slow reference in `spectra.similarity` (tested to 1e-6):

- `cosine` = `cosine_exact`: close peaks are not merged, the best one-to-one assignment is found (what matchms calls
  `CosineHungarian`);
- `modified-cosine` = `modified_cosine`: the same, with peaks of equal loss as further partners;
- `entropy` = `entropy`: peaks closer than twice the tolerance are merged first, as `ms_entropy` does.

m/z are float64 throughout. Ties go to the lower identifier. A spectrum that shares no peak with the query is no hit.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numba
import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..errors import ConfigError, SchemaError, unknown_name
from ._index_kernels import COSINE, ENTROPY, MODIFIED, centroid_flat, search_block
from .flat import Flat, flatten, refuse_rows
from .similarity import LOW_ENTROPY
from .tolerance import Tolerance

SCORES = {"cosine": COSINE, "entropy": ENTROPY, "modified-cosine": MODIFIED}
_BLOCK = 64  # queries a task of a thread
_KEPT_INDEXES = 4
_EMPTY = np.zeros(0, np.int64)


@dataclass(frozen=True)
class Scoring:
    """How two spectra are compared.

    Args:
        score: `cosine`, `modified-cosine` or `entropy`.
        tolerance: of fragment m/z, e.g. `"0.01Da"`, `"10ppm"`.
        intensity_power, mz_power: peaks weigh mzᵃ xᵇ in the cosines (b = 0.5: "sqrt"); entropy has its own weights.
    """

    score: str = "cosine"
    tolerance: str = "0.01Da"
    intensity_power: float = 1.0
    mz_power: float = 0.0

    def __post_init__(self) -> None:
        if self.score not in SCORES:
            raise unknown_name("score", self.score, SCORES)
        Tolerance.of(self.tolerance)
        if self.score == "entropy" and (self.intensity_power, self.mz_power) != (1.0, 0.0):
            raise ConfigError("entropy weights intensities by itself", remedy="leave intensity_power=1, mz_power=0")

    def weigh(self, spectra: Flat) -> Weighted:
        """Peaks with the weights that the kernels add up; for entropy centroided first."""
        limit = Tolerance.of(self.tolerance)
        if self.score == "entropy":
            spectra = Flat(*centroid_flat(*spectra, limit.da, limit.relative))
            weights = _entropy_weights(spectra) / (2 * np.log(2.0))  # the gains then add up to the similarity
            return Weighted(spectra.mzs, weights, weights * np.log(weights), spectra.offsets)
        weights = spectra.intensities**self.intensity_power * spectra.mzs**self.mz_power
        weights = weights / np.sqrt(_spread(_sums(weights * weights, spectra.offsets), spectra.offsets))
        return Weighted(spectra.mzs, weights, weights, spectra.offsets)


class Weighted(NamedTuple):
    """n spectra end to end: m/z, weight, p ln p of the weight (entropy only), offsets (n + 1)."""

    mzs: NDArray[np.float64]
    weights: NDArray[np.float64]
    terms: NDArray[np.float64]
    offsets: NDArray[np.int64]


class Inverted(NamedTuple):
    """All peaks of a library by ascending position (m/z, or precursor − m/z): weight, term and library row of each."""

    position: NDArray[np.float64]
    weights: NDArray[np.float64]
    terms: NDArray[np.float64]
    row: NDArray[np.int32]


class Subsets(NamedTuple):
    """Which library rows each query may hit: list `of[q]`, or all rows where that is −1.

    List k is `members[offsets[k]:offsets[k + 1]]`, ascending library rows; queries may share a list.
    """

    of: NDArray[np.int64]
    offsets: NDArray[np.int64]
    members: NDArray[np.int64]

    @classmethod
    def everything(cls, queries: int) -> Subsets:
        return cls(np.full(queries, -1), np.zeros(1, np.int64), _EMPTY)

    @classmethod
    def from_lists(cls, of: NDArray[np.int64], lists: Sequence[NDArray[np.int64]]) -> Subsets:
        offsets = np.concatenate(([0], np.cumsum([len(one) for one in lists]))).astype(np.int64)
        members = np.concatenate([_EMPTY, *(np.sort(one) for one in lists)]).astype(np.int64)
        return cls(np.asarray(of, np.int64), offsets, members)

    def rows_of(self, query: int) -> NDArray[np.int64]:
        """The library rows of one query that has a list."""
        number = self.of[query]
        return self.members[self.offsets[number] : self.offsets[number + 1]]


class Hits(NamedTuple):
    """The best hits of n queries, best first, (n, top): library row (−1: none), score (0 to 1), matched peaks."""

    rows: NDArray[np.int64]
    scores: NDArray[np.float64]
    matched: NDArray[np.int64]


@dataclass(frozen=True)
class Library:
    """Reference spectra, rows ascending by identifier: `rows` (identifier, precursor_mz and all else), `peaks`."""

    rows: pl.DataFrame
    peaks: Flat
    _indexes: dict[Scoring, tuple[Weighted, Inverted, Inverted]] = field(default_factory=dict, repr=False)

    @classmethod
    def build(cls, frame: pl.DataFrame) -> Library:
        """Of a frame with identifier, mzs, intensities and, where known, precursor_mz; other columns are kept beside.

        Raises SchemaError: an absent column, a repeated identifier, NaN or negative peaks (rows are named).
        """
        absent = [name for name in ("identifier", "mzs", "intensities") if name not in frame.columns]
        if absent:
            raise SchemaError(f"columns absent: {', '.join(absent)}", where="library", remedy="see docs/schema.md")
        repeated = frame.get_column("identifier").is_duplicated().to_numpy()
        refuse_rows(frame, repeated, "with a repeated identifier", SchemaError, "library", "make identifiers unique")
        ordered = frame.sort("identifier")
        return cls(ordered.drop("mzs", "intensities"), flatten(ordered, where="library"))

    @property
    def precursor_mz(self) -> NDArray[np.float64]:
        """Da, NaN where unknown. Shape (n,)."""
        return _precursors(self.rows)

    def search(
        self,
        queries: pl.DataFrame,
        score: str = "cosine",
        tolerance: str = "0.01Da",
        precursor_tolerance: str | None = None,
        *,
        intensity_power: float = 1.0,
        mz_power: float = 0.0,
        top_k: int = 10,
        same: Sequence[str] = (),
        group_by: str | None = None,
        threads: int | None = None,
    ) -> pl.DataFrame:
        """The best library spectra of each query.

        Args:
            queries: identifier, mzs, intensities; precursor_mz for a precursor tolerance or the modified cosine.
            precursor_tolerance: e.g. `"10ppm"`, `"0.5Da"`; None searches openly. A library spectrum without precursor
                is then never a hit.
            same: columns that must be equal in the query and the library, e.g. `["adduct"]`; null equals nothing.
            group_by: a library column, e.g. `inchikey14`: only the best spectrum of each group is a hit, and `top_k`
                counts groups (a row with null is a group of its own).
            threads: None takes numba's number (`NUMBA_NUM_THREADS`, else all CPUs).

        Returns:
            identifier, library_identifier, score, matched_peaks, rank (from 1), for at most `top_k` hits a query;
            queries in the order asked. A query without hits has no row.
        """
        scoring = Scoring(score, tolerance, intensity_power, mz_power)
        subsets = self.subsets(queries, precursor_tolerance, same)
        group = None if group_by is None else self.rows.get_column(group_by)
        hits = self.rank(queries, scoring, subsets, top_k=top_k, group=group, threads=threads)
        query, place = np.nonzero(hits.rows >= 0)
        return pl.DataFrame(
            {
                "identifier": queries.get_column("identifier").gather(query),
                "library_identifier": self.rows.get_column("identifier").gather(hits.rows[query, place]),
                "score": hits.scores[query, place],
                "matched_peaks": hits.matched[query, place],
                "rank": place + 1,
            }
        )

    def rank(
        self,
        queries: pl.DataFrame,
        scoring: Scoring,
        subsets: Subsets | None = None,
        *,
        top_k: int = 1,
        group: pl.Series | None = None,
        threads: int | None = None,
    ) -> Hits:
        """`search` as arrays, each query within its own subset of the library rows."""
        if top_k < 1:
            raise ConfigError(f"top_k={top_k}", remedy="1 or more")
        n = queries.height
        library, by_mz, by_loss = self._index(scoring)
        asked = scoring.weigh(flatten(queries, where="queries"))
        out = Hits(np.full((n, top_k), -1), np.zeros((n, top_k)), np.zeros((n, top_k), np.int64))
        limit = Tolerance.of(scoring.tolerance)
        fixed = (
            asked, _precursors(queries), library, self.precursor_mz, by_mz, by_loss,
            subsets or Subsets.everything(n), _EMPTY if group is None else _group_numbers(group), top_k, *out,
        )  # fmt: skip

        def work(first: int) -> None:
            last = min(first + _BLOCK, n)
            search_block(SCORES[scoring.score], limit.da, limit.relative, first, last, *fixed)

        with ThreadPoolExecutor(threads or int(numba.config.NUMBA_NUM_THREADS)) as pool:
            list(pool.map(work, range(0, n, _BLOCK)))
        return out

    def subsets(
        self, queries: pl.DataFrame, precursor_tolerance: str | None = None, same: Sequence[str] = ()
    ) -> Subsets:
        """The library rows within each query's precursor window that are equal to it in the columns `same`."""
        n = queries.height
        if precursor_tolerance is None and not same:
            return Subsets.everything(n)
        if precursor_tolerance is None:
            of, lists = self._equal(queries, same)
            return Subsets.from_lists(of, lists)
        precursor = _precursors(queries)
        remedy = "give precursor_mz, or search openly"
        refuse_rows(queries, np.isnan(precursor), "without a precursor m/z", SchemaError, "queries", remedy)
        low, high = Tolerance.of(precursor_tolerance).window(precursor)
        order = np.argsort(self.precursor_mz, kind="stable")  # NaN last
        ordered = self.precursor_mz[order]
        begin, end = np.searchsorted(ordered, low), np.searchsorted(ordered, high, side="right")
        lists = [order[a:b] for a, b in zip(begin, end, strict=True)]
        if same:
            of, equal = self._equal(queries, same)
            lists = [np.intersect1d(one, equal[k]) for one, k in zip(lists, of, strict=True)]
        return Subsets.from_lists(np.arange(n), lists)

    def _equal(self, queries: pl.DataFrame, same: Sequence[str]) -> tuple[NDArray[np.int64], list[NDArray[np.int64]]]:
        """For each query the number of its list, and the lists: library rows equal in all of `same`."""
        keys = queries.select(same).unique(maintain_order=True).with_row_index("_list")
        numbered = queries.select(same).join(keys, on=list(same), how="left", nulls_equal=True, maintain_order="left")
        rows = self.rows.select(same).with_row_index("_row").join(keys, on=list(same), how="inner")
        found = rows.group_by("_list").agg("_row")
        lists = [_EMPTY] * keys.height
        for number, members in found.iter_rows():
            lists[number] = np.array(members, np.int64)
        return numbered.get_column("_list").to_numpy().astype(np.int64), lists

    def _index(self, scoring: Scoring) -> tuple[Weighted, Inverted, Inverted]:
        if scoring not in self._indexes:
            while len(self._indexes) >= _KEPT_INDEXES:
                del self._indexes[next(iter(self._indexes))]
            weighted = scoring.weigh(self.peaks)
            row = np.repeat(np.arange(self.rows.height), np.diff(weighted.offsets))
            losses = np.full(row.size, np.nan)
            if scoring.score == "modified-cosine":
                losses = self.precursor_mz[row] - weighted.mzs
            self._indexes[scoring] = (weighted, _invert(weighted, weighted.mzs, row), _invert(weighted, losses, row))
        return self._indexes[scoring]


def _invert(weighted: Weighted, position: NDArray[np.float64], row: NDArray[np.int64]) -> Inverted:
    known = np.flatnonzero(np.isfinite(position))
    order = known[np.argsort(position[known], kind="stable")]
    return Inverted(position[order], weighted.weights[order], weighted.terms[order], row[order].astype(np.int32))


def _precursors(frame: pl.DataFrame) -> NDArray[np.float64]:
    if "precursor_mz" not in frame.columns:
        return np.full(frame.height, np.nan)
    column = frame.get_column("precursor_mz").cast(pl.Float64).fill_null(float("nan"))
    return np.array(column.to_numpy())  # a copy: numba would compile again for polars' read-only memory


def _group_numbers(group: pl.Series) -> NDArray[np.int64]:
    """Numbers from 0, equal values the same; a null gets one of its own."""
    numbers = group.rank("dense").to_numpy()
    missing = group.is_null().to_numpy()
    out = np.where(missing, 0, np.nan_to_num(numbers) - 1).astype(np.int64)
    out[missing] = group.n_unique() + np.arange(missing.sum())
    if out.size:  # within 0 … rows − 1, as the kernel sizes its memory by the rows
        out = np.unique(out, return_inverse=True)[1].astype(np.int64)
    return out


def _sums(values: NDArray[np.float64], offsets: NDArray[np.int64]) -> NDArray[np.float64]:
    row = np.repeat(np.arange(offsets.size - 1), np.diff(offsets))
    return np.bincount(row, weights=values, minlength=offsets.size - 1).astype(np.float64)


def _spread(per_spectrum: NDArray[Any], offsets: NDArray[np.int64]) -> NDArray[Any]:
    return np.repeat(per_spectrum, np.diff(offsets))


def _entropy_weights(spectra: Flat) -> NDArray[np.float64]:
    """Intensities after `similarity.entropy_weight`, scaled to sum 1."""
    offsets = spectra.offsets
    p = spectra.intensities / _spread(_sums(spectra.intensities, offsets), offsets)
    entropy = np.maximum(0.0, -_sums(p * np.log(p), offsets))
    power = np.where(entropy < LOW_ENTROPY, (1 + entropy) / 4, 1.0)
    weights = p ** _spread(power, offsets)
    scaled: NDArray[np.float64] = weights / _spread(_sums(weights, offsets), offsets)
    return scaled
