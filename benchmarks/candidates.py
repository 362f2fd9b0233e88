"""How fast pools are built, and how well they hide their truths.

OMP_NUM_THREADS=1 MSLITMUS_HOME=… python benchmarks/candidates.py massbank [--lists pubchem-100k …] [--molecules 200]
"""

from __future__ import annotations

import argparse
import time

import polars as pl

from mslitmus.data import candidates, store
from mslitmus.data.candidates.sets import draw, origins


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset")
    parser.add_argument("--lists", nargs="*", default=[])
    parser.add_argument("--molecules", type=int, default=200)
    parser.add_argument("--size", type=int, default=256)
    arguments = parser.parse_args()
    own = candidates.dataset_list(store.load(arguments.dataset).frame())
    lists = [own, *(candidates.molecule_list(name) for name in arguments.lists)]
    keys = sorted(own.frame.get_column("inchikey14"), key=lambda key: draw("benchmark", key))[: arguments.molecules]
    asked = own.frame.filter(pl.col("inchikey14").is_in(keys))
    for kind in ("mass", "formula"):
        start = time.perf_counter()
        made = candidates.build(asked, lists, candidates.PoolSettings(kind, size=arguments.size))
        seconds = time.perf_counter() - start
        sizes = made.sizes()
        print(f"{kind}: {asked.height / seconds:.2f} molecules/s with preparation; {origins(made.pools)}")
        quantiles = (0.05, 0.25, 0.5, 0.75, 0.95)
        for column in ("real", "candidates"):
            print(f"  {column}: quantiles {[sizes[column].quantile(q, 'nearest') for q in quantiles]}")
        at_least_8 = (sizes["candidates"] >= 8).sum()
        print(f"  chance of hit@1 {(1 / sizes['candidates']).mean():.4f}; {at_least_8} with at least 8")
        half = len(keys) // 2
        for train, test in ((keys[:half], keys[half:]), (keys[half:], keys[:half])):
            found = candidates.structure_auc(made, train, test)
            print("  " + ", ".join(f"{k} {v:.3f}" for k, v in found.items() if v is not None))


if __name__ == "__main__":
    main()
