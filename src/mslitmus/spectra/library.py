"""The fast index: one query spectrum against a whole library of reference spectra, exactly.

`Library.build(frame)` holds the spectra in columns, `library_files.open(folder)` maps them from disk; each way of
scoring (`scoring.Scoring`) gets its inverted index on first use, or has it stored. Every score equals its slow
reference in `spectra.similarity` (tested to 1e-6): the index computes bounds in float32 from which it sees what cannot
be among the best, and scores the rest from float64 m/z.

Ties go to the lower identifier. A spectrum that shares no peak with the query is no hit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numba
import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..errors import ConfigError, SchemaError
from . import _index
from ._allowed import Codes, Encoder, Subsets, allowed, require
from ._index import Index, Inverted
from ._index_kernels import search_block
from .flat import Flat, flatten, precursors, refuse_rows
from .scoring import SCORES, Scoring
from .tolerance import TOLERANCE_GUARD, Tolerance, spelt

__all__ = ["SCORES", "Hits", "Library", "Scoring", "Subsets"]

_BLOCK, _PAIRS = 2048, 1 << 28  # most queries, and pairs of spectra, between two chances to interrupt a search
_KEPT_INDEXES = 4
_EMPTY = np.zeros(0, np.int64)


class Hits(NamedTuple):
    """The best hits of n queries, best first, (n, top): library row (−1: none), score (0 to 1), matched peaks, and the
    shares of the query's and of the library spectrum's intensity that the matched peaks hold."""

    rows: NDArray[np.int64]
    scores: NDArray[np.float64]
    matched: NDArray[np.int64]
    explained: NDArray[np.float64]
    explained_library: NDArray[np.float64]


@dataclass(frozen=True)
class Library:
    """Reference spectra.

    Args:
        rows: identifier, precursor_mz and all else, ascending by identifier.
        peaks: of the same spectra by ascending precursor m/z (unknown ones last).
        order: (n,) the row of each spectrum of `peaks`.
        chunk: spectra that are inverted together, at most 65,536.
    """

    rows: pl.DataFrame
    peaks: Flat
    order: NDArray[np.int64]
    chunk: int = _index.CHUNK
    _indexes: dict[Scoring, Index] = field(default_factory=dict, repr=False)
    _losses: dict[Scoring, Inverted] = field(default_factory=dict, repr=False)
    _crowding: dict[tuple[Scoring, str, bool], int] = field(default_factory=dict, repr=False)
    _encoders: dict[tuple[str, ...], Encoder] = field(default_factory=dict, repr=False)
    _groups: dict[str, NDArray[np.int64]] = field(default_factory=dict, repr=False)
    _chosen: dict[Any, NDArray[np.int32]] = field(default_factory=dict, repr=False)
    _made: list[Scoring] = field(default_factory=list, repr=False)

    @classmethod
    def build(cls, frame: pl.DataFrame, chunk: int = _index.CHUNK) -> Library:
        """Of a frame with identifier, mzs, intensities and, where known, precursor_mz; other columns are kept beside.

        Raises SchemaError: an absent column, a repeated identifier, NaN or negative peaks (rows are named).
        """
        absent = [name for name in ("identifier", "mzs", "intensities") if name not in frame.columns]
        if absent:
            raise SchemaError(f"columns absent: {', '.join(absent)}", where="library", remedy="see docs/schema.md")
        repeated = frame.get_column("identifier").is_duplicated().to_numpy()
        refuse_rows(frame, repeated, "with a repeated identifier", SchemaError, "library", "make identifiers unique")
        ordered = frame.sort("identifier")
        rows = ordered.drop("mzs", "intensities")
        order = np.argsort(precursors(rows), kind="stable")  # NaN last
        peaks = flatten(ordered.select("identifier", "mzs", "intensities")[order], where="library")
        return cls(rows, peaks, order, chunk)

    @cached_property
    def precursor_mz(self) -> NDArray[np.float64]:
        """Da, NaN where unknown. Shape (n,), by row."""
        return precursors(self.rows)

    def spectra(self, rows: Sequence[int] | NDArray[np.int64]) -> pl.DataFrame:
        """These rows with their peaks: all columns, `mzs` and `intensities`."""
        place = np.empty(self.order.size, np.int64)
        place[self.order] = np.arange(self.order.size)
        chosen = place[np.asarray(rows, np.int64)]
        cuts = [slice(*self.peaks.offsets[k : k + 2].tolist()) for k in chosen]
        lists = {
            name: pl.Series(name, [column[c].tolist() for c in cuts], dtype=pl.List(pl.Float64))
            for name, column in (("mzs", self.peaks.mzs), ("intensities", self.peaks.intensities))
        }
        return self.rows[np.asarray(rows, np.int64)].with_columns(**lists)

    def search(
        self,
        queries: pl.DataFrame,
        score: str = "cosine",
        tolerance: str = "0.01Da",
        precursor_tolerance: str | None = None,
        *,
        precursor_shift: tuple[float, float] | None = None,
        intensity_power: float = 1.0,
        mz_power: float = 0.0,
        min_matched_peaks: int = 1,
        top_k: int = 10,
        same: Sequence[str] = (),
        exclude: str | None = None,
        only: Mapping[str, Sequence[str]] | None = None,
        shard: tuple[int, int] | None = None,
        group_by: str | None = None,
        threads: int | None = None,
    ) -> pl.DataFrame:
        """The best library spectra of each query.

        Args:
            queries: identifier, mzs, intensities; precursor_mz for a precursor window and for scores by loss.
            precursor_tolerance: e.g. `"10ppm"`, `"0.5Da"`; None searches openly. A library spectrum without precursor
                is then never a hit.
            precursor_shift: instead, the least and most that the query's precursor m/z may lie above the library's (Da,
                negative: below), for analogues.
            min_matched_peaks: hits with fewer are dropped.
            same: columns that must be equal in the query and the library, e.g. `["adduct"]`; null equals nothing.
            exclude: a column; library spectra that are equal to the query there are no hits, e.g. `identifier` (each
                spectrum against all others) or `source`.
            only: column → values: other library spectra are no hits, e.g. `{"adduct": ["[M+H]+"]}`.
            shard: (i, k): only the i-th (from 0) of k stretches of the library, by precursor m/z. The best hits of all
                k together are those of the library.
            group_by: a library column, e.g. `inchikey14`: only the best spectrum of each group is a hit, and `top_k`
                counts groups (a row with null is a group of its own).
            threads: None takes numba's number (`NUMBA_NUM_THREADS`, else all CPUs).

        Returns:
            identifier, library_identifier, score, matched_peaks, rank (from 1), explained and explained_library (share
            of the intensity of the query and of the library spectrum in matched peaks), for at most `top_k` hits a
            query; queries in the order asked. A query without hits has no row.
        """
        scoring = Scoring(score, tolerance, intensity_power, mz_power)
        limits = {"precursor_shift": precursor_shift, "exclude": exclude, "only": only, "shard": shard}
        subsets = self.subsets(queries, precursor_tolerance, same, **limits)  # type: ignore[arg-type]
        require(self.rows, [] if group_by is None else [group_by], "library")
        group = None if group_by is None else self._group(group_by)
        least = min_matched_peaks
        hits = self.rank(queries, scoring, subsets, top_k=top_k, group=group, threads=threads, min_matched_peaks=least)
        return self._table(queries, hits, top_k)

    def _table(self, queries: pl.DataFrame, hits: Hits, top_k: int) -> pl.DataFrame:
        """Hits as rows, see `search`."""
        found = np.flatnonzero(hits.rows >= 0)
        rows, scores, matched, explained, explained_library = (column.ravel()[found] for column in hits)
        return pl.DataFrame(
            {
                "identifier": queries.get_column("identifier").gather(found // top_k),
                "library_identifier": self.rows.get_column("identifier").gather(rows),
                "score": scores,
                "matched_peaks": matched,
                "rank": found % top_k + 1,
                "explained": explained,
                "explained_library": explained_library,
            }
        )

    def rank(
        self,
        queries: pl.DataFrame,
        scoring: Scoring,
        subsets: Subsets | None = None,
        *,
        top_k: int = 1,
        group: pl.Series | NDArray[np.int64] | None = None,
        min_matched_peaks: int = 1,
        threads: int | None = None,
    ) -> Hits:
        """`search` as arrays, each query within its own subset of the library rows; `group` by row."""
        for name, value in (("top_k", top_k), ("min_matched_peaks", min_matched_peaks), ("threads", threads or 1)):
            if value < 1:
                raise ConfigError(f"{name}={value}", remedy="1 or more")
        n, limit = queries.height, Tolerance.of(scoring.tolerance)
        (library, by_mz), by_loss, crowd = self._index(scoring)
        precursor, ordered = precursors(queries), self._ordered
        asked = scoring.weigh(flatten(queries, where="queries"), precursor)
        out = Hits(np.full((n, top_k), -1), *(np.zeros((n, top_k), t) for t in (float, np.int64, float, float)))
        how = scoring.measure, scoring.shifted, limit.da, limit.relative, min_matched_peaks, crowd, self.chunk, top_k
        fixed = (
            (asked.mzs, asked.weights, scoring.bounds(asked.weights), *asked[2:], precursor),
            (*library, ordered, self.order),
            tuple(by_mz),
            tuple(by_loss),
            tuple(allowed(subsets or Subsets.everything(n), self.order, ordered)),
            _EMPTY if group is None else group if isinstance(group, np.ndarray) else _group_numbers(group),
            tuple(out),
        )
        threads = threads or int(numba.config.NUMBA_NUM_THREADS)
        block = min(_BLOCK, max(1, _PAIRS // max(1, self.order.size)))
        if threads > 1:
            block = min(block, max(1, -(-n // (4 * threads))))

        def work(first: int) -> None:
            search_block(how, first, min(first + block, n), *fixed)

        if threads == 1 or n <= block:
            for first in range(0, n, block):
                work(first)
        else:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(work, range(0, n, block)))
        return out

    def subsets(
        self,
        queries: pl.DataFrame,
        precursor_tolerance: str | None = None,
        same: Sequence[str] = (),
        *,
        precursor_shift: tuple[float, float] | None = None,
        exclude: str | None = None,
        only: Mapping[str, Sequence[str]] | None = None,
        shard: tuple[int, int] | None = None,
    ) -> Subsets:
        """The library rows that each query may hit, see `search`.

        Raises SchemaError for queries without a precursor m/z where a window asks for one, and for absent columns.
        """
        windows = None
        if precursor_tolerance is not None or precursor_shift is not None:
            precursor = precursors(queries)
            remedy = "give precursor_mz, or search openly"
            refuse_rows(queries, np.isnan(precursor), "without a precursor m/z", SchemaError, "queries", remedy)
            windows = np.column_stack(_window(precursor, precursor_tolerance, precursor_shift))
        alike = self._encoder(tuple(same)).queries(queries) if same else None
        return Subsets.everything(queries.height)._replace(
            windows=windows,
            same=self._only(only, alike, queries.height) if only else alike,
            other=self._encoder((exclude,)).queries(queries) if exclude else None,
            stretch=None if shard is None else _stretch(shard, self.order.size),
        )

    def stores(self, scoring: Scoring) -> bool:
        """Whether the index of a scoring is there: a library of files has it stored, one in memory has made it."""
        key = scoring.weighing
        return key in self._indexes and (not scoring.shifted or key in self._losses)

    def _only(self, wanted: Mapping[str, Sequence[str]], alike: Codes | None, queries: int) -> Codes:
        """Codes under which library rows that lack a wanted value equal no query."""
        chosen = tuple((name, *values) for name, values in sorted(wanted.items()))
        key = chosen, None if alike is None else id(alike.rows)
        if key not in self._chosen:
            require(self.rows, list(wanted), "library")
            keep = pl.all_horizontal(pl.col(name).is_in(list(values)) for name, values in wanted.items())
            mask = self.rows.select(keep.fill_null(False)).to_series().to_numpy()
            self._chosen.clear()  # one search asks for one
            self._chosen[key] = np.where(mask, 0 if alike is None else alike.rows, -1).astype(np.int32)
        return Codes(np.zeros(queries, np.int32) if alike is None else alike.queries, self._chosen[key])

    @cached_property
    def _ordered(self) -> NDArray[np.float64]:
        """Precursor m/z in the order of the peaks."""
        return self.precursor_mz[self.order]

    def _group(self, column: str) -> NDArray[np.int64]:
        if column not in self._groups:
            self._groups[column] = _group_numbers(self.rows.get_column(column))
        return self._groups[column]

    def _encoder(self, columns: tuple[str, ...]) -> Encoder:
        if columns not in self._encoders:
            self._encoders[columns] = Encoder(self.rows, columns)
        return self._encoders[columns]

    def _index(self, scoring: Scoring) -> tuple[Index, Inverted, int]:
        """The index of a scoring, that of its losses, and its crowding; made on first use."""
        key = scoring.weighing
        if key not in self._indexes:
            if len(self._made) >= _KEPT_INDEXES:
                oldest = self._made.pop(0)
                self._losses.pop(oldest, None)
                del self._indexes[oldest]
            self._made.append(key)
            weighted = _index.weigh(key, self.peaks, self._ordered, self.chunk, _index.Memory())
            self._indexes[key] = Index(weighted, _index.invert(key, weighted, None, self.chunk, _index.Memory()))
        index = self._indexes[key]
        if scoring.shifted and key not in self._losses:
            made = _index.invert(key, index.weighted, self._ordered, self.chunk, _index.Memory())
            self._losses[key] = made
        of = (key, spelt(scoring.tolerance), scoring.shifted)
        if of not in self._crowding:
            self._crowding[of] = _index.crowding(index.weighted, scoring.tolerance, scoring.shifted)
        return index, self._losses[key] if scoring.shifted else _index.nothing(), self._crowding[of]


def _window(
    precursor: NDArray[np.float64], tolerance: str | None, shift: tuple[float, float] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lowest and highest precursor m/z of the library that a query's allows."""
    if shift is None:
        low, high = Tolerance.of(str(tolerance)).window(precursor)
        return low, high
    if tolerance is not None:
        raise ConfigError("both a precursor tolerance and a precursor shift", remedy="give one of them")
    least, most = shift
    if not least <= most:
        raise ConfigError(f"precursor_shift={shift}", remedy="the lower one first, e.g. (-200, 200)")
    return precursor - most - TOLERANCE_GUARD, precursor - least + TOLERANCE_GUARD


def _stretch(shard: tuple[int, int], spectra: int) -> tuple[int, int]:
    """First and last place of the i-th of k stretches of about equal length."""
    number, of = shard
    if not 0 <= number < of:
        raise ConfigError(f"shard {number} of {of}", remedy="from 0 to the number of shards − 1")
    return spectra * number // of, spectra * (number + 1) // of


def _group_numbers(group: pl.Series) -> NDArray[np.int64]:
    """Numbers from 0, equal values the same; a null gets one of its own."""
    numbers = group.rank("dense").to_numpy()
    missing = group.is_null().to_numpy()
    out = np.where(missing, 0, np.nan_to_num(numbers) - 1).astype(np.int64)
    out[missing] = group.n_unique() + np.arange(missing.sum())
    return out
