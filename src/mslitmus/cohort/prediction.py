"""Classification and regression of one representation: predictions, intervals, chance, in the tables of the run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from .groups import Fold, Grouping, Ints, arrangements, folds, shuffles
from .learners import Floats
from .measures import (
    ERRORS,
    confusions,
    interval,
    of_classes,
    of_numbers,
    p_value,
    resamples,
    sums,
)
from .nested import Predicted, predict_classes, predict_numbers
from .pooled import Features
from .settings import CohortSettings
from .tables import SHUFFLED

CLASSIFICATION, REGRESSION = "classification", "regression"
CHOSEN, EVERY = "chosen", "all"
#: The mean over several targets that are predicted together.
ALL_TARGETS = "all targets"
#: With fewer ways to swap labels within folds, they swap freely, and folds are drawn anew for every family of shuffles:
#: so many at most, and no more than a fourth of the ways within their folds.
_ENOUGH = np.log(100_000)
_FAMILY, _ROOM = 10, 4


@dataclass(frozen=True)
class Asked:
    """One question: samples, what is to be predicted of them, and with what.

    Args:
        rows: n rows of the sheet, in the order of `features`.
        about: columns `acquisition` and `representation` of every row that is written.
    """

    rows: pl.DataFrame
    grouping: Grouping
    features: Features
    aggregations: Sequence[str]
    about: dict[str, str]
    how: CohortSettings


@dataclass
class Answer:
    """Rows of the tables results, predictions and confusion."""

    results: list[dict[str, Any]] = field(default_factory=list)
    predictions: list[dict[str, Any]] = field(default_factory=list)
    confusion: list[dict[str, Any]] = field(default_factory=list)


def _seeds(asked: Asked) -> list[int]:
    """Leaving every group out in turn can be done in one way only."""
    n = 1 if asked.how.splits == "leave-one-group-out" else asked.how.seeds
    return [asked.how.seed + i for i in range(n)]


def classification(asked: Asked, target: str) -> Answer:
    """Macro F1, balanced accuracy and accuracy of a target of classes, over several drawings of folds."""
    names = asked.rows[target].unique().sort().to_list()
    k, how, groups = len(names), asked.how, asked.grouping.of
    labels = asked.rows[target].replace_strict(names, range(k), return_dtype=pl.Int64).to_numpy().astype(np.int64)
    runs: list[Predicted] = []
    drawn = []
    for seed in _seeds(asked):
        outer = folds(groups, labels, how, seed)
        drawn.append(outer)
        runs.append(predict_classes(asked.features, asked.aggregations, labels, k, groups, outer, how, seed))
    null = []
    for mixed, redrawn in _mixed(labels, groups, drawn[0], runs[0].fold, how):
        one = predict_classes(asked.features, asked.aggregations, mixed, k, groups, redrawn, how, how.seed)
        null.append(confusions(mixed, one.labels[0], groups, k).sum(axis=0))
    counts = np.stack([[confusions(labels, row, groups, k) for row in run.labels] for run in runs])
    by_chance = of_classes(np.stack(null)) if null else {}
    out = Answer()
    _tell(out, asked, CLASSIFICATION, target, _Figures(of_classes, counts), by_chance)
    for seed, run in zip(_seeds(asked), runs, strict=True):
        out.predictions += _told_classes(asked, target, names, labels, run, seed)
    mean = counts[:, 0].sum(axis=1).mean(axis=0)
    out.confusion += [
        {"target": target, **asked.about, "truth": a, "predicted": b, "count": float(mean[i, j])}
        for i, a in enumerate(names)
        for j, b in enumerate(names)
    ]
    return out


def _mixed(
    labels: Ints, groups: Ints, outer: Sequence[Fold], fold: Ints, how: CohortSettings
) -> Iterator[tuple[Ints, Sequence[Fold]]]:
    """`how.permutations` times shuffled labels (n,) and the folds for them.

    Where labels swap freely, folds with even classes must be drawn anew; the labels drawn swap within these folds too,
    so that several share what is fitted on their training sides. The true labels and folds are one of such families,
    all of one size and alike by chance, so p is as exact as with folds of its own for every shuffle.
    """
    values = labels[:, None].astype(float)
    room = arrangements(groups, labels, fold)
    if how.splits == "leave-one-group-out" or room >= _ENOUGH:
        cells = None if how.splits == "leave-one-group-out" else fold
        for order in shuffles(groups, values, cells, how.permutations, how.seed):
            yield labels[order], outer
        return
    size = int(np.clip(np.exp(room) / _ROOM, 1, _FAMILY))
    families = -(-(how.permutations + 1) // size)
    free = [np.arange(labels.size), *shuffles(groups, values, None, families - 1, how.seed)]
    left = how.permutations
    for number, order in enumerate(free):
        mine = labels[order]
        drawn = folds(groups, mine, how, how.seed) if number else outer
        cells = _fold_of(drawn, labels.size)
        inside = shuffles(groups, mine[:, None].astype(float), cells, size - 1, how.seed + number + 1)
        members = [mine[swapped] for swapped in inside]
        members = [mine, *members] if number else members  # the true labels are no shuffle
        for each in members[:left]:
            yield each, drawn
        left -= min(left, len(members))


def _fold_of(outer: Sequence[Fold], n: int) -> Ints:
    """(n,) −1 where not tested."""
    out = np.full(n, -1, np.int64)
    for number, (_, test) in enumerate(outer):
        out[test] = number
    return out


def regression(asked: Asked, targets: Sequence[str]) -> Answer:
    """R², RMSE and mean absolute error of each target of numbers, all learned with one strength."""
    how, groups = asked.how, asked.grouping.of
    values = asked.rows.select(targets).to_numpy().astype(np.float64)
    orders = list(shuffles(groups, values, None, how.permutations, how.seed))
    runs: list[tuple[Floats, Ints]] = []
    null: Floats | None = None
    versions = np.stack([values, *(values[order] for order in orders)], axis=1)
    for place, seed in enumerate(_seeds(asked)):
        outer = folds(groups, None, how, seed)
        some = versions if place == 0 else versions[:, :1]
        found, fold = predict_numbers(asked.features, asked.aggregations, some, groups, outer, how, seed)
        runs.append((found[:, :, 0], fold))
        if place == 0 and orders:
            one = np.zeros(groups.size, np.int64)
            null = np.stack([sums(versions[:, p + 1], found[0, :, p + 1], one)[0] for p in range(len(orders))])
    totals = np.stack([[sums(values, row, groups) for row in found] for found, _ in runs])  # (seeds, A + 1, G, 5, k)
    by_chance = of_numbers(null) if null is not None else {}
    out = Answer()
    for i, target in enumerate(targets):
        chance = {name: value[:, i] for name, value in by_chance.items()}
        figures = _Figures(lambda total: {m: v[..., 0] for m, v in of_numbers(total).items()}, totals[..., [i]])
        _tell(out, asked, REGRESSION, target, figures, chance)
    if len(targets) > 1:
        chance = {name: value.mean(axis=-1) for name, value in by_chance.items()}
        figures = _Figures(lambda total: {m: v.mean(axis=-1) for m, v in of_numbers(total).items()}, totals)
        _tell(out, asked, REGRESSION, ALL_TARGETS, figures, chance)
    for seed, (found, fold) in zip(_seeds(asked), runs, strict=True):
        for i, target in enumerate(targets):
            out.predictions += _told_numbers(asked, target, values[:, i], found[0, :, i], fold, seed)
    return out


@dataclass(frozen=True)
class _Figures:
    """(seeds, A + 1, G, …) counts per group, and the metrics of their sums."""

    metrics: Any
    counts: Floats

    def of_seed(self, seed: int, aggregation: int) -> dict[str, float]:
        return {m: float(v) for m, v in self.metrics(self.counts[seed, aggregation].sum(axis=0)).items()}

    def resampled(self, aggregation: int, draws: Floats) -> dict[str, Floats]:
        """(B,) of each metric, the mean over seeds."""
        found = [self.metrics(np.tensordot(draws, each, axes=1)) for each in self.counts[:, aggregation]]
        return {m: np.mean([one[m] for one in found], axis=0) for m in found[0]}


def _tell(out: Answer, asked: Asked, question: str, target: str, figures: _Figures, chance: dict[str, Floats]) -> None:
    """Rows of results: the chosen aggregation for each seed and for all, fixed ones for all, and shuffled labels."""
    seeds = _seeds(asked)
    n_groups = figures.counts.shape[2]
    draws = resamples(n_groups, asked.how.bootstraps, asked.how.seed)
    head = {"question": question, "target": target, **asked.about}
    size = {"n_samples": asked.rows.height, "n_groups": n_groups}
    for a, name in enumerate([CHOSEN, *asked.aggregations]):
        per_seed = [figures.of_seed(s, a) for s in range(len(seeds))]
        spread = figures.resampled(a, draws)
        for metric in spread:
            null = chance.get(metric) if a == 0 else None
            more: dict[str, Any] = {}
            if null is not None:
                more["chance_mean"] = known(null.mean())
                more["p_permutation"] = p_value(per_seed[0][metric], null, metric in ERRORS)
            low, high = interval(spread[metric])
            row = {**head, "aggregation": name, "metric": metric, **size, **more}
            mean = known(np.mean([one[metric] for one in per_seed]))
            out.results.append({**row, "value": mean, "low": low, "high": high, "seed": EVERY})
            if a == 0:
                rows = [
                    {
                        **head,
                        "aggregation": name,
                        "metric": metric,
                        **size,
                        "value": known(one[metric]),
                        "seed": str(s),
                    }
                    for s, one in zip(seeds, per_seed, strict=True)
                ]
                out.results += rows
            if null is not None:
                low, high = interval(null)
                row = {**head, "aggregation": name, "metric": metric, **size, "value": known(null.mean())}
                row["representation"] = asked.about["representation"] + SHUFFLED
                out.results.append({**row, "low": low, "high": high, "seed": EVERY})


def known(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def _told_classes(
    asked: Asked, target: str, names: list[str], labels: Ints, run: Predicted, seed: int
) -> list[dict[str, Any]]:
    head = {"question": CLASSIFICATION, "target": target, **asked.about, "seed": str(seed)}
    samples, called = asked.rows["sample"].to_list(), run.labels[0]
    sure = asked.how.learner == "logistic"
    return [
        {
            **head, "fold": int(run.fold[i]), "sample": samples[i], "truth": names[labels[i]],
            "predicted": names[called[i]], "probability": float(run.scores[i, called[i]]) if sure else None,
        }
        for i in np.flatnonzero(called >= 0)
    ]  # fmt: skip


def _told_numbers(
    asked: Asked, target: str, truth: Floats, predicted: Floats, fold: Ints, seed: int
) -> list[dict[str, Any]]:
    head = {"question": REGRESSION, "target": target, **asked.about, "seed": str(seed)}
    samples = asked.rows["sample"].to_list()
    return [
        {
            **head, "fold": int(fold[i]), "sample": samples[i], "truth": f"{truth[i]:g}",
            "predicted": f"{predicted[i]:.4g}", "truth_value": float(truth[i]), "predicted_value": float(predicted[i]),
        }
        for i in np.flatnonzero(np.isfinite(predicted))
    ]  # fmt: skip
