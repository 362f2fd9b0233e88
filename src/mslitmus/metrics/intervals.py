"""Confidence intervals by bootstrap over clusters (molecules), because spectra of one molecule are not independent.

Two averages of values v, resampled over C clusters. Per spectrum θ = Σ_c S_c / Σ_c n_c with S_c the sum and n_c the
number of a cluster's values. Per molecule θ = Σ_c T_c / Σ_c M_c with T_c the sum over the cluster's M_c molecules of
each molecule's own mean. Where a cluster is one molecule M_c = 1 and θ = (1/C) Σ_c S_c / n_c; where it is a group of
related molecules (MCES clusters) the average stays per molecule and only the unit of resampling grows. All are ratios
of sums over clusters, so a resample is a vector of counts w (multinomial, C draws) and θ* = Σ w_c N_c / Σ w_c D_c:
one matrix product for all columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from ..errors import ConfigError, DataError
from .rare import widen

Array = NDArray[np.float64]
Codes = NDArray[np.int64]
AVERAGES = ("spectrum", "molecule")
#: Upper bound of the count matrix held at once (entries); larger work goes in blocks.
BLOCK_ENTRIES = 4_000_000


@dataclass(frozen=True)
class Ratio:
    """m averages as ratios of sums over clusters, and what one unit of the average (query, molecule) varies by.

    numerators (C, m); denominators (C,): units in the cluster; variance (m,): of single units, ddof 1, NaN for one.
    """

    numerators: Array
    denominators: Array
    variance: Array

    @property
    def mean(self) -> Array:
        result: Array = self.numerators.sum(axis=0) / self.denominators.sum()
        return result


@dataclass(frozen=True)
class Intervals:
    """Estimates of m columns: `mean`, `low`, `high`, `n_effective` (each (m,); NaN where undefined) and sizes."""

    mean: Array
    low: Array
    high: Array
    n_queries: int
    n_clusters: int
    n_molecules: int
    n_effective: Array


def cluster_bootstrap(
    values: NDArray[Any],
    clusters: NDArray[Any],
    resamples: int = 2000,
    seed: int = 0,
    average: str = "spectrum",
    level: float = 0.95,
    molecules: NDArray[Any] | None = None,
    unit_range: NDArray[np.bool_] | None = None,
) -> Intervals:
    """Mean and bias-corrected accelerated (BCa) interval of each column.

    Args:
        values: (n, m) or (n,), one row a query, finite; any scale, fractions of a hit as well as 0 and 1.
        clusters: (n,) any labels; queries with one label are resampled together.
        average: `"spectrum"` (every query counts once) or `"molecule"` (every molecule counts once).
        level: coverage, 0.95 for a 95 % interval.
        molecules: (n,) any labels, each inside one cluster; by default every cluster is a molecule.
        unit_range: (m,) true where the column's values can only lie in [0, 1]. Where fewer than ten clusters then
            differ from all others at 0 or 1, the interval is widened to the exact binomial one (`rare.exact_interval`).

    The acceleration is the jackknife over clusters in closed form (Efron 1987; Davison & Hinkley 1997, eq. 5.26). A
    column whose bootstrap distribution lies wholly on one side of the estimate falls back to the percentile interval;
    one without spread gets low = high = mean (but see `unit_range`). Fewer than two clusters: mean only, the interval
    is undefined (NaN).
    Raises ConfigError for a bad option, DataError for values that are not finite or a molecule in two clusters.
    """
    return both_averages(values, clusters, resamples, seed, level, (average,), molecules, unit_range)[average]


def both_averages(
    values: NDArray[Any],
    clusters: NDArray[Any],
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
    averages: tuple[str, ...] = AVERAGES,
    molecules: NDArray[Any] | None = None,
    unit_range: NDArray[np.bool_] | None = None,
) -> dict[str, Intervals]:
    """`cluster_bootstrap` of several averages from the same resamples, for the price of one."""
    if unknown := [a for a in averages if a not in AVERAGES]:
        raise ConfigError(f"average {unknown[0]!r} is not known", remedy="'spectrum' or 'molecule'")
    if resamples < 1 or not 0 < level < 1:
        raise ConfigError("resamples must be at least 1 and level between 0 and 1")
    values = finite(values)
    n, m = values.shape
    if n == 0:
        nothing = np.full(m, np.nan)
        return {a: Intervals(nothing, nothing, nothing, 0, 0, 0, nothing) for a in averages}
    clusters = codes(clusters)
    ratios = {"spectrum": _per_spectrum(values, clusters)}
    if molecules is not None or "molecule" in averages:
        means, of = molecule_means(values, clusters if molecules is None else codes(molecules), clusters)
        ratios["molecule"] = per_molecule(means, of)
    c = ratios["spectrum"].denominators.size
    table = np.column_stack([part for a in averages for part in (ratios[a].numerators, ratios[a].denominators)])
    drawn = resampled_sums(table, resamples, seed) if c > 1 else np.empty((0, table.shape[1]))
    result = {}
    for k, average in enumerate(averages):
        part = drawn[:, k * (m + 1) : (k + 1) * (m + 1)]
        ratio = ratios[average]
        low, high = bca(ratio, part[:, :m] / part[:, m:], level)
        if unit_range is not None:
            low, high = widen((low, high), ratio.mean, ratio.numerators, ratio.denominators, level, unit_range)
        size = c if molecules is None else int(ratios["molecule"].denominators.sum())
        result[average] = Intervals(ratio.mean, low, high, n, c, size, effective_n(ratio))
    return result


def finite(values: NDArray[Any]) -> Array:
    """`values` as (n, m) float64. Raises DataError for a value that is NaN or infinite."""
    values = np.asarray(values, np.float64)
    values = values[:, None] if values.ndim == 1 else values
    if not np.isfinite(values).all():
        raise DataError("values to average are NaN or infinite", remedy="a failed query scores 0, never NaN")
    return values


def codes(labels: NDArray[Any]) -> Codes:
    """Labels as codes 0 …, in sorted order of the label."""
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)


def cluster_sums(values: Array, clusters: NDArray[Any]) -> tuple[Array, Array]:
    """Sum (C, m) and count (C,) of the rows of each cluster, clusters in sorted order of their label."""
    code = codes(clusters)
    counts = np.bincount(code).astype(np.float64)
    sums = np.column_stack([np.bincount(code, weights=column, minlength=counts.size) for column in values.T])
    return np.asarray(sums, np.float64).reshape(counts.size, values.shape[1]), counts


def molecule_means(values: Array, molecules: Codes, clusters: Codes) -> tuple[Array, Codes]:
    """Mean of each molecule's queries (M, m) and the cluster it lies in (M,). DataError for one in two clusters."""
    _, first, code = np.unique(molecules, return_index=True, return_inverse=True)
    of = clusters[first]
    if (of[code] != clusters).any():
        raise DataError("a molecule lies in two clusters", remedy="give every molecule one cluster label")
    sums, counts = cluster_sums(values, molecules)
    return sums / counts[:, None], of


def per_molecule(means: Array, clusters: Codes) -> Ratio:
    """The average over molecules, from their means (M, m) and clusters (M,)."""
    sums, sizes = cluster_sums(means, clusters)
    return Ratio(sums, sizes, unit_variance(means))


def _per_spectrum(values: Array, clusters: Codes) -> Ratio:
    sums, counts = cluster_sums(values, clusters)
    return Ratio(sums, counts, unit_variance(values))


def unit_variance(values: Array) -> Array:
    """Variance of the rows (m,), ddof 1; NaN for fewer than two."""
    if values.shape[0] < 2:
        return np.full(values.shape[1], np.nan)
    result: Array = values.var(axis=0, ddof=1)
    return result


def effective_n(ratio: Ratio) -> Array:
    """How many independent units (queries or molecules) would give this standard error: n / deff. Shape (m,).

    deff = v / (s²/n), Kish's design effect (Survey Sampling, 1965, ch. 5 and 8.2), with s² the variance of single units
    and v the linearised variance of a ratio of cluster totals, C/(C−1) Σ_c (N_c − θ D_c)² / (Σ_c D_c)² (Särndal et al.,
    Model Assisted Survey Sampling, 1992, 5.6 and 5.8), to which the bootstrap's converges. So n_eff = s²/v covers both
    likeness within clusters and their unequal size. At most n: a v below s²/n (units of a cluster less alike than any
    two) is taken for chance. NaN without spread or with fewer than two clusters.
    """
    c, n = ratio.denominators.size, ratio.denominators.sum()
    if c < 2:
        return np.full(ratio.variance.shape, np.nan)
    residuals = ratio.numerators - ratio.denominators[:, None] * ratio.mean
    v = c / (c - 1) * (residuals * residuals).sum(axis=0) / n**2
    flat = ~(ratio.variance > 1e-24 * np.maximum(ratio.mean**2, 1e-12))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(flat, np.nan, np.minimum(n, ratio.variance / v))


def resampled_sums(table: Array, resamples: int, seed: int) -> Array:
    """Column sums of `resamples` bootstrap samples of the rows of `table` (C, k). Shape (resamples, k)."""
    rng = np.random.default_rng(seed)
    c = table.shape[0]
    block = max(1, min(resamples, BLOCK_ENTRIES // c))
    out = np.empty((resamples, table.shape[1]))
    counts = np.empty((block, c))
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        _tally(rng.integers(0, c, size=(size, c), dtype=np.int32), counts[:size])
        np.matmul(counts[:size], table, out=out[start : start + size])
    return out


@njit(cache=True, nogil=True)
def _tally(drawn: NDArray[np.int32], counts: Array) -> None:
    """counts[r, i] = how often row r of `drawn` holds i; numpy's bincount takes ten times as long."""
    for r in range(drawn.shape[0]):
        counts[r, :] = 0.0
        for i in drawn[r]:
            counts[r, i] += 1.0


def bca(ratio: Ratio, replicates: Array, level: float) -> tuple[Array, Array]:
    """Ends of the BCa interval (each (m,)) from the bootstrap replicates (B, m) of the ratio."""
    mean = ratio.mean
    if ratio.denominators.size < 2:
        undefined = np.full(mean.shape, np.nan)
        return undefined, undefined
    replicates = np.sort(replicates, axis=0)
    rest = ratio.denominators.sum() - ratio.denominators[:, None]
    d = (ratio.numerators.sum(axis=0) - ratio.numerators) / rest
    d = d.mean(axis=0) - d
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
    return ends[0], ends[1]


def _quantiles(ordered: Array, q: Array) -> Array:
    """Quantile q[j] of each column j of `ordered` (B, m; ascending), linear between order statistics. Shape (m,)."""
    place = np.clip(q, 0, 1) * (ordered.shape[0] - 1)
    lower = np.floor(place).astype(np.int64)
    upper = np.minimum(lower + 1, ordered.shape[0] - 1)
    column = np.arange(ordered.shape[1])
    fraction = place - lower
    result: Array = ordered[lower, column] * (1 - fraction) + ordered[upper, column] * fraction
    return result
