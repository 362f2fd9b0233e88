"""A ridge regression on family abundances, whose coefficients say what a linear model reads.

Closed form in the space of samples (n of them, few), the penalty by leave-one-out error (the PRESS statistic), so that
ten thousand families cost nothing (Hastie, Tibshirani & Friedman, Elements of Statistical Learning, §18.3.5).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
PENALTIES = np.logspace(-3, 4, 29)


def coefficients(values: Array, target: NDArray[Any]) -> tuple[Array, NDArray[Any] | None]:
    """Coefficient of each standardised column of `values` (n, p), (p,), and the class it speaks for, (p,) or None.

    Of numbers: standard deviations of the target a standard deviation of the column. Of two classes: for the second
    (target −1, 1). Of several: each against the rest; the class of the largest coefficient is told.
    """
    deviation = values.std(axis=0)
    x = (values - values.mean(axis=0)) / np.where(deviation > 0, deviation, np.inf)
    if target.dtype.kind == "f":
        y = (target - target.mean()) / (target.std() or 1.0)
        return _ridge(x, y[:, None])[:, 0], None
    classes = np.unique(target)
    told = classes[1:] if len(classes) == 2 else classes
    y = np.where(target[:, None] == told[None, :], 1.0, -1.0)
    found = _ridge(x, y - y.mean(axis=0))
    best = np.abs(found).argmax(axis=1)
    return found[np.arange(len(found)), best], told[best]


def _ridge(x: Array, y: Array) -> Array:
    """(p, k) coefficients of centred columns for k centred targets, one penalty for each target."""
    n, p = x.shape
    values, vectors = np.linalg.eigh(x @ x.T / max(p, 1))
    values = np.maximum(values, 0.0)
    rotated = vectors.T @ y
    out = np.empty((p, y.shape[1]))
    for k in range(y.shape[1]):
        shrink = values[None, :] / (values[None, :] + PENALTIES[:, None])  # (penalties, n)
        fitted = (vectors[None] * shrink[:, None, :]) @ rotated[:, k]
        leverage = (vectors[None] ** 2 * shrink[:, None, :]).sum(axis=2) + 1 / n
        error = (((y[None, :, k] - fitted) / np.maximum(1 - leverage, 1e-3)) ** 2).sum(axis=1)
        penalty = PENALTIES[int(error.argmin())]
        dual = vectors @ (rotated[:, k] / (values + penalty))
        out[:, k] = x.T @ dual / max(p, 1)
    return out
