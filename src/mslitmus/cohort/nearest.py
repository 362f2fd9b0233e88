"""The nearest sample outside a sample's own group: is it the one that it should be?"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from .groups import shuffles
from .learners import Floats
from .measures import interval, p_value, resamples
from .prediction import ALL_TARGETS, Asked, known
from .separation import standardised

NEAREST = "nearest"
#: Targets whose rows add up to one number are proportions.
_SAME_SUM = 1e-6


def truth_distances(rows: pl.DataFrame, targets: tuple[str, ...], numbers: bool) -> Floats:
    """(n, n) by the targets.

    Proportions: half the sum of absolute differences over their sum, 0 the same to 1 nothing in common. Other numbers:
    Euclidean, each target in its standard deviations. Classes: 0 the same, 1 another, the mean over targets.
    """
    if not numbers:
        same = [(v := rows[name].to_numpy())[:, None] == v[None, :] for name in targets]
        return np.asarray(1 - np.mean(same, axis=0))
    values = rows.select(targets).to_numpy().astype(np.float64)
    total = values.sum(axis=1)
    if len(targets) > 1 and (values >= 0).all() and np.ptp(total) <= _SAME_SUM * total.max() and total.max() > 0:
        return np.asarray(np.abs(values[:, None] - values[None, :]).sum(axis=-1) / (2 * total.max()))
    scaled = standardised(values)
    return np.asarray(np.sqrt(((scaled[:, None] - scaled[None, :]) ** 2).sum(axis=-1)))


def neighbours(
    asked: Asked, distance: Floats, targets: tuple[str, ...], numbers: bool
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of the table `neighbours` and of `results`.

    `closest-found`: share of samples whose neighbour is as near in the targets as any allowed sample; chance is that of
    a neighbour drawn at random. `truth-distance`: of the neighbours found, their mean. `excess-distance`: how much
    farther than the nearest possible.
    """
    groups, how = asked.grouping.of, asked.how
    allowed = groups[:, None] != groups[None, :]
    if not allowed.any(axis=1).all():
        return [], []
    truth = truth_distances(asked.rows, targets, numbers)
    nearest = np.where(allowed, distance, np.inf).argmin(axis=1)
    at = np.arange(nearest.size)
    best = np.where(allowed, truth, np.inf).min(axis=1)
    samples = asked.rows["sample"].to_list()
    rows = [
        {
            **asked.about, "sample": samples[i], "neighbour": samples[nearest[i]],
            "distance": float(distance[i, nearest[i]]),
            "truth_distance": float(truth[i, nearest[i]]), "best_possible_distance": float(best[i]),
        }
        for i in at
    ]  # fmt: skip
    values = asked.rows.select(targets).to_numpy() if numbers else _codes(asked.rows, targets)
    orders = list(shuffles(groups, values.astype(float), None, how.permutations, how.seed))
    found = _measures(truth, nearest, allowed)
    null = [_measures(truth[np.ix_(order, order)], nearest, allowed) for order in orders]
    draws = resamples(int(groups.max()) + 1, how.bootstraps, how.seed)[:, groups]
    results = []
    for metric, each in found.items():
        smaller = metric != "closest-found"
        chance = np.array([one[metric].mean() for one in null])
        low, high = interval((draws @ each) / np.maximum(draws.sum(axis=1), 1))
        results.append({
            "question": NEAREST, "target": ALL_TARGETS if len(targets) > 1 else targets[0], **asked.about,
            "aggregation": "layout", "metric": metric,
            "value": float(each.mean()), "low": low, "high": high, "seed": "all", "n_samples": nearest.size,
            "n_groups": int(groups.max()) + 1, "chance_mean": known(chance.mean()) if chance.size else None,
            "p_permutation": p_value(float(each.mean()), chance, smaller),
        })  # fmt: skip
    return rows, results


def _measures(truth: Floats, nearest: Any, allowed: Any) -> dict[str, Floats]:
    """(n,) of each metric."""
    found = truth[np.arange(nearest.size), nearest]
    best = np.where(allowed, truth, np.inf).min(axis=1)
    return {
        "closest-found": (found <= best + 1e-9).astype(float),
        "truth-distance": found,
        "excess-distance": found - best,
    }


def _codes(rows: pl.DataFrame, targets: tuple[str, ...]) -> Any:
    return rows.select(pl.col(name).rank("dense") for name in targets).to_numpy()
