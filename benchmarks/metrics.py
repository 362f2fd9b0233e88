"""How fast scoring is, against a plain numpy loop and ms_entropy, and that all three agree.

OMP_NUM_THREADS=2 python benchmarks/metrics.py [--queries 20000] [--peaks 100]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

from mslitmus.metrics import cluster_bootstrap, compare, score, stratify, summarise
from mslitmus.spectra import similarity as reference

NAMES = (
    "cosine@0.01Da",
    "cosine@0.1Da:no-precursor",
    "cosine-sqrt@0.1Da",
    "cosine@1Da",
    "cosine@10ppm",
    "jss@0.1Da",
    "entropy@0.01Da",
    "entropy@10ppm",
)


def synthetic(queries: int, peaks: int, seed: int = 0) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Predictions and truth: half of the predicted peaks are true ones within a few ppm."""
    rng = np.random.default_rng(seed)
    shape = (queries, peaks)
    true = np.sort(np.round(rng.uniform(50, 600, shape), 4), axis=1)
    near = true * (1 + rng.normal(0, 2e-6, shape))
    predicted = np.sort(np.where(rng.random(shape) < 0.5, near, rng.uniform(50, 600, shape)), axis=1)
    frames = []
    for mzs in (predicted, true):
        columns = {
            "identifier": [f"q{k}" for k in range(queries)],
            "mzs": pl.Series(mzs).arr.to_list(),
            "intensities": pl.Series(rng.exponential(1, shape).astype(np.float32)).arr.to_list(),
            "precursor_mz": np.full(queries, 600.0),
        }
        frames.append(pl.DataFrame(columns))
    return frames[0], frames[1]


def clock(label: str, work: Callable[[], Any], per: int | None = None) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    seconds = time.perf_counter() - start
    rate = f"{per / seconds:12,.0f} spectra/s" if per else ""
    print(f"{label:58s} {seconds:8.2f} s {rate}")
    return seconds, result


def dense_cosine(
    truth: pl.DataFrame, predictions: pl.DataFrame, width: float = 0.01, top: float = 1005.0
) -> list[float]:
    """The usual way: two dense vectors a spectrum."""
    size = round(top / width)
    values = []
    columns = ("mzs", "intensities")
    for mp, ip, mt, it in zip(*(f[c] for f in (predictions, truth) for c in columns), strict=True):
        vectors = []
        for mzs, intensities in ((mp.to_numpy(), ip.to_numpy()), (mt.to_numpy(), it.to_numpy())):
            bins = np.floor((mzs + 1e-6) / width).astype(np.int64)
            vectors.append(np.bincount(bins, weights=intensities, minlength=size))
        a, b = vectors
        values.append(float(a @ b / np.sqrt((a @ a) * (b @ b))))
    return values


def rivals(predictions: pl.DataFrame, truth: pl.DataFrame, sample: int) -> None:
    some_p, some_t = predictions.head(sample), truth.head(sample)
    names = ["cosine@0.01Da", "entropy@10ppm"]
    fast, mine = clock(f"ours, {' and '.join(names)}", lambda: score(some_p, some_t, names), sample)
    slow, theirs = clock("dense numpy loop, cosine@0.01Da", lambda: dense_cosine(some_t, some_p), sample)
    print(
        f"  ratio {slow / fast:.0f}; largest difference {np.abs(mine['cosine@0.01Da'].to_numpy() - theirs).max():.1e}"
    )
    pairs = [
        [np.column_stack([f["mzs"][k].to_numpy(), f["intensities"][k].to_numpy()]) for f in (some_p, some_t)]
        for k in range(sample)
    ]
    plain_s, plain = clock(
        "plain reference, entropy@10ppm (first 200)",
        lambda: [
            reference.entropy_similarity(*reference.align_ppm((a[:, 0], a[:, 1]), (b[:, 0], b[:, 1]), 10)[:2])
            for a, b in pairs[:200]
        ],
        200,
    )
    difference = np.abs(mine["entropy@10ppm"].to_numpy()[:200] - plain).max()
    print(f"  ratio {plain_s / 200 * sample / fast:.0f}; largest difference {difference:.1e}")
    try:
        import ms_entropy
    except ImportError:
        print("ms_entropy is not installed: its row is left out")
        return
    ready = [[side.astype(np.float32) for side in pair] for pair in pairs]
    options = {"ms2_tolerance_in_da": -1.0, "ms2_tolerance_in_ppm": 10.0, "noise_threshold": 0.0}
    seconds, other = clock(
        "ms_entropy, entropy at 10 ppm (lists already converted)",
        lambda: [ms_entropy.calculate_entropy_similarity(a, b, **options) for a, b in ready],
        sample,
    )
    gap = np.abs(mine["entropy@10ppm"].to_numpy() - np.array(other))
    print(f"  ratio {seconds / fast:.2f} (two metrics against one); median difference {np.median(gap):.1e}, "
          f"within 1e-4: {np.mean(gap < 1e-4):.1%} (it merges peaks within 20 ppm first)")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queries", type=int, default=20_000)
    parser.add_argument("--peaks", type=int, default=100)
    arguments = parser.parse_args()
    n = arguments.queries
    predictions, truth = synthetic(n, arguments.peaks)
    print(f"{n:,} predictions of {arguments.peaks} peaks, {len(NAMES)} metrics")
    clock("first call (compilation, or its cache from disk)", lambda: score(predictions.head(2), truth.head(2), NAMES))
    scoring, scored = clock("score", lambda: score(predictions, truth, NAMES), n)
    molecules = np.random.default_rng(1).integers(0, n // 5, n)
    keys = {"split": "molecule", "model": "a", "seed": 0, "fold": "test"}
    table = scored.with_columns(
        *(pl.lit(v).alias(k) for k, v in keys.items()), pl.Series("inchikey14", molecules).cast(pl.String)
    )
    intervals, _ = clock("summarise (both averages, 2,000 resamples)", lambda: summarise(table))
    print(f"score + intervals: {scoring + intervals:.2f} s")
    values = np.random.default_rng(2).random((n, 10))
    clock("cluster_bootstrap, 10,000 resamples × 10 metrics", lambda: cluster_bootstrap(values, molecules, 10_000))
    clock("  the same, every query a cluster", lambda: cluster_bootstrap(values, np.arange(n), 10_000))
    four = pl.concat([table.with_columns(pl.lit(m).alias("model")) for m in "abcd"])
    clock("compare, 4 models (6 pairs), 9,999 sign flips", lambda: compare(four))
    meta = truth.select("identifier", "precursor_mz").with_columns(pl.lit("[M+H]+").alias("adduct"))
    clock("stratify, 4 models, two strata", lambda: stratify(four, meta))
    rivals(predictions, truth, min(n, 2000))


if __name__ == "__main__":
    main()
