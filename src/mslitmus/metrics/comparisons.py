"""Is model A better than model B? Paired on the same queries, per molecule, with Holm's correction."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..errors import DataError
from ..schemas import COMPARISONS, conform
from .intervals import Array, both_averages, cluster_sums
from .names import parse_metric
from .tables import Queries, average_seeds, by_queries, metric_columns, null_for_nan

#: Sign matrices are drawn in blocks of about this many entries.
BLOCK_ENTRIES = 4_000_000
#: Flips grow with the family, or Holm's correction would leave nothing significant in a large one: p_holm reaches 0.01.
FLIPS_A_TEST = 100


def compare(
    scores: pl.DataFrame,
    metrics: Sequence[str] | None = None,
    fold: str = "test",
    resamples: int = 2000,
    flips: int = 9999,
    seed: int = 0,
    level: float = 0.95,
) -> pl.DataFrame:
    """Every two models of a split on the queries of one fold, in schema COMPARISONS.

    Each query's score is first averaged over a model's seeds, then differences (a − b) are averaged within molecules;
    difference, interval, p and effect size are of these per-molecule differences D. p is the sign-flip test of mean
    D = 0 (two-sided; exact where all 2^C sign patterns are fewer than the flips, else by Monte Carlo, (1 + hits) /
    (1 + flips), with `flips` or 100 for each test of the family, whichever is more); the effect size is Cohen's d_z,
    mean / standard deviation. Holm's family is every pair of models and every metric of one split, except metrics of
    which more is not better: those carry p but no p_holm.

    Raises DataError where models of a split were not scored on the same queries.
    """
    metrics = metric_columns(scores, metrics)
    merged = average_seeds(scores.filter(pl.col("fold") == fold), metrics)
    rows: list[dict[str, object]] = []
    for (split,), part in merged.group_by("split", maintain_order=True):
        groups = list(by_queries(part, metrics))
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
    differences = np.concatenate([queries.values[:, a] - queries.values[:, b] for a, b in pairs], axis=1)
    estimate = both_averages(differences, queries.clusters, resamples, seed, level, ("molecule",))["molecule"]
    sums, counts = cluster_sums(differences, queries.clusters)
    molecules = sums / counts[:, None]
    rated = np.array([parse_metric(m).higher_is_better for m in metrics] * len(pairs))
    p = sign_flip(molecules, max(flips, FLIPS_A_TEST * int(rated.sum())), seed)
    corrected = np.full(p.shape, np.nan)
    corrected[rated] = holm(p[rated])
    effect = effect_size(molecules)
    return [
        {
            "split": split,
            "metric": metric,
            "model_a": models[a],
            "model_b": models[b],
            "difference": estimate.mean[k],
            "low": estimate.low[k],
            "high": estimate.high[k],
            "p": p[k],
            "p_holm": corrected[k],
            "effect_size": effect[k],
            "n_queries": estimate.n_queries,
            "n_molecules": estimate.n_clusters,
        }
        for k, ((a, b), metric) in enumerate((pair, metric) for pair in pairs for metric in metrics)
    ]


def sign_flip(differences: Array, flips: int = 9999, seed: int = 0) -> Array:
    """Two-sided p of mean difference 0 for each column, by flipping the signs of whole rows.

    Args:
        differences: (C, m), one row a molecule.

    Returns:
        p (m,); NaN with fewer than two rows.
    """
    c, m = differences.shape
    if c < 2:
        return np.full(m, np.nan)
    observed = np.abs(differences.sum(axis=0))
    threshold = observed - 1e-9 * np.maximum(observed, np.abs(differences).sum(axis=0) * 1e-3)
    hits = np.zeros(m)
    exact = c < 32 and 2**c <= flips
    total = 2**c if exact else flips
    rng = np.random.default_rng(seed)
    block = max(1, BLOCK_ENTRIES // c)
    for start in range(0, total, block):
        size = min(block, total - start)
        bits: NDArray[np.uint8]
        if exact:
            patterns = np.arange(start, start + size)
            bits = ((patterns[:, None] >> np.arange(c)) & 1).astype(np.uint8)
        else:
            raw = np.frombuffer(rng.bytes(size * ((c + 7) // 8)), dtype=np.uint8).reshape(size, -1)
            bits = np.unpackbits(raw, axis=1, count=c)
        signs = 1.0 - 2.0 * bits
        hits += (np.abs(signs @ differences) >= threshold).sum(axis=0)
    return hits / total if exact else (1 + hits) / (1 + total)


def holm(p: Array) -> Array:
    """Holm's step-down adjusted p-values of one family (Holm 1979); NaN stays NaN and does not count."""
    adjusted = np.full(p.shape, np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = p[order] * np.arange(order.size, 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return adjusted


def effect_size(differences: Array) -> Array:
    """Cohen's d_z of each column: mean / standard deviation (ddof 1); NaN without spread."""
    if differences.shape[0] < 2:
        return np.full(differences.shape[1], np.nan)
    mean, deviation = differences.mean(axis=0), differences.std(axis=0, ddof=1)
    flat = deviation <= 1e-12 * np.maximum(np.abs(mean), 1e-6)
    return np.where(flat, np.nan, mean / np.where(flat, 1.0, deviation))
