"""Shortest paths between the atoms of a molecule: how long they are, and which bonds lie on them.

Two atoms of a ring can have several shortest paths. Their bonds are averaged over all of them, so that the result does
not depend on how the atoms are numbered (an implementation that keeps the first path it finds does depend on it).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .graph import MoleculeGraphs

#: Distance of two atoms without a path (the ions of a salt), and the longest one told apart from longer ones.
UNREACHABLE = 255
LONGEST = 254
#: Shares of a path's bonds, in column order; stored as multiples of 1 / SHARE_STEPS, which holds halves to sixths.
SHARES = ("single", "double", "triple", "aromatic", "conjugated", "ring")
SHARE_STEPS = 240


@dataclass(frozen=True)
class ShortestPaths:
    """Pairs (i ≥ j) of the n atoms of each of k molecules, in the order (0, 0), (1, 0), (1, 1), (2, 0), …

    Attributes:
        distances: (pairs,) bonds between the two atoms, `LONGEST` at most, or `UNREACHABLE`.
        shares: (pairs, len(SHARES)) mean share of each kind of bond on the shortest paths, times `SHARE_STEPS`.
        offsets: (k + 1,) molecule i owns pairs offsets[i] … offsets[i + 1], n(n + 1) / 2 of them.
    """

    distances: NDArray[np.uint8]
    shares: NDArray[np.uint8]
    offsets: NDArray[np.int64]


def shortest_paths(graphs: MoleculeGraphs) -> ShortestPaths:
    """Distances and path bonds of all pairs of atoms; O(atoms × bonds) a molecule, some 0.1 ms of 30 atoms."""
    n = np.diff(graphs.atom_offsets)
    offsets = np.concatenate([[0], np.cumsum(n * (n + 1) // 2)]).astype(np.int64)
    distances = np.full(offsets[-1], UNREACHABLE, np.uint8)
    shares = np.zeros((offsets[-1], len(SHARES)), np.uint8)
    order, conjugated, ring = graphs.bonds.T
    kinds = np.stack([order == 1, order == 2, order == 3, order == 4, conjugated == 1, ring == 1], axis=1)
    _fill(graphs.atom_offsets, graphs.edge_offsets, graphs.edges, kinds.astype(np.float64), offsets, distances, shares)
    return ShortestPaths(distances, shares, offsets)


@njit(cache=True)
def _fill(atom_offsets, edge_offsets, edges, kinds, offsets, distances, shares):  # type: ignore[no-untyped-def]
    """Breadth-first search from every atom of every molecule."""
    for k in range(len(atom_offsets) - 1):
        n = atom_offsets[k + 1] - atom_offsets[k]
        first, last = edge_offsets[k], edge_offsets[k + 1]
        starts, grouped = _by_source(edges[first:last], n)
        for source in range(n):
            reached, distance, order, sums = _search(source, n, edges[first:last], kinds[first:last], starts, grouped)
            for at in range(reached):
                atom = order[at]
                if atom < source:
                    continue
                pair = offsets[k] + atom * (atom + 1) // 2 + source
                distances[pair] = min(distance[atom], LONGEST)
                if atom != source:
                    for c in range(sums.shape[1]):  # a hair above, so that rounding errors do not decide at a half
                        shares[pair, c] = int(sums[atom, c] / distance[atom] * SHARE_STEPS + 0.5 + 1e-6)


@njit(cache=True)
def _by_source(edges, n):  # type: ignore[no-untyped-def]
    """Edge numbers grouped by the atom they leave: atom i owns starts[i] … starts[i + 1]."""
    starts = np.zeros(n + 1, np.int64)
    for e in range(len(edges)):
        starts[edges[e, 0] + 1] += 1
    starts = np.cumsum(starts)
    place, grouped = starts.copy(), np.zeros(len(edges), np.int64)
    for e in range(len(edges)):
        grouped[place[edges[e, 0]]] = e
        place[edges[e, 0]] += 1
    return starts, grouped


@njit(cache=True)
def _search(source, n, edges, kinds, starts, grouped):  # type: ignore[no-untyped-def]
    """(number of atoms reached, distance of each atom, atoms in order of distance, mean bond counts on the paths)."""
    distance, paths = np.full(n, -1, np.int64), np.zeros(n)
    order, sums = np.zeros(n, np.int64), np.zeros((n, kinds.shape[1]))
    distance[source], paths[source], order[0] = 0, 1.0, source
    reached, at = 1, 0
    while at < reached:
        atom = order[at]
        at += 1
        for e in grouped[starts[atom] : starts[atom + 1]]:  # all paths to nearer atoms are known by now
            nearer = edges[e, 1]
            if distance[nearer] == distance[atom] - 1 and distance[nearer] >= 0:
                weight = paths[nearer] / paths[atom]
                for c in range(sums.shape[1]):
                    sums[atom, c] += weight * (sums[nearer, c] + kinds[e, c])
        for e in grouped[starts[atom] : starts[atom + 1]]:
            other = edges[e, 1]
            if distance[other] < 0:
                distance[other] = distance[atom] + 1
                order[reached] = other
                reached += 1
            if distance[other] == distance[atom] + 1:
                paths[other] += paths[atom]
    return reached, distance, order, sums
