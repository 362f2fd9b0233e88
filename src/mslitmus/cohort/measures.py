"""How good predictions are, from counts per group: a resample of groups is then a sum of counts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .groups import Ints
from .learners import Floats

#: Of classes and of numbers; the first is what model strength and aggregation are chosen by.
OF_CLASSES = ("macro-f1", "balanced-accuracy", "accuracy")
OF_NUMBERS = ("r2", "rmse", "mae")
#: Smaller is better.
ERRORS = ("rmse", "mae")


def confusions(labels: Ints, predicted: Ints, groups: Ints, k: int) -> Floats:
    """(G, k, k): of each group, how many samples of a class (row) were called another (column); −1: not tested."""
    out = np.zeros((int(groups.max()) + 1, k, k))
    tested = predicted >= 0
    np.add.at(out, (groups[tested], labels[tested], predicted[tested]), 1)
    return out


def of_classes(confusion: Floats) -> dict[str, Floats]:
    """Metrics of (…, k, k) confusion matrices; classes that occur nowhere in one are left out of its means."""
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    truth, called = confusion.sum(axis=-1), confusion.sum(axis=-2)
    with np.errstate(invalid="ignore", divide="ignore"):
        f1 = np.where(truth + called > 0, 2 * right / (truth + called), np.nan)
        recall = np.where(truth > 0, right / truth, np.nan)
        accuracy = right.sum(-1) / truth.sum(-1)
    return {"macro-f1": _mean(f1), "balanced-accuracy": _mean(recall), "accuracy": accuracy}


def _mean(values: Floats) -> Floats:
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(known, values, 0.0).sum(-1) / known.sum(-1))


def sums(truth: Floats, predicted: Floats, groups: Ints) -> Floats:
    """(G, 5, k): per group n, Σy, Σy², Σerror², Σ|error| of (n, k) values; NaN: not tested."""
    error = predicted - truth
    tested = np.isfinite(error)
    parts = [tested * 1.0, truth, truth**2, error**2, np.abs(error)]
    stacked = np.stack([np.where(tested, part, 0.0) for part in parts], axis=1)
    out = np.zeros((int(groups.max()) + 1, *stacked.shape[1:]))
    np.add.at(out, groups, stacked)
    return out


def of_numbers(total: Floats) -> dict[str, Floats]:
    """Metrics of (…, 5, k) sums as (…, k). R² is about the mean of what was tested; NaN where that does not vary."""
    n, first, second, squared, absolute = np.moveaxis(total, -2, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = second - first**2 / n
        r2 = np.where(spread > 1e-12 * second, 1 - squared / spread, np.nan)
        return {"r2": r2, "rmse": np.sqrt(squared / n), "mae": absolute / n}


def by_group(truth: NDArray[Any], called: NDArray[Any], groups: Ints, n: int, classes: int) -> Floats:
    """(n, …) of every group, tested or not: `confusions` of so many classes, or with 0 `sums` of numbers.

    Args:
        truth, called: (tested,) codes, or (tested, k) numbers.
        groups: (tested,) below n.
    """
    everyone = np.arange(n)
    groups = np.append(groups, everyone)
    if classes:
        return confusions(np.append(truth, 0 * everyone), np.append(called, 0 * everyone - 1), groups, classes)
    none = np.full((n, truth.shape[1]), np.nan)
    return sums(np.vstack([truth, none]), np.vstack([called, none]), groups)


def resamples(n_groups: int, n: int, seed: int) -> Floats:
    """(n, G) how often each group is drawn, with replacement."""
    shares = np.full(n_groups, 1 / n_groups)
    return np.random.default_rng(seed).multinomial(n_groups, shares, size=n).astype(float)


def interval(values: NDArray[np.float64]) -> tuple[float | None, float | None]:
    """The middle 95 % of resampled values; None where fewer than half of them are numbers."""
    known = values[np.isfinite(values)]
    if known.size < max(2, values.size / 2):
        return None, None
    low, high = np.quantile(known, (0.025, 0.975))
    return float(low), float(high)


def p_value(observed: float, null: Floats, smaller: bool = False) -> float | None:
    """One-sided: share of shuffles at least as good, the observed one counted among them."""
    null = null[np.isfinite(null)]
    if not null.size or not np.isfinite(observed):
        return None
    slack = 1e-9 * max(1.0, abs(observed))
    as_good = null <= observed + slack if smaller else null >= observed - slack
    return float((1 + np.count_nonzero(as_good)) / (1 + null.size))
