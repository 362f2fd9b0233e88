"""Many spectra as two flat arrays: the columnar form that every fast kernel works on.

`offsets` (n + 1) say where each spectrum begins; within a spectrum m/z ascend. `flatten` makes them from a table and
refuses what is no spectrum; nothing is merged or scaled.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..errors import MslitmusError, SchemaError

SHOWN = 5
MOST_MZ = 1e5  # Da: what lies above is a damaged number, and overflows the kernels' bins
_PEAKS = ("mzs", "intensities")


class Flat(NamedTuple):
    """n spectra end to end: m/z (Da, ascending within each), intensity (> 0), offsets (n + 1)."""

    mzs: NDArray[np.float64]
    intensities: NDArray[np.float64]
    offsets: NDArray[np.int64]


def select(spectra: Flat, keep: NDArray[np.bool_]) -> Flat:
    """The spectra with only the peaks marked in `keep` (one flag a peak)."""
    kept_before = np.concatenate(([0], np.cumsum(keep)))
    return Flat(spectra.mzs[keep], spectra.intensities[keep], kept_before[spectra.offsets])


def flatten(frame: pl.DataFrame, error: type[MslitmusError] = SchemaError, where: str = "spectra") -> Flat:
    """The `mzs` and `intensities` of n rows as flat arrays; zero intensities dropped, peaks sorted by m/z.

    A null list is an empty spectrum. Raises `error` naming the `identifier` of rows that are no spectra.
    """
    lengths = [frame.get_column(c).list.len().fill_null(0).to_numpy().astype(np.int64) for c in _PEAKS]
    remedy = "mzs and intensities of one row need the same length"
    refuse_rows(frame, lengths[0] != lengths[1], "lists of unequal length", error, where, remedy)
    full = frame.select(_PEAKS)
    if (lengths[0] == 0).any():
        full = full.filter(pl.Series(lengths[0] > 0))
    # writable, as all that the kernels see: they are compiled anew for arrays that are not
    mzs, intensities = (full.get_column(c).explode().cast(pl.Float64).to_numpy(writable=True) for c in _PEAKS)
    offsets = np.concatenate(([0], np.cumsum(lengths[0])))
    row = np.repeat(np.arange(frame.height), lengths[0])
    good = (mzs > 0) & (mzs <= MOST_MZ) & np.isfinite(intensities) & (intensities >= 0)
    if not good.all():
        bad = np.zeros(frame.height, dtype=bool)
        bad[row[~good]] = True
        remedy = f"every m/z must be > 0 and at most {MOST_MZ:,.0f}, every intensity finite and ≥ 0"
        refuse_rows(frame, bad, "NaN, infinite, negative or impossible values", error, where, remedy)
    if ((mzs[1:] < mzs[:-1]) & (row[1:] == row[:-1])).any():
        order = np.lexsort((mzs, row))
        mzs, intensities = mzs[order], intensities[order]
    spectra = Flat(mzs, intensities, offsets)
    return spectra if (intensities > 0).all() else select(spectra, intensities > 0)


def strongest(frame: pl.DataFrame, most: int) -> tuple[NDArray[np.int64], Flat]:
    """(peaks,) the row of each of the `most` strongest peaks of every spectrum, and those peaks, base peak 1.

    Of equal ones the lower m/z. Raises as `flatten`.
    """
    spectra = flatten(frame)
    lengths = np.diff(spectra.offsets)
    owner = np.repeat(np.arange(frame.height), lengths)
    base = np.zeros(frame.height)
    np.maximum.at(base, owner, spectra.intensities)
    height = spectra.intensities / np.maximum(base, 1e-30)[owner]
    order = np.lexsort((spectra.mzs, -height, owner))
    rank = np.arange(len(order)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    kept = order[rank < most]
    kept = kept[np.lexsort((height[kept], spectra.mzs[kept], owner[kept]))]
    offsets = np.concatenate([[0], np.cumsum(np.minimum(lengths, most))]).astype(np.int64)
    return owner[kept], Flat(spectra.mzs[kept], height[kept], offsets)


def precursors(frame: pl.DataFrame) -> NDArray[np.float64]:
    """Da, (n,). NaN where unknown, which what is no m/z (0, negative, above `MOST_MZ`) stands for, too."""
    column = pl.Series([None] * frame.height, dtype=pl.Float64)
    if "precursor_mz" in frame.columns:
        column = frame.get_column("precursor_mz").cast(pl.Float64)
    stated = column.fill_null(float("nan")).to_numpy()
    known = np.where((stated > 0) & (stated <= MOST_MZ), stated, np.nan)
    known.flags.writeable = False  # one kind of array for the kernels
    return known


def refuse_rows(
    frame: pl.DataFrame, bad: NDArray[np.bool_], what: str, error: type[MslitmusError], where: str, remedy: str
) -> None:
    """Raises `error` with up to five identifiers of the rows marked in `bad`, if there are any."""
    if not bad.any():
        return
    ids = frame.get_column("identifier").filter(pl.Series(bad)).unique(maintain_order=True)
    shown = ", ".join(repr(i) for i in ids.head(SHOWN)) + (", …" if ids.len() > SHOWN else "")
    raise error(f"{int(bad.sum())} rows {what}: {shown}", where=where, remedy=remedy)
