"""Values of the sections that compare: leaderboard panels, the matrix of paired comparisons, strata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl
from markupsafe import Markup

from ..audits.finding import paired
from .board import Entry, board, chosen, merit
from .finding import ALPHA
from .folder import RunFiles
from .numbers import (
    count,
    directed,
    duration,
    interval,
    magnitude,
    metric_label,
    nice_limit,
    p_value,
    percent,
    rising,
    score,
    usable,
)
from .plot import Axis, Mark, axis_header, dot

AVERAGES = ("molecule", "spectrum")


@dataclass(frozen=True)
class Row:
    """One line of the leaderboard, formatted."""

    entry: Entry
    plot: Markup
    value: str
    interval: str
    skill_blind: str
    skill_neighbour: str
    coverage: str
    n: str
    parameters: str
    fit: str
    predict: str
    seeds: str


@dataclass(frozen=True)
class Panel:
    """One table out of several that a switch chooses from."""

    metric: str
    label: str
    average: str
    axis: Markup
    trained: tuple[Row, ...]
    controls: tuple[Row, ...]
    bound: str | None
    trivial: str | None


def leaderboard(files: RunFiles, split: str) -> list[Panel]:
    """Panels of one split: every metric × average, the reported metric per molecule first."""
    panels = [_panel(files, split, metric, average) for metric in files.metrics for average in AVERAGES]
    return [panel for panel in panels if panel.trained or panel.controls]


def _panel(files: RunFiles, split: str, metric: str, average: str) -> Panel:
    entries = board(files, split, metric, average)
    bound = next((e.bound for e in entries if e.bound is not None), None)
    trivial = chosen(files, split, metric, average, control=True) if directed(metric) else None
    axis = axis_for([v for e in entries for v in (e.mean, e.low, e.high, e.bound)])
    marks = [Mark(bound, "bound", f"bound {score(bound)}")] if bound is not None else []
    if trivial is not None and trivial.mean is not None:
        marks.append(Mark(trivial.mean, "trivial", f"best trivial model {score(trivial.mean)}"))
    rows = [_row(entry, axis, marks) for entry in entries]
    return Panel(
        metric=metric,
        label=metric_label(metric),
        average=average,
        axis=axis_header(axis),
        trained=tuple(row for row in rows if not row.entry.control),
        controls=tuple(row for row in rows if row.entry.control),
        bound=None if bound is None else f"{score(bound)}{_meaning(files, split, metric)}",
        trivial=trivial.model if trivial else None,
    )


def _meaning(files: RunFiles, split: str, metric: str) -> str:
    """What the bound is: the replicates' ceiling and how many stand behind it, or 1 for want of them."""
    if files.bounds is None:
        return ""
    ceiling = (files.bounds.get(split) or {}).get(metric)
    if not isinstance(ceiling, Mapping):
        return " (too few replicates from another laboratory for a ceiling)"
    behind = f"{count(ceiling.get('n_queries'))} spectra of {count(ceiling.get('n_molecules'))} molecules"
    return f" (what replicates from another laboratory reach; {behind} have one)"


def axis_for(values: Sequence[float | None]) -> Axis:
    """From 0 (or the lowest negative value) to a round limit above the largest value."""
    good = [float(v) for v in values if v is not None and usable(v)]
    low = min([0.0, *good])
    return Axis(-nice_limit(-low) if low < 0 else 0.0, nice_limit(max([*good, 1e-9])))


def _row(entry: Entry, axis: Axis, marks: Sequence[Mark]) -> Row:
    value, span = score(entry.mean), interval(entry.low, entry.high)
    return Row(
        entry=entry,
        plot=dot(
            axis,
            entry.mean,
            entry.low,
            entry.high,
            label=f"{entry.model}: {value}, 95 % interval {span}",
            control=entry.control,
            marks=marks,
            seeds=entry.seeds,
        ),
        value=value,
        interval=span,
        skill_blind=score(entry.skill_blind, sign=True),
        skill_neighbour=score(entry.skill_neighbour, sign=True),
        coverage=percent(entry.coverage),
        n=f"{count(entry.n_queries)} / {count(entry.n_molecules)}",
        parameters=magnitude(entry.parameters),
        fit=duration(entry.seconds_fit),
        predict=duration(entry.seconds_predict),
        seeds=f"{len(entry.seeds)} seeds, {score(min(entry.seeds))} to {score(max(entry.seeds))}"
        if len(entry.seeds) > 1
        else "",
    )


@dataclass(frozen=True)
class Pair:
    """One cell of the comparison matrix: row model minus column model."""

    difference: str
    interval: str
    p: str
    effect: str
    n: str
    verdict: str  # gain, loss, open


@dataclass(frozen=True)
class Matrix:
    metric: str
    label: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Pair | None, ...]], ...]
    n: str | None  # molecules, where the same in every pair


def matrices(files: RunFiles, split: str) -> list[Matrix]:
    """One matrix a metric; models from best to worst, so that a cell tells how much the row gains over the column."""
    if files.comparisons is None:
        return []
    out = []
    for metric in _first(files.comparisons["metric"].unique(maintain_order=True).to_list(), files.primary):
        here = files.comparisons.filter((pl.col("split") == split) & (pl.col("metric") == metric))
        known = set(here["model_a"].to_list()) | set(here["model_b"].to_list())
        entries = sorted(board(files, split, metric, "molecule"), key=lambda e: -merit(e, metric))
        models = [e.model for e in entries if e.model in known] + sorted(known - {e.model for e in entries})
        if len(models) < 2:
            continue
        rows = tuple(
            (
                a,
                tuple(_pair(files, split, metric, a, b) if j > i else None for j, b in enumerate(models) if j > 0),
            )
            for i, a in enumerate(models[:-1])
        )
        counts = {pair.n for _, pairs in rows for pair in pairs if pair}
        n = counts.pop() if len(counts) == 1 else None
        out.append(Matrix(metric, metric_label(metric), tuple(models[1:]), rows, n))
    return out


def _pair(files: RunFiles, split: str, metric: str, a: str, b: str) -> Pair | None:
    row = paired(files.comparisons, split, metric, a, b)
    if row is None:
        return None
    p, difference = row["p_holm"], row["difference"]
    decided = usable(p) and p < ALPHA and usable(difference) and directed(metric)
    return Pair(
        difference=score(difference, sign=True),
        interval=interval(row["low"], row["high"]),
        p=p_value(p),
        effect=score(row["effect_size"], 2, sign=True),
        n=count(row["n_molecules"]),
        verdict="open" if not decided else "gain" if (difference > 0) == rising(metric) else "loss",
    )


@dataclass(frozen=True)
class Stratum:
    """Levels × models, each cell a dot with its interval and its number."""

    name: str
    rows: tuple[tuple[str, str, tuple[tuple[Markup, str], ...]], ...]  # level, n, cells


@dataclass(frozen=True)
class StrataPanel:
    metric: str
    label: str
    models: tuple[tuple[str, bool], ...]  # name, control
    axis: Markup
    trivial: str | None
    strata: tuple[Stratum, ...]


def strata(files: RunFiles, split: str) -> list[StrataPanel]:
    """One panel a metric, the reported one first."""
    if files.strata is None:
        return []
    here = files.strata.filter(pl.col("split") == split)
    metrics = _first(here["metric"].unique(maintain_order=True).to_list(), files.primary)
    return [_strata_panel(files, split, metric, here.filter(pl.col("metric") == metric)) for metric in metrics]


def _strata_panel(files: RunFiles, split: str, metric: str, table: pl.DataFrame) -> StrataPanel:
    entries = board(files, split, metric, "molecule")
    found = table["model"].unique(maintain_order=True).to_list()
    models = [e.model for e in entries if e.model in found] + [m for m in found if m not in {e.model for e in entries}]
    control = {e.model: e.control for e in entries}
    best = chosen(files, split, metric, "molecule", control=True)
    axis = axis_for([*table["mean"].to_list(), *table["high"].to_list(), *table["low"].to_list()])
    blocks = [
        _stratum(name, table.filter(pl.col("stratum") == name), models, control, axis, best.model if best else None)
        for name in table["stratum"].unique(maintain_order=True).to_list()
    ]
    return StrataPanel(
        metric=metric,
        label=metric_label(metric),
        models=tuple((model, control.get(model, False)) for model in models),
        axis=axis_header(axis),
        trivial=best.model if best else None,
        strata=tuple(blocks),
    )


def _stratum(
    name: str, table: pl.DataFrame, models: Sequence[str], control: dict[str, bool], axis: Axis, best: str | None
) -> Stratum:
    rows = []
    for level in table.sort("order")["level"].unique(maintain_order=True).to_list():
        by_model = {row["model"]: row for row in table.filter(pl.col("level") == level).iter_rows(named=True)}
        n = next(iter(by_model.values()))
        reference = by_model.get(best or "")
        marks = []
        if reference is not None and usable(reference["mean"]):
            marks.append(Mark(reference["mean"], "trivial", f"{best} {score(reference['mean'])}"))
        cells = []
        for model in models:
            row = by_model.get(model, {})
            mean, low, high = row.get("mean"), row.get("low"), row.get("high")
            label = f"{model}, {name} {level}: {score(mean)} {interval(low, high)}"
            plot = dot(axis, mean, low, high, label=label, control=control.get(model, False), marks=marks)
            cells.append((plot, score(mean)))
        rows.append((str(level), f"{count(n['n_queries'])} / {count(n['n_molecules'])}", tuple(cells)))
    return Stratum(name, tuple(rows))


def _first(names: list[str], wanted: str) -> list[str]:
    return sorted(names, key=lambda name: name != wanted)
