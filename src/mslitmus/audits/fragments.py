"""Spectra without their precursor region, and which of them are the same measurement or nearly so.

A spectrum that is all precursor resembles every other of its precursor, so only fragments count here, and only spectra
with several of them.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..metrics.kernels import drop_precursor
from ..spectra.flat import Flat, flatten
from ..spectra.library import Library

#: Fragment peaks that a spectrum needs, and that two near-duplicates must share.
LEAST_PEAKS = 3
#: Fragment peaks that an identical pair needs: two spectra of five peaks do not agree to the last digit by chance.
LEAST_IDENTICAL = 5
#: Spectral entropy similarity from which on two spectra count as near-duplicates.
NEAR = 0.99
PEAK_TOLERANCE, PRECURSOR_TOLERANCE = "0.01Da", "20ppm"
_COLUMNS = ("identifier", "precursor_mz", "inchikey14", "formula", "source", "adduct")


def fragments(frame: pl.DataFrame, least: int = LEAST_PEAKS) -> pl.DataFrame:
    """Rows with at least `least` fragment peaks: the columns above, `mzs`, `intensities` (base fragment 1), `mark`,
    `peaks` (how many).

    `mark` is the same for spectra whose fragments agree to 0.0001 Da and 0.001 of the base fragment.
    """
    known = frame.filter(pl.col("precursor_mz").is_finite() & (pl.col("mzs").list.len() > 0))
    flat = drop_precursor(flatten(known), known["precursor_mz"].to_numpy())
    kept = np.diff(flat.offsets) >= least
    rows = known.filter(pl.Series(kept, dtype=pl.Boolean)).select(_COLUMNS)
    return rows.hstack(_lists(flat, kept))


def _lists(flat: Flat, kept: NDArray[np.bool_]) -> pl.DataFrame:
    sizes = np.diff(flat.offsets)
    chosen = kept[np.repeat(np.arange(len(sizes)), sizes)]
    sizes = sizes[kept]
    row = np.repeat(np.arange(len(sizes)), sizes)
    mzs, heights = flat.mzs[chosen], flat.intensities[chosen]
    starts = np.cumsum(sizes) - sizes
    if len(sizes):
        heights = heights / np.maximum.reduceat(heights, starts)[row]
    marks = _mixed(np.round(mzs * 1e4).astype(np.uint64) * np.uint64(2048) + np.round(heights * 1e3).astype(np.uint64))
    peaks = pl.DataFrame({"row": row, "mzs": mzs, "intensities": heights})
    lists = peaks.group_by("row", maintain_order=True).agg("mzs", "intensities").select("mzs", "intensities")
    mark = np.add.reduceat(marks, starts) if len(sizes) else np.zeros(0, np.uint64)
    return lists.with_columns(mark=pl.Series(mark, dtype=pl.UInt64), peaks=pl.Series(sizes, dtype=pl.Int64))


def _mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Finaliser of SplitMix64 (Steele, Lea & Flood 2014): a sum of these stands for a set of words."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def near_duplicates(queries: pl.DataFrame, library: pl.DataFrame, top: int = 3) -> pl.DataFrame:
    """Pairs (tables of `fragments`) of entropy similarity ≥ `NEAR` with ≥ `LEAST_PEAKS` shared peaks.

    The best spectrum of at most `top` molecules a query: identifier, library_identifier, score, and the columns
    inchikey14, formula, source, mark, peaks of both (the library's with the suffix `_other`).
    """
    columns = ["identifier", "inchikey14", "formula", "source", "mark", "peaks"]
    if queries.is_empty() or library.is_empty():
        empty = queries.head(0).select(columns)
        return empty.join(empty, on="identifier", suffix="_other").with_columns(
            library_identifier=pl.lit(None, dtype=pl.String), score=pl.lit(None, dtype=pl.Float64)
        )
    hits = Library.build(library).search(
        queries, "entropy", PEAK_TOLERANCE, PRECURSOR_TOLERANCE, top_k=top, group_by="inchikey14"
    )
    near = hits.filter((pl.col("score") >= NEAR) & (pl.col("matched_peaks") >= LEAST_PEAKS))
    other = library.select(library_identifier="identifier", **{f"{c}_other": pl.col(c) for c in columns[1:]})
    joined = near.join(queries.select(columns), on="identifier").join(other, on="library_identifier")
    return joined.filter(pl.col("inchikey14").is_not_null() & pl.col("inchikey14_other").is_not_null())


def identical() -> pl.Expr:
    """Of `near_duplicates`: whether a pair is one measurement, digit by digit."""
    same = (pl.col("mark") == pl.col("mark_other")) & (pl.col("peaks") == pl.col("peaks_other"))
    return same & (pl.col("peaks") >= LEAST_IDENTICAL)
