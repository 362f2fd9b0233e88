"""Numba kernels for mappings of atoms onto atoms: every mapping is an upper bound on the distance."""

from __future__ import annotations

import numpy as np
from numba import njit

TINY = 1e-6


@njit(cache=True, nogil=True)
def _gain(i, j, image, deg1, nb1, w1, matrix2):  # type: ignore[no-untyped-def]
    """What atom i saves as the image j, given the images of its neighbours (each bond counted whole)."""
    total = 0.0
    for a in range(deg1[i]):
        other = image[nb1[i, a]]
        if other >= 0:
            total += 2.0 * min(w1[i, a], matrix2[j, other])
    return total


@njit(cache=True, nogil=True)
def savings(image, deg1, nb1, w1, matrix2):  # type: ignore[no-untyped-def]
    """Σ 2·min(w₁, w₂) over the bonds whose two ends have bonded images; image[i] is −1 for a free atom."""
    total = 0.0
    for i in range(len(image)):
        if image[i] >= 0:
            total += 0.5 * _gain(i, image[i], image, deg1, nb1, w1, matrix2)
    return total


@njit(cache=True, nogil=True)
def improve(image, blocks, deg1, nb1, w1, matrix2):  # type: ignore[no-untyped-def]
    """Swap images of two atoms of one element, or move to a free one, while that saves more. In place."""
    owner = np.full(len(matrix2), -1, np.int32)
    for i in range(len(image)):
        if image[i] >= 0:
            owner[image[i]] = i
    better = True
    while better:
        better = False
        for k in range(len(blocks)):
            for i in range(blocks[k, 0], blocks[k, 1]):
                for j in range(blocks[k, 2], blocks[k, 3]):
                    old, other = image[i], owner[j]
                    if old == j or (old < 0 and other >= 0 and other > i):
                        continue
                    before = 0.0
                    if old >= 0:
                        before += _gain(i, old, image, deg1, nb1, w1, matrix2)
                    if other >= 0:
                        before += _gain(other, j, image, deg1, nb1, w1, matrix2)
                    image[i] = j
                    if other >= 0:
                        image[other] = old
                    after = _gain(i, j, image, deg1, nb1, w1, matrix2)
                    if other >= 0 and old >= 0:
                        after += _gain(other, old, image, deg1, nb1, w1, matrix2)
                    if after > before + TINY:
                        owner[j] = i
                        if old >= 0:
                            owner[old] = other
                        better = True
                    else:
                        image[i] = old
                        if other >= 0:
                            image[other] = j


@njit(cache=True, nogil=True)
def grow(seed, image, blocks, worth, limit, deg1, nb1, w1, deg2, nb2, matrix2):  # type: ignore[no-untyped-def]
    """A mapping grown bond by bond from atom pairs that the bound likes: next to what is mapped comes the pair that
    saves most, less its reduced cost limit − worth; where nothing is left to grow, a free pair of little reduced cost
    starts anew, `seed` picks among equals. Fills `image`."""
    n1, n2 = worth.shape
    image[:] = -1
    owner = np.full(n2, -1, np.int32)
    while True:
        best, row, col = -np.inf, -1, -1
        for i in range(n1):
            if image[i] < 0:
                continue
            j = image[i]
            for a in range(deg1[i]):
                k = nb1[i, a]
                if image[k] >= 0:
                    continue
                for b in range(deg2[j]):
                    x = nb2[j, b]
                    if owner[x] >= 0 or limit[k, x] == np.inf:
                        continue
                    value = _gain(k, x, image, deg1, nb1, w1, matrix2) - (limit[k, x] - worth[k, x])
                    if value > best:
                        best, row, col = value, k, x
        if row < 0:
            for q in range(len(blocks)):
                for i in range(blocks[q, 0], blocks[q, 1]):
                    if image[i] >= 0:
                        continue
                    for j in range(blocks[q, 2], blocks[q, 3]):
                        if owner[j] >= 0 or limit[i, j] == np.inf:
                            continue
                        value = (
                            0.1 * worth[i, j] - (limit[i, j] - worth[i, j]) - ((i * 31 + j * 17 + seed * 7) % 11) * 0.02
                        )
                        if value > best:
                            best, row, col = value, i, j
        if row < 0:
            return
        image[row] = col
        owner[col] = row
