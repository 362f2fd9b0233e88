"""A grid of models in two factors ("encoder × head"): the mean of each level over the levels of the other.

Where cells of the grid are absent (an encoder that a head cannot use) a plain mean would credit a level with the
company it keeps. The marginal means are those of the additive fit cell = row + column by least squares, averaged over
all levels of the other factor (population marginal means; Searle, Speed & Milliken, Am. Stat. 1980, 34, 216). In a full
grid they are the plain means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from ..schemas import FACTORS, conform
from .intervals import Array, both_averages
from .tables import average_seeds, by_queries, direction, null_for_nan, unit_range

JOINED = " × "


@dataclass(frozen=True)
class Grid:
    """Models named "row × column". `cells`: (row, column) → model; `rows` and `columns` in order of appearance."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: Mapping[tuple[str, str], str]


def grid_of(models: Sequence[str]) -> Grid | None:
    """The largest two-factor grid among the names, None if there is none.

    Parts that all names share ("neural × …") are passed over; exactly two must vary, and the cells must be enough for
    the additive fit (rows + columns − 1).
    """
    parted = [(model, model.split(JOINED)) for model in models if JOINED in model]
    best: Grid | None = None
    for size in {len(parts) for _, parts in parted}:
        members = [(model, parts) for model, parts in parted if len(parts) == size]
        varying = [k for k in range(size) if len({parts[k] for _, parts in members}) > 1]
        if len(varying) != 2:
            continue
        cells = {(parts[varying[0]], parts[varying[1]]): model for model, parts in members}
        rows, columns = (tuple(dict.fromkeys(key[k] for key in cells)) for k in (0, 1))
        enough = len(cells) == len(members) >= len(rows) + len(columns) - 1
        if enough and (best is None or len(cells) > len(best.cells)):
            best = Grid(rows, columns, cells)
    return best


def factors(
    scores: pl.DataFrame,
    metrics: Sequence[str],
    names: tuple[str, str] = ("row", "column"),
    resamples: int = 2000,
    seed: int = 0,
    clusters: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Marginal means per molecule on test with BCa intervals, in schema FACTORS; empty where the models are no grid.

    Args:
        scores: as for `summary.summarise`.
        names: what the two factors are called.
        clusters: columns inchikey14 and cluster; molecules of one cluster are resampled together.
    """
    rows: list[dict[str, object]] = []
    metrics = [name for name in metrics if direction(name) != 0]
    tested = scores.filter(pl.col("fold") == "test")
    for (split,), part in tested.group_by("split", maintain_order=True):
        grid = grid_of(part["model"].unique(maintain_order=True).to_list())
        if grid is None:
            continue
        members = part.filter(pl.col("model").is_in(list(grid.cells.values())))
        queries = next(iter(by_queries(average_seeds(members, metrics), metrics, clusters)))
        weights = _weights(grid, [model for model, _ in queries.labels])
        if weights is None:
            continue
        n, _, m = queries.values.shape
        combined = np.einsum("nkm,kl->nlm", queries.values, weights).reshape(n, -1)
        found = both_averages(
            combined, queries.clusters, resamples, seed, 0.95, ("molecule",), queries.molecules,
            np.tile(unit_range(metrics), weights.shape[1]),
        )["molecule"]  # fmt: skip
        levels = [(place, level) for place, own in enumerate((grid.rows, grid.columns)) for level in own]
        rows += [
            {
                "split": split,
                "metric": metric,
                "factor": names[place],
                "place": place,
                "level": level,
                "mean": found.mean[k * m + j],
                "low": found.low[k * m + j],
                "high": found.high[k * m + j],
                "n_cells": sum(key[place] == level for key in grid.cells),
                "n_molecules": found.n_molecules,
            }
            for k, (place, level) in enumerate(levels)
            for j, metric in enumerate(metrics)
        ]
    return null_for_nan(conform(pl.DataFrame(rows, schema=dict(FACTORS)), FACTORS))


def _weights(grid: Grid, models: Sequence[str]) -> Array | None:
    """(models, levels): the weight of each cell in each marginal mean, rows' levels first.

    None where the cells fall into blocks that share no row or column: nothing then tells the levels of one block from
    those of another.
    """
    where = {model: (grid.rows.index(row), grid.columns.index(column)) for (row, column), model in grid.cells.items()}
    r, c = len(grid.rows), len(grid.columns)
    design = np.zeros((len(models), r + c))
    for k, model in enumerate(models):
        row, column = where[model]
        design[k, row] = design[k, r + column] = 1.0
    wanted = np.zeros((r + c, r + c))  # one line a marginal mean: its own effect + the mean effect of the others
    wanted[:r, :r], wanted[:r, r:] = np.eye(r), 1 / c
    wanted[r:, r:], wanted[r:, :r] = np.eye(c), 1 / r
    weights: Array = (wanted @ np.linalg.pinv(design)).T
    return weights if np.linalg.matrix_rank(design) == r + c - 1 else None
