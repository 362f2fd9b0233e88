"""Difficulty tables of several splits of a stored dataset side by side, as Markdown, with the time each took.

MSLITMUS_HOME=… python benchmarks/difficulty.py [DATASET] [--splits random scaffold lab:new-molecules] [--seed 0]
"""

from __future__ import annotations

import argparse
import time

import polars as pl

from mslitmus.data.difficulty import MoleculeTable, difficulty, difficulty_table, ks_ratio
from mslitmus.data.splits import make_split
from mslitmus.data.store import load


def main() -> None:
    arguments = parse_arguments()
    dataset = load(arguments.dataset)
    frame = dataset.frame()
    start = time.perf_counter()
    molecules = MoleculeTable.of(frame)
    print(
        f"{frame.height:,} spectra; {len(molecules.table):,} molecules described in {time.perf_counter() - start:.1f} s"
    )
    found = []
    for name in arguments.splits:
        method, _, form = name.partition(":")
        start = time.perf_counter()
        split = make_split(frame, method, seed=arguments.seed, form=form or None, dataset_hash=dataset.hash)
        made = time.perf_counter()
        split.check(frame)
        checked = time.perf_counter()
        found.append(difficulty(frame, split, molecules=molecules, permutations=arguments.permutations))
        done = time.perf_counter()
        print(
            f"\n{split.title}: made {made - start:.1f} s, checked {checked - made:.1f} s, "
            f"measured {done - checked:.1f} s"
        )
        print("\n".join(f"  {note}" for note in split.notes))
    print()
    print(markdown(difficulty_table(found)))
    base = next((entry for entry in found if entry["method"] == "random"), None)
    for entry in found:
        if base is not None and entry is not base:
            ratio = ks_ratio(entry, base)
            for unit in ("molecules", "spectra"):
                each = ", ".join(f"{name} {part[unit]:.1f}" for name, part in ratio["properties"].items())
                print(f"KS of {entry['method']} / random, {unit}: median {ratio[f'median_{unit}']:.1f} ({each})")


def markdown(table: pl.DataFrame) -> str:
    """Counts whole, other figures to three decimals."""
    lines = ["| " + " | ".join(table.columns) + " |", "|---" + "|---:" * (table.width - 1) + "|"]
    for name, *values in table.iter_rows():
        whole = name.startswith(("train ", "val ", "test "))
        cells = ["–" if v is None else f"{v:,.0f}" if whole else f"{v:.3f}" for v in values]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", nargs="?", default="massbank")
    parser.add_argument("--splits", nargs="+", default=["random", "molecule", "scaffold", "lab"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--permutations", type=int, default=1000)
    return parser.parse_args()


if __name__ == "__main__":
    main()
