"""Do the samples fall apart by what they are? Silhouette and PERMANOVA on the distances of sample vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from .groups import Ints, shuffles
from .learners import Floats
from .measures import p_value
from .prediction import ALL_TARGETS, Asked
from .tables import SHUFFLED

SEPARATION = "separation"


def permanova(distance: Floats, design: Floats) -> tuple[Floats, Floats]:
    """Pseudo-F and R² of the distances for each design (Anderson 2001; McArdle & Anderson 2001, eq. 4).

    Args:
        distance: (n, n).
        design: (P, n, q) columns of indicators or numbers; the intercept is added here.

    Returns:
        (P,) F and (P,) R²; NaN where no degree of freedom is left.
    """
    n = distance.shape[0]
    centre = np.eye(n) - 1 / n
    gower = centre @ (-0.5 * distance**2) @ centre
    total = float(np.trace(gower))
    centred = design - design.mean(axis=1, keepdims=True)
    axes, size, _ = np.linalg.svd(centred, full_matrices=False)
    used = size > 1e-9 * np.maximum(size[:, :1], 1e-300)
    explained = np.where(used, np.einsum("pnq,nm,pmq->pq", axes, gower, axes, optimize=True), 0.0).sum(axis=1)
    rank = used.sum(axis=1)
    left = n - 1 - rank
    with np.errstate(invalid="ignore", divide="ignore"):
        f = np.where(left > 0, (explained / rank) / ((total - explained) / left), np.nan)
        return f, explained / total if total > 0 else np.full(rank.size, np.nan)


def silhouette(distance: Floats, labels: Ints) -> float:
    """Mean silhouette width (Rousseeuw 1987); NaN where every sample is a class of its own, or all are one."""
    from sklearn.metrics import silhouette_score

    k = np.unique(labels).size
    if not 2 <= k <= labels.size - 1:
        return float("nan")
    return float(silhouette_score(distance, labels, metric="precomputed"))


def separation(asked: Asked, distance: Floats, targets: tuple[str, ...], numbers: bool) -> list[dict[str, Any]]:
    """Rows of the tables `separation` and, with their question, `results`, for targets of one kind.

    Numbers are taken together, as one composition. Whole groups are permuted.
    """
    rows, how, groups = asked.rows, asked.how, asked.grouping.of
    found: list[dict[str, Any]] = []
    for name, values in _designs(rows, targets, numbers):
        orders = list(shuffles(groups, values, None, how.permutations, how.seed))
        designs = np.stack([values, *(values[order] for order in orders)])
        f, r2 = permanova(distance, designs)
        metrics = [("permanova-r2", r2), ("permanova-f", f)]
        if not numbers:
            labels = [each.argmax(axis=1) for each in designs]
            metrics.append(("silhouette", np.array([silhouette(distance, each) for each in labels])))
        head: dict[str, Any] = {
            "question": SEPARATION,
            "target": name,
            **asked.about,
            "aggregation": "layout",
            "seed": "all",
        }
        head |= {"n_samples": rows.height, "n_groups": int(groups.max()) + 1}
        for metric, value in metrics:
            if not np.isfinite(value[0]):
                continue
            chance = {"chance_mean": float(np.nanmean(value[1:]))} if orders and np.isfinite(value[1:]).any() else {}
            p = p_value(float(value[0]), value[1:])
            found.append({**head, "metric": metric, "value": float(value[0]), "p_permutation": p, **chance})
            if chance:
                shuffled = {**head, "representation": asked.about["representation"] + SHUFFLED}
                found.append({**shuffled, "metric": metric, "value": chance["chance_mean"]})
    return found


def _designs(rows: pl.DataFrame, targets: tuple[str, ...], numbers: bool) -> list[tuple[str, Floats]]:
    """(name, (n, q) columns)."""
    if numbers:
        return [(ALL_TARGETS if len(targets) > 1 else targets[0], standardised(rows.select(targets).to_numpy()))]
    return [(name, rows.select(name).to_dummies().to_numpy().astype(float)) for name in targets]


def standardised(values: Floats) -> Floats:
    """Columns with mean 0 and standard deviation 1; one that does not vary becomes 0."""
    spread = values.std(axis=0)
    return np.asarray((values - values.mean(axis=0)) / np.where(spread > 0, spread, 1.0), np.float64)
