"""Spectra of one molecule at several energies as one: scaled alike, put on top of each other, close peaks joined."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._centroid import centroid_flat
from .flat import Flat


def merge_groups(spectra: Flat, groups: NDArray[np.int64], ppm: float = 10.0) -> Flat:
    """One spectrum a group: each member scaled to a sum of 1, pooled, peaks within `ppm` of each other joined.

    Args:
        spectra: n of them.
        groups: (n,) numbers 0 … G − 1, each at least once.

    Returns:
        G spectra. A joined peak has the sum of the intensities, and their mean m/z weighted by them. An empty member
        adds nothing; a group of empty ones is empty.
    """
    sizes = np.diff(spectra.offsets)
    row = np.repeat(np.arange(sizes.size), sizes)
    totals = np.bincount(row, weights=spectra.intensities, minlength=sizes.size)
    shares = spectra.intensities / totals[row]
    of = groups[row]
    order = np.lexsort((spectra.mzs, of))
    counts = np.bincount(of, minlength=int(groups.max()) + 1 if groups.size else 0)
    offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    # the kernel joins what lies within twice its tolerance
    return Flat(*centroid_flat(spectra.mzs[order], shares[order], offsets, 0.0, ppm * 1e-6 / 2))
