"""Tests of paired differences: sign flips over clusters, McNemar's exact test, Holm's correction, the effect size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr

from .intervals import Array

#: Sign matrices are drawn in blocks of about this many entries.
BLOCK_ENTRIES = 4_000_000
#: Columns to subtract, left and right.
Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]


def sign_flip(table: Array, flips: int = 9999, seed: int = 0, pairs: Pairs | None = None) -> Array:
    """Two-sided p of "no difference" for each column, by flipping the signs of whole rows.

    Args:
        table: (C, k), one row a cluster: differences, or with `pairs` the columns (models) they are taken between.
            A cluster of several molecules holds the sum of theirs.
        flips: random sign patterns; where all 2^C are no more, they are all used and p is exact.
        pairs: left and right column (each (m,)) of the differences to test; the signs of a pair flip together, so one
            product with the models' columns serves all pairs.

    Returns:
        p (m,): (1 + hits) / (1 + flips) if random (Phipson & Smyth 2010); NaN with fewer than two rows.
    """
    c = table.shape[0]
    left, right = pairs if pairs is not None else (np.arange(table.shape[1]), None)
    if c < 2:
        return np.full(left.size, np.nan)

    def contrast(sums: Array) -> Array:
        return np.abs(sums if right is None else sums[:, left] - sums[:, right])

    observed = contrast(table.sum(axis=0)[None, :])[0]
    scale = np.abs(table).sum(axis=0)
    scale = scale if right is None else scale[left] + scale[right]
    threshold = observed - 1e-9 * np.maximum(observed, scale * 1e-3)  # rounding must not hide a tie
    hits = np.zeros(left.size)
    exact = c < 32 and 2**c <= flips
    total = 2**c if exact else flips
    rng = np.random.default_rng(seed)
    block = max(1, BLOCK_ENTRIES // max(c, left.size))
    for start in range(0, total, block):
        size = min(block, total - start)
        bits: NDArray[np.uint8]
        if exact:
            patterns = np.arange(start, start + size)
            bits = ((patterns[:, None] >> np.arange(c)) & 1).astype(np.uint8)
        else:
            raw = np.frombuffer(rng.bytes(size * ((c + 7) // 8)), dtype=np.uint8).reshape(size, -1)
            bits = np.unpackbits(raw, axis=1, count=c)
        hits += (contrast((1.0 - 2.0 * bits) @ table) >= threshold).sum(axis=0)
    return hits / total if exact else (1 + hits) / (1 + total)


def mcnemar(a: Array, b: Array) -> Array:
    """Exact two-sided p of McNemar's test for each column (McNemar 1947; exact form as in Fagerland et al. 2013).

    Args:
        a, b: (n, m) values of two models on the same n independent queries. Only for answers that are right (1) or
            wrong (0): a column with any other value gives NaN.

    p = min(1, 2 P[Binomial(n₁₀ + n₀₁, ½) ≤ min(n₁₀, n₀₁)]), with n₁₀ the queries that only `a` got right; 1 where the
    models never disagree.
    """
    binary = (((a == 0) | (a == 1)) & ((b == 0) | (b == 1))).all(axis=0)
    only_a, only_b = (a > b).sum(axis=0), (b > a).sum(axis=0)
    split = only_a + only_b
    tail = bdtr(np.minimum(only_a, only_b).astype(np.float64), np.maximum(split, 1), 0.5)
    return np.where(binary, np.where(split > 0, np.minimum(1.0, 2 * tail), 1.0), np.nan)


def holm(p: Array) -> Array:
    """Holm's step-down adjusted p-values of one family (Holm 1979); NaN stays NaN and does not count."""
    adjusted = np.full(p.shape, np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = p[order] * np.arange(order.size, 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return adjusted


def effect_size(differences: Array) -> Array:
    """Cohen's d_z of each column: mean / standard deviation (ddof 1); NaN without spread."""
    if differences.shape[0] < 2:
        return np.full(differences.shape[1], np.nan)
    mean, deviation = differences.mean(axis=0), differences.std(axis=0, ddof=1)
    flat = deviation <= 1e-12 * np.maximum(np.abs(mean), 1e-6)
    return np.where(flat, np.nan, mean / np.where(flat, 1.0, deviation))
