"""The leaderboard: mean, interval, coverage and skill of every model, both averages side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from ..errors import ConfigError
from ..schemas import SUMMARY, conform
from .intervals import AVERAGES, both_averages
from .names import parse_metric
from .tables import Queries, average_seeds, by_queries, metric_columns, null_for_nan

#: Skill is undefined where the bound lies less than this above the control.
LEAST_ROOM = 0.02
#: The bound of a similarity where no replicate ceiling is known.
DEFAULT_BOUND = 1.0
KINDS = ("blind", "neighbour")


def summarise(
    scores: pl.DataFrame,
    metrics: Sequence[str] | None = None,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> pl.DataFrame:
    """Mean and BCa interval of each (split, model, seed, fold, metric) for both averages, in schema SUMMARY.

    Args:
        scores: columns split, model, seed, fold, identifier, inchikey14, predicted and the metrics.
        metrics: the columns to summarise; by default every column named like a metric.
        resamples, seed, level: of the bootstrap over molecules (`intervals.cluster_bootstrap`).

    A row with `seed` null averages each query over the seeds first and then over queries; it exists for every model.
    `coverage` is the share of queries that got a prediction. The skill columns are null until `add_skill`.
    """
    metrics = metric_columns(scores, metrics)
    seeded = scores.filter(pl.col("seed").is_not_null()).select(average_seeds(scores.head(0), metrics).columns)
    table = pl.concat(
        [seeded.with_columns(pl.col("predicted").cast(pl.Float64)), average_seeds(scores, metrics)],
        how="vertical_relaxed",
    )
    rows: list[dict[str, object]] = []
    for (split, fold), part in table.group_by("split", "fold", maintain_order=True):
        for queries in by_queries(part, metrics):
            rows += _rows(queries, metrics, {"split": split, "fold": fold}, resamples, seed, level)
    absent = {"bound": None, "skill_blind": None, "skill_neighbour": None}
    frame = pl.DataFrame([row | absent for row in rows], schema=dict(SUMMARY))
    return null_for_nan(conform(frame, SUMMARY)).sort("split", "fold", "model", "seed", "metric", "average")


def _rows(
    queries: Queries, metrics: Sequence[str], key: dict[str, object], resamples: int, seed: int, level: float
) -> list[dict[str, object]]:
    n, columns, m = queries.values.shape
    estimates = both_averages(queries.values.reshape(n, columns * m), queries.clusters, resamples, seed, level)
    coverage = queries.predicted.mean(axis=0)
    return [
        {
            **key,
            "model": model,
            "seed": model_seed,
            "metric": metric,
            "average": average,
            "mean": estimates[average].mean[k * m + j],
            "low": estimates[average].low[k * m + j],
            "high": estimates[average].high[k * m + j],
            "n_queries": n,
            "n_molecules": estimates[average].n_clusters,
            "coverage": coverage[k],
        }
        for k, (model, model_seed) in enumerate(queries.labels)
        for j, metric in enumerate(metrics)
        for average in AVERAGES
    ]


def add_skill(
    summary: pl.DataFrame,
    kinds: Mapping[str, str],
    bounds: Mapping[str, Mapping[str, Mapping[str, float]]] | None = None,
) -> pl.DataFrame:
    """The summary with `bound`, `skill_blind` and `skill_neighbour` = (m − c) / (b − c).

    Args:
        kinds: model → `"blind"`, `"neighbour"` or anything else (`"trained"`, `"oracle"`: no control).
        bounds: split → metric → average → b, e.g. from `ceiling.replicate_ceiling`; where absent, b = 1.

    The control of each kind is chosen on the fold `val` (best mean over seeds) per split, metric and average; c is that
    model's mean over seeds on the fold of the row. Null where no control of the kind was scored on `val`, where
    b − c < 0.02, and for metrics of which more is not better.
    """
    if unknown := sorted(set(summary.get_column("model").to_list()) - set(kinds)):
        raise ConfigError(f"kind of model {unknown[0]!r} not given", remedy="kinds maps every model of the summary")
    rated = {m for m in summary.get_column("metric").unique() if parse_metric(m).higher_is_better}
    controls = _controls(summary, kinds)
    means = {
        (r["split"], r["fold"], r["metric"], r["average"], r["model"]): r["mean"]
        for r in summary.filter(pl.col("seed").is_null()).iter_rows(named=True)
    }
    columns: dict[str, list[float | None]] = {"bound": [], "skill_blind": [], "skill_neighbour": []}
    for row in summary.iter_rows(named=True):
        split, metric, average = row["split"], row["metric"], row["average"]
        given = (bounds or {}).get(split, {}).get(metric, {}).get(average)
        bound = (DEFAULT_BOUND if given is None else float(given)) if metric in rated else None
        columns["bound"].append(bound)
        for kind in KINDS:
            model = controls.get((split, metric, average, kind))
            control = means.get((split, row["fold"], metric, average, model)) if model else None
            columns[f"skill_{kind}"].append(skill(row["mean"], control, bound))
    return conform(summary.with_columns(pl.Series(n, v, dtype=pl.Float64) for n, v in columns.items()), SUMMARY)


def skill(mean: float | None, control: float | None, bound: float | None) -> float | None:
    """(m − c) / (b − c): 0 is the control, 1 the bound, below 0 worse than trivial. None where undefined."""
    if mean is None or control is None or bound is None or bound - control < LEAST_ROOM:
        return None
    return (mean - control) / (bound - control)


def _controls(summary: pl.DataFrame, kinds: Mapping[str, str]) -> dict[tuple[str, str, str, str], str]:
    """(split, metric, average, kind) → the best model of that kind on validation; ties go to the first name."""
    of_kind = pl.col("model").replace_strict(dict(kinds), return_dtype=pl.String)
    best = (
        summary.filter((pl.col("fold") == "val") & pl.col("seed").is_null())
        .with_columns(of_kind.alias("kind"))
        .filter(pl.col("kind").is_in(KINDS) & pl.col("mean").is_not_null())
        .sort("mean", "model", descending=[True, False])
        .group_by("split", "metric", "average", "kind", maintain_order=True)
        .first()
    )
    return {(r["split"], r["metric"], r["average"], r["kind"]): r["model"] for r in best.iter_rows(named=True)}
