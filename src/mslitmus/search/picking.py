"""Profile spectra as centroids: which spectra were recorded as profile is read off their points, not believed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..spectra.flat import Flat

#: Da, the widest step between two points of one profile peak (ion traps sample every 0.1 Da or finer).
STEP = 0.15
#: A point is strong above this share of the base peak; its neighbours flank it above this share of the point.
STRONG, FLANK = 0.1, 0.25


def profile(spectra: Flat) -> NDArray[np.bool_]:
    """Which of n spectra are profiles: at least half of their strong maxima have a flank on either side.

    A centroid has no neighbour of comparable height within `STEP`, a sampled peak has two.
    """
    n = spectra.offsets.size - 1
    row, maxima, left, right = _maxima(spectra)
    base = np.zeros(n)
    np.maximum.at(base, row, spectra.intensities)
    strong = maxima[spectra.intensities[maxima] >= STRONG * base[row[maxima]]]
    height = FLANK * spectra.intensities[strong]
    flanked = (left[strong] >= height) & (right[strong] >= height)
    found = np.bincount(row[strong], minlength=n)
    found_flanked = np.bincount(row[strong], weights=flanked, minlength=n)
    return np.asarray((found > 0) & (2 * found_flanked >= found))


def centroid(spectra: Flat) -> Flat:
    """One peak a maximum that has a neighbour: m/z of the parabola through the logarithms of three points.

    The parabola is exact for Gaussian peaks, whatever the spacing. With one neighbour, and on a plateau, the m/z is the
    mean of the points weighted by intensity. The intensity is that of the highest point. Lone points are noise.
    """
    row, maxima, left, right = _maxima(spectra)
    at = maxima[(left[maxima] > 0) | (right[maxima] > 0)]
    x, y = spectra.mzs, spectra.intensities
    before, after = np.maximum(at - 1, 0), np.minimum(at + 1, x.size - 1)
    a, b, c = left[at], y[at], right[at]
    mean = (a * x[before] + b * x[at] + c * x[after]) / (a + b + c)
    full = (a > 0) & (c > 0)
    tiny = np.finfo(float).tiny
    la, lb, lc = (np.log(np.maximum(part, tiny)) for part in (a, b, c))
    with np.errstate(divide="ignore", invalid="ignore"):
        rise, fall = (lb - la) / (x[at] - x[before]), (lc - lb) / (x[after] - x[at])
        curvature = (fall - rise) / (x[after] - x[before])
        vertex = (x[before] + x[at]) / 2 - rise / (2 * curvature)
    fits = full & (curvature < 0) & (vertex > x[before]) & (vertex < x[after])
    counts = np.bincount(row[at], minlength=spectra.offsets.size - 1)
    offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    return Flat(np.where(fits, vertex, mean), b, offsets)


def _maxima(
    spectra: Flat,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """(spectrum of each point, indices of local maxima, intensity of the left and of the right neighbour or 0)."""
    sizes = np.diff(spectra.offsets)
    row = np.repeat(np.arange(sizes.size), sizes)
    y = spectra.intensities
    left, right = np.zeros_like(y), np.zeros_like(y)
    if y.size > 1:
        touches = (np.diff(row) == 0) & (np.diff(spectra.mzs) <= STEP)
        left[1:] = np.where(touches, y[:-1], 0.0)
        right[:-1] = np.where(touches, y[1:], 0.0)
    return row, np.flatnonzero((y > left) & (y >= right)), left, right
