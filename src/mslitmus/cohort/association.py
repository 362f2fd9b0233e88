"""What goes with what, in few samples: effects, p-values by rank tests and by permutation, false discovery rates.

A target is a column of classes (str) or of numbers. Rows are independent units: replicates are averaged before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Univariate:
    """One test a feature, (p,) each.

    Attributes:
        name: `Mann–Whitney`, `Kruskal–Wallis` or `Spearman`.
        effect: −1 to 1. Two classes: rank-biserial correlation (1: all of the second above all of the first); several:
            ε² of Kruskal and Wallis (0 to 1); numbers: Spearman's ρ.
        p, q: two-sided; q after Benjamini and Hochberg (1995).
    """

    name: str
    effect: Array
    p: Array
    q: Array


def by_feature(values: Array, target: NDArray[Any], lost: int = 0) -> Univariate:
    """Each column of `values` (n, p) against the target (n,), str or float. A constant column has p = 1.

    Args:
        lost: degrees of freedom that were taken from the values before, e.g. one less than the batches centred.
    """
    ranks = stats.rankdata(values, axis=0)
    if target.dtype.kind == "f":
        name, effect, p = "Spearman", *_spearman(ranks, target, lost)
    else:
        classes = np.unique(target)
        inside = [ranks[target == c] for c in classes]
        found = _mann_whitney(ranks, inside, lost) if len(classes) == 2 else _kruskal(ranks, inside, lost)
        name, effect, p = ("Mann–Whitney" if len(classes) == 2 else "Kruskal–Wallis", *found)
    flat = np.ptp(values, axis=0) == 0
    effect, p = np.where(flat, 0.0, effect), np.where(flat | ~np.isfinite(p), 1.0, p)
    return Univariate(name, effect, p, false_discovery(p))


def _mann_whitney(ranks: Array, inside: Sequence[Array], lost: int) -> tuple[Array, Array]:
    """U of the second class; normal approximation with the corrections for ties and continuity."""
    n, (first, second) = len(ranks), (len(inside[0]), len(inside[1]))
    u = inside[1].sum(axis=0) - second * (second + 1) / 2
    away = u - first * second / 2
    variance = first * second / n * ((ranks - (n + 1) / 2) ** 2).sum(axis=0) / max(n - 1 - lost, 1)
    z = np.maximum(np.abs(away) - 0.5, 0) / np.sqrt(np.where(variance > 0, variance, np.inf))
    return 2 * away / (first * second), np.asarray(2 * stats.norm.sf(z)).clip(max=1.0)


def _kruskal(ranks: Array, inside: Sequence[Array], lost: int) -> tuple[Array, Array]:
    """H with the correction for ties, χ² of k − 1 degrees; ε² = (H − k + 1) / (n − k), not below 0."""
    n, k = len(ranks), len(inside)
    between = sum(len(r) * (r.mean(axis=0) - (n + 1) / 2) ** 2 for r in inside)
    spread = ((ranks - (n + 1) / 2) ** 2).sum(axis=0) / max(n - 1 - lost, 1)
    h = between / np.where(spread > 0, spread, np.inf)
    return np.clip((h - k + 1) / max(n - k, 1), 0, 1), np.asarray(stats.chi2.sf(h, k - 1))


def _spearman(ranks: Array, target: Array, lost: int = 0) -> tuple[Array, Array]:
    other = stats.rankdata(target)
    a, b = ranks - ranks.mean(axis=0), other - other.mean()
    scale = np.sqrt((a**2).sum(axis=0) * (b**2).sum())
    rho = np.clip((a * b[:, None]).sum(axis=0) / np.where(scale > 0, scale, np.inf), -1, 1)
    free = max(len(target) - 2 - lost, 1)
    t = rho * np.sqrt(free / np.maximum(1 - rho**2, 1e-15))
    return rho, np.asarray(2 * stats.t.sf(np.abs(t), free))


def false_discovery(p: Array) -> Array:
    """q-values of Benjamini and Hochberg: the smallest rate at which each is among the discoveries."""
    if not p.size:
        return p
    order = np.argsort(p)
    scaled = p[order] * p.size / np.arange(1, p.size + 1)
    q = np.empty_like(p)
    q[order] = np.minimum(1.0, np.minimum.accumulate(scaled[::-1])[::-1])
    return q


@dataclass(frozen=True)
class Association:
    """How strongly two columns go together.

    Attributes:
        measure: what `effect` (0: not at all, 1: one decides the other) is.
        p: share of permutations at least as strong, (b + 1) / (B + 1); `least` the smallest that these permit.
    """

    measure: str
    effect: float
    p: float
    least: float
    n: int


def associate(a: NDArray[Any], b: NDArray[Any], permutations: int = 999, seed: int = 0) -> Association | None:
    """Between two columns of classes (str) or numbers (float), null rows left out by the caller, (n,) each.

    Two of classes: Cramér's V with Bergsma's correction (2013). Numbers against classes: the correlation ratio of the
    ranks, corrected (ω, the root of ω²). Two of numbers: |Spearman's ρ|. None where a column is constant or n < 4.
    """
    n = len(a)
    if n < 4 or len(set(a.tolist())) < 2 or len(set(b.tolist())) < 2:
        return None
    rng = np.random.default_rng(seed)
    measure, found = _measure(a, b)
    drawn = np.array([_measure(a[rng.permutation(n)], b)[1] for _ in range(permutations)])
    p = (1 + int((drawn >= found - 1e-12).sum())) / (permutations + 1)
    return Association(measure, found, p, 1 / (permutations + 1), n)


def _measure(a: NDArray[Any], b: NDArray[Any]) -> tuple[str, float]:
    numbers = [x.dtype.kind == "f" for x in (a, b)]
    if all(numbers):
        ranks = stats.rankdata(a)[:, None]
        return "|Spearman’s ρ|", float(abs(_spearman(ranks, b)[0][0]))
    if not any(numbers):
        return "Cramér’s V", _cramer(a, b)
    values, classes = (a, b) if numbers[0] else (b, a)
    return "ω of the ranks", _omega(stats.rankdata(values), classes)


def _cramer(a: NDArray[Any], b: NDArray[Any]) -> float:
    x, y = (np.unique(v, return_inverse=True)[1] for v in (a, b))
    table = np.zeros((x.max() + 1, y.max() + 1))
    np.add.at(table, (x, y), 1)
    n = table.sum()
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0, keepdims=True) / n
    phi = ((table - expected) ** 2 / expected).sum() / n
    rows, columns = table.shape
    phi = max(0.0, phi - (rows - 1) * (columns - 1) / (n - 1))
    most = min(rows - (rows - 1) ** 2 / (n - 1), columns - (columns - 1) ** 2 / (n - 1)) - 1
    return float(min(1.0, np.sqrt(phi / most))) if most > 0 else 0.0


def _omega(ranks: Array, classes: NDArray[Any]) -> float:
    """ω² = (between − (k − 1) within / (n − k)) / (total + within / (n − k))."""
    _, of = np.unique(classes, return_inverse=True)
    sizes = np.bincount(of)
    means = np.bincount(of, weights=ranks) / sizes
    total = ((ranks - ranks.mean()) ** 2).sum()
    between = (sizes * (means - ranks.mean()) ** 2).sum()
    free = len(ranks) - len(sizes)
    if free < 1 or total == 0:
        return 0.0
    noise = (total - between) / free
    return float(np.sqrt(max(0.0, (between - (len(sizes) - 1) * noise) / (total + noise))))
