"""Numbers about confidence: how well it tells right from wrong, what abstaining buys, and how far it can be believed.

Everywhere `weight` (n,) counts a query 1 / (queries of its molecule), so that a molecule weighs 1, and `right` (n,)
lies in [0, 1]: a tie that is broken at random is half right.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Array = NDArray[np.float64]
BINS = 10


def molecule_weights(molecules: NDArray[Any]) -> tuple[NDArray[np.int64], Array]:
    """Code of each query's molecule (n,) and its weight (n,)."""
    code = np.unique(molecules, return_inverse=True)[1].astype(np.int64)
    return code, 1.0 / np.bincount(code)[code]


def auc(confidence: Array, right: Array, weight: Array) -> float:
    """Area under the ROC curve: P(a right answer is more confident than a wrong one), ties half. NaN if all are alike.

    Hanley & McNeil, Radiology 1982, 143, 29, with weights.
    """
    group = np.unique(confidence, return_inverse=True)[1]
    hits, misses = np.bincount(group, weight * right), np.bincount(group, weight * (1 - right))
    below = np.cumsum(misses) - misses
    total = hits.sum() * misses.sum()
    return float((hits * (below + misses / 2)).sum() / total) if total > 0 else float("nan")


def concordance(confidence: Array, right: Array, weight: Array) -> float:
    """Spearman's ρ of confidence and score, weighted; NaN if one of them is constant."""
    x, y = rankdata(confidence), rankdata(right)
    x, y = x - np.average(x, weights=weight), y - np.average(y, weights=weight)
    spread = float(np.average(x * x, weights=weight) * np.average(y * y, weights=weight))
    return float(np.average(x * y, weights=weight)) / spread**0.5 if spread > 1e-12 else float("nan")


def resampled(
    statistic: Callable[[Array, Array, Array], float],
    confidence: Array,
    right: Array,
    molecules: NDArray[Any],
    resamples: int = 300,
    seed: int = 0,
) -> tuple[float, float, float]:
    """A statistic with its 95 % percentile interval by bootstrap over molecules."""
    code, weight = molecule_weights(molecules)
    rng, size = np.random.default_rng(seed), int(code.max()) + 1
    drawn = []
    for _ in range(resamples):
        counts = np.bincount(rng.integers(0, size, size), minlength=size)[code]
        kept = counts > 0
        drawn.append(statistic(confidence[kept], right[kept], weight[kept] * counts[kept]))
    usable = np.array(drawn)[np.isfinite(drawn)]
    value = statistic(confidence, right, weight)
    if not len(usable):
        return value, float("nan"), float("nan")
    low, high = np.quantile(usable, (0.025, 0.975))
    return value, float(low), float(high)


def risk_at(confidence: Array, right: Array, weight: Array, coverage: float) -> float:
    """Mean of 1 − right over the most confident queries that make up `coverage` of the weight; ties share."""
    steps, risk = risk_coverage(confidence, right, weight)
    return float(np.interp(coverage, steps, risk))


def risk_coverage(confidence: Array, right: Array, weight: Array) -> tuple[Array, Array]:
    """Coverage (0 … 1] and risk of answering only what is at least so confident, one point a distinct confidence."""
    group = np.unique(-confidence, return_inverse=True)[1]
    mass, lost = np.cumsum(np.bincount(group, weight)), np.cumsum(np.bincount(group, weight * (1 - right)))
    return mass / mass[-1], lost / mass


def aurc(confidence: Array, right: Array, weight: Array) -> float:
    """Area under the risk–coverage curve (Geifman et al., ICLR 2019): the mean risk over all coverages.

    Within a tie of confidence the risk is interpolated between what was lost before and after it, which is what
    breaking the tie at random gives on average.
    """
    group = np.unique(-confidence, return_inverse=True)[1]
    mass, lost = np.bincount(group, weight), np.bincount(group, weight * (1 - right))
    inner = np.linspace(0.05, 0.95, 10)  # midpoints within a tie
    before, gone = np.cumsum(mass) - mass, np.cumsum(lost) - lost
    covered = before[:, None] + mass[:, None] * inner
    risk = (gone[:, None] + lost[:, None] * inner) / covered
    return float((risk.mean(axis=1) * mass).sum() / mass.sum())


def pooled(sums: Array, mass: Array) -> NDArray[np.int64]:
    """Pool adjacent violators: the block of each place, (n,), so that the blocks' means sums / mass rise."""
    blocks: list[tuple[float, float, int]] = []  # sum, mass, places
    for total, size in zip(sums.tolist(), mass.tolist(), strict=True):
        blocks.append((total, size, 1))
        while len(blocks) > 1 and blocks[-2][0] * blocks[-1][1] >= blocks[-1][0] * blocks[-2][1]:
            last = blocks.pop()
            blocks[-1] = tuple(a + b for a, b in zip(blocks[-1], last, strict=True))  # type: ignore[assignment]
    return np.repeat(np.arange(len(blocks)), [places for _, _, places in blocks])


class Isotonic:
    """A non-decreasing step map from confidence to expected score (pool adjacent violators), linear between blocks."""

    def __init__(self, confidence: Array, right: Array, weight: Array) -> None:
        x, group = np.unique(confidence, return_inverse=True)
        mass, sums = (np.bincount(group, each).astype(np.float64) for each in (weight, weight * right))
        block = pooled(sums, mass)
        whole = np.bincount(block, mass)
        self.x, self.y = np.bincount(block, mass * x) / whole, np.bincount(block, sums) / whole

    def __call__(self, confidence: Array) -> Array:
        return np.asarray(np.interp(confidence, self.x, self.y))


def calibration_error(expected: Array, right: Array, weight: Array) -> float:
    """Expected calibration error (Guo et al., ICML 2017) over ten bins of equal weight."""
    order = np.argsort(expected, kind="stable")
    place = np.minimum((np.cumsum(weight[order]) / weight.sum() * BINS).astype(np.int64), BINS - 1)
    gap = np.bincount(place, (weight * (right - expected))[order], BINS)
    return float(np.abs(gap).sum() / weight.sum())


def conformal_limit(gaps: Array, weight: Array, level: float) -> float:
    """The gap that a new molecule's spectrum stays within with probability `level`: split conformal.

    Molecules are exchangeable, their spectra are not: each molecule weighs one and the quantile is of rank
    ⌈(M + 1) level⌉ of M (pooled CDF; Dunn, Wasserman & Ramdas, JASA 2023, 118, 2491). Infinite if M is too small.
    """
    order, size = np.argsort(gaps, kind="stable"), float(weight.sum())
    wanted = np.ceil((round(size) + 1) * level)
    place = int(np.searchsorted(np.cumsum(weight[order]), wanted - 1e-9))
    return float(gaps[order[place]]) if place < len(order) else float("inf")
