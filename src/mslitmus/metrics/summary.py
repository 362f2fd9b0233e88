"""The leaderboard: mean, interval, coverage and skill of every model, both averages side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from ..errors import ConfigError
from ..schemas import SUMMARY, conform
from .intervals import AVERAGES, both_averages
from .names import parse_metric
from .tables import Queries, average_seeds, by_queries, direction, metric_columns, null_for_nan, unit_range

#: Skill is undefined where the bound lies less than this above the control.
LEAST_ROOM = 0.02
KINDS = ("blind", "neighbour")


def summarise(
    scores: pl.DataFrame,
    metrics: Sequence[str] | None = None,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
    clusters: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Mean and BCa interval of each (split, model, seed, fold, metric) for both averages, in schema SUMMARY.

    Args:
        scores: columns split, model, seed, fold, identifier, inchikey14, predicted and the metrics.
        metrics: the columns to summarise; by default every column named like a metric.
        resamples, seed, level: of the bootstrap over molecules (`intervals.cluster_bootstrap`).
        clusters: columns inchikey14 and cluster (MCES clusters, say); molecules of one cluster are resampled together.
            The averages stay per spectrum and per molecule.

    A row with `seed` null averages each query over the seeds first and then over queries; it exists for every model.
    `coverage` is the share of queries that got a prediction; `n_effective` the number of independent queries (average
    `spectrum`) or molecules (`molecule`) with the same standard error (`intervals.effective_n`). The skill columns are
    null until `add_skill`.
    """
    metrics = metric_columns(scores, metrics)
    seeded = scores.filter(pl.col("seed").is_not_null()).select(average_seeds(scores.head(0), metrics).columns)
    table = pl.concat(
        [seeded.with_columns(pl.col("predicted").cast(pl.Float64)), average_seeds(scores, metrics)],
        how="vertical_relaxed",
    )
    rows: list[dict[str, object]] = []
    for (split, fold), part in table.group_by("split", "fold", maintain_order=True):
        for queries in by_queries(part, metrics, clusters):
            rows += _rows(queries, metrics, {"split": split, "fold": fold}, resamples, seed, level)
    absent = {"bound": None, "skill_blind": None, "skill_neighbour": None}
    frame = pl.DataFrame([row | absent for row in rows], schema=dict(SUMMARY))
    return null_for_nan(conform(frame, SUMMARY)).sort("split", "fold", "model", "seed", "metric", "average")


def _rows(
    queries: Queries, metrics: Sequence[str], key: dict[str, object], resamples: int, seed: int, level: float
) -> list[dict[str, object]]:
    n, columns, m = queries.values.shape
    values = queries.values.reshape(n, columns * m)
    bounded = np.tile(unit_range(metrics), columns)
    estimates = both_averages(
        values, queries.clusters, resamples, seed, level, molecules=queries.molecules, unit_range=bounded
    )
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
            "n_molecules": estimates[average].n_molecules,
            "n_clusters": estimates[average].n_clusters,
            "n_effective": estimates[average].n_effective[k * m + j],
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
        bounds: split → metric → average → b, e.g. from `ceiling.replicate_ceiling`; where absent, the metric's
            `best` value.

    The control of each kind is chosen on the fold `val` (best mean over seeds: the lowest where lower is better) per
    split, metric and average; c is that model's mean over seeds on the fold of the row. Null where no control of the
    kind was scored on `val`, where c is not at least 0.02 worse than b, and for metrics without a best value.
    """
    if unknown := sorted(set(summary.get_column("model").to_list()) - set(kinds)):
        raise ConfigError(f"kind of model {unknown[0]!r} not given", remedy="kinds maps every model of the summary")
    ways = {m: direction(m) for m in summary.get_column("metric").unique()}
    best = {m: parse_metric(m).best if way else None for m, way in ways.items()}
    controls = _controls(summary, kinds, ways)
    means = {
        (r["split"], r["fold"], r["metric"], r["average"], r["model"]): r["mean"]
        for r in summary.filter(pl.col("seed").is_null()).iter_rows(named=True)
    }
    columns: dict[str, list[float | None]] = {"bound": [], "skill_blind": [], "skill_neighbour": []}
    for row in summary.iter_rows(named=True):
        split, metric, average = row["split"], row["metric"], row["average"]
        given = (bounds or {}).get(split, {}).get(metric, {}).get(average)
        bound = best[metric] if given is None or not ways[metric] else float(given)
        columns["bound"].append(bound)
        for kind in KINDS:
            model = controls.get((split, metric, average, kind))
            control = means.get((split, row["fold"], metric, average, model)) if model else None
            columns[f"skill_{kind}"].append(skill(row["mean"], control, bound, ways[metric]))
    return conform(summary.with_columns(pl.Series(n, v, dtype=pl.Float64) for n, v in columns.items()), SUMMARY)


def skill(mean: float | None, control: float | None, bound: float | None, way: int = 1) -> float | None:
    """(m − c) / (b − c): 0 is the control, 1 the bound, below 0 worse than trivial. None where undefined.

    Where lower is better (`way` −1) both differences change sign, (c − m) / (c − b), which is the same number.
    """
    if mean is None or control is None or bound is None or way * (bound - control) < LEAST_ROOM:
        return None
    return (mean - control) / (bound - control)


def _controls(
    summary: pl.DataFrame, kinds: Mapping[str, str], ways: Mapping[str, int]
) -> dict[tuple[str, str, str, str], str]:
    """(split, metric, average, kind) → the best model of that kind on validation; ties go to the first name."""
    of_kind = pl.col("model").replace_strict(dict(kinds), return_dtype=pl.String)
    way = pl.col("metric").replace_strict(dict(ways), return_dtype=pl.Int64)
    best = (
        summary.filter((pl.col("fold") == "val") & pl.col("seed").is_null())
        .with_columns(of_kind.alias("kind"), (pl.col("mean") * way).alias("goodness"))
        .filter(pl.col("kind").is_in(KINDS) & pl.col("mean").is_not_null())
        .sort("goodness", "model", descending=[True, False])
        .group_by("split", "metric", "average", "kind", maintain_order=True)
        .first()
    )
    return {(r["split"], r["metric"], r["average"], r["kind"]): r["model"] for r in best.iter_rows(named=True)}
