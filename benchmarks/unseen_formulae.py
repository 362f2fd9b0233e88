"""Unseen fragment formulae by split, both definitions of Khoo & Barzilay (2026), as Markdown, with the time each took.

MSLITMUS_HOME=… python benchmarks/unseen_formulae.py [DATASET] [--splits random molecule lab:new-molecules] [--seed 0]
"""

from __future__ import annotations

import argparse
import time

from mslitmus.audits.unseen_formulae import fragment_formulae, rates
from mslitmus.data.splits import make_split
from mslitmus.data.store import load

SPLITS = ("random", "molecule", "scaffold", "formula", "lab", "instrument", "adduct", "energy")
COLUMNS = ("per_spectrum", "per_molecule", "spectra_with", "vocabulary")


def main() -> None:
    arguments = parse_arguments()
    dataset = load(arguments.dataset)
    frame = dataset.frame()
    start = time.perf_counter()
    fragments = fragment_formulae(frame)
    print(
        f"{frame.height:,} spectra, {fragments['identifier'].n_unique():,} with a fragment formula, "
        f"{fragments['formula'].n_unique():,} formulae, {time.perf_counter() - start:.1f} s\n"
    )
    print("| split | test spectra | molecules | unseen, per spectrum | per molecule | spectra with one | vocabulary |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name in arguments.splits:
        method, _, form = name.partition(":")
        split = make_split(frame, method, seed=arguments.seed, form=form or None, dataset_hash=dataset.hash)
        found = rates(frame, split, fragments)
        shares = " | ".join(f"{found[column]:.1%}" for column in COLUMNS)
        print(f"| {found['split']} | {found['spectra']:,} | {found['molecules']:,} | {shares} |", flush=True)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", nargs="?", default="massbank")
    parser.add_argument("--splits", nargs="+", default=list(SPLITS))
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
