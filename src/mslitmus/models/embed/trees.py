"""Learners of pairs: boosted trees and logistic regression, fitted by scikit-learn, kept and asked as plain arrays.

What is fitted is taken out of scikit-learn's objects: a saved model is a .npz of numbers, no pickle, and answers
without scikit-learn. A parity test holds both to the same margins.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Self

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from ...errors import MissingExtraError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Trees:
    """Boosted trees, their nodes end to end: margin = base + Σ over trees of the leaf's value.

    Attributes:
        feature, threshold, left, right, value: (nodes,); left and right are numbers of nodes, −1 at a leaf.
        roots: (trees,) first node of each.
        base: margin without any tree.
    """

    feature: NDArray[np.int64]
    threshold: Floats
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    value: Floats
    roots: NDArray[np.int64]
    base: Floats

    def margin(self, x: NDArray[Any]) -> Floats:
        """(m, features) → (m,) log odds."""
        nodes = (self.feature, self.threshold, self.left, self.right, self.value)
        return np.asarray(_walk(np.ascontiguousarray(x, np.float64), self.roots, *nodes)) + float(self.base[0])

    def first(self, rounds: int) -> Trees:
        """The first trees alone: what a shorter boosting would have been."""
        end = int(self.roots[rounds]) if rounds < len(self.roots) else len(self.feature)
        nodes = {n: vars(self)[n][:end] for n in ("feature", "threshold", "left", "right", "value")}
        return Trees(**nodes, roots=self.roots[:rounds], base=self.base)

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {f"trees_{name}": values for name, values in vars(self).items()}

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        return cls(**{name: arrays[f"trees_{name}"] for name in cls.__dataclass_fields__})

    @classmethod
    def fit(
        cls, x: NDArray[Any], y: NDArray[np.bool_], weight: Floats, signs: NDArray[np.int64], leaves: int, rounds: int,
        rate: float, l2: float, seed: int,
    ) -> Self:  # fmt: skip
        """signs: (features,) 1 where the margin may only rise with the feature, 0 where it is free.

        Raises MissingExtraError without scikit-learn.
        """
        boosting = _sklearn("ensemble").HistGradientBoostingClassifier(
            max_leaf_nodes=leaves, max_iter=rounds, learning_rate=rate, l2_regularization=l2, min_samples_leaf=20,
            monotonic_cst=signs.tolist(), early_stopping=False, random_state=seed,
        )  # fmt: skip
        boosting.fit(np.asarray(x, np.float64), y, sample_weight=weight)
        trees = [step[0].nodes for step in boosting._predictors]
        sizes = np.array([len(nodes) for nodes in trees], np.int64)
        roots = np.cumsum(sizes) - sizes
        nodes = np.concatenate(trees)
        shift, leaf = np.repeat(roots, sizes), nodes["is_leaf"].astype(bool)
        left, right = (np.where(leaf, -1, nodes[side].astype(np.int64) + shift) for side in ("left", "right"))
        threshold, value = nodes["num_threshold"].astype(np.float64), nodes["value"].astype(np.float64)
        base = np.asarray(boosting._baseline_prediction, np.float64).ravel()
        return cls(nodes["feature_idx"].astype(np.int64), threshold, left, right, value, roots, base)


@numba.njit(cache=True)
def _walk(x, roots, feature, threshold, left, right, value):  # type: ignore[no-untyped-def]
    out = np.zeros(x.shape[0])
    for i in range(x.shape[0]):
        total = 0.0
        for root in roots:
            node = root
            while left[node] >= 0:
                node = left[node] if x[i, feature[node]] <= threshold[node] else right[node]
            total += value[node]
        out[i] = total
    return out


@dataclass(frozen=True)
class Linear:
    """Logistic regression on standardised features: margin = base + coefficients · (x − mean) / scale."""

    mean: Floats
    scale: Floats
    coefficients: Floats
    base: Floats

    def margin(self, x: NDArray[Any]) -> Floats:
        """(m, features) → (m,) log odds."""
        found: Floats = (np.asarray(x, np.float64) - self.mean) / self.scale @ self.coefficients + self.base[0]
        return found

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {f"linear_{name}": values for name, values in vars(self).items()}

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        return cls(**{name: arrays[f"linear_{name}"] for name in cls.__dataclass_fields__})

    @classmethod
    def fit(cls, x: NDArray[Any], y: NDArray[np.bool_], weight: Floats, penalty: float) -> Self:
        """penalty: of the squared coefficients, scikit-learn's 1/C. Raises MissingExtraError without scikit-learn."""
        x = np.asarray(x, np.float64)
        mean, scale = x.mean(0), np.maximum(x.std(0), 1e-9)
        logistic = _sklearn("linear_model").LogisticRegression(C=1 / penalty, max_iter=2000)
        logistic.fit((x - mean) / scale, y, sample_weight=weight)
        return cls(mean, scale, logistic.coef_[0].astype(np.float64), logistic.intercept_.astype(np.float64))


def platt(margin: Floats, right: NDArray[np.bool_]) -> tuple[float, float]:
    """(a, b) of P = σ(a · margin + b), a > 0 (Platt 1999, with his smoothed targets); (1, 0) where all are alike."""
    if right.all() or not right.any():
        return 1.0, 0.0
    wrong, good = float((~right).sum()), float(right.sum())
    target = np.where(right, (good + 1) / (good + 2), 1 / (wrong + 2))
    scale = max(float(margin.std()), 1e-9)
    z = (margin - margin.mean()) / scale

    def loss(w: Floats) -> float:  # the slope is exp(w₀), so it is positive; a light ridge where the two are apart
        t = np.exp(w[0]) * z + w[1]
        return float(np.mean(np.logaddexp(0, t) - target * t) + 1e-3 * (w[0] ** 2 + w[1] ** 2))

    w = minimize(loss, np.zeros(2), method="L-BFGS-B", bounds=[(-5, 5), (-20, 20)]).x
    a = float(np.exp(w[0])) / scale
    return a, float(w[1]) - a * float(margin.mean())


@contextmanager
def limited(threads: int | None) -> Iterator[None]:
    """scikit-learn on at most so many threads; None leaves them as they are. Raises MissingExtraError without it."""
    if threads is None:
        yield
        return
    _sklearn("utils")  # its libraries must be there to be limited; threadpoolctl comes with it
    with import_module("threadpoolctl").threadpool_limits(threads):
        yield


def _sklearn(part: str) -> Any:
    try:
        return import_module(f"sklearn.{part}")
    except ModuleNotFoundError as error:
        what = "library-combined is fitted by scikit-learn, which is not installed"
        raise MissingExtraError(what, remedy="pip install 'mslitmus[models]'") from error
