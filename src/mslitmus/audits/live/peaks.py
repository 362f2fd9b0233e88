"""Edits of measured peaks: queries in, queries out, everything else as it was. All are arrays end to end, no loops.

Spectra stay as the schema has them (m/z ascending, base peak 1) unless an edit's own point is to break that.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

Array = NDArray[np.float64]
#: Noise is drawn from here to the precursor m/z (Da): below it few instruments see anything.
_LOWEST = 50.0


class Peaks(NamedTuple):
    """All peaks of n queries: the row each belongs to, m/z (Da), intensity (base peak 1)."""

    row: NDArray[np.int64]
    mzs: Array
    intensities: Array

    def take(self, which: NDArray[Any]) -> Peaks:
        """Those peaks: a mask, or numbers in the order wanted."""
        return Peaks(self.row[which], self.mzs[which], self.intensities[which])

    def joined(self, row: NDArray[np.int64], mzs: Array, intensities: Array) -> Peaks:
        """These and more."""
        rows, heights = np.concatenate([self.row, row]), np.concatenate([self.intensities, intensities])
        return Peaks(rows, np.concatenate([self.mzs, mzs]), heights)


def peaks_of(queries: pl.DataFrame) -> Peaks:
    lengths = queries["mzs"].list.len().fill_null(0).to_numpy().astype(np.int64)
    filled = queries.filter(pl.Series(lengths > 0))
    mzs, intensities = (filled[c].explode().cast(pl.Float64).to_numpy() for c in ("mzs", "intensities"))
    return Peaks(np.repeat(np.arange(queries.height), lengths), mzs, intensities)


def with_peaks(queries: pl.DataFrame, peaks: Peaks, *, sort: bool = True) -> pl.DataFrame:
    """The queries with these peaks, base peak 1; `sort=False` leaves them in the order given within a row."""
    order = np.lexsort((peaks.mzs, peaks.row)) if sort else np.argsort(peaks.row, kind="stable")
    row, mzs, intensities = peaks.take(order)
    base = np.zeros(queries.height)
    np.maximum.at(base, row, intensities)
    base[base <= 0] = 1.0
    offsets = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=queries.height))]).astype(np.int64)
    columns = {"mzs": mzs, "intensities": intensities / base[row]}
    lists = [
        pl.Series(name, pa.LargeListArray.from_arrays(offsets, pa.array(values))).cast(queries.schema[name])
        for name, values in columns.items()
    ]
    return queries.with_columns(lists)


def empty(queries: pl.DataFrame) -> pl.DataFrame:
    """No peak at all."""
    nothing = np.zeros(0)
    return with_peaks(queries, Peaks(nothing.astype(np.int64), nothing, nothing))


def precursor_only(queries: pl.DataFrame) -> pl.DataFrame:
    """One peak, at the precursor m/z."""
    precursor = queries["precursor_mz"].to_numpy().astype(np.float64)
    return with_peaks(queries, Peaks(np.arange(queries.height), precursor, np.ones(queries.height)))


def permuted(queries: pl.DataFrame, seed: int) -> pl.DataFrame:
    """The intensities of each spectrum dealt out anew among its peaks."""
    peaks = peaks_of(queries)
    drawn = np.lexsort((np.random.default_rng(seed).random(peaks.row.size), peaks.row))
    return with_peaks(queries, peaks._replace(intensities=peaks.intensities[drawn]))


def binarised(queries: pl.DataFrame) -> pl.DataFrame:
    """Every peak as high as every other."""
    peaks = peaks_of(queries)
    return with_peaks(queries, peaks._replace(intensities=(peaks.intensities > 0).astype(np.float64)))


def strongest(queries: pl.DataFrame, k: int) -> pl.DataFrame:
    """The k highest peaks of each spectrum."""
    peaks = peaks_of(queries)
    keep = _rank(peaks.row, -peaks.intensities) < k
    return with_peaks(queries, peaks.take(keep))


def shifted(queries: pl.DataFrame, da: float) -> pl.DataFrame:
    """Every peak moved up by `da`; the precursor m/z stays."""
    peaks = peaks_of(queries)
    return with_peaks(queries, peaks._replace(mzs=peaks.mzs + da))


def noisy(queries: pl.DataFrame, count: int, low: float, high: float, seed: int) -> pl.DataFrame:
    """`count` more peaks a spectrum: m/z uniform from 50 Da to the precursor, intensity log-uniform between `low` and
    `high` (base peak 1)."""
    rng, peaks = np.random.default_rng(seed), peaks_of(queries)
    row = np.repeat(np.arange(queries.height), count)
    top = np.maximum(queries["precursor_mz"].to_numpy().astype(np.float64), _LOWEST + 1.0)[row]
    mzs = rng.uniform(_LOWEST, top)
    intensities = np.exp(rng.uniform(np.log(low), np.log(high), row.size))
    return with_peaks(queries, peaks.joined(row, mzs, intensities))


def mz_jitter(queries: pl.DataFrame, ppm: float, seed: int) -> pl.DataFrame:
    """Every m/z by a normal error of standard deviation `ppm`."""
    peaks = peaks_of(queries)
    error = np.random.default_rng(seed).normal(0.0, ppm * 1e-6, peaks.mzs.size)
    return with_peaks(queries, peaks._replace(mzs=np.maximum(peaks.mzs * (1 + error), 1e-3)))


def intensity_jitter(queries: pl.DataFrame, sigma: float, seed: int) -> pl.DataFrame:
    """Every intensity times a log-normal factor of this sigma."""
    peaks = peaks_of(queries)
    factor = np.exp(np.random.default_rng(seed).normal(0.0, sigma, peaks.mzs.size))
    return with_peaks(queries, peaks._replace(intensities=peaks.intensities * factor))


def dropout(queries: pl.DataFrame, share: float, seed: int) -> pl.DataFrame:
    """Each peak lost with this probability; of a spectrum that would lose all, the peak drawn luckiest stays."""
    peaks = peaks_of(queries)
    luck = np.random.default_rng(seed).random(peaks.row.size)
    keep = (luck >= share) | (_rank(peaks.row, -luck) == 0)
    return with_peaks(queries, peaks.take(keep))


def zero_padded(queries: pl.DataFrame, count: int) -> pl.DataFrame:
    """`count` peaks of intensity 0 behind the last of each spectrum, 1 Da apart: what a padded file looks like."""
    peaks = peaks_of(queries)
    last = np.full(queries.height, _LOWEST)
    np.maximum.at(last, peaks.row, peaks.mzs)
    row = np.repeat(np.arange(queries.height), count)
    mzs = last[row] + 1.0 + np.tile(np.arange(count), queries.height)
    return with_peaks(queries, peaks.joined(row, mzs, np.zeros(row.size)))


def shuffled(queries: pl.DataFrame, seed: int) -> pl.DataFrame:
    """The peaks of each spectrum in another order than that of m/z."""
    peaks = peaks_of(queries)
    order = np.lexsort((np.random.default_rng(seed).random(peaks.row.size), peaks.row))
    return with_peaks(queries, peaks.take(order), sort=False)


def _rank(row: NDArray[np.int64], value: Array) -> NDArray[np.int64]:
    """Place of each entry within its row by ascending value, 0 the first; `row` ascends."""
    order = np.lexsort((value, row))
    starts = np.concatenate([[0], np.cumsum(np.bincount(row))])[:-1] if row.size else np.zeros(0)
    place = np.empty(row.size, np.int64)
    place[order] = np.arange(row.size) - starts[row[order]]
    return place
