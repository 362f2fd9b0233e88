"""The splitter of Learning to Split (Bao & Barzilay 2022): S(x, y) → P(train), a perceptron in numpy.

Three losses, averaged. On items of the current test side, cross-entropy of S to "was predicted correctly", so that what
is predicted well goes to train and what is not stays in test. On all items KL(target ratio ‖ mean P(train)), so that
both sides keep their size; and KL(label marginal ‖ that of either side), so that neither side is all of one class.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_TINY = 1e-6


@dataclass(frozen=True)
class SplitterOptions:
    """hidden: units of the one hidden layer; rate: of Adam; batch: items a step; an epoch is `steps` steps; training
    ends where the mean loss of an epoch is no `converged` below that of the five before, or after `epochs`."""

    hidden: int = 32
    rate: float = 1e-3
    batch: int = 200
    steps: int = 50
    epochs: int = 20
    converged: float = 1e-3


def ratio_loss(p: Array, target: float) -> tuple[float, Array]:
    """KL(target ‖ mean p) of the two sides, and its gradient by p (n,)."""
    mean = float(np.clip(p.mean(), _TINY, 1 - _TINY))
    loss = target * np.log(target / mean) + (1 - target) * np.log((1 - target) / (1 - mean))
    return float(loss), np.full(len(p), ((1 - target) / (1 - mean) - target / mean) / len(p))


def label_loss(p: Array, labels: NDArray[np.int64], classes: int) -> tuple[float, Array]:
    """KL(marginal of the labels ‖ of train) + KL(‖ of test), sides weighted by p and 1 − p; and its gradient (n,)."""
    counts = np.bincount(labels, minlength=classes)
    share = counts / len(labels)
    there = counts > 0
    loss, slope = 0.0, np.zeros(len(p))
    for side, sign in ((p, 1.0), (1 - p, -1.0)):
        sums = np.maximum(np.bincount(labels, weights=side, minlength=classes), _TINY)
        whole = max(float(side.sum()), _TINY)
        loss += float((share[there] * np.log(share[there] * whole / sums[there])).sum())
        slope += sign * (1 / whole - (share / sums)[labels])
    return loss, slope


def gap_loss(p: Array, correct: Array) -> tuple[float, Array]:
    """Mean cross-entropy of p to `correct` (0 to 1), and its gradient (n,)."""
    q = np.clip(p, _TINY, 1 - _TINY)
    loss = -(correct * np.log(q) + (1 - correct) * np.log(1 - q)).mean()
    return float(loss), ((1 - correct) / (1 - q) - correct / q) / len(p)


@dataclass
class Splitter:
    """x (n, d) of items, their label features among the columns. Trained further in every round, never anew."""

    dimension: int
    seed: int = 0
    options: SplitterOptions = field(default_factory=SplitterOptions)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        d, h = self.dimension, self.options.hidden
        self._rng = rng
        self._weights = [
            rng.normal(0, np.sqrt(2 / d), (d, h)).astype(np.float32),
            np.zeros(h, np.float32),
            rng.normal(0, np.sqrt(1 / h), h).astype(np.float32),
            np.zeros(1, np.float32),
        ]
        self._moments = [(np.zeros_like(w), np.zeros_like(w)) for w in self._weights]
        self._step = 0

    def probabilities(self, x: NDArray[np.float32]) -> Array:
        """P(train) of each item (n,)."""
        return self._forward(x)[0]

    def train(
        self, x: NDArray[np.float32], labels: NDArray[np.int64], test: NDArray[np.int64], correct: Array, target: float
    ) -> list[float]:
        """Train on all items and on the test side. Returns the mean loss of each epoch.

        Args:
            x (n, d); labels (n,) classes 0 …; test (t,) rows of the test side; correct (t,) of those; target: the
                share of train.
        """
        o, classes = self.options, int(labels.max()) + 1
        losses: list[float] = []
        for _ in range(o.epochs):
            total = 0.0
            for _ in range(o.steps):
                every = self._rng.integers(0, len(x), min(o.batch, len(x)))
                mine = self._rng.integers(0, len(test), min(o.batch, len(test)))
                total += self._update(x, labels, classes, every, test[mine], correct[mine], target)
            losses.append(total / o.steps)
            if len(losses) > 5 and losses[-1] > float(np.mean(losses[-6:-1])) - o.converged:
                break
        return losses

    def _forward(self, x: NDArray[np.float32]) -> tuple[Array, NDArray[np.float32]]:
        first, bias, second, last = self._weights
        hidden = np.maximum(x @ first + bias, 0)
        return 1 / (1 + np.exp(-np.clip((hidden @ second + last).astype(np.float64), -30, 30))), hidden

    def _update(
        self, x: NDArray[np.float32], labels: NDArray[np.int64], classes: int, every: NDArray[np.int64],
        mine: NDArray[np.int64], correct: Array, target: float,
    ) -> float:  # fmt: skip
        rows = x[np.concatenate([every, mine])]
        p, hidden = self._forward(rows)
        n = len(every)
        ratio, by_ratio = ratio_loss(p[:n], target)
        label, by_label = label_loss(p[:n], labels[every], classes)
        gap, by_gap = gap_loss(p[n:], correct)
        slope = np.concatenate([by_ratio + by_label, by_gap]) * p * (1 - p) / 3
        self._descend(rows, hidden, slope.astype(np.float32))
        return (ratio + label + gap) / 3

    def _descend(self, rows: NDArray[np.float32], hidden: NDArray[np.float32], slope: NDArray[np.float32]) -> None:
        """One step of Adam (Kingma & Ba 2015) from the gradient by the logit (n,)."""
        back = slope[:, None] * self._weights[2] * (hidden > 0)
        gradients = [rows.T @ back, back.sum(axis=0), hidden.T @ slope, slope.sum(keepdims=True)]
        self._step += 1
        for weight, gradient, (mean, square) in zip(self._weights, gradients, self._moments, strict=True):
            mean += 0.1 * (gradient - mean)
            square += 0.001 * (gradient * gradient - square)
            rate = self.options.rate * np.sqrt(1 - 0.999**self._step) / (1 - 0.9**self._step)
            weight -= (rate * mean / (np.sqrt(square) + 1e-8)).astype(np.float32)
