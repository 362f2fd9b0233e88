"""Single-linkage clusters of molecules by MCES: who can be reached in steps below a threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .batch import Pair, Progress, solve_pairs
from .graph import graph, key
from .screen import near_pairs, profiles

#: Pairs solved between looks at who is connected already: few at first, when a link saves most.
_ROUND, _LARGEST_ROUND = 256, 16_384


@dataclass(frozen=True, eq=False)
class Clustering:
    """Clusters, and what it took to find them.

    Attributes:
        table: `smiles`, `cluster`: the SMILES asked, and the number of its cluster, 0 the largest.
        threshold: molecules nearer than this are linked.
        molecules: different molecules (canonical SMILES without stereo).
        screened: pairs that the cheap bounds left.
        solved: pairs that had to be solved; the others were connected already.
        undecided: pairs that the time limit left open; they are linked.
    """

    table: pl.DataFrame
    threshold: float
    molecules: int
    screened: int
    solved: int
    undecided: int


def mces_clusters(
    smiles: Sequence[str],
    threshold: float = 10.0,
    time_limit: float = 10.0,
    processes: int | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> pl.DataFrame:
    """`smiles`, `cluster` of single linkage at MCES < threshold: the table of `cluster`, which see."""
    return cluster(smiles, threshold, time_limit, processes, cache, progress).table


def cluster(
    smiles: Sequence[str],
    threshold: float = 10.0,
    time_limit: float = 10.0,
    processes: int | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Clustering:
    """Single linkage at MCES < threshold (MassSpecGym's rule at 10); pairs that stay undecided are linked.

    The cheap bounds of `screen` leave few pairs; those are solved from the least bound on, and only while they are not
    connected yet. The clusters do not depend on the order of the molecules, unless the time limit leaves pairs open.
    Clusters are numbered by falling size, then by their first canonical SMILES.
    Args: as of `mces_many`. Raises ChemistryError for a SMILES that does not parse.
    """
    asked = list(dict.fromkeys(smiles))
    name_of = {text: key(text) for text in asked}
    spelled = {name: text for text, name in sorted(name_of.items(), reverse=True)}
    names = sorted(spelled)
    most = threshold - 0.25  # distances are multiples of one half: below the threshold is at most this
    first, second, bound = near_pairs(profiles([graph(spelled[name]) for name in names]), most)
    order = np.argsort(bound, kind="stable")
    first, second = first[order], second[order]
    parent = np.arange(len(names))
    solved, undecided = 0, 0
    at, size = 0, _ROUND
    while at < len(first):
        at, batch = _next_round(parent, first, second, at, size)
        size = min(2 * size, _LARGEST_ROUND)
        pairs: list[Pair] = [(names[i], names[j]) for i, j in batch]
        if progress:
            progress(f"MCES clusters: {at:,} of {len(first):,} pairs passed, {solved:,} solved, {len(pairs):,} next")
        known = solve_pairs(pairs, spelled, most, time_limit, processes, cache, decide=True)
        solved += len(pairs)
        for (i, j), pair in zip(batch, pairs, strict=True):
            if known[pair].lower <= most:
                parent[_root(parent, i)] = _root(parent, j)
                undecided += known[pair].upper > most
    number = _numbers(parent)
    rank = dict(zip(names, number, strict=True))
    columns = {"smiles": asked, "cluster": [rank[name_of[text]] for text in asked]}
    table = pl.DataFrame(columns, schema={"smiles": pl.String, "cluster": pl.Int64})
    return Clustering(table, threshold, len(names), len(first), solved, undecided)


def _next_round(
    parent: NDArray[np.int64], first: NDArray[np.int32], second: NDArray[np.int32], at: int, size: int
) -> tuple[int, list[tuple[int, int]]]:
    """The next pairs that are not connected yet, at most `size`, and where to go on."""
    batch: list[tuple[int, int]] = []
    while at < len(first) and len(batch) < size:
        i, j = int(first[at]), int(second[at])
        if _root(parent, i) != _root(parent, j):
            batch.append((i, j))
        at += 1
    return at, batch


def _root(parent: NDArray[np.int64], x: int) -> int:
    while parent[x] != x:
        parent[x] = parent[parent[x]]
        x = int(parent[x])
    return x


def _numbers(parent: NDArray[np.int64]) -> list[int]:
    """Cluster of every molecule: 0 the largest; equal ones by their first molecule."""
    roots = [_root(parent, x) for x in range(len(parent))]
    members: dict[int, list[int]] = {}
    for x, root in enumerate(roots):
        members.setdefault(root, []).append(x)
    order = sorted(members.values(), key=lambda group: (-len(group), group[0]))
    number = {x: n for n, group in enumerate(order) for x in group}
    return [number[x] for x in range(len(parent))]
