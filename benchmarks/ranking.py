"""Rankings of MassSpecGym's size, from Parquet to intervals; beside the usual loop over queries, and that they agree.

OMP_NUM_THREADS=2 POLARS_MAX_THREADS=2 python benchmarks/ranking.py [--queries 17556] [--fingerprints]
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from mslitmus.metrics import cluster_bootstrap, fingerprint, ranking

NAMES = ["hit@1", "hit@5", "hit@20", "mrr"]
RESAMPLES = 10_000
#: Spectra a molecule in MassSpecGym's test fold: 17,556 of 3,170.
SPECTRA_A_MOLECULE = 5.54
LETTERS = np.array(list("ABCDEFGHIJKLMNOPQRSTUVWXYZ"))


def clock(label: str, work: Callable[[], Any]) -> tuple[float, Any]:
    start, processor = time.perf_counter(), time.process_time()
    result = work()
    seconds = time.perf_counter() - start
    print(f"{label:66s} {seconds:7.2f} s  ({time.process_time() - processor:.2f} s of processor)  {peak():.2f} GB")
    return seconds, result


def peak() -> float:
    """Largest resident memory of this process so far, GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def generate(folder: Path, queries: int, candidates: int, tied: float, seed: int = 0) -> None:
    """Truth (with pools) and predictions in a random order of rows; a share of scores is rounded, so that some tie."""
    rng = np.random.default_rng(seed)
    molecules = max(2, round(queries / SPECTRA_A_MOLECULE))
    names = pl.Series(["".join(row) for row in LETTERS[rng.integers(0, 26, (molecules * candidates, 14))]]).unique(
        maintain_order=True
    )
    molecule = np.sort(rng.integers(0, molecules, queries))
    entry = (molecule[:, None] * candidates + np.arange(candidates)) % names.len()
    true_place = rng.integers(0, candidates, molecules)[molecule]
    scores = rng.normal(size=(queries, candidates))
    scores[np.arange(queries), true_place] += 2.0
    scores = np.where(rng.random(queries)[:, None] < tied, np.round(scores), scores)
    truth = pl.DataFrame(
        {
            "identifier": [f"MassSpecGymID{k:07d}" for k in range(queries)],
            "inchikey14": names.gather(entry[np.arange(queries), true_place]),
            "candidates": names.gather(entry.ravel()).reshape((queries, candidates)).arr.to_list(),
        }
    )
    truth.write_parquet(folder / "truth.parquet")
    long = truth.select("identifier", pl.col("candidates").alias("candidate")).explode("candidate")
    long.with_columns(score=pl.Series(scores.ravel())).sample(fraction=1.0, shuffle=True, seed=seed).write_parquet(
        folder / "predictions.parquet"
    )


def loop(predictions: pl.DataFrame, truth: pl.DataFrame) -> pl.DataFrame:
    """The usual way: group, loop over queries, sort each one's scores, see where the truth lies; ties as they fall."""
    groups = {key[0]: part for key, part in predictions.group_by("identifier")}
    rows = []
    for identifier, key in truth.select("identifier", "inchikey14").iter_rows():
        part = groups[identifier]
        labels = (part["candidate"] == key).to_numpy()
        rank = int(np.flatnonzero(labels[np.argsort(-part["score"].to_numpy(), kind="stable")])[0]) + 1
        rows.append((identifier, *(float(rank <= k) for k in (1, 5, 20)), 1 / rank))
    return pl.DataFrame(rows, schema=["identifier", *NAMES], orient="row")


def whole(folder: Path) -> pl.DataFrame:
    """Parquet → values of every query → means and intervals over molecules."""
    predictions, truth = (pl.read_parquet(folder / f"{name}.parquet") for name in ("predictions", "truth"))
    _, values = clock(f"  scores: {', '.join(NAMES)}", lambda: ranking.score(predictions, truth, NAMES))
    _, intervals = clock(
        f"  BCa intervals by {RESAMPLES:,} resamples over molecules",
        lambda: cluster_bootstrap(values.select(NAMES).to_numpy(), truth["inchikey14"].to_numpy(), RESAMPLES),
    )
    for name, *numbers in zip(NAMES, intervals.mean, intervals.low, intervals.high, strict=True):
        print("    {:8s} {:.4f} [{:.4f}, {:.4f}]".format(name, *numbers))
    return values


def compare_with_loop(folder: Path, values: pl.DataFrame, seconds: float) -> None:
    predictions, truth = (pl.read_parquet(folder / f"{name}.parquet") for name in ("predictions", "truth"))
    slow, theirs = clock("loop over queries, numpy (values only)", lambda: loop(predictions, truth))
    ranks = ranking.score(predictions, truth, ["rank", "rank:optimistic"])
    alone = (ranks["rank"] == ranks["rank:optimistic"]).to_numpy()
    gap = np.abs(values.select(NAMES).to_numpy() - theirs.select(NAMES).to_numpy())
    print(f"  ratio {slow / seconds:.2f} to all of ours with reading, checks and intervals")
    print(f"  largest difference {gap[alone].max():.1e} where the truth is tied with nothing")
    print(
        f"  {(~alone).sum():,} queries with ties differ by up to {gap.max():.2f}: in the loop the order of rows decides"
    )


def fingerprints(queries: int) -> None:
    rng = np.random.default_rng(0)
    smiles = ["C" * (k % 40 + 1) + "O" + "N" * (k % 7) for k in range(queries)]
    ids = [f"q{k}" for k in range(queries)]
    predictions = pl.DataFrame(
        {"identifier": ids, "fingerprint": pl.Series(rng.random((queries, 2048), np.float32)).arr.to_list()}
    )
    truth = pl.DataFrame({"identifier": ids, "inchikey14": ids, "smiles": smiles})
    names = ["fp-tanimoto@0.5", "fp-tanimoto-soft", "fp-cosine"]
    clock(
        f"{queries:,} fingerprints of 2,048 bits, three metrics", lambda: fingerprint.score(predictions, truth, names)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queries", type=int, default=17_556)
    parser.add_argument("--candidates", type=int, default=256)
    parser.add_argument("--tied", type=float, default=0.1, help="share of queries whose scores are rounded")
    parser.add_argument("--fingerprints", action="store_true", help="time these instead")
    options = parser.parse_args()
    if options.fingerprints:
        fingerprints(options.queries)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generate(folder, options.queries, options.candidates, options.tied)
        size = (folder / "predictions.parquet").stat().st_size / 1e6
        print(
            f"{options.queries:,} queries × {options.candidates} candidates, {size:.0f} MB; {peak():.2f} GB to generate"
        )
        seconds, values = clock("ours, from Parquet to intervals", lambda: whole(folder))
        compare_with_loop(folder, values, seconds)


if __name__ == "__main__":
    main()
