"""Centroiding of many spectra in numba: `similarity.centroid`, spectrum by spectrum."""

from __future__ import annotations

import numpy as np

from ._compiled import kernel, part


@kernel
def centroid_flat(mzs, intensities, offsets, da, relative):  # type: ignore[no-untyped-def]
    """`similarity.centroid` of every spectrum: (mzs, intensities, offsets)."""
    mz, height = mzs.copy(), intensities.copy()
    out = np.zeros(offsets.size, np.int64)
    filled = 0
    for row in range(offsets.size - 1):
        size = offsets[row + 1] - offsets[row]
        m, h = mz[offsets[row] : offsets[row] + size], height[offsets[row] : offsets[row] + size]
        while not _apart(m, da, relative):
            m, h = _merge(m, h, da, relative)
        for k in range(m.size):
            mz[filled + k], height[filled + k] = m[k], h[k]
        filled += m.size
        out[row + 1] = filled
    return mz[:filled].copy(), height[:filled].copy(), out


@part
def _apart(m, da, relative):  # type: ignore[no-untyped-def]
    for k in range(1, m.size):  # noqa: SIM110
        if m[k] - m[k - 1] <= 2 * (da + relative * m[k]):
            return False
    return True


@part
def _merge(m, h, da, relative):  # type: ignore[no-untyped-def]
    """One round of merging, from the most intense peak down."""
    free = np.ones(m.size, np.bool_)
    new_m, new_h = np.zeros(m.size), np.zeros(m.size)
    n = 0
    for top in np.argsort(-h, kind="mergesort"):
        if not free[top]:
            continue
        low, high = top, top + 1
        while low > 0 and m[top] - m[low - 1] <= 2 * (da + relative * m[top]):
            low -= 1
        while high < m.size and m[high] - m[top] <= 2 * (da + relative * m[high]):
            high += 1
        weighted, total = 0.0, 0.0
        for k in range(low, high):
            if free[k]:
                weighted += m[k] * h[k]
                total += h[k]
                free[k] = False
        new_m[n], new_h[n] = weighted / total, total
        n += 1
    order = np.argsort(new_m[:n], kind="mergesort")
    return new_m[:n][order], new_h[:n][order]
