"""What a study says beyond its leaderboard: normalised ranks, margins of a grid, firmness of the order, costs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from ..metrics.factors import factors, grid_of
from ..metrics.orderings import orderings
from ..metrics.standing import normalised_ranks
from ..provenance import write_parquet
from .budget_scores import against_budget, budget_scores, settled
from .config import StudyConfig
from .folder import RunFolder
from .operating_points import operating_points

#: Tables of the run folder that this module writes.
TABLES = ("normalised_ranks", "factors", "orderings", "agreement", "budget_scores", "operating_points")


def analyse(
    run: RunFolder,
    study: StudyConfig,
    scores: pl.DataFrame,
    records: Sequence[Mapping[str, Any]],
    summary: pl.DataFrame,
    comparisons: pl.DataFrame,
    queries: Mapping[str, int],
    clusters: pl.DataFrame | None = None,
) -> None:
    """Write `TABLES` of a study whose cells are finished.

    Args:
        scores, records: of all cells, as `aggregate.gather` returns them.
        queries: split → queries that a cell answers (val and test).
        clusters: molecules that are resampled together.
    """
    metric, bootstrap = study.primary_metric, (study.statistics.resamples, study.statistics.seed)
    oracles = {str(record["model"]) for record in records if record["kind"] == "oracle"}
    pairs, agreement = orderings(scores, metric, oracles, *bootstrap, clusters)
    course = budget_scores(records, metric, study.budget.max_seconds)
    pairs = pairs.drop("p_holm", "settled")
    pairs = pairs.join(_both_ways(comparisons, metric), on=["split", "model_a", "model_b"], how="left")
    pairs = pairs.join(settled(course), on=["split", "model_a", "model_b"], how="left")
    tables = {
        "normalised_ranks": normalised_ranks(summary, oracles),
        "factors": factors(scores, study.metrics, factor_names(records), *bootstrap, clusters),
        "orderings": pairs.sort("split", "place", "apart"),
        "agreement": pl.concat([agreement, against_budget(course)]),
        "budget_scores": course,
        "operating_points": operating_points(
            summary, records, metric, queries, {row.name for row in study.models if row.model == "external"}
        ),
    }
    for name, table in tables.items():
        write_parquet(run.root / f"{name}.parquet", table)


def _both_ways(comparisons: pl.DataFrame, metric: str) -> pl.DataFrame:
    """split, model_a, model_b, p_holm: every pair under both orders of its names."""
    here = comparisons.filter(pl.col("metric") == metric).select("split", "model_a", "model_b", "p_holm")
    turned = here.rename({"model_a": "model_b", "model_b": "model_a"}).select(here.columns)
    return pl.concat([here, turned])


def factor_names(records: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """What the two factors of a grid vary: the option whose values go with the parts of the names; else row, column."""
    options = {str(record["model"]): _flat(record.get("options") or {}) for record in records}
    grid = grid_of(list(options))
    if grid is None:
        return "row", "column"
    names = []
    for place, fallback in enumerate(("row", "column")):
        parts = {model: key[place] for key, model in grid.cells.items()}
        paths = sorted({path for model in parts for path in options[model]}, key=lambda path: (path.count("."), path))
        found = next((path for path in paths if _goes_with({m: options[m].get(path) for m in parts}, parts)), fallback)
        names.append(found.rpartition(".")[2])
    return names[0], names[1]


def _flat(options: Mapping[str, Any], above: str = "") -> dict[str, str]:
    """Every option and sub-option by its dotted path, as text."""
    found = {}
    for key, value in options.items():
        found[f"{above}{key}"] = json.dumps(value, sort_keys=True, default=str)
        if isinstance(value, Mapping):
            found.update(_flat(value, f"{above}{key}."))
    return found


def _goes_with(values: Mapping[str, str | None], parts: Mapping[str, str]) -> bool:
    """Whether equal values mean equal parts and the other way round."""
    both = {(values[model], part) for model, part in parts.items()}
    return len(both) == len({value for value, _ in both}) == len({part for _, part in both})
