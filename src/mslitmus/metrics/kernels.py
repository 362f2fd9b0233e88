"""Fast spectral similarity: numba kernels over flat arrays, parity-tested against `spectra.similarity`.

Many spectra lie in one flat array of m/z and one of intensity; `offsets` (n + 1) say where each begins. Alignment
happens once for all measures that share it. Few kernels, cached on disk: compilation is paid once per machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from ..spectra.flat import Flat, select
from ..spectra.peaks import BIN_GUARD, PRECURSOR_ABOVE, PRECURSOR_BELOW
from ..spectra.similarity import LOW_ENTROPY


def _njit(function: Callable[..., Any]) -> Any:
    return numba.njit(cache=True, nogil=True)(function)


class AlignedFlat(NamedTuple):
    """n alignments end to end: intensities of side x and side y (0 = none), their m/z, offsets (n + 1)."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    mzs: NDArray[np.float64]
    offsets: NDArray[np.int64]


#: Code of each measure in `measure_aligned`.
MEASURES = {"cosine": 0, "cosine-sqrt": 1, "cosine-mz": 2, "cosine-sqrt-mz": 3, "jss": 4, "entropy": 5}
MEASURES["entropy-unweighted"] = MEASURES["jss"]  # the same number, see spectra.similarity.entropy_similarity


def drop_precursor(spectra: Flat, precursor_mz: NDArray[np.float64]) -> Flat:
    """The spectra without the precursor region of each (`spectra.peaks.precursor_region`)."""
    offset = spectra.mzs - np.repeat(precursor_mz, np.diff(spectra.offsets))
    return select(spectra, (offset < -PRECURSOR_BELOW) | (offset > PRECURSOR_ABOVE))


def align(a: Flat, b: Flat, *, width: float | None, ppm: float | None, max_mz: float) -> AlignedFlat:
    """Align spectrum k of `a` with spectrum k of `b`, on bins of `width` Da or one-to-one within `ppm`."""
    if width is not None:
        return AlignedFlat(*_align_binned(*a, *b, width, max_mz))
    if math.isfinite(max_mz):
        a, b = select(a, a.mzs < max_mz), select(b, b.mzs < max_mz)
    return AlignedFlat(*_align_ppm(*a, *b, float(ppm or 0.0)))


@_njit
def _align_binned(mz_a, int_a, off_a, mz_b, int_b, off_b, width, max_mz):  # type: ignore[no-untyped-def]
    n = off_a.size - 1
    x, y, mz = np.zeros((3, mz_a.size + mz_b.size))
    offsets = np.zeros(n + 1, np.int64)
    k = 0
    for row in range(n):
        i, j, end_a, end_b = off_a[row], off_b[row], off_a[row + 1], off_b[row + 1]
        last = -1.0
        while i < end_a or j < end_b:
            from_a = j >= end_b or (i < end_a and mz_a[i] <= mz_b[j])
            value = mz_a[i] if from_a else mz_b[j]
            if value + BIN_GUARD >= max_mz:
                break
            index = math.floor((value + BIN_GUARD) / width)
            if index != last:
                mz[k] = (index + 0.5) * width
                last = index
                k += 1
            if from_a:
                x[k - 1] += int_a[i]
                i += 1
            else:
                y[k - 1] += int_b[j]
                j += 1
        offsets[row + 1] = k
    return x[:k], y[:k], mz[:k], offsets


@_njit
def _align_ppm(mz_a, int_a, off_a, mz_b, int_b, off_b, ppm):  # type: ignore[no-untyped-def]
    """Greedy matching, one chain of overlapping pairs at a time: chains share no peak, so greedy within each chain
    equals greedy over the spectrum, and chains are a few pairs long."""
    n = off_a.size - 1
    x, y, mz = np.zeros((3, mz_a.size + mz_b.size))
    offsets = np.zeros(n + 1, np.int64)
    partner_a = np.full(mz_a.size, -1, np.int64)
    free_b = np.ones(mz_b.size, np.bool_)
    k = 0
    for row in range(n):
        start_a, end_a, low, end_b = off_a[row], off_a[row + 1], off_b[row], off_b[row + 1]
        chain, chain_low, reach = start_a, low, low - 1
        for i in range(start_a, end_a + 1):
            if i < end_a:
                while low < end_b and mz_b[low] < mz_a[i] and not _within(mz_a[i], mz_b[low], ppm):
                    low += 1
            if i == end_a or low > reach:
                _match_chain(mz_a, int_a, mz_b, int_b, chain, i, chain_low, reach + 1, ppm, partner_a, free_b)
                chain, chain_low = i, low
            if i < end_a:
                j = max(low, reach + 1)
                while j < end_b and _within(mz_a[i], mz_b[j], ppm):
                    reach = j
                    j += 1
        for i in range(start_a, end_a):
            j = partner_a[i]
            x[k], mz[k] = int_a[i], mz_a[i]
            if j >= 0:
                y[k], mz[k] = int_b[j], (mz_a[i] + mz_b[j]) / 2
            k += 1
        for j in range(off_b[row], end_b):
            if free_b[j]:
                y[k], mz[k] = int_b[j], mz_b[j]
                k += 1
        offsets[row + 1] = k
    return x[:k], y[:k], mz[:k], offsets


@_njit
def _within(a, b, ppm):  # type: ignore[no-untyped-def]
    return abs(a - b) <= ppm * 1e-6 * (a + b) / 2


@_njit
def _match_chain(  # type: ignore[no-untyped-def]
    mz_a, int_a, mz_b, int_b, start_a, end_a, start_b, end_b, ppm, partner_a, free_b
):
    """Match peaks start_a:end_a with start_b:end_b, best pair first; `partner_a` and `free_b` take the result."""
    if end_a <= start_a or end_b <= start_b:
        return
    while True:
        best_i, best_j, product, gap, total = -1, -1, -1.0, 0.0, 0.0
        low = start_b
        for i in range(start_a, end_a):
            while low < end_b and mz_b[low] < mz_a[i] and not _within(mz_a[i], mz_b[low], ppm):
                low += 1
            if partner_a[i] >= 0:
                continue
            for j in range(low, end_b):
                if not _within(mz_a[i], mz_b[j], ppm):
                    break
                if not free_b[j]:
                    continue
                p, g, t = int_a[i] * int_b[j], abs(mz_a[i] - mz_b[j]), mz_a[i] + mz_b[j]
                if p > product or (p == product and (g < gap or (g == gap and t < total))):
                    best_i, best_j, product, gap, total = i, j, p, g, t
        if best_i < 0:
            return
        partner_a[best_i] = best_j
        free_b[best_j] = False


@_njit
def entropies(values, offsets):  # type: ignore[no-untyped-def]
    """Spectral entropy (nats) of each row of non-negative values; 0 of an empty row. Shape (n,)."""
    out = np.zeros(offsets.size - 1)
    for row in range(out.size):
        total, weighted = 0.0, 0.0
        for k in range(offsets[row], offsets[row + 1]):
            if values[k] > 0:
                total += values[k]
                weighted += values[k] * math.log(values[k])
        if total > 0:
            out[row] = max(0.0, math.log(total) - weighted / total)
    return out


@_njit
def measure_aligned(x, y, mzs, offsets, code):  # type: ignore[no-untyped-def]
    """One similarity a row, by the measure's code; 0 where a side is empty. Shape (n,)."""
    n = offsets.size - 1
    out = np.zeros(n)
    entropy_x, entropy_y = np.full(n, LOW_ENTROPY), np.full(n, LOW_ENTROPY)
    if code == 5:
        entropy_x, entropy_y = entropies(x, offsets), entropies(y, offsets)
    for row in range(n):
        low, high = offsets[row], offsets[row + 1]
        if code >= 4:
            out[row] = _jss(x, y, low, high, entropy_x[row], entropy_y[row])
        else:
            dot, norm_x, norm_y = 0.0, 0.0, 0.0
            for k in range(low, high):
                u, v = x[k], y[k]
                if code == 1 or code == 3:
                    u, v = math.sqrt(u), math.sqrt(v)
                if code >= 2:
                    u, v = u * mzs[k], v * mzs[k]
                dot += u * v
                norm_x += u * u
                norm_y += v * v
            if norm_x > 0 and norm_y > 0:
                out[row] = min(1.0, dot / math.sqrt(norm_x * norm_y))
    return out


@_njit
def _jss(x, y, low, high, entropy_x, entropy_y):  # type: ignore[no-untyped-def]
    """Σ over shared peaks of f(p + q) − f(p) − f(q), f(t) = t ln t, over 2 ln 2: equal to 1 − JSD/ln 2."""
    power_x = (1.0 + entropy_x) / 4 if entropy_x < LOW_ENTROPY else 1.0
    power_y = (1.0 + entropy_y) / 4 if entropy_y < LOW_ENTROPY else 1.0
    total_x, total_y = 0.0, 0.0
    for k in range(low, high):
        if x[k] > 0:
            total_x += x[k] ** power_x
        if y[k] > 0:
            total_y += y[k] ** power_y
    if total_x <= 0 or total_y <= 0:
        return 0.0
    shared = 0.0
    for k in range(low, high):
        if x[k] > 0 and y[k] > 0:
            p, q = x[k] ** power_x / total_x, y[k] ** power_y / total_y
            shared += (p + q) * math.log(p + q) - p * math.log(p) - q * math.log(q)
    return min(1.0, max(0.0, shared / (2 * math.log(2.0))))
