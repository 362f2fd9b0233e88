"""Nested cross-validation: what is chosen is chosen on the training side, and predicted once on the test side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .groups import Fold, Ints, folds
from .learners import STRENGTHS, Floats, classify, ridge
from .measures import confusions, of_classes
from .pooled import Features
from .settings import CohortSettings


@dataclass(frozen=True)
class Predicted:
    """Predictions of one drawing of folds.

    Attributes:
        labels: (A + 1, n) classes, −1 where not tested; the first row with the aggregation chosen, then each fixed.
        scores: (n, k) of the chosen.
        fold: (n,) −1 where not tested.
    """

    labels: Ints
    scores: Floats
    fold: Ints


def predict_classes(
    features: Features, aggregations: Sequence[str], labels: Ints, k: int, groups: Ints, outer: Sequence[Fold],
    how: CohortSettings, seed: int,
) -> Predicted:  # fmt: skip
    """Aggregation and strength by macro F1 on inner folds, that of the smaller squared error where it is equal."""
    n = labels.size
    out = np.full((len(aggregations) + 1, n), -1, np.int64)
    scores, fold = np.full((n, k), np.nan), np.full(n, -1, np.int64)
    indicator = np.eye(k)[labels]
    for number, (train, test) in enumerate(outer):
        inner = folds(groups, labels, how, seed + 1 + number, train) if _divisible(groups, train) else []
        quality = np.zeros((len(aggregations), STRENGTHS.size))
        answers = []
        for a, name in enumerate(aggregations):
            gram = features.gram(name, train)
            held = np.full((STRENGTHS.size, n, k), np.nan)
            for mine, theirs in inner:
                held[:, theirs] = classify(gram, mine, theirs, labels, k, how.learner)
            if inner:
                quality[a] = _quality(held[:, train], labels[train], indicator[train], k)
            answers.append(classify(gram, train, test, labels, k, how.learner))
        best = [int(np.argmax(row)) for row in quality]
        first = int(np.argmax(quality.max(axis=1)))
        for a in range(len(aggregations)):
            out[a + 1, test] = answers[a][best[a]].argmax(axis=-1)
        out[0, test], scores[test], fold[test] = out[first + 1, test], answers[first][best[first]], number
    return Predicted(out, scores, fold)


def _quality(held: Floats, labels: Ints, indicator: Floats, k: int) -> Floats:
    """(S,) of scores (S, n, k)."""
    called = held.argmax(axis=-1)
    one = np.zeros(labels.size, np.int64)
    f1 = np.array([of_classes(confusions(labels, row, one, k)[0])["macro-f1"] for row in called])
    finite = np.where(np.isfinite(held), held, 0.0)
    return np.asarray(f1 - 1e-3 * np.minimum(((finite - indicator) ** 2).mean(axis=(1, 2)), 100.0))


def predict_numbers(
    features: Features, aggregations: Sequence[str], values: Floats, groups: Ints, outer: Sequence[Fold],
    how: CohortSettings, seed: int,
) -> tuple[Floats, Ints]:  # fmt: skip
    """Aggregation and strength by the mean over targets of R² on inner folds.

    Args:
        values: (n, P, k): P versions of k targets, all learned at once; the first is the truth, others shuffled.

    Returns:
        (A + 1, n, P, k) as in `Predicted.labels`, NaN where not tested; and the fold of each sample.
    """
    n, versions, k = values.shape
    out, fold = np.full((len(aggregations) + 1, n, versions, k), np.nan), np.full(n, -1, np.int64)
    flat = values.reshape(n, -1)
    for number, (train, test) in enumerate(outer):
        inner = folds(groups, None, how, seed + 1 + number, train) if _divisible(groups, train) else []
        spread = np.maximum(values[train].var(axis=0), 1e-12)
        quality = np.zeros((len(aggregations), STRENGTHS.size, versions))
        answers = []
        for a, name in enumerate(aggregations):
            gram = features.gram(name, train)
            error = np.zeros((STRENGTHS.size, versions, k))
            for mine, theirs in inner:
                held = ridge(gram, mine, theirs, flat[mine]).reshape(STRENGTHS.size, theirs.size, versions, k)
                error += ((held - values[theirs]) ** 2).sum(axis=1)
            quality[a] = -(error / spread).mean(axis=-1)
            answers.append(ridge(gram, train, test, flat[train]).reshape(STRENGTHS.size, test.size, versions, k))
        each = np.stack(answers)  # (A, S, test, P, k)
        best = quality.argmax(axis=1)  # (A, P)
        first = quality.max(axis=1).argmax(axis=0)  # (P,)
        at = np.arange(versions)
        for a in range(len(aggregations)):
            out[a + 1, test] = np.moveaxis(each[a, best[a], :, at], 0, 1)
        out[0, test] = np.moveaxis(each[first, best[first, at], :, at], 0, 1)
        fold[test] = number
    return out, fold


def _divisible(groups: Ints, train: Ints) -> bool:
    return bool(np.unique(groups[train]).size > 1)
