"""How fast a search is, against ms_entropy's FlashEntropySearch and matchms, and that all agree.

OMP_NUM_THREADS=1 MSLITMUS_HOME=... python benchmarks/library.py [--queries 1000] [--library 65000]

Positive-mode spectra of the dataset; where it has too few, the library is filled up with copies whose m/z are moved by
some 0.5 mDa. Seconds are of CPU, summed over threads, so that waiting for other work on the machine does not enter (its
use of the caches does), the least of three runs; all are given one thread.
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


def clock(label: str, work: Callable[[], Any], queries: int, times: int = 3) -> tuple[float, Any]:
    """Prints the least seconds of several runs; returns them per query, and what `work` returned."""
    best = (np.inf, np.inf)
    for _ in range(times):
        wall, start = time.perf_counter(), time.process_time()
        result = work()
        best = min(best, (time.process_time() - start, time.perf_counter() - wall))
    print(f"{label:66s} {best[0]:7.2f} s CPU {best[1]:7.2f} s wall {queries / best[0]:9,.0f} queries/s of CPU")
    return best[0] / queries, result


def peaks(row: dict[str, Any]) -> Any:
    return np.column_stack([row["mzs"], row["intensities"]])


def beside_ms_entropy(
    library: pl.DataFrame, queries: pl.DataFrame, opened: dict[str, tuple[float, pl.DataFrame]]
) -> None:
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
    asks = {
        "entropy": lambda p, c: flash.open_search(c, TOLERANCE),
        "hybrid": lambda p, c: flash.hybrid_search(p, c, TOLERANCE),
    }
    for name, ask in asks.items():
        mine, ours = opened[name]
        few = min(len(clean), 1000 if name == "entropy" else 200)
        seconds, best = clock(
            f"ms_entropy {ms_entropy.__version__} FlashEntropySearch, {name} (queries cleaned before)",
            lambda ask=ask, few=few: [
                float(ask(p, c).max(initial=0.0)) for (p, _), c in zip(asked[:few], clean, strict=False)
            ],
            few,
        )
        top = queries.head(few).select("identifier").join(ours.filter(rank=1), on="identifier", how="left")["score"]
        gap = np.abs(top.fill_null(0.0).to_numpy() - np.array(best))
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
        times=1,
    )
    hits = Library.build(library).search(queries, "cosine-greedy", top_k=library.height, threads=1)
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
          f"{np.mean(np.abs(gap) < 1e-6):.3%} of {gap.size:,} pairs (ours greedy, too); largest difference "
          f"{np.abs(gap).max():.1e}")  # fmt: skip


SLOW = {
    "cosine": lambda a, b, pa, pb: similarity.cosine_exact(a, b, TOLERANCE),
    "cosine-greedy": lambda a, b, pa, pb: similarity.cosine_greedy(a, b, TOLERANCE),
    "modified-cosine": lambda a, b, pa, pb: similarity.modified_cosine(a, b, pa, pb, TOLERANCE),
    "neutral-loss": lambda a, b, pa, pb: similarity.neutral_loss(a, b, pa, pb, TOLERANCE),
    "entropy": lambda a, b, pa, pb: similarity.entropy(a, b, TOLERANCE),
    "entropy-unweighted": lambda a, b, pa, pb: similarity.entropy(a, b, TOLERANCE, weighted=False),
    "hybrid": lambda a, b, pa, pb: similarity.hybrid(a, b, pa, pb, TOLERANCE),
}


def beside_the_reference(library: pl.DataFrame, queries: pl.DataFrame, spectra: int) -> None:
    few = library.sample(spectra, seed=1).sort("identifier")
    index = Library.build(few)
    for name, slow in SLOW.items():
        hits = index.search(queries, name, top_k=few.height, threads=1)
        found = dict(zip(hits.select("identifier", "library_identifier").iter_rows(), hits["score"], strict=True))
        worst = 0.0
        for q in queries.to_dicts():
            for r in few.to_dicts():
                a, b = ((np.array(x["mzs"]), np.array(x["intensities"], float)) for x in (q, r))
                wanted = slow(a, b, q["precursor_mz"], r["precursor_mz"])
                worst = max(worst, abs(wanted - found.get((q["identifier"], r["identifier"]), 0.0)))
        print(f"plain reference, {name}: largest difference {worst:.1e} over {queries.height * few.height:,} pairs")


def filled(frame: pl.DataFrame, size: int) -> pl.DataFrame:
    """`size` spectra: those of the frame, then copies with m/z moved by normal noise of 0.5 mDa."""
    if frame.height >= size:
        return frame.head(size)
    more = frame.sample(size - frame.height, seed=1, with_replacement=size > 2 * frame.height)
    sizes = more["mzs"].list.len().to_numpy()
    noise = np.random.default_rng(1).normal(0, 5e-4, int(sizes.sum()))
    moved = (
        pl.DataFrame({"row": np.repeat(np.arange(more.height), sizes), "mzs": more["mzs"].explode().to_numpy() + noise})
        .group_by("row", maintain_order=True)
        .agg("mzs")["mzs"]
    )
    copies = more.with_columns(pl.format("{}-copy-{}", "identifier", pl.int_range(pl.len())).alias("identifier"), moved)
    return pl.concat([frame, copies])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--library", type=int, default=65_000)
    parser.add_argument("--reference", type=int, default=400, help="library spectra compared with the slow reference")
    parser.add_argument("--dataset", default="massbank")
    arguments = parser.parse_args()
    columns = ["identifier", "mzs", "intensities", "precursor_mz"]
    frame = store.load(arguments.dataset).frame().filter(pl.col("ion_mode") == "positive").select(columns)
    frame = frame.sample(fraction=1.0, shuffle=True, seed=0)
    queries, library = frame.head(arguments.queries), filled(frame.slice(arguments.queries), arguments.library)
    n, size = queries.height, library.height
    print(f"{n:,} queries against {size:,} spectra, {library['mzs'].list.len().sum():,} peaks, {TOLERANCE} Da")
    start = time.process_time()
    index = Library.build(library)
    print(f"built in {time.process_time() - start:.1f} s")
    index.search(queries.head(2), precursor_tolerance="10ppm", threads=1)  # compiles, or reads the cache from disk
    opened: dict[str, tuple[float, pl.DataFrame]] = {}
    for name in ("cosine", "modified-cosine", "entropy", "hybrid"):
        power = {"intensity_power": 0.5} if name == "modified-cosine" else {}
        start = time.process_time()
        index.search(queries.head(1), name, threads=1, **power)
        print(f"index of {name}: {time.process_time() - start:.1f} s")
        for label, options in (("open", {}), ("10 ppm", {"precursor_tolerance": "10ppm"})):
            for top in (1, 10):
                options = {**options, **power, "top_k": top, "threads": 1}
                mine, ours = clock(
                    f"ours, {name}, {label}, {top} hits", lambda o=options, s=name: index.search(queries, s, **o), n
                )
                if label == "open" and top == 1:
                    opened[name] = mine, ours
    beside_the_reference(library, queries.head(10), arguments.reference)
    beside_matchms(library.head(2000), queries.head(5), opened["cosine"][0], size)
    beside_ms_entropy(library, queries, opened)


if __name__ == "__main__":
    main()
