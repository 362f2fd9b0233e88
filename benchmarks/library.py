"""How fast an open search is, against ms_entropy's FlashEntropySearch and matchms, and that all agree.

OMP_NUM_THREADS=1 MSLITMUS_HOME=... python benchmarks/library.py [--queries 2000] [--library 60000]

Seconds are of CPU, summed over threads, so that other work on the machine does not enter; both are given one thread.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

from mslitmus.data import store
from mslitmus.spectra import similarity
from mslitmus.spectra.library import Library

TOLERANCE = 0.01


def clock(label: str, work: Callable[[], Any], queries: int) -> tuple[float, Any]:
    wall, start = time.perf_counter(), time.process_time()
    result = work()
    seconds, wall = time.process_time() - start, time.perf_counter() - wall
    print(f"{label:66s} {seconds:7.2f} s CPU {wall:7.2f} s wall {queries / seconds:9,.0f} queries/s of CPU")
    return seconds / queries, result


def peaks(row: dict[str, Any]) -> Any:
    return np.column_stack([row["mzs"], row["intensities"]])


def beside_ms_entropy(library: pl.DataFrame, queries: pl.DataFrame, ours: pl.DataFrame, mine: float) -> None:
    try:
        import ms_entropy
    except ImportError:
        print("ms_entropy is not installed: its row is left out")
        return
    options = {"precursor_ions_removal_da": None, "noise_threshold": 0.0, "min_ms2_difference_in_da": 2.001 * TOLERANCE}
    flash = ms_entropy.FlashEntropySearch(max_ms2_tolerance_in_da=TOLERANCE)
    spectra = [
        {"precursor_mz": r["precursor_mz"], "peaks": peaks(r), "id": r["identifier"]} for r in library.to_dicts()
    ]
    start = time.process_time()
    ordered = flash.build_index(spectra, max_indexed_mz=3000.0, **options)
    print(f"ms_entropy builds its index in {time.process_time() - start:.1f} s")
    asked = [(r["precursor_mz"], peaks(r)) for r in queries.to_dicts()]
    clean = [flash.clean_spectrum_for_search(p, m, **options) for p, m in asked]
    seconds, best = clock(
        f"ms_entropy {ms_entropy.__version__} FlashEntropySearch, entropy (queries cleaned before)",
        lambda: [flash.open_search(c, TOLERANCE).max(initial=0.0) for c in clean],
        len(clean),
    )
    top = queries.select("identifier").join(ours.filter(rank=1), on="identifier", how="left")["score"].fill_null(0.0)
    gap = np.abs(top.to_numpy() - np.array(best))
    print(f"  ratio {seconds / mine:.1f}; best score: median difference {np.median(gap):.1e}, within 1e-4: "
          f"{np.mean(gap < 1e-4):.1%} of {len(gap)} (theirs is float32; {len(ordered):,} spectra)")  # fmt: skip


def beside_matchms(library: pl.DataFrame, queries: pl.DataFrame, mine: float, searched: int) -> None:
    try:
        import matchms
        from matchms.similarity import CosineGreedy
    except ImportError:
        print("matchms is not installed: its row is left out")
        return
    made = [
        [matchms.Spectrum(np.array(r["mzs"]), np.array(r["intensities"], float), {"precursor_mz": r["precursor_mz"]})
         for r in frame.to_dicts()] for frame in (library, queries)
    ]  # fmt: skip
    seconds, scores = clock(
        f"matchms {matchms.__version__} CosineGreedy ({len(made[1])} queries × {len(made[0]):,})",
        lambda: [[CosineGreedy(TOLERANCE).pair(q, r)["score"] for r in made[0]] for q in made[1]],
        len(made[1]),
    )
    hits = Library.build(library).search(queries, "cosine", top_k=library.height)
    table = pl.DataFrame(
        {"identifier": np.repeat(queries["identifier"].to_numpy(), library.height),
         "library_identifier": np.tile(library["identifier"].to_numpy(), queries.height),
         "theirs": np.array(scores, float).ravel()}
    )  # fmt: skip
    both = table.join(hits, on=["identifier", "library_identifier"], how="left").with_columns(
        pl.col("score").fill_null(0.0)
    )
    gap = (both["score"] - both["theirs"]).to_numpy()
    share = library.height / searched
    print(f"  ratio {seconds / (mine * share):,.0f} (ours scaled to as many spectra); equal within 1e-6: "
          f"{np.mean(np.abs(gap) < 1e-6):.3%} of {gap.size:,} pairs; ours higher by up to {gap.max():.1e} (optimal "
          f"assignment), lower by up to {max(0.0, -gap.min()):.1e}")  # fmt: skip


def beside_the_reference(library: pl.DataFrame, queries: pl.DataFrame) -> None:
    few = library.sample(400, seed=1).sort("identifier")
    index = Library.build(few)
    for name, slow in (("cosine", similarity.cosine_exact), ("entropy", similarity.entropy)):
        hits = index.search(queries, name, top_k=few.height)
        found = dict(zip(hits.select("identifier", "library_identifier").iter_rows(), hits["score"], strict=True))
        worst = 0.0
        for q in queries.to_dicts():
            for r in few.to_dicts():
                a, b = ((np.array(x["mzs"]), np.array(x["intensities"], float)) for x in (q, r))
                worst = max(worst, abs(slow(a, b, TOLERANCE) - found.get((q["identifier"], r["identifier"]), 0.0)))
        print(f"plain reference, {name}: largest difference {worst:.1e} over {queries.height * few.height:,} pairs")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--library", type=int, default=60_000)
    parser.add_argument("--dataset", default="massbank")
    arguments = parser.parse_args()
    columns = ["identifier", "mzs", "intensities", "precursor_mz"]
    frame = store.load(arguments.dataset).frame().select(columns)
    frame = frame.sample(fraction=1.0, shuffle=True, seed=0)
    library, queries = frame.head(arguments.library), frame.slice(arguments.library, arguments.queries)
    n, size = queries.height, library.height
    print(f"{n:,} queries against {size:,} spectra, {library['mzs'].list.len().sum():,} peaks, {TOLERANCE} Da")
    start = time.process_time()
    index = Library.build(library)
    print(f"built in {time.process_time() - start:.1f} s")
    index.search(queries.head(2), precursor_tolerance="10ppm")  # compiles, or reads the cache from disk
    for options in ({"score": "cosine"}, {"score": "modified-cosine", "intensity_power": 0.5}, {"score": "entropy"}):
        index.search(queries.head(1), **options)  # builds this index
        label = f"ours, {options['score']}"
        mine, ours = clock(f"{label}, open", lambda o=options: index.search(queries, top_k=1, threads=1, **o), n)
        if options["score"] == "cosine":
            cosine = mine
        clock(
            f"{label}, 10 ppm", lambda o=options: index.search(queries, precursor_tolerance="10ppm", threads=1, **o), n
        )
    beside_the_reference(library, queries.head(20))
    beside_matchms(library.head(2000), queries.head(5), cosine, size)
    beside_ms_entropy(library, queries, ours, mine)


if __name__ == "__main__":
    main()
