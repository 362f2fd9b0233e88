"""Statistics of distribution shift between two folds: Kolmogorov–Smirnov with a permutation p, Cramér's V."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def ks_permutation(a: NDArray[np.float64], b: NDArray[np.float64], permutations: int, seed: int) -> tuple[float, float]:
    """Two-sample Kolmogorov–Smirnov statistic and its permutation p, (1 + #{permuted ≥ observed}) / (1 + permutations).

    Ties are exact: the distributions are compared only where a run of equal values ends (asymptotic p-values are
    wrong for counts such as rings).
    """
    pooled = np.concatenate([a, b])
    order = np.argsort(pooled, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(pooled[order]) != 0, True))
    label = (np.arange(len(pooled)) < len(a))[order]
    position = (ends + 1).astype(np.float64)
    # |F_a − F_b| at k pooled values of which c are of a: |c/n_a − (k − c)/n_b|
    rng = np.random.default_rng(seed)
    block = max(1, min(permutations, 4_000_000 // len(pooled)))

    def statistic(labels: NDArray[np.bool_]) -> NDArray[np.float64]:
        hits = np.cumsum(labels, axis=-1, dtype=np.int32)[..., ends]
        gap: NDArray[np.float64] = np.abs(hits / len(a) - (position - hits) / len(b)).max(axis=-1)
        return gap

    observed, reached = float(statistic(label)), 0
    for start in range(0, permutations, block):
        size = min(block, permutations - start)
        shuffled = rng.permuted(np.broadcast_to(label, (size, len(label))), axis=1)
        reached += int((statistic(shuffled) >= observed - 1e-12).sum())
    return observed, (1 + reached) / (1 + permutations)


def ks_weighted(values: NDArray[np.float64], a: NDArray[np.float64], b: NDArray[np.float64]) -> float | None:
    """Kolmogorov–Smirnov statistic of two samples given as counts: value i occurs a[i] times in one, b[i] in the other.
    None where either is empty. It has no p here: spectra of one molecule are no independent draws."""
    known = np.isfinite(values)
    values, a, b = values[known], a[known], b[known]
    if not a.sum() or not b.sum():
        return None
    order = np.argsort(values, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(values[order]) != 0, True))
    return float(np.abs(np.cumsum(a[order])[ends] / a.sum() - np.cumsum(b[order])[ends] / b.sum()).max())


def cramers_v(table: NDArray[np.float64]) -> tuple[float | None, float | None]:
    """Cramér's V of a contingency table, raw and bias-corrected (Bergsma 2013). None where a side has one level."""
    table = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0]
    (r, k), n = table.shape, table.sum()
    if min(r, k) < 2 or n < 2:
        return None, None
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0, keepdims=True) / n
    phi2 = float(((table - expected) ** 2 / expected).sum() / n)
    raw = math.sqrt(phi2 / (min(r, k) - 1))
    rows, columns = r - (r - 1) ** 2 / (n - 1), k - (k - 1) ** 2 / (n - 1)
    smallest = min(rows, columns) - 1
    shrunk = max(0.0, phi2 - (r - 1) * (k - 1) / (n - 1))
    return raw, math.sqrt(shrunk / smallest) if smallest > 0 else None
