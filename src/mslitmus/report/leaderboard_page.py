"""The leaderboard of a frozen benchmark as one self-contained HTML page, a pure function of its runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ..metrics.letters import compact_letters
from ..referee.leaderboard import About, Judged
from .board import Entry, board, merit
from .folder import RunFiles, read_run
from .numbers import count, interval, metric_label, percent, score
from .page import environment, static, write

TRAINED = "trained"
AVERAGE = "molecule"


@dataclass(frozen=True)
class Line:
    """One model of a table, formatted. `about` is of submissions alone."""

    name: str
    kind: str
    about: About | None
    values: tuple[tuple[str, str], ...]  # value and interval of each metric, the primary first
    letters: str
    coverage: str
    skill_blind: str
    skill_neighbour: str

    @property
    def muted(self) -> bool:
        return self.kind != TRAINED


@dataclass(frozen=True)
class Table:
    """One track on one split; without lines where nobody has submitted to it."""

    track: str
    split: str
    task: str
    metrics: tuple[str, ...]
    queries: str
    molecules: str
    lines: tuple[Line, ...]


def write_page(judged: Judged, out: Path) -> Path:
    """Write `index.html` into `out`. Raises RunError where it cannot be written."""
    return write(render(judged), out / "index.html")


def render(judged: Judged) -> str:
    """The page as text; everything that comes from files is escaped by the template."""
    runs = {key: read_run(folder) for key, folder in judged.runs.items()}
    manifest = judged.manifest
    return (
        environment()
        .get_template("leaderboard_page.html.j2")
        .render(
            manifest=manifest,
            recipe=manifest.recipe,
            dataset=manifest.identity["dataset"],
            made=manifest.made,
            simulated=any(files.simulated for files in runs.values()),
            style=static("style.css"),
            tables=[
                _table(judged, (track.name, split.name), runs.get((track.name, split.name)))
                for track, split in manifest.recipe.pairs()
            ],
            submissions=judged.submissions,
        )
    )


def _table(judged: Judged, key: tuple[str, str], files: RunFiles | None) -> Table:
    recipe, (track, split) = judged.manifest.recipe, key
    asked = recipe.track(track)
    metrics = (asked.primary_metric, *(name for name in asked.metrics if name != asked.primary_metric))
    about = {each.name: each.about for each in judged.submissions}
    lines: tuple[Line, ...] = ()
    if files is not None:
        letters = _letters(files, split, asked.primary_metric)
        columns = {metric: {e.model: e for e in board(files, split, metric, AVERAGE)} for metric in metrics}
        ranked = sorted(
            columns[asked.primary_metric].values(), key=lambda e: (-merit(e, asked.primary_metric), e.model)
        )
        lines = tuple(
            _line(entry, about.get(entry.model), [columns[m][entry.model] for m in metrics], letters)
            for entry in ranked
        )
    size = judged.manifest.part(track, split)["queries of test"]
    labels = tuple(metric_label(name) for name in metrics)
    return Table(track, split, asked.task, labels, count(size["spectra"]), count(size["molecules"]), lines)


def _line(entry: Entry, about: About | None, entries: Sequence[Entry], letters: dict[str, str]) -> Line:
    return Line(
        name=entry.model,
        kind=entry.kind,
        about=about,
        values=tuple((score(e.mean), interval(e.low, e.high)) for e in entries),
        letters=letters.get(entry.model, ""),
        coverage=percent(entry.coverage),
        skill_blind=score(entry.skill_blind, sign=True),
        skill_neighbour=score(entry.skill_neighbour, sign=True),
    )


def _letters(files: RunFiles, split: str, metric: str) -> dict[str, str]:
    """Model → letters: two that share one cannot be told apart. Empty for a single model."""
    if files.comparisons is None or files.comparisons.is_empty():
        return {}
    pairs = files.comparisons.filter((pl.col("split") == split) & (pl.col("metric") == metric))
    return dict(compact_letters(pairs).select("model", "letters").iter_rows()) if pairs.height else {}
