"""Rules on the peaks: none that the precursor cannot give, at least one fragment; equal peak lists found."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .outcome import Outcome, drop, mark, touched

#: Isotopologues up to M+4 (chlorine and bromine) pass an isolation window; what lies above them is not of this ion.
ISOTOPES = 4.5
#: A peak this close to the precursor (Da) is the precursor.
PRECURSOR_WINDOW = 0.5
MIN_PEAKS_TO_COMPARE = 3
DUPLICATE, CONFLICT = "duplicate", "conflicting-label"


def repair_peaks(frame: pl.DataFrame) -> Outcome:
    """Peaks of zero intensity, and peaks above the precursor and its isotopes, are removed.

    The limit is m/z + 4.5 for a singly charged ion and |z| × m/z + 4.5 for a multiply charged one, whose fragments may
    lie above it; where the charge is not known only zero peaks go.
    """
    charge = pl.col("charge").cast(pl.Float64).abs().cast(pl.Float64)
    limit = frame.select((pl.col("precursor_mz") * charge + ISOTOPES).fill_null(np.inf)).to_series().to_numpy()
    sizes = frame.get_column("mzs").list.len().to_numpy().astype(np.int64)
    mzs, intensities = (_flat(frame.get_column(n)) for n in ("mzs", "intensities"))
    keep = (mzs <= np.repeat(limit, sizes)) & (intensities > 0)
    if keep.all():
        return Outcome(frame)
    row = np.repeat(np.arange(len(sizes)), sizes)
    kept = np.bincount(row[keep], minlength=len(sizes))
    mzs, intensities, row = mzs[keep], intensities[keep], row[keep]
    base = np.zeros(len(sizes))
    np.maximum.at(base, row, intensities)
    scale = np.where(base > 0, base, 1.0)
    new = frame.with_columns(
        _listed("mzs", mzs, kept, pl.Float64()),
        _listed("intensities", intensities / scale[row], kept, pl.Float32()),
        (pl.col("base_peak_intensity") * pl.Series(scale)).cast(pl.Float32).alias("base_peak_intensity"),
        pl.Series("_removed", sizes - kept),
    )
    reason = pl.format("{} peaks removed, precursor m/z {}", pl.col("_removed"), pl.col("precursor_mz").round(4))
    return Outcome(new.drop("_removed"), changed=touched(new, pl.col("_removed") > 0, reason))


def _flat(column: pl.Series) -> NDArray[np.float64]:
    return column.filter(column.list.len() > 0).explode().cast(pl.Float64).to_numpy()


def _listed(name: str, flat: NDArray[np.float64], sizes: NDArray[np.int64], dtype: Any) -> pl.Series:
    import pyarrow as pa

    offsets = pa.array(np.concatenate([[0], np.cumsum(sizes)]), pa.int64())
    values = pa.array(flat.astype(np.float32) if dtype == pl.Float32() else flat)
    return pl.Series(name, pl.from_arrow(pa.LargeListArray.from_arrays(offsets, values))).cast(pl.List(dtype))


def require_fragment(frame: pl.DataFrame) -> Outcome:
    """At least one fragment peak: below the precursor, or anywhere beside it where the ion is multiply charged."""
    row = frame.select("mzs", "precursor_mz", z=pl.col("charge").cast(pl.Int32).abs().fill_null(1))
    sizes = row.get_column("mzs").list.len().to_numpy().astype(np.int64)
    above = _flat(row.get_column("mzs")) - np.repeat(row.get_column("precursor_mz").to_numpy(), sizes)
    multiple = np.repeat(row.get_column("z").to_numpy() > 1, sizes)
    fragment = (above < -PRECURSOR_WINDOW) | (multiple & (above > PRECURSOR_WINDOW))
    count = np.bincount(np.repeat(np.arange(len(sizes)), sizes)[fragment], minlength=len(sizes))
    joined = frame.with_columns(pl.Series("_fragments", count))
    reason = pl.format("{} peaks, none below m/z {}", pl.col("mzs").list.len(), pl.col("precursor_mz").round(4))
    outcome = drop(joined, pl.col("_fragments") == 0, reason)
    return Outcome(outcome.frame.drop("_fragments"), dropped=outcome.dropped)


def with_peak_key(frame: pl.DataFrame) -> pl.DataFrame:
    """Adds `_key`: equal for equal peak lists (m/z to 0.001, intensity to 0.001); null below three peaks.

    One or two peaks say too little: recalibrated records of one molecule share them at many energies.
    """
    sizes = frame.get_column("mzs").list.len().to_numpy().astype(np.int64)
    mz = np.rint(_flat(frame.get_column("mzs")) * 1000).astype(np.uint64)
    intensity = np.rint(_flat(frame.get_column("intensities")) * 1000).astype(np.uint64)
    row = np.repeat(np.arange(len(sizes)), sizes)
    total = np.zeros(len(sizes), dtype=np.uint64)
    np.add.at(total, row, _mixed(mz * np.uint64(1009) + intensity))  # a sum, so order does not matter
    key = pl.Series("_key", total)
    return frame.with_columns(pl.when(pl.Series(sizes >= MIN_PEAKS_TO_COMPARE)).then(key).alias("_key"))


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """splitmix64 (Steele et al. 2014), so that sums of keys collide by chance only."""
    x = values + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def mark_conflicting_labels(frame: pl.DataFrame) -> Outcome:
    """Equal peak lists under different molecules."""
    keyed = with_peak_key(frame)
    molecules = pl.col("inchikey14").drop_nulls().n_unique().over("_key")
    where = pl.col("_key").is_not_null() & pl.col("inchikey14").is_not_null() & (molecules > 1)
    reason = pl.format("{} molecules share these peaks, here {}", molecules, pl.col("inchikey14"))
    outcome = mark(
        keyed.with_columns(where.alias("_hit"), reason.alias("_why")), pl.col("_hit"), CONFLICT, pl.col("_why")
    )
    return Outcome(outcome.frame.drop("_key", "_hit", "_why"), marked=outcome.marked)


def mark_duplicates(frame: pl.DataFrame) -> Outcome:
    """Equal peak lists of one molecule and adduct: all but the first."""
    keyed = with_peak_key(frame)
    group = ["_key", "inchikey14", "adduct"]
    later = pl.int_range(pl.len()).over(group) > 0
    first = pl.col("identifier").first().over(group)
    where = pl.col("_key").is_not_null() & pl.col("inchikey14").is_not_null() & later
    helped = keyed.with_columns(where.alias("_hit"), (pl.lit("as ") + first).alias("_why"))
    outcome = mark(helped, pl.col("_hit"), DUPLICATE, pl.col("_why"))
    return Outcome(outcome.frame.drop("_key", "_hit", "_why"), marked=outcome.marked)


def drop_duplicates(frame: pl.DataFrame) -> Outcome:
    """Option: leave out what `mark_duplicates` marked."""
    return drop(frame, pl.col("flags").list.contains(DUPLICATE), "a duplicate spectrum of its molecule")


def drop_conflicting_labels(frame: pl.DataFrame) -> Outcome:
    """Option: leave out what `mark_conflicting_labels` marked."""
    return drop(frame, pl.col("flags").list.contains(CONFLICT), "its peaks stand under another molecule too")
