"""What accuracy costs: score against parameters, training seconds and speed of inference, and who is on the front."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from statistics import fmean
from typing import Any

import numpy as np
import polars as pl

from ..metrics.intervals import Array
from ..metrics.tables import direction, null_for_nan
from ..schemas import OPERATING_POINTS, conform

#: (split, model, seed) → its cell.json.
Cells = dict[tuple[str, str, int], Mapping[str, Any]]
#: Cost of a model → 1 where more of it is dearer, −1 where less is.
COSTS = {"parameters": 1, "seconds_fit": 1, "queries_per_second": -1}


def operating_points(
    summary: pl.DataFrame,
    records: Iterable[Mapping[str, Any]],
    metric: str,
    queries: Mapping[str, int],
    unknown: Collection[str] = (),
) -> pl.DataFrame:
    """One row a split and model, mean over its seeds, in schema OPERATING_POINTS. Oracles take no part.

    Args:
        summary: schema SUMMARY.
        records: the cells' cell.json.
        queries: split → queries that a cell answers, for records that do not say it.
        unknown: models that answer from a file: times are those of reading it, parameters not told; both left null.

    Training seconds of a row that started from another are those of both; of one fitted in another run they are null.
    A model is on a front where no other has at least its score for no more of that cost, and is better in one of them.
    Times are wall times of one process on the machine that ran the cell: compare what ran on the same.
    """
    rows = summary.filter(
        (pl.col("fold") == "test")
        & (pl.col("metric") == metric)
        & (pl.col("average") == "molecule")
        & pl.col("seed").is_null()
    )
    scored = {(row["split"], row["model"]): row for row in rows.iter_rows(named=True)}
    cells: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    by_cell: Cells = {}
    for record in records:
        cells.setdefault((record["split"], record["model"]), []).append(record)
        by_cell[record["split"], record["model"], record["seed"]] = record
    points = [
        _point(scored[key], own, by_cell, metric, queries.get(key[0]), known=key[1] not in unknown)
        for key, own in cells.items()
        if key in scored and own[0]["kind"] != "oracle"
    ]
    schema = {name: dtype for name, dtype in OPERATING_POINTS.items() if not name.startswith("front_")}
    table = pl.DataFrame(points, schema=schema)
    parts = [_with_fronts(part, direction(metric)) for _, part in table.group_by("split", maintain_order=True)]
    if not parts:
        return pl.DataFrame(schema=dict(OPERATING_POINTS))
    return null_for_nan(conform(pl.concat(parts), OPERATING_POINTS))


def _point(
    score: Mapping[str, Any],
    cells: list[Mapping[str, Any]],
    by_cell: Cells,
    metric: str,
    queries: int | None,
    *,
    known: bool,
) -> dict[str, object]:
    speeds = []
    trained = [seconds for cell in cells if (seconds := _trained(cell, by_cell)) is not None]
    for cell in cells:
        asked, seconds = (cell.get("inference") or {}).get("queries") or queries, cell["seconds"]["predict"]
        if known and asked and seconds > 0:
            speeds.append(asked / seconds)
    settings = cells[0].get("inference") or {}
    return {
        "split": score["split"],
        "model": score["model"],
        "kind": cells[0]["kind"],
        "metric": metric,
        "mean": score["mean"],
        "low": score["low"],
        "high": score["high"],
        "parameters": fmean(float(cell["parameters"]) for cell in cells) if known else None,
        "seconds_fit": fmean(trained) if known and trained else None,
        "queries_per_second": fmean(speeds) if speeds else None,
        "threads": settings.get("threads"),
        "device": settings.get("device"),
    }


def _trained(cell: Mapping[str, Any], by_cell: Cells) -> float | None:
    """Seconds of training, those of the row it started from included; None where another run trained it."""
    fit = cell.get("fit") or {}
    if "fitted" in (fit.get("notes") or {}):
        return None
    own, start = float(cell["seconds"]["fit"]), cell.get("start_from")
    if not start:
        return own
    parent = by_cell.get((cell["split"], start["model"], cell["seed"]))
    before = None if parent is None else _trained(parent, by_cell)
    return None if before is None else before + own


def _with_fronts(part: pl.DataFrame, way: int) -> pl.DataFrame:
    merit = part["mean"].to_numpy() * way
    columns = []
    for name, sign in COSTS.items():
        cost = part[name].to_numpy().astype(np.float64) * sign  # null becomes NaN
        columns.append(pl.Series(f"front_{name}", _front(merit, cost) if way else np.zeros(part.height, bool)))
    return part.with_columns(columns)


def _front(merit: Array, cost: Array) -> np.ndarray:
    """(n,) whether nothing dominates the point; false where its cost is not known."""
    known = np.isfinite(merit) & np.isfinite(cost)
    no_worse = (merit[:, None] >= merit[None, :]) & (cost[:, None] <= cost[None, :]) & known[:, None]
    better = (merit[:, None] > merit[None, :]) | (cost[:, None] < cost[None, :])
    front: np.ndarray = known & ~(no_worse & better).any(axis=0)
    return front
