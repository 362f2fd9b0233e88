"""Pure transforms of one spectrum's peaks: the readable definitions that the fast code is tested against.

A spectrum here is two arrays of equal length, `mzs` (Da, float64) and `intensities` (float64, any scale). Every
function returns new arrays and leaves its arguments alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError

Array = NDArray[np.float64]
Peaks = tuple[Array, Array]

#: Da added to every m/z before it is binned. Recorded m/z often lie exactly on a bin edge (four decimals, bins of
#: 0.01 Da), where the last bit of a float would decide; with the guard an edge lies 1e-6 Da below the round number.
BIN_GUARD = 1e-6
#: The precursor region, Da relative to the precursor m/z: half a nominal mass below it (no fragment lies there, the
#: smallest loss being H, 1.008 Da) up to and including the fourth isotope peak.
PRECURSOR_BELOW = 0.5
PRECURSOR_ABOVE = 4.5


def clean(mzs: Array, intensities: Array) -> Peaks:
    """Peaks with finite m/z > 0 and finite intensity > 0, ascending by m/z (stable)."""
    mzs, intensities = np.asarray(mzs, np.float64), np.asarray(intensities, np.float64)
    keep = np.isfinite(mzs) & np.isfinite(intensities) & (mzs > 0) & (intensities > 0)
    mzs, intensities = mzs[keep], intensities[keep]
    order = np.argsort(mzs, kind="stable")
    return mzs[order], intensities[order]


def normalise(mzs: Array, intensities: Array, to: str = "base") -> Peaks:
    """Intensities scaled to base peak 1 (`to="base"`), sum 1 (`"sum"`) or Euclidean norm 1 (`"norm"`).

    A spectrum whose intensities are all zero is returned as it is. Raises ConfigError for another `to`.
    """
    scale = {"base": lambda x: x.max(), "sum": lambda x: x.sum(), "norm": lambda x: np.sqrt((x * x).sum())}
    if to not in scale:
        raise ConfigError(f"cannot normalise to {to!r}", remedy="one of base, sum, norm")
    intensities = np.asarray(intensities, np.float64)
    if not intensities.size or not intensities.any():
        return np.array(mzs, np.float64), intensities.copy()
    return np.array(mzs, np.float64), intensities / scale[to](intensities)


def bin_index(mzs: Array, width: float) -> NDArray[np.int64]:
    """Bin of each m/z: `floor((mz + BIN_GUARD) / width)`; bin k covers [k·width, (k+1)·width) less the guard."""
    return np.floor((np.asarray(mzs, np.float64) + BIN_GUARD) / width).astype(np.int64)


def bin_peaks(mzs: Array, intensities: Array, width: float, max_mz: float = np.inf) -> Peaks:
    """Occupied bins as peaks: m/z of the bin's centre, sum of its intensities. Peaks at m/z ≥ `max_mz` are dropped."""
    mzs, intensities = clean(mzs, intensities)
    keep = mzs + BIN_GUARD < max_mz
    index, where = np.unique(bin_index(mzs[keep], width), return_inverse=True)
    sums = np.zeros(index.size)
    np.add.at(sums, where, intensities[keep])
    centres: Array = np.asarray((index + 0.5) * width, np.float64)
    return centres, sums


def precursor_region(mzs: Array, precursor_mz: float) -> NDArray[np.bool_]:
    """True for peaks of the precursor and its isotopes: precursor − 0.5 ≤ m/z ≤ precursor + 4.5 Da."""
    offset = np.asarray(mzs, np.float64) - precursor_mz
    return (offset >= -PRECURSOR_BELOW) & (offset <= PRECURSOR_ABOVE)


def remove_precursor(mzs: Array, intensities: Array, precursor_mz: float) -> Peaks:
    """Peaks outside the `precursor_region`."""
    keep = ~precursor_region(mzs, precursor_mz)
    return np.asarray(mzs, np.float64)[keep], np.asarray(intensities, np.float64)[keep]


def neutral_losses(mzs: Array, intensities: Array, precursor_mz: float, min_loss: float = PRECURSOR_BELOW) -> Peaks:
    """The loss spectrum of a singly charged precursor: m/z becomes precursor − m/z (Da), ascending.

    Losses below `min_loss` (the precursor itself, isotopes, noise above it) are dropped.
    """
    losses = precursor_mz - np.asarray(mzs, np.float64)
    keep = losses >= min_loss
    losses, intensities = losses[keep], np.asarray(intensities, np.float64)[keep]
    order = np.argsort(losses, kind="stable")
    return losses[order], intensities[order]
