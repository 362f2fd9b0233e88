"""How fast intervals and comparisons are, beside scipy.stats, and that they agree.

OMP_NUM_THREADS=2 python benchmarks/intervals.py [--queries 20000] [--metrics 10] [--resamples 10000]
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import scipy
from scipy import stats

from mslitmus.metrics import compare, stratify, summarise
from mslitmus.metrics.groups import worst_group
from mslitmus.metrics.intervals import both_averages, cluster_bootstrap, cluster_sums
from mslitmus.metrics.letters import compact_letters
from mslitmus.metrics.repeated import compare_over_seeds
from mslitmus.metrics.tukey import studentized_range_sf

#: Molecules and, above them, clusters of molecules for each query: as in the open MassBank release.
MOLECULES, CLUSTERS = 5, 25
#: Queries and resamples at which scipy is asked too (its jackknife takes memory of queries²).
SMALL, SMALL_RESAMPLES = 2000, 10_000


def clock(label: str, work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds and result; prints both time and the highest memory of the process so far."""
    start = time.perf_counter()
    result = work()
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{label:72s} {seconds:8.2f} s   peak {peak:6.0f} MB")
    return seconds, result


def leaderboard(queries: int, models: int, metrics: list[str], seeds: int = 3) -> pl.DataFrame:
    """Scores of models that share each query's difficulty: hits with fractions (ties), clustered by molecule."""
    rng = np.random.default_rng(0)
    molecules = rng.integers(0, queries // MOLECULES, queries)
    hard = rng.normal(0, 0.15, (queries // MOLECULES, 1))[molecules]
    parts = []
    for model in range(models):
        for seed in range(seeds):
            values = np.clip(0.3 + 0.01 * model + hard + rng.normal(0, 0.2, (queries, len(metrics))), 0, 1)
            columns = {
                "identifier": pl.Series([f"q{k}" for k in range(queries)]),
                "inchikey14": pl.Series(molecules).cast(pl.String),
                **{name: values[:, j] for j, name in enumerate(metrics)},
            }
            head = {"split": "s", "model": f"model{model:02d}", "seed": seed, "fold": "test", "predicted": True}
            parts.append(pl.DataFrame(columns).with_columns(pl.lit(v).alias(k) for k, v in head.items()))
    return pl.concat(parts).with_columns(pl.col("seed").cast(pl.Int64))


def intervals(queries: int, metrics: int, resamples: int) -> float:
    rng = np.random.default_rng(1)
    values = (rng.random((queries, metrics)) < 0.4).astype(np.float64)
    molecules = rng.integers(0, queries // MOLECULES, queries)
    groups = molecules // (CLUSTERS // MOLECULES)
    print(f"\n{queries:,} queries × {metrics} metrics, {resamples:,} resamples, both averages")
    clock("  over molecules", lambda: both_averages(values, molecules, resamples))
    clock("  over clusters of molecules", lambda: both_averages(values, groups, resamples, molecules=molecules))
    seconds, _ = clock("  every query a cluster", lambda: both_averages(values, np.arange(queries), resamples))
    return seconds


def beside_scipy(queries: int, metrics: int, resamples: int, ours: float) -> None:
    rng = np.random.default_rng(2)
    values = rng.exponential(1, SMALL)
    alone = np.arange(SMALL)
    print(f"\nscipy {scipy.__version__}, {SMALL:,} queries × 1 metric, {SMALL_RESAMPLES:,} resamples, one average, BCa")
    options: dict[str, Any] = {"n_resamples": SMALL_RESAMPLES, "batch": 500}
    mine, found = clock("  ours, every query a cluster", lambda: cluster_bootstrap(values, alone, SMALL_RESAMPLES))
    theirs, other = clock("  scipy.stats.bootstrap", lambda: stats.bootstrap((values,), np.mean, rng=1, **options))
    _report("  mean", found, other)
    molecules = rng.integers(0, SMALL // MOLECULES, SMALL)
    sums, counts = cluster_sums(values[:, None], molecules)

    def ratio(s: Any, n: Any, axis: int) -> Any:
        return s.sum(axis=axis) / n.sum(axis=axis)

    _, found = clock("  ours, over molecules", lambda: cluster_bootstrap(values, molecules, SMALL_RESAMPLES))
    pairs = (sums[:, 0], counts)
    _, other = clock(
        "  scipy.stats.bootstrap, paired sums and counts",
        lambda: stats.bootstrap(pairs, ratio, paired=True, vectorized=True, rng=1, **options),
    )
    _report("  ratio over molecules", found, other)
    again = cluster_bootstrap(values, molecules, SMALL_RESAMPLES, seed=1)
    gap = max(abs(found.low[0] - again.low[0]), abs(found.high[0] - again.high[0])) / (found.high[0] - found.low[0])
    print(f"  (ours with another seed: {gap:.2%} of the width)")
    whole = theirs * (queries / SMALL) * metrics * (resamples / SMALL_RESAMPLES) * 2
    print(f"  one column alone: {theirs / mine:.1f} × as fast; scipy for all of it, extrapolated in resamples,")
    print(f"  queries, metrics and averages: {whole:.0f} s against {ours:.1f} s, {whole / ours:.0f} × as fast")


def _report(what: str, ours: Any, theirs: Any) -> None:
    low, high = theirs.confidence_interval
    gap = max(abs(ours.low[0] - low), abs(ours.high[0] - high)) / (high - low)
    print(f"{what}: ours [{ours.low[0]:.4f}, {ours.high[0]:.4f}], scipy [{low:.4f}, {high:.4f}]; "
          f"largest difference {gap:.2%} of the width")  # fmt: skip


def tukey() -> None:
    q = np.random.default_rng(3).uniform(0.1, 8, 378)
    print("\nstudentized range, 378 values (28 models)")
    mine, found = clock("  ours", lambda: studentized_range_sf(q, 28, 54))
    sample = q[:40]
    theirs, other = clock(
        "  scipy.stats.studentized_range, first 40", lambda: stats.studentized_range.sf(sample, 28, 54)
    )
    ratio = theirs / sample.size * q.size / mine
    print(f"  {ratio:.0f} × as fast; largest difference {np.abs(found[:40] - other).max():.0e}")


def tables(queries: int, metrics: int, resamples: int) -> None:
    names = [f"hit@{k}" for k in range(1, metrics + 1)]
    scores = leaderboard(queries, 10, names)
    print(f"\na leaderboard of 10 models × 3 seeds × {metrics} metrics, {queries:,} queries")
    over = scores.filter(pl.col("seed") == 0)
    clock(f"  summarise, one seed, {resamples:,} resamples", lambda: summarise(over, resamples=resamples))
    clock("  summarise, all seeds, 2,000 resamples", lambda: summarise(scores))
    _, pairs = clock("  compare, 45 pairs × metrics, 2,000 resamples, 45,000 flips", lambda: compare(scores))
    clock("  compare_over_seeds", lambda: compare_over_seeds(scores))
    clock("  compact_letters", lambda: compact_letters(pairs))
    meta = scores.select("identifier").unique().with_columns(adduct=pl.col("identifier").str.slice(-1))
    _, strata = clock("  stratify, 7 levels", lambda: stratify(scores, meta))
    clock("  worst_group", lambda: worst_group(strata))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queries", type=int, default=20_000)
    parser.add_argument("--metrics", type=int, default=10)
    parser.add_argument("--resamples", type=int, default=10_000)
    arguments = parser.parse_args()
    sizes = (arguments.queries, arguments.metrics, arguments.resamples)
    ours = intervals(*sizes)
    beside_scipy(*sizes, ours)
    tukey()
    tables(*sizes)


if __name__ == "__main__":
    main()
