"""How a ranking came about: validation scores of the trained models at quarters of the budget.

From the histories that the cells keep, so that nothing is trained again. A ranking that still changes in the last
quarter says which model learns fast, not which one is good.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import permutations
from statistics import fmean
from typing import Any

import numpy as np
import polars as pl

from ..metrics.standing import kendall, kept
from ..metrics.tables import direction, null_for_nan
from ..schemas import AGREEMENT, BUDGET_SCORES, conform

SHARES = (0.25, 0.5, 0.75, 1.0)


def budget_scores(records: Iterable[Mapping[str, Any]], metric: str, max_seconds: float | None) -> pl.DataFrame:
    """Best validation score so far of each model at each of `SHARES`, mean over seeds, in schema BUDGET_SCORES.

    Args:
        records: the cells' cell.json, of which those count that kept a history of this metric: a model behind a bridge
            that chooses its epochs by another metric cannot be set beside the rest.
        max_seconds: the budget of a cell; None where epochs or steps are the budget: the shares are then of each cell's
            own training time.

    An epoch counts once it has ended. A model of which a seed has not ended its first epoch has no score, and the last
    rank. The last share is the whole training, the time by which it overran the budget included.
    """
    way = direction(metric)
    found: dict[tuple[str, str], list[list[tuple[float, float | None]]]] = {}
    for record in records:
        points = _course(record.get("fit") or {}, way, max_seconds)
        if points and way:
            found.setdefault((str(record["split"]), str(record["model"])), []).append(points)
    rows = [
        {
            "split": split,
            "model": model,
            "share": share,
            "seconds": fmean(course[k][0] for course in courses),
            "score": way * fmean(values) if (values := _all([course[k][1] for course in courses])) else None,
            "n_seeds": len(courses),
        }
        for (split, model), courses in found.items()
        for k, share in enumerate(SHARES)
    ]
    schema = {name: dtype for name, dtype in BUDGET_SCORES.items() if name != "rank"}
    merit = (pl.col("score") * way).fill_null(-np.inf)
    ranked = pl.DataFrame(rows, schema=schema).with_columns(
        (-merit).rank("average").over("split", "share").alias("rank")
    )
    return null_for_nan(conform(ranked, BUDGET_SCORES)).sort("split", "share", "rank", "model")


def _course(fit: Mapping[str, Any], way: int, max_seconds: float | None) -> list[tuple[float, float | None]]:
    """(seconds, merit of the best epoch so far or None) at each of SHARES; empty without a history of scores."""
    notes = fit.get("notes") or {}
    history = [epoch for epoch in fit.get("history") or () if isinstance(epoch, Mapping)]
    if "inner_metric" in notes or not any(epoch.get("score") is not None for epoch in history):
        return []
    elapsed = np.cumsum([float(epoch.get("seconds") or 0.0) for epoch in history])
    merits = np.array([-np.inf if epoch.get("score") is None else way * epoch["score"] for epoch in history])
    best = np.maximum.accumulate(merits)
    total = max_seconds or float(elapsed[-1])
    points: list[tuple[float, float | None]] = []
    for share in SHARES:
        ended = len(history) if share == 1.0 else int((elapsed <= share * total + 1e-9).sum())
        known = ended > 0 and bool(np.isfinite(best[ended - 1]))
        seconds = float(elapsed[-1]) if share == 1.0 else share * total
        points.append((seconds, float(best[ended - 1]) if known else None))
    return points


def _all(values: Sequence[float | None]) -> list[float]:
    """The values where none is absent, else nothing."""
    there = [value for value in values if value is not None]
    return there if len(there) == len(values) else []


def against_budget(scores: pl.DataFrame) -> pl.DataFrame:
    """Agreement of the validation ranking at each share with that at the end, in schema AGREEMENT."""
    rows: list[dict[str, object]] = []
    for (split,), part in scores.group_by("split", maintain_order=True):
        ranks = _ranks(part)
        if len(ranks) < 2:
            continue
        table = np.array([list(own.values()) for own in ranks.values()])  # (models, shares)
        for k, share in enumerate(SHARES[:-1]):
            same, pairs = kept(-table[:, -1], -table[:, k])
            head = {"split": split, "against": "budget", "setting": f"{share:.0%}".replace("%", " %")}
            rows.append(head | {"tau": kendall(-table[:, -1], -table[:, k]), "n_kept": same, "n_pairs": pairs})
    return null_for_nan(conform(pl.DataFrame(rows, schema=dict(AGREEMENT)), AGREEMENT))


def settled(scores: pl.DataFrame) -> pl.DataFrame:
    """split, model_a, model_b, settled: from which share on a stands before b on validation, through to the end.

    One row for each pair and direction that the end of the budget shows.
    """
    rows: list[dict[str, object]] = []
    for (split,), part in scores.group_by("split", maintain_order=True):
        ranks = _ranks(part)
        for a, b in permutations(ranks, 2):
            before = [ranks[a][share] < ranks[b][share] for share in SHARES]
            if before[-1]:
                first = max((k + 1 for k, held in enumerate(before) if not held), default=0)
                rows.append({"split": split, "model_a": a, "model_b": b, "settled": SHARES[first]})
    schema = {"split": pl.String, "model_a": pl.String, "model_b": pl.String, "settled": pl.Float64}
    return pl.DataFrame(rows, schema=schema)


def _ranks(part: pl.DataFrame) -> dict[str, dict[float, float]]:
    """model → share → rank."""
    found: dict[str, dict[float, float]] = {}
    for model, share, rank in part.sort("model", "share").select("model", "share", "rank").iter_rows():
        found.setdefault(model, {})[share] = rank
    return found
