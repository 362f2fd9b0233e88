"""Is model A better than model B? Paired on the same queries, per molecule, with Holm's correction."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import polars as pl

from ..errors import DataError
from ..schemas import COMPARISONS, conform
from .intervals import Array, Ratio, bca, cluster_sums, effective_n, molecule_means, resampled_sums, unit_variance
from .paired import effect_size, holm, mcnemar, sign_flip
from .tables import Queries, average_seeds, by_queries, direction, metric_columns, null_for_nan

#: Flips grow with the family, or Holm's correction would leave nothing significant in a large one: p_holm reaches 0.01.
FLIPS_A_TEST = 100
#: Pairs are worked in blocks: at most this many entries of (molecules or resamples) × columns at once.
BLOCK_ENTRIES = 4_000_000


def compare(
    scores: pl.DataFrame,
    metrics: Sequence[str] | None = None,
    fold: str = "test",
    resamples: int = 2000,
    flips: int = 9999,
    seed: int = 0,
    level: float = 0.95,
    clusters: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Every two models of a split on the queries of one fold, in schema COMPARISONS.

    Each query's score is first averaged over a model's seeds, then differences (a − b) are averaged within molecules;
    difference, interval, p and effect size are of these per-molecule differences D. p is the sign-flip test of mean
    D = 0 (two-sided; exact where all 2^C sign patterns are no more than the flips, else by Monte Carlo, (1 + hits) /
    (1 + flips), with `flips` or 100 for each test of the family, whichever is more); the effect size is Cohen's d_z,
    mean / standard deviation. `p_mcnemar` is there only where every query is a cluster of its own and both models'
    values are 0 or 1. Holm's family is every pair of models and every metric of one split, except metrics that no
    direction of is better: those carry p but no p_holm.

    Args:
        clusters: columns inchikey14 and cluster; molecules of a cluster are resampled and flipped together.

    Raises DataError where models of a split were not scored on the same queries, or a molecule has no cluster.
    """
    metrics = metric_columns(scores, metrics)
    merged = average_seeds(scores.filter(pl.col("fold") == fold), metrics)
    rows: list[dict[str, object]] = []
    for (split,), part in merged.group_by("split", maintain_order=True):
        groups = list(by_queries(part, metrics, clusters))
        if len(groups) > 1:
            few, many = sorted(groups, key=lambda g: g.identifiers.len())[:2]
            raise DataError(
                f"models {few.labels[0][0]!r} and {many.labels[0][0]!r} were scored on different queries",
                where=f"scores of {split}/{fold}",
                remedy='score every model on all queries (missing="fail")',
            )
        if len(groups[0].labels) > 1:
            rows += _pairs(groups[0], metrics, str(split), resamples, flips, seed, level)
    frame = conform(pl.DataFrame(rows, schema=dict(COMPARISONS)), COMPARISONS)
    return null_for_nan(frame).sort("split", "metric", "model_a", "model_b")


def _pairs(
    queries: Queries, metrics: Sequence[str], split: str, resamples: int, flips: int, seed: int, level: float
) -> list[dict[str, object]]:
    models = [model for model, _ in queries.labels]
    order = sorted(range(len(models)), key=models.__getitem__)
    pairs = list(combinations(order, 2))
    n, k, m = queries.values.shape
    means, of = molecule_means(queries.values.reshape(n, k * m), queries.molecules, queries.clusters)
    sums, sizes = cluster_sums(means, of)
    left = np.array([a * m + j for a, _ in pairs for j in range(m)])
    right = np.array([b * m + j for _, b in pairs for j in range(m)])
    rated = np.array([direction(name) != 0 for name in metrics] * len(pairs))
    numbers = _intervals(means, sums, sizes, left, right, resamples, seed, level)
    numbers["p"] = sign_flip(sums, max(flips, FLIPS_A_TEST * int(rated.sum())), seed, (left, right))
    numbers["p_holm"] = np.full(left.shape, np.nan)
    numbers["p_holm"][rated] = holm(numbers["p"][rated])
    single = sizes.size == n
    numbers["p_mcnemar"] = mcnemar(means[:, left], means[:, right]) if single else np.full(left.shape, np.nan)
    counts = {"n_queries": n, "n_molecules": means.shape[0], "n_clusters": sizes.size}
    return [
        {
            "split": split,
            "metric": metric,
            "model_a": models[a],
            "model_b": models[b],
            **{name: array[i] for name, array in numbers.items()},
            **counts,
        }
        for i, ((a, b), metric) in enumerate((pair, metric) for pair in pairs for metric in metrics)
    ]


def _intervals(
    means: Array,
    sums: Array,
    sizes: Array,
    left: np.ndarray,
    right: np.ndarray,
    resamples: int,
    seed: int,
    level: float,
) -> dict[str, Array]:
    """Difference, interval, effective n and effect size of each pair of columns. All models share the resamples, and
    sums of differences are differences of sums, so only the models are resampled, not their pairs."""
    names = ("difference", "low", "high", "n_effective", "effect_size")
    found = {name: np.full(left.size, np.nan) for name in names}
    drawn = resampled_sums(np.column_stack([sums, sizes]), resamples, seed) if sizes.size > 1 else np.empty((0, 1))
    block = max(1, BLOCK_ENTRIES // max(resamples, means.shape[0]))
    for start in range(0, left.size, block):
        part = slice(start, start + block)
        a, b = left[part], right[part]
        between = means[:, a] - means[:, b]
        ratio = Ratio(sums[:, a] - sums[:, b], sizes, unit_variance(between))
        replicates = (drawn[:, a] - drawn[:, b]) / drawn[:, -1:] if sizes.size > 1 else np.empty((0, a.size))
        found["difference"][part] = ratio.mean
        found["low"][part], found["high"][part] = bca(ratio, replicates, level)
        found["n_effective"][part] = effective_n(ratio)
        found["effect_size"][part] = effect_size(between)
    return found
