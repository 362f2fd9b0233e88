"""Queries a second by the clock with one thread and with more, and whether the hits are the same.

    MSLITMUS_HOME=... python benchmarks/library_threads.py --dataset massbank --threads 1 2

Medians of five, in turns; the machine must be quiet.
"""

from __future__ import annotations

import argparse
import statistics
import time

from mslitmus.data import store
from mslitmus.spectra.library import Library

CASES: tuple[tuple[str, dict[str, object]], ...] = (
    ("cosine", {}),
    ("modified-cosine", {}),
    ("entropy", {}),
    ("hybrid", {}),
    ("cosine", {"precursor_tolerance": "10ppm"}),
    ("entropy", {"precursor_tolerance": "10ppm"}),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", default="massbank")
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    arguments = parser.parse_args()
    frame = store.load(arguments.dataset).frame()
    library = Library.build(frame)
    queries = frame.sample(arguments.queries, seed=5, with_replacement=arguments.queries > frame.height)
    for name, options in CASES:
        seconds: dict[int, list[float]] = {threads: [] for threads in arguments.threads}
        hits = {}
        for turn in range(6):
            for threads in arguments.threads:
                start = time.perf_counter()
                hits[threads] = library.search(queries, name, threads=threads, **options)
                if turn:  # the first one compiles and builds the index
                    seconds[threads].append(time.perf_counter() - start)
        middle = {threads: statistics.median(values) for threads, values in seconds.items()}
        first = arguments.threads[0]
        rates = "  ".join(
            f"{k} threads {queries.height / took:9,.0f}/s (× {middle[first] / took:.2f})" for k, took in middle.items()
        )
        same = all(hits[threads].equals(hits[first]) for threads in arguments.threads)
        where = ", ".join(map(str, options.values())) or "open"
        print(f"{name:16s} {where:8s} {rates}  hits {'equal' if same else 'DIFFER'}")


if __name__ == "__main__":
    main()
