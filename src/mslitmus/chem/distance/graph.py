"""The graph of a molecule as MCES sees it: heavy atoms, and bonds weighted by their order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numba import njit
from numpy.typing import NDArray
from rdkit.Chem import GetAdjacencyMatrix, MolToSmiles

from ..molecule import parse


@dataclass(frozen=True, eq=False)
class Graph:
    """Heavy atoms, sorted by element; n atoms, D the largest number of neighbours (at least 1).

    Attributes:
        elements: (n,) atomic numbers, ascending.
        degrees: (n,) numbers of neighbours.
        neighbours: (n, D) atom indices, −1 where there are fewer.
        weights: (n, D) bond orders (aromatic 1.5), 0 where there are fewer.
        back: (n, D) position of this atom among the neighbour's neighbours.
        matrix: (n, n) bond orders, 0 where there is no bond.
        total: sum of all bond orders.
        orders: distinct bond orders × 2, ascending.
        spans: element → first and last + 1 of its atoms.
    """

    elements: NDArray[np.int32]
    degrees: NDArray[np.int32]
    neighbours: NDArray[np.int32]
    weights: NDArray[np.float64]
    back: NDArray[np.int32]
    matrix: NDArray[np.float64]
    total: float
    orders: tuple[int, ...]
    spans: Mapping[int, tuple[int, int]]

    def __len__(self) -> int:
        return len(self.elements)


@lru_cache(maxsize=20_000)
def graph(smiles: str) -> Graph:
    """SMILES → graph, as RDKit perceives aromaticity. Hydrogens (deuterium too), charges and stereo play no part; a
    molecule of several components is one graph. Raises ChemistryError for a SMILES that does not parse."""
    molecule = parse(smiles)
    return assemble([atom.GetAtomicNum() for atom in molecule.GetAtoms()], GetAdjacencyMatrix(molecule, useBO=True))


def key(smiles: str) -> str:
    """Canonical SMILES without stereo and isotopes: two molecules of one key have the same graph."""
    return str(MolToSmiles(parse(smiles), isomericSmiles=False))


def assemble(elements: Sequence[int], matrix: NDArray[np.float64]) -> Graph:
    """Graph of atomic numbers (n,) and bond orders (n, n), in any order of atoms; hydrogens are dropped."""
    numbers = np.asarray(elements, np.int32)
    order = np.argsort(numbers, kind="stable")
    order = order[numbers[order] != 1]
    matrix = np.ascontiguousarray(matrix[order][:, order], np.float64)
    degrees, neighbours, weights, back = _lists(matrix)
    orders = tuple(sorted({round(2 * w) for w in set(weights.ravel().tolist()) if w > 0}))
    total = float(matrix.sum() / 2)
    return Graph(numbers[order], degrees, neighbours, weights, back, matrix, total, orders, _spans(numbers[order]))


def _spans(numbers: NDArray[np.int32]) -> dict[int, tuple[int, int]]:
    """Sorted atomic numbers → where each begins and ends."""
    spans: dict[int, tuple[int, int]] = {}
    for place, number in enumerate(numbers.tolist()):
        spans[number] = (spans.get(number, (place, 0))[0], place + 1)
    return spans


@njit(cache=True, nogil=True)
def _lists(matrix):  # type: ignore[no-untyped-def]
    """Neighbour lists of a matrix of bond orders: degrees, neighbours, weights, back (see `Graph`)."""
    n = len(matrix)
    degrees = np.zeros(n, np.int32)
    place = np.zeros((n, n), np.int32)
    for i in range(n):
        for k in range(n):
            if matrix[i, k] > 0:
                place[i, k] = degrees[i]
                degrees[i] += 1
    widest = 1
    for i in range(n):
        widest = max(widest, degrees[i])
    neighbours = np.full((n, widest), -1, np.int32)
    back = np.full((n, widest), -1, np.int32)
    weights = np.zeros((n, widest))
    for i in range(n):
        for k in range(n):
            if matrix[i, k] > 0:
                a = place[i, k]
                neighbours[i, a], weights[i, a], back[i, a] = k, matrix[i, k], place[k, i]
    return degrees, neighbours, weights, back
