"""Linear models of few samples with many dimensions, from inner products alone.

With a squared penalty the answer depends on the inner products of the samples only, so that 100,000 words cost no more
than 100 samples do. Features are centred, and scaled by one number, on the training side.
"""

from __future__ import annotations

import warnings
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .groups import Ints
from .pooled import Gram

Floats = NDArray[np.float64]
#: Penalties of the ridge, relative to the mean eigenvalue of the training samples; `logistic` takes the inverse as C.
STRENGTHS = 10.0 ** np.arange(-3, 4)
#: So many columns are solved for each penalty by itself; more share one decomposition, which takes longer.
_FEW = 12


class _Centred:
    """Inner products of the training side about its (weighted) mean, and of the test side with it."""

    def __init__(self, gram: Gram, train: Ints, test: Ints, weights: Floats | None) -> None:
        n = train.size
        w = np.full(n, 1 / n) if weights is None else weights / weights.sum()
        inner, cross = gram[np.ix_(train, train)], gram[np.ix_(test, train)]
        mean = inner @ w
        own = float(w @ mean)
        inner = inner - mean[:, None] - mean[None, :] + own
        cross = cross - (cross @ w)[:, None] - mean[None, :] + own
        scale = max(float(w @ np.diag(inner)), 1e-12 * max(own, 1e-12))
        self.weights, self.root, self.cross = w, np.sqrt(n * w), cross / scale
        self.inner = self.root[:, None] * (inner / scale) * self.root[None, :]

    @cached_property
    def spectrum(self) -> tuple[Floats, Floats]:
        """Eigenvalues (n,), not below 0, and axes (n, n)."""
        values, axes = np.linalg.eigh(self.inner)
        return np.maximum(values, 0.0), axes


def ridge(gram: Gram, train: Ints, test: Ints, y: Floats, weights: Floats | None = None) -> Floats:
    """Ridge regression with an intercept, for every penalty of `STRENGTHS`.

    Args:
        gram: (n, n) inner products of all samples.
        y: (train, m) values.
        weights: (train,) of the samples; None: all alike.

    Returns:
        (S, test, m): the training mean plus what the features tell.
    """
    at = _Centred(gram, train, test, weights)
    mean = at.weights @ y
    aim = at.root[:, None] * (y - mean)
    if y.shape[1] <= _FEW:
        one, across = np.eye(train.size), at.cross * at.root
        return np.stack([across @ np.linalg.solve(at.inner + s * one, aim) for s in STRENGTHS]) + mean
    values, axes = at.spectrum
    turned = axes.T @ aim
    back = at.cross @ (at.root[:, None] * axes)
    return np.stack([back @ (turned / (values[:, None] + s)) for s in STRENGTHS]) + mean


def classify(gram: Gram, train: Ints, test: Ints, labels: Ints, k: int, learner: str) -> Floats:
    """A score for each class; every class weighs the same in training.

    Args:
        labels: (n,) 0 … k − 1 of all samples, of which the training side is read.
        learner: `ridge` on indicators of the classes, or `logistic`, whose scores are probabilities.

    Returns:
        (S, test, k). Classes without training samples score lowest.
    """
    mine = labels[train]
    counts = np.bincount(mine, minlength=k)
    if np.count_nonzero(counts) < 2:
        return np.broadcast_to((counts > 0).astype(float), (STRENGTHS.size, test.size, k)).copy()
    if learner == "ridge":
        out = ridge(gram, train, test, np.eye(k)[mine], 1 / counts[mine])
    else:
        out = _logistic(gram, train, test, mine, k)
    out[:, :, counts == 0] = -np.inf
    return out


def _logistic(gram: Gram, train: Ints, test: Ints, mine: Ints, k: int) -> Floats:
    """Logistic regression on the coordinates of the samples along the axes of the training side: the same answer."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    at = _Centred(gram, train, test, None)
    values, axes = at.spectrum
    used = values > 1e-10 * max(values.max(), 1e-6)
    if not used.any():  # the training samples are all alike
        return np.full((STRENGTHS.size, test.size, k), 1 / k)
    length = np.sqrt(values[used])
    mine_at, theirs_at = axes[:, used] * length, at.cross @ axes[:, used] / length
    out = np.zeros((STRENGTHS.size, test.size, k))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the strength is chosen by what comes out
        for place, strength in enumerate(STRENGTHS):
            model: Any = LogisticRegression(C=1 / strength, class_weight="balanced", max_iter=200, tol=1e-3)
            model.fit(mine_at, mine)
            out[place][:, model.classes_] = model.predict_proba(theirs_at)
    return out
