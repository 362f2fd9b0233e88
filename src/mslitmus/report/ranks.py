"""Values of the section Ranks: normalised ranks over metrics and splits, and the grid of encoder × head."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
from markupsafe import Markup

from ..metrics.factors import Grid, grid_of
from .board import Entry, board, merit
from .folder import RunFiles
from .numbers import MISSING, count, directed, interval, metric_label, rising, score, usable
from .plot import Axis, axis_header, dot

#: Per cent of the accent colour behind the best cell of a grid: text stays legible on it, light and dark.
STRONGEST = 42


@dataclass(frozen=True)
class Ranks:
    """One row a model: a dot with its range for every column (each split, then all of them)."""

    columns: tuple[str, ...]
    axis: Markup
    rankings: str
    rows: tuple[tuple[str, bool, tuple[tuple[Markup, str], ...]], ...]


def ranks(files: RunFiles) -> Ranks | None:
    """None without the table, and where there is but one model."""
    table = files.normalised_ranks
    if table is None or table.is_empty() or table["model"].n_unique() < 2:
        return None
    splits = [name for name in files.split_names if name in set(table["split"].drop_nulls())]
    columns: list[str | None] = [*splits, *([None] if len(splits) > 1 else [])]
    axis = Axis(0.0, 1.0)
    found = {(row["split"], row["model"]): row for row in table.iter_rows(named=True)}
    order = table.filter(pl.col("split").is_null())["model"].to_list()
    rows = []
    for model in order:
        cells = []
        for split in columns:
            row = found.get((split, model), {})
            mean, best, worst = (row.get(key) for key in ("mean", "best", "worst"))
            where = f"{split} split" if split else "all splits"
            label = f"{model}, {where}: mean {score(mean)}, from {score(best)} to {score(worst)}"
            form = "trained" if files.kind(model) == "trained" else "control"
            cells.append((dot(axis, mean, best, worst, label=label, shape=form), score(mean)))
        rows.append((model, files.kind(model) == "trained", tuple(cells)))
    most = table["n_rankings"].max()
    return Ranks(
        columns=tuple(f"{split} split" if split else "all splits" for split in columns),
        axis=axis_header(axis),
        rankings=count(most),
        rows=tuple(rows),
    )


@dataclass(frozen=True)
class GridCell:
    value: str
    label: str
    weight: int  # per cent of the accent colour behind it
    best_row: bool
    best_column: bool


@dataclass(frozen=True)
class Margin:
    value: str
    interval: str


@dataclass(frozen=True)
class GridPanel:
    """The grid under one metric: rows × columns with the means of each row and column."""

    metric: str
    label: str
    names: tuple[str, str]
    columns: tuple[tuple[str, Margin | None], ...]
    rows: tuple[tuple[str, Margin | None, tuple[GridCell | None, ...]], ...]
    sentence: str


def grids(files: RunFiles, split: str) -> list[GridPanel]:
    """A panel a metric that has a best value; empty where the models are no grid."""
    panels = []
    for metric in (name for name in files.metrics if directed(name)):
        entries = {e.model: e for e in board(files, split, metric, "molecule")}
        grid = grid_of(list(entries))
        if grid is None:
            return []
        panels.append(_panel(files, split, metric, grid, entries))
    return panels


def _panel(files: RunFiles, split: str, metric: str, grid: Grid, entries: dict[str, Entry]) -> GridPanel:
    found = {key: entries[model] for key, model in grid.cells.items()}
    merits = {key: merit(entry, metric) for key, entry in found.items() if usable(entry.mean)}
    low, high = min(merits.values(), default=0.0), max(merits.values(), default=0.0)
    by_row = {row: max((v for (r, _), v in merits.items() if r == row), default=None) for row in grid.rows}
    by_column = {name: max((v for (_, c), v in merits.items() if c == name), default=None) for name in grid.columns}
    margins, names = _margins(files, split, metric)

    def cell(key: tuple[str, str]) -> GridCell | None:
        entry = found.get(key)
        if entry is None:
            return None
        value = merits.get(key)
        share = (value - low) / (high - low) if value is not None and high > low else 0.0
        return GridCell(
            value=score(entry.mean),
            label=f"{entry.model}: {score(entry.mean)} {interval(entry.low, entry.high)}",
            weight=round(STRONGEST * share),
            best_row=value is not None and value == by_row[key[0]],
            best_column=value is not None and value == by_column[key[1]],
        )

    def ordered(levels: tuple[str, ...], place: int) -> list[str]:
        way = -1 if rising(metric) else 1
        return sorted(levels, key=lambda level: way * (margins[place, level][0] if (place, level) in margins else 0.0))

    rows, columns = ordered(grid.rows, 0), ordered(grid.columns, 1)
    shown = {key: Margin(score(value), interval(*span)) for key, (value, span) in margins.items()}
    return GridPanel(
        metric=metric,
        label=metric_label(metric),
        names=names,
        columns=tuple((name, shown.get((1, name))) for name in columns),
        rows=tuple((name, shown.get((0, name)), tuple(cell((name, column)) for column in columns)) for name in rows),
        sentence=_sentence(rows, columns, names, shown, len(grid.rows) * len(grid.columns) - len(grid.cells)),
    )


def _margins(
    files: RunFiles, split: str, metric: str
) -> tuple[dict[tuple[int, str], tuple[float, tuple[float, float]]], tuple[str, str]]:
    """(place, level) → mean and interval; and what the two factors are called."""
    if files.factors is None:
        return {}, ("row", "column")
    here = files.factors.filter((pl.col("split") == split) & (pl.col("metric") == metric))
    names = dict(here.select("place", "factor").unique().iter_rows())
    found = {(r["place"], r["level"]): (r["mean"], (r["low"], r["high"])) for r in here.iter_rows(named=True)}
    return found, (names.get(0, "row"), names.get(1, "column"))


def _sentence(
    rows: list[str], columns: list[str], names: tuple[str, str], margins: dict[tuple[int, str], Margin], absent: int
) -> str:
    """Which level leads by its marginal mean, and how many cells are absent."""
    parts = []
    for place, levels in enumerate((rows, columns)):
        best, last = margins.get((place, levels[0])), margins.get((place, levels[-1]))
        if best and last:
            parts.append(f"by {names[place]} {levels[0]} leads ({best.value}, last {levels[-1]} {last.value})")
    gaps = f" {absent} of the cells are absent; the means allow for that by an additive fit." if absent else ""
    return f"On average {' and '.join(parts)}.{gaps}" if parts else gaps.strip() or MISSING
