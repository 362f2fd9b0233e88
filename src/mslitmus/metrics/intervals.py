"""Confidence intervals by bootstrap over clusters (molecules), because spectra of one molecule are not independent.

Two averages of values v of n queries in C clusters: per spectrum, θ = Σ_c S_c / Σ_c n_c with S_c the sum and n_c the
number of a cluster's values; per molecule, θ = (1/C) Σ_c S_c / n_c. Both are ratios of sums over clusters, so a
resample is a vector of counts w (multinomial, C draws) and θ* = Σ w_c N_c / Σ w_c D_c: one matrix product for all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from ..errors import ConfigError, DataError

Array = NDArray[np.float64]
AVERAGES = ("spectrum", "molecule")
#: Upper bound of the count matrix held at once (entries); larger work goes in blocks.
BLOCK_ENTRIES = 4_000_000


@dataclass(frozen=True)
class Intervals:
    """Estimates of m columns: `mean`, `low`, `high` (each (m,); NaN where undefined) and the sizes behind them."""

    mean: Array
    low: Array
    high: Array
    n_queries: int
    n_clusters: int


def cluster_bootstrap(
    values: NDArray[Any],
    clusters: NDArray[Any],
    resamples: int = 2000,
    seed: int = 0,
    average: str = "spectrum",
    level: float = 0.95,
) -> Intervals:
    """Mean and bias-corrected accelerated (BCa) interval of each column.

    Args:
        values: (n, m) or (n,), one row a query, finite.
        clusters: (n,) any labels; queries with one label are resampled together.
        average: `"spectrum"` (every query counts once) or `"molecule"` (every cluster counts once).
        level: coverage, 0.95 for a 95 % interval.

    The acceleration is the jackknife over clusters in closed form (Efron 1987; Davison & Hinkley 1997, eq. 5.26). A
    column whose bootstrap distribution lies wholly on one side of the estimate falls back to the percentile interval;
    one without spread gets low = high = mean. Fewer than two clusters: mean only, the interval is undefined (NaN).
    Raises ConfigError for a bad option, DataError for values that are not finite.
    """
    return both_averages(values, clusters, resamples, seed, level, (average,))[average]


def both_averages(
    values: NDArray[Any],
    clusters: NDArray[Any],
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
    averages: tuple[str, ...] = AVERAGES,
) -> dict[str, Intervals]:
    """`cluster_bootstrap` of several averages from the same resamples, for the price of one."""
    if unknown := [a for a in averages if a not in AVERAGES]:
        raise ConfigError(f"average {unknown[0]!r} is not known", remedy="'spectrum' or 'molecule'")
    if resamples < 1 or not 0 < level < 1:
        raise ConfigError("resamples must be at least 1 and level between 0 and 1")
    values = np.asarray(values, np.float64)
    values = values[:, None] if values.ndim == 1 else values
    if not np.isfinite(values).all():
        raise DataError("values to average are NaN or infinite", remedy="a failed query scores 0, never NaN")
    sums, counts = cluster_sums(values, clusters)
    n, m, c = values.shape[0], values.shape[1], counts.size
    if n == 0:
        nothing = np.full(m, np.nan)
        return {a: Intervals(nothing, nothing, nothing, 0, 0) for a in averages}
    tables = {
        "spectrum": np.column_stack([sums, counts]),
        "molecule": np.column_stack([sums / counts[:, None], np.ones(c)]),
    }
    table = np.column_stack([tables[a] for a in averages])
    drawn = resampled_sums(table, resamples, seed) if c > 1 else np.empty((0, table.shape[1]))
    result = {}
    for k, average in enumerate(averages):
        part = slice(k * (m + 1), (k + 1) * (m + 1))
        mean, low, high = _bca(tables[average], drawn[:, part], level)
        result[average] = Intervals(mean, low, high, n, c)
    return result


def cluster_sums(values: Array, clusters: NDArray[Any]) -> tuple[Array, Array]:
    """Sum (C, m) and count (C,) of the rows of each cluster, clusters in sorted order of their label."""
    _, code = np.unique(clusters, return_inverse=True)
    counts = np.bincount(code).astype(np.float64)
    sums = np.column_stack([np.bincount(code, weights=column, minlength=counts.size) for column in values.T])
    return np.asarray(sums, np.float64).reshape(counts.size, values.shape[1]), counts


def resampled_sums(table: Array, resamples: int, seed: int) -> Array:
    """Column sums of `resamples` bootstrap samples of the rows of `table` (C, k). Shape (resamples, k)."""
    rng = np.random.default_rng(seed)
    c = table.shape[0]
    block = max(1, min(resamples, BLOCK_ENTRIES // c))
    out = np.empty((resamples, table.shape[1]))
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        drawn = rng.integers(0, c, size=(size, c), dtype=np.int32)
        drawn += (np.arange(size, dtype=np.int32) * c)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=size * c).reshape(size, c)
        out[start : start + size] = counts.astype(np.float64) @ table
    return out


def _bca(table: Array, drawn: Array, level: float) -> tuple[Array, Array, Array]:
    """Mean, low, high of the ratios of the first columns of `table` (C, m + 1) to its last one."""
    numerators, denominators = table[:, :-1], table[:, -1:]
    total, weight = numerators.sum(axis=0), denominators.sum()
    mean = total / weight
    if table.shape[0] < 2:
        undefined = np.full(mean.shape, np.nan)
        return mean, undefined, undefined
    replicates = np.sort(drawn[:, :-1] / drawn[:, -1:], axis=0)
    jackknife = (total - numerators) / (weight - denominators)
    d = jackknife.mean(axis=0) - jackknife
    spread = (d * d).sum(axis=0)
    flat = spread <= 1e-24 * np.maximum(mean * mean, 1e-12)  # constant but for rounding
    acceleration = np.where(flat, 0.0, (d**3).sum(axis=0) / (6 * np.where(flat, 1.0, spread) ** 1.5))
    tolerance = 1e-12 * np.maximum(np.abs(mean), 1.0)
    below = (replicates < mean - tolerance).mean(axis=0) + 0.5 * (np.abs(replicates - mean) <= tolerance).mean(axis=0)
    one_sided = (below <= 0) | (below >= 1)
    bias = ndtri(np.where(one_sided, 0.5, below))
    acceleration = np.where(one_sided, 0.0, acceleration)
    ends = []
    for tail in ((1 - level) / 2, (1 + level) / 2):
        z = bias + ndtri(tail)
        slope = 1 - acceleration * z
        quantile = np.where(slope > 0, ndtr(bias + z / np.where(slope > 0, slope, 1.0)), tail)
        ends.append(np.where(flat, mean, _quantiles(replicates, quantile)))
    return mean, ends[0], ends[1]


def _quantiles(ordered: Array, q: Array) -> Array:
    """Quantile q[j] of each column j of `ordered` (B, m; ascending), linear between order statistics. Shape (m,)."""
    place = np.clip(q, 0, 1) * (ordered.shape[0] - 1)
    lower = np.floor(place).astype(np.int64)
    upper = np.minimum(lower + 1, ordered.shape[0] - 1)
    column = np.arange(ordered.shape[1])
    fraction = place - lower
    result: Array = ordered[lower, column] * (1 - fraction) + ordered[upper, column] * fraction
    return result
