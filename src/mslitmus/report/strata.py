"""Values of the section Strata: scores by kind of query, and in which kind a model is weakest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl
from markupsafe import Markup

from .board import board, chosen
from .folder import RunFiles
from .leaderboard import axis_for, shape
from .levels import LevelRow, level_chart
from .numbers import count, directed, interval, metric_label, reported_first, rising, score, usable
from .plot import Axis, Mark, axis_header, dot

#: Columns of models that a screen holds beside each other.
MOST = 6


@dataclass(frozen=True)
class Stratum:
    """Levels × models, each cell a dot with its interval and its number."""

    name: str
    rows: tuple[tuple[str, str, tuple[tuple[Markup, str], ...]], ...]


@dataclass(frozen=True)
class Worst:
    """A model's worst level of one stratum."""

    level: str
    mean: str
    interval: str
    n: str
    spread: str


@dataclass(frozen=True)
class StrataPanel:
    metric: str
    label: str
    models: tuple[tuple[str, str], ...]  # name, and trained, control or oracle
    left_out: int  # models that have no column, for want of room
    axis: Markup
    trivial: str | None
    better: str  # on which side of the trivial model's mark a gain lies
    strata: tuple[Stratum, ...]
    lead: str  # the model that the charts show with its interval
    charts: tuple[Markup, ...]  # one a stratum
    worst_strata: tuple[str, ...]
    worst: tuple[tuple[str, bool, tuple[Worst | None, ...]], ...]  # model, trained, one entry a stratum


def strata(files: RunFiles, split: str) -> list[StrataPanel]:
    """One panel a metric that was stratified."""
    if files.strata is None:
        return []
    here = files.strata.filter(pl.col("split") == split)
    metrics = reported_first(here["metric"].unique(maintain_order=True).to_list(), files.primary)
    return [_panel(files, split, metric, here.filter(pl.col("metric") == metric)) for metric in metrics]


def _panel(files: RunFiles, split: str, metric: str, table: pl.DataFrame) -> StrataPanel:
    entries = {e.model: e for e in board(files, split, metric, "molecule")}
    found = table["model"].unique(maintain_order=True).to_list()
    models = [name for name in entries if name in found] + [name for name in found if name not in entries]
    shapes = {name: shape(entries.get(name)) for name in models}
    best = chosen(files, split, metric, "molecule", control=True) if directed(metric) else None
    shown = _shown(shapes, best.model if best else None)
    axis = axis_for([*table["mean"].to_list(), *table["high"].to_list(), *table["low"].to_list()])
    leader = chosen(files, split, metric, "molecule", control=False) if directed(metric) else None
    lead = leader.model if leader and leader.model in models else models[0]
    blocks = [
        _stratum(name, table.filter(pl.col("stratum") == name), shown, axis, best.model if best else None)
        for name in table["stratum"].unique(maintain_order=True).to_list()
    ]
    names, worst = _worst(files, split, metric, shapes)
    return StrataPanel(
        metric=metric,
        label=metric_label(metric),
        models=tuple((model, form) for model, form in shown.items()),
        left_out=len(models) - len(shown),
        axis=axis_header(axis),
        trivial=best.model if best else None,
        better="right" if rising(metric) else "left",
        strata=tuple(blocks),
        lead=lead,
        charts=tuple(
            _chart(name, table.filter(pl.col("stratum") == name), shapes, axis, lead, best.model if best else None)
            for name in table["stratum"].unique(maintain_order=True).to_list()
        ),
        worst_strata=names,
        worst=worst,
    )


def _shown(shapes: Mapping[str, str], best: str | None) -> dict[str, str]:
    """Of many models those that matter: the trained ones, the best trivial one and the oracle; else the first few."""
    if len(shapes) <= MOST:
        return dict(shapes)
    mattering = {name: form for name, form in shapes.items() if form != "control" or name == best}
    first = dict(list(shapes.items())[:MOST])
    return mattering if "trained" in mattering.values() else first


def _stratum(name: str, table: pl.DataFrame, shapes: Mapping[str, str], axis: Axis, best: str | None) -> Stratum:
    rows = []
    for level in table.sort("order")["level"].unique(maintain_order=True).to_list():
        by_model = {row["model"]: row for row in table.filter(pl.col("level") == level).iter_rows(named=True)}
        n = next(iter(by_model.values()))
        reference = by_model.get(best or "")
        marks = []
        if reference is not None and usable(reference["mean"]):
            marks.append(Mark(reference["mean"], "trivial", f"{best} {score(reference['mean'])}"))
        cells = []
        for model, form in shapes.items():
            row = by_model.get(model, {})
            mean, low, high = row.get("mean"), row.get("low"), row.get("high")
            label = f"{model}, {name} {level}: {score(mean)} {interval(low, high)}"
            cells.append((dot(axis, mean, low, high, label=label, shape=form, marks=marks), score(mean)))
        rows.append((str(level), f"{count(n['n_queries'])} / {count(n['n_molecules'])}", tuple(cells)))
    return Stratum(name, tuple(rows))


def _chart(
    name: str, table: pl.DataFrame, shapes: Mapping[str, str], axis: Axis, lead: str, best: str | None
) -> Markup:
    """The levels of one stratum: the leading model, the trivial one to beat, the other trained ones as dots."""
    rows = []
    for level in table.sort("order")["level"].unique(maintain_order=True).to_list():
        by_model = {row["model"]: row for row in table.filter(pl.col("level") == level).iter_rows(named=True)}
        own = by_model.get(lead, {})
        rows.append(
            LevelRow(
                name=str(level),
                queries=next(iter(by_model.values()))["n_queries"],
                lead=(own.get("mean"), own.get("low"), own.get("high")),
                trivial=by_model.get(best or "", {}).get("mean") if best != lead else None,
                others=tuple(
                    (model, row["mean"])
                    for model, row in by_model.items()
                    if shapes.get(model) == "trained" and model != lead and usable(row["mean"])
                ),
            )
        )
    return level_chart(rows, axis, title=name, lead=lead, trivial=best)


def _worst(
    files: RunFiles, split: str, metric: str, shapes: Mapping[str, str]
) -> tuple[tuple[str, ...], tuple[tuple[str, bool, tuple[Worst | None, ...]], ...]]:
    """Strata that have a worst group, and per model its worst level of each."""
    if files.worst_groups is None:
        return (), ()
    here = files.worst_groups.filter((pl.col("split") == split) & (pl.col("metric") == metric))
    named = {(row["model"], row["stratum"]): row for row in here.iter_rows(named=True) if row["n_groups"] > 1}
    listed = files.strata["stratum"].unique(maintain_order=True).to_list() if files.strata is not None else []
    names = tuple(name for name in listed if any(stratum == name for _, stratum in named))
    found = {model for model, _ in named}
    rows = [
        (model, form == "trained", tuple(_group(named.get((model, name))) for name in names))
        for model, form in shapes.items()
        if model in found
    ]
    return names, tuple(rows)


def _group(row: Mapping[str, object] | None) -> Worst | None:
    if row is None:
        return None
    return Worst(
        level=str(row["level"]),
        mean=score(row["mean"]),
        interval=interval(row["low"], row["high"]),
        n=f"{count(row['n_queries'])} / {count(row['n_molecules'])}",
        spread=score(row["spread"]),
    )
