"""How fast MCES distances are, against myopic-mces with HiGHS, pair by pair, and that both agree.

The peer lives in an environment of its own, since nothing here depends on it:

    python -m venv /tmp/venv-myopic && /tmp/venv-myopic/bin/pip install myopic-mces highspy
    OMP_NUM_THREADS=1 python benchmarks/mces.py --peer /tmp/venv-myopic/bin/python [--pairs 200] [--reference FILE.csv]

Random pairs and pairs of one formula, of the stored dataset's molecules. Both sides take turns in blocks of ten pairs,
one thread each, so that both see the same load; parsing of SMILES is in both times. They agree on a pair if both give
the same value at or below the threshold, or both say that it is above. `--reference` adds a CSV of published values.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from mslitmus.chem.distance import mces_bounds
from mslitmus.data import store

BLOCK = 10
PEER = """
import json, sys, time
from importlib.metadata import version
from myopic_mces.myopic_mces import MCES
settings = dict(solver="HiGHS", solver_options=dict(msg=False, threads=1))
MCES("CCO", "CCN", threshold=15, **settings)
print(json.dumps([version("myopic-mces"), version("highspy")]), flush=True)
for line in sys.stdin:
    a, b, threshold = json.loads(line)
    start = time.perf_counter()
    found = MCES(a, b, threshold=threshold, **settings)
    print(json.dumps([found[1], int(getattr(found[3], "value", found[3])), time.perf_counter() - start]), flush=True)
"""


def choose(dataset: str, count: int, seed: int) -> dict[str, list[tuple[str, str]]]:
    """Kind → pairs of SMILES of different molecules."""
    rows = store.load(dataset).frame().select("inchikey14", "smiles", "formula").drop_nulls()
    rows = rows.unique("inchikey14", keep="first", maintain_order=True).sort("inchikey14")
    rng = np.random.default_rng(seed)
    random: set[tuple[int, ...]] = set()
    while len(random) < count:
        random.add(tuple(sorted(rng.choice(rows.height, 2, replace=False).tolist())))
    groups = rows.with_row_index().group_by("formula").agg("index").sort("formula")["index"].to_list()
    isomers = [(i, j) for group in groups for n, i in enumerate(group) for j in group[n + 1 :]]
    same = [isomers[k] for k in rng.choice(len(isomers), min(count, len(isomers)), replace=False)]
    smiles = rows["smiles"].to_list()
    return {
        "random": [(smiles[i], smiles[j]) for i, j in sorted(random)],
        "same formula": [(smiles[i], smiles[j]) for i, j in same],
    }


def ours(a: str, b: str, threshold: float) -> tuple[Any, float]:
    start = time.perf_counter()
    found = mces_bounds(a, b, threshold)
    return found, time.perf_counter() - start


def agree(found: Any, value: float, mode: int, threshold: float) -> bool:
    """Modes of myopic-mces: 1 exact, 2 above the threshold, 4 a bound above the threshold."""
    if mode == 1 and value <= threshold + 1e-6:
        return bool(found.exact and abs(found.lower - value) < 1e-3)
    return bool(found.lower > threshold)


def versus(kind: str, pairs: list[tuple[str, str]], threshold: float, peer: subprocess.Popen[str]) -> None:
    assert peer.stdin is not None
    assert peer.stdout is not None
    times: list[tuple[float, float]] = []
    agreed = undecided = 0
    for at in range(0, len(pairs), BLOCK):
        block = pairs[at : at + BLOCK]
        mine = [ours(a, b, threshold) for a, b in block]
        for (a, b), (found, seconds) in zip(block, mine, strict=True):
            peer.stdin.write(json.dumps([a, b, threshold]) + "\n")
            peer.stdin.flush()
            value, mode, theirs = json.loads(peer.stdout.readline())
            times.append((seconds, theirs))
            undecided += not (found.exact or found.lower > threshold)
            if agree(found, value, mode, threshold):
                agreed += 1
            else:
                print(f"  differ: {a} {b}: ours {found.lower}–{found.upper}, theirs {value} (mode {mode})")
    table = np.array(times)
    print(f"{kind}: {len(pairs)} pairs, agreement {agreed}/{len(pairs)}, undecided {undecided}")
    for name, column in zip(("ours", "myopic-mces"), table.T, strict=True):
        median, high, most = np.percentile(column, [50, 95, 100])
        rate = len(column) / column.sum()
        print(f"  {name:12s} {rate:10,.1f} pairs/s  median {median:.4f} s  p95 {high:.4f} s  max {most:.3f} s")
    print(f"  ratio {table[:, 1].sum() / table[:, 0].sum():.1f}")


def against_reference(path: Path) -> None:
    rows = pl.read_csv(path)
    start = time.perf_counter()
    found = [mces_bounds(a, b, None, time_limit=2.0) for a, b in rows.select("smiles_a", "smiles_b").iter_rows()]
    published = rows["mces"].to_list()
    seconds = time.perf_counter() - start
    exact = sum(f.exact for f in found)
    equal = sum(f.exact and f.lower == p for f, p in zip(found, published, strict=True))
    held = sum(f.lower >= p for f, p in zip(found, published, strict=True))
    print(f"reference: {len(found)} pairs without threshold in {seconds:.1f} s (2 s each at most)")
    print(f"  {exact} exact, {equal} exact and equal to the published value, {held} lower bounds not below it")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", default="/tmp/venv-myopic/bin/python")
    parser.add_argument("--dataset", default="massbank")
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--threshold", type=float, default=15.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reference", type=Path)
    settings = parser.parse_args()
    ours("CCOC(C)C=C", "CNC(C)CC=O", settings.threshold)  # compiles
    if settings.reference:
        against_reference(settings.reference)
    chosen = choose(settings.dataset, settings.pairs, settings.seed)
    with subprocess.Popen(
        [settings.peer, "-c", PEER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as peer:
        assert peer.stdout is not None
        version, solver = json.loads(peer.stdout.readline())
        print(f"myopic-mces {version} with HiGHS {solver}, threshold {settings.threshold:g}")
        for kind, pairs in chosen.items():
            versus(kind, pairs, settings.threshold, peer)


if __name__ == "__main__":
    main()
