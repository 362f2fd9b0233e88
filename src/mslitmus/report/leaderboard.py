"""Values of the leaderboard: a panel for each split, metric and average, in groups from trained models to bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl
from markupsafe import Markup

from ..metrics.letters import compact_letters
from .board import Entry, board, chosen
from .folder import RunFiles
from .numbers import (
    MISSING,
    count,
    directed,
    duration,
    family,
    interval,
    magnitude,
    metric_label,
    nice_limit,
    percent,
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
    letters: str
    skill_blind: str
    skill_neighbour: str
    coverage: str
    answered: str  # the mean over answered queries alone; empty where all were answered
    n: str
    independent: str
    parameters: str
    fit: str
    predict: str
    seeds: str


@dataclass(frozen=True)
class Group:
    """Rows of one kind: `trained`, `transductive`, `neighbour`, `blind` or `oracle`, best first."""

    kind: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Bound:
    """What there is to reach: a mark on the axis, its value, and where the value comes from."""

    plot: Markup
    value: str
    meaning: str


@dataclass(frozen=True)
class Panel:
    """One table out of several that a switch chooses from."""

    metric: str
    label: str
    average: str
    axis: Markup
    groups: tuple[Group, ...]
    bound: Bound | None
    trivial: str | None
    lettered: bool
    skills: tuple[str, ...]  # controls that a skill could be computed against: blind, neighbour

    @property
    def width(self) -> int:
        """Columns of the table."""
        return 8 + self.lettered + len(self.skills)

    def rows_of(self, *kinds: str) -> tuple[Row, ...]:
        return tuple(row for group in self.groups if group.kind in kinds for row in group.rows)


#: Kinds in the order of the page, the bounds last.
GROUPS = ("trained", "transductive", "neighbour", "blind", "oracle")


def leaderboard(files: RunFiles, split: str) -> list[Panel]:
    """Panels of one split: every metric × average, the reported metric per molecule first."""
    letters = _letters(files, split)
    panels = [_panel(files, split, metric, average, letters) for metric in files.metrics for average in AVERAGES]
    return [panel for panel in panels if panel.groups]


def _panel(
    files: RunFiles, split: str, metric: str, average: str, letters: Mapping[tuple[str, str, str], str]
) -> Panel:
    entries = board(files, split, metric, average)
    bound = next((e.bound for e in entries if e.bound is not None), None)
    trivial = chosen(files, split, metric, average, control=True) if directed(metric) else None
    axis = axis_for([v for e in entries for v in (e.mean, e.low, e.high, e.bound, e.answered)])
    marks = [Mark(bound, "bound", f"bound {score(bound)}")] if bound is not None else []
    if trivial is not None and trivial.mean is not None:
        marks.append(Mark(trivial.mean, "trivial", f"trivial model to beat, {trivial.model}: {score(trivial.mean)}"))
    rows = [_row(entry, axis, marks, letters.get((metric, average, entry.model), "")) for entry in entries]
    return Panel(
        metric=metric,
        label=metric_label(metric),
        average=average,
        axis=axis_header(axis),
        groups=_groups(rows),
        bound=None if bound is None or not entries else _bound(files, split, metric, axis, bound),
        trivial=trivial.model if trivial else None,
        lettered=any(row.letters for row in rows),
        skills=tuple(
            name
            for name, values in (
                ("blind", [e.skill_blind for e in entries]),
                ("neighbour", [e.skill_neighbour for e in entries]),
            )
            if any(usable(value) for value in values)
        ),
    )


def _groups(rows: Sequence[Row]) -> tuple[Group, ...]:
    """The groups that have rows; a kind that is not known here counts as trained."""
    found = {kind: tuple(row for row in rows if _kind(row.entry) == kind) for kind in GROUPS}
    return tuple(Group(kind, own) for kind, own in found.items() if own)


def _kind(entry: Entry) -> str:
    return "trained" if entry.trained else "transductive" if entry.transductive else entry.kind


def _bound(files: RunFiles, split: str, metric: str, axis: Axis, value: float) -> Bound:
    mark = Mark(value, "bound", f"bound {score(value)}")
    plot = dot(axis, None, None, None, label=f"bound {score(value)}", shape="control", marks=[mark])
    return Bound(plot, score(value), _meaning(files, split, metric))


def _letters(files: RunFiles, split: str) -> dict[tuple[str, str, str], str]:
    """(metric, average, model) → letters. Comparisons are per molecule; the oracle, which is none's rival, has none."""
    if files.comparisons is None:
        return {}
    oracles = [model for model in files.comparisons["model_a"].unique().to_list() if files.kind(model) == "oracle"]
    oracles += [model for model in files.comparisons["model_b"].unique().to_list() if files.kind(model) == "oracle"]
    known = [m for m in files.comparisons["metric"].unique().to_list() if family(m) and directed(m)]
    pairs = files.comparisons.filter(
        (pl.col("split") == split)
        & pl.col("metric").is_in(known)
        & ~pl.col("model_a").is_in(oracles)
        & ~pl.col("model_b").is_in(oracles)
    )
    found = compact_letters(pairs).select("metric", "model", "letters")
    return {(metric, "molecule", model): shown for metric, model, shown in found.iter_rows()}


def _meaning(files: RunFiles, split: str, metric: str) -> str:
    """What the bound of a spectrum metric is: the replicates' ceiling and how many stand behind it, or 1 for want of
    them. Of other metrics it is the best value that there is."""
    if files.bounds is None or family(metric) != "spectrum":
        return "the best value of the metric"
    ceiling = (files.bounds.get(split) or {}).get(metric)
    if not isinstance(ceiling, Mapping):
        return "the best value of the metric: too few replicates from another laboratory for a ceiling"
    behind = f"{count(ceiling.get('n_queries'))} spectra of {count(ceiling.get('n_molecules'))} molecules"
    return f"what replicates from another laboratory reach; {behind} have one"


def axis_for(values: Sequence[float | None]) -> Axis:
    """From 0 (or the lowest negative value) to a round limit above the largest value."""
    good = [float(v) for v in values if v is not None and usable(v)]
    low = min([0.0, *good])
    return Axis(-nice_limit(-low) if low < 0 else 0.0, nice_limit(max([*good, 1e-9])))


def shape(entry: Entry | None) -> str:
    """How a model's mark is drawn: `trained`, `control` or `oracle`."""
    return (
        "trained" if entry is None or entry.trained or entry.transductive else "oracle" if entry.oracle else "control"
    )


def _row(entry: Entry, axis: Axis, marks: Sequence[Mark], letters: str) -> Row:
    value, span = score(entry.mean), interval(entry.low, entry.high)
    own = list(marks)
    label = f"{entry.model}: {value}, 95 % interval {span}"
    if entry.answered is not None:
        label += f"; over the answered queries alone {score(entry.answered)}"
        own.append(Mark(entry.answered, "answered", f"over the answered queries alone {score(entry.answered)}"))
    return Row(
        entry=entry,
        plot=dot(
            axis,
            entry.mean,
            entry.low,
            entry.high,
            label=label,
            shape=shape(entry),
            marks=own,
            seeds=entry.seeds,
        ),
        value=value,
        interval=span,
        letters=letters,
        skill_blind=score(entry.skill_blind, sign=True),
        skill_neighbour=score(entry.skill_neighbour, sign=True),
        coverage=percent(entry.coverage),
        answered=score(entry.answered) if entry.answered is not None else "",
        n=f"{count(entry.n_queries)} / {count(entry.n_molecules)}",
        independent=_independent(entry),
        parameters=magnitude(entry.parameters),
        fit=duration(entry.seconds_fit),
        predict=duration(entry.seconds_predict),
        seeds=f"{len(entry.seeds)} seeds, {score(min(entry.seeds))} to {score(max(entry.seeds))}"
        if len(entry.seeds) > 1
        else "",
    )


def _independent(entry: Entry) -> str:
    """`≈ 430 independent`, where that is another number than the molecules; and the groups that were resampled."""
    parts = []
    if entry.n_effective is not None and round(entry.n_effective) != entry.n_molecules:
        parts.append(f"≈ {count(entry.n_effective)} independent")
    if entry.n_clusters is not None and entry.n_clusters != entry.n_molecules:
        parts.append(f"{count(entry.n_clusters)} clusters")
    return ", ".join(parts) or (MISSING if entry.n_queries is None else "")
