"""Values of the section Operating points: what accuracy costs in parameters, training and inference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl
from markupsafe import Markup

from .folder import RunFiles
from .numbers import MISSING, count, duration, interval, magnitude, metric_label, rising, score, usable
from .scatter import Point, cost_chart

#: Column → title, foot of the axis. Speed is drawn as time a query, so that less is better on every axis.
_CHARTS = (
    ("parameters", "Parameters", "parameters"),
    ("seconds_fit", "Training", "seconds of training"),
    ("queries_per_second", "Inference", "milliseconds a spectrum"),
)


@dataclass(frozen=True)
class PointRow:
    model: str
    trained: bool
    value: str
    interval: str
    costs: tuple[tuple[str, bool], ...]  # parameters, training, speed; and whether on that front
    fronts: int


@dataclass(frozen=True)
class Operating:
    """One split."""

    split: str
    label: str
    charts: tuple[Markup, ...]
    rows: tuple[PointRow, ...]
    where: str  # threads and device, where the cells recorded them


def operating(files: RunFiles) -> list[Operating]:
    """One entry a split of operating_points.parquet; empty without it."""
    if files.operating_points is None:
        return []
    tables = [(split, files.operating_points.filter(pl.col("split") == split)) for split in files.split_names]
    return [_of(split, table) for split, table in tables if table.height > 1]


def _of(split: str, table: pl.DataFrame) -> Operating:
    metric = str(table["metric"][0])
    ordered = table.sort("mean", descending=rising(metric), nulls_last=True)
    return Operating(
        split=split,
        label=metric_label(metric),
        charts=tuple(chart for name, *words in _CHARTS if (chart := _chart(table, metric, split, name, *words))),
        rows=tuple(_row(row) for row in ordered.iter_rows(named=True)),
        where=_where(table),
    )


def _chart(table: pl.DataFrame, metric: str, split: str, name: str, title: str, foot: str) -> Markup:
    points = []
    for row in table.iter_rows(named=True):
        if usable(row[name]) and usable(row["mean"]):
            cost = 1000.0 / row[name] if name == "queries_per_second" else float(row[name])
            css = "trained" if row["kind"] == "trained" else "control"
            tip = f"{row['model']}: {score(row['mean'])}, {_cost(name, row)}"
            points.append(Point(row["model"], cost, row["mean"], css, bool(row[f"front_{name}"]), tip))
    label = f"{metric_label(metric)} against {foot} on the {split} split"
    return cost_chart(points, label=label, title=title, foot=foot, falling=not rising(metric))


def _row(row: Mapping[str, Any]) -> PointRow:
    fronts = [bool(row[f"front_{name}"]) for name, *_ in _CHARTS]
    return PointRow(
        model=row["model"],
        trained=row["kind"] == "trained",
        value=score(row["mean"]),
        interval=interval(row["low"], row["high"]),
        costs=tuple((_cost(name, row), front) for (name, *_), front in zip(_CHARTS, fronts, strict=True)),
        fronts=sum(fronts),
    )


def _cost(name: str, row: Mapping[str, Any]) -> str:
    value = row[name]
    if not usable(value):
        return MISSING
    if name == "parameters":
        return magnitude(value)
    return duration(value) if name == "seconds_fit" else f"{count(float(f'{value:.3g}'))} / s"


def _where(table: pl.DataFrame) -> str:
    devices = table["device"].drop_nulls().unique().sort().to_list()
    threads = table["threads"].drop_nulls().unique().sort().to_list()
    parts = [f"on {' and '.join(devices)}"] if devices else []
    if threads:
        parts.append(f"with {' and '.join(map(str, threads))} thread{'s' if threads != [1] else ''}")
    return " ".join(parts)
