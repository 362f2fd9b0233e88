"""A library that need not fit in memory: MassBank resampled with jitter, stored, then searched from mapped files.

OMP_NUM_THREADS=1 MSLITMUS_HOME=... python benchmarks/library_scale.py FOLDER --spectra 5000000 [--queries 200]

Prints seconds of CPU, bytes on disk, and memory: the largest resident set (which counts mapped pages that the system
may take back at any time) and the part of it that is not mapped files.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from library import clock
from mslitmus.data import store
from mslitmus.spectra import library_files
from mslitmus.spectra.scoring import Scoring

BATCH = 50_000
COLUMNS = ["identifier", "mzs", "intensities", "precursor_mz", "adduct", "inchikey14"]


def resampled(frame: pl.DataFrame, spectra: int) -> Iterator[pl.DataFrame]:
    """Spectra drawn with replacement, m/z moved by 0.5 mDa, precursors by up to 50 Da, intensities by some 10 %."""
    for first in range(0, spectra, BATCH):
        rng = np.random.default_rng(first)
        drawn = frame[rng.integers(0, frame.height, min(BATCH, spectra - first))]
        sizes = drawn["mzs"].list.len().to_numpy()
        row = np.repeat(np.arange(drawn.height), sizes)
        mzs = np.maximum(drawn["mzs"].explode().to_numpy() + rng.normal(0, 5e-4, row.size), 1e-3)
        heights = drawn["intensities"].explode().to_numpy() * np.exp(rng.normal(0, 0.1, row.size))
        lists = (
            pl.DataFrame({"row": row, "mzs": mzs, "intensities": heights.astype(np.float32)})
            .group_by("row", maintain_order=True)
            .agg("mzs", "intensities")
        )
        yield drawn.with_columns(
            lists["mzs"],
            lists["intensities"],
            identifier=pl.Series([f"r{first + k:08d}" for k in range(drawn.height)]),
            precursor_mz=drawn["precursor_mz"] + rng.uniform(-50, 50, drawn.height),
        )


def memory() -> str:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    status = Path("/proc/self/status").read_text(encoding="ascii")
    own = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon")) / 1e6
    return f"largest resident set {peak:.2f} GB, now {own:.2f} GB besides mapped files"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--spectra", type=int, default=5_000_000)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--dataset", default="massbank")
    arguments = parser.parse_args()
    frame = store.load(arguments.dataset).frame().select(COLUMNS).filter(pl.col("mzs").list.len() > 0)
    if not (arguments.folder / "library.json").is_file():
        start = time.process_time()
        usual = [Scoring("cosine"), Scoring("entropy")]
        library_files.write(resampled(frame, arguments.spectra), arguments.folder, scorings=usual)
        print(f"{arguments.spectra:,} spectra written in {time.process_time() - start:,.0f} s of CPU; {memory()}")
    size = sum(path.stat().st_size for path in arguments.folder.rglob("*") if path.is_file())
    start = time.process_time()
    library = library_files.open(arguments.folder)
    print(
        f"{len(library.peaks.mzs):,} peaks, {size / 1e9:.1f} GB on disk, opened in {time.process_time() - start:.2f} s"
    )
    queries = frame.sample(arguments.queries, seed=5)
    library.search(queries.head(1), threads=1)
    for score in ("cosine", "entropy"):
        for label, options in (("10 ppm", {"precursor_tolerance": "10ppm"}), ("open", {})):
            clock(
                f"{score}, {label}",
                lambda s=score, o=options: library.search(queries, s, threads=1, **o),
                queries.height,
                times=1,
            )
            print(f"  {memory()}")


if __name__ == "__main__":
    main()
