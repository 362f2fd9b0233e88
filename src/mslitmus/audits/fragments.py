"""Spectra without their precursor region, and which of them are the same measurement or nearly so.

A spectrum that is all precursor resembles every other of its precursor, so only fragments count here, and only spectra
with several of them.
"""

from __future__ import annotations

import numpy as np
import polars as pl

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
    """Rows with at least `least` fragment peaks: the columns above, `mzs`, `intensities` (base fragment 1), `mark`.

    `mark` is the same for spectra whose fragments agree to 0.0001 Da and 0.001 of the base fragment.
    """
    known = frame.filter(pl.col("precursor_mz").is_finite() & (pl.col("mzs").list.len() > 0))
    flat = drop_precursor(flatten(known), known["precursor_mz"].to_numpy())
    kept = np.diff(flat.offsets) >= least
    rows = known.filter(pl.Series(kept, dtype=pl.Boolean)).select(_COLUMNS)
    return rows.hstack(_lists(flat, kept))


def _lists(flat: Flat, kept: np.ndarray) -> pl.DataFrame:
    sizes = np.diff(flat.offsets)
    row = np.repeat(np.arange(len(sizes)), sizes)
    chosen = kept[row]
    peaks = pl.DataFrame({"row": row[chosen], "mz": flat.mzs[chosen], "x": flat.intensities[chosen]})
    peaks = peaks.with_columns(pl.col("x") / pl.col("x").max().over("row"))
    place = (pl.col("mz") * 1e4).round().cast(pl.Int64).cast(pl.String)
    height = (pl.col("x") * 1e3).round().cast(pl.Int64).cast(pl.String)
    peaks = peaks.with_columns(text=pl.concat_str(place, height, separator=":"))
    lists = peaks.group_by("row", maintain_order=True).agg(
        mzs=pl.col("mz"), intensities=pl.col("x"), mark=pl.col("text").str.join(" ")
    )
    return lists.select("mzs", "intensities", "mark")


def near_duplicates(queries: pl.DataFrame, library: pl.DataFrame, top: int = 3) -> pl.DataFrame:
    """Pairs (tables of `fragments`) of entropy similarity ≥ `NEAR` with ≥ `LEAST_PEAKS` shared peaks.

    The best spectrum of at most `top` molecules a query: identifier, library_identifier, score, and the columns
    inchikey14, formula, source, mark of both (the library's with the suffix `_other`).
    """
    columns = ["identifier", "inchikey14", "formula", "source", "mark"]
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
    several = pl.col("mark").str.count_matches(" ") >= LEAST_IDENTICAL - 1
    return (pl.col("mark") == pl.col("mark_other")) & several
