"""The distribution of the studentized range: the largest of k normal means minus the smallest, over their error.

As `scipy.stats.studentized_range`, by a fixed Gauss–Legendre grid for all values at once: 28 models make
378 pairs a metric, at 17 ms each there. A test holds the two together.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.optimize import brentq
from scipy.special import gammaincinv, gammaln, ndtr

from .intervals import Array

NODES = 96
#: Normal deviates beyond this, and tails of the error's distribution below TAIL, add nothing to the integral.
FARTHEST = 9.0
TAIL = 1e-15
#: Values in one block: the grid has NODES² points for each.
BLOCK = 64


def studentized_range_sf(q: Array, k: int, freedom: float) -> Array:
    """P(range / error > q) for each q (m,), k ≥ 2 means and an error with `freedom` degrees of freedom; to about 1e-8.

    1 − ∫ f(s) W(q s) ds with f the density of s = √(χ²/ν) and W(w) = k ∫ φ(z) [Φ(z) − Φ(z − w)]^(k−1) dz, the
    distribution of the range of k normal values (z is the largest; Lund & Lund, Appl. Stat. 1983, AS 190).
    """
    low, high = np.sqrt(2 / freedom * gammaincinv(freedom / 2, [TAIL, 1 - TAIL]))
    # s = (…)²: the nodes crowd near 0, where W rises steeply if freedom is small
    root, width = _nodes(float(np.sqrt(low)), float(np.sqrt(high)))
    s = root**2
    half = freedom / 2
    constant = half * np.log(freedom) - gammaln(half) - (half - 1) * np.log(2)
    density = np.exp(constant + (freedom - 1) * np.log(s) - half * s * s)
    z, dz = _nodes(-FARTHEST, FARTHEST)
    weight = k * dz * np.exp(-z * z / 2) / np.sqrt(2 * np.pi)
    below = ndtr(z)
    result = np.empty(q.size)
    for start in range(0, q.size, BLOCK):
        w = q[start : start + BLOCK, None, None] * s[:, None]
        ranges = (below - ndtr(z - w)) ** (k - 1) @ weight
        result[start : start + BLOCK] = 1 - ranges @ (2 * root * width * density)
    return np.clip(result, 0.0, 1.0)


@lru_cache(maxsize=256)
def studentized_range_quantile(level: float, k: int, freedom: float) -> float:
    """The q that the range exceeds with probability 1 − level."""

    def excess(q: float) -> float:
        return float(studentized_range_sf(np.array([q]), k, freedom)[0]) - (1 - level)

    top = 8.0
    while excess(top) > 0:
        top *= 2
    return float(brentq(excess, 0.0, top, xtol=1e-9))


@lru_cache(maxsize=1)
def _rule() -> tuple[Array, Array]:
    x, weight = np.polynomial.legendre.leggauss(NODES)
    return x, weight


def _nodes(low: float, high: float) -> tuple[Array, Array]:
    """Places and weights of the Gauss–Legendre rule on [low, high]."""
    x, weight = _rule()
    return (low + high) / 2 + (high - low) / 2 * x, (high - low) / 2 * weight
