"""Which pairs of many molecules can be near at all: two bounds that need no more than sorted lists.

*Degrees*: atoms of one element, sorted by the sum of their bond orders, pair off at Σ|d₁ − d₂|/2 at best (bound 1 of
myopic-mces; atoms without a partner count whole, so it holds the element counts too). *Bonds*: bonds between the same
two elements, sorted by order, pair off at Σ|w₁ − w₂| at best.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .graph import Graph


@dataclass(frozen=True, eq=False)
class Profiles:
    """Lists of all molecules end to end: molecule m has the entries starts[m] … starts[m + 1] of kind and size, sorted
    by kind, then falling size; once for atoms (sizes halved) and once for bonds."""

    atom_starts: NDArray[np.int64]
    atom_kinds: NDArray[np.int32]
    atom_sizes: NDArray[np.float64]
    bond_starts: NDArray[np.int64]
    bond_kinds: NDArray[np.int32]
    bond_sizes: NDArray[np.float64]


def profiles(graphs: Sequence[Graph]) -> Profiles:
    """Profiles of molecules, in their order."""
    atoms = [_sorted(g.elements, g.weights.sum(axis=1) / 2) for g in graphs]
    bonds = [_bonds(g) for g in graphs]
    return Profiles(*_joined(atoms), *_joined(bonds))


def _bonds(g: Graph) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    first, second = np.nonzero(np.triu(g.matrix))
    low, high = np.minimum(g.elements[first], g.elements[second]), np.maximum(g.elements[first], g.elements[second])
    return _sorted(low * 256 + high, g.matrix[first, second])


def _sorted(kinds: NDArray[np.int32], sizes: NDArray[np.float64]) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    order = np.lexsort((-sizes, kinds))
    return kinds[order].astype(np.int32), sizes[order]


def _joined(
    lists: list[tuple[NDArray[np.int32], NDArray[np.float64]]],
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float64]]:
    starts = np.concatenate([[0], np.cumsum([len(kinds) for kinds, _ in lists])]).astype(np.int64)
    kinds = np.concatenate([k for k, _ in lists]) if lists else np.zeros(0, np.int32)
    return starts, kinds.astype(np.int32), np.concatenate([s for _, s in lists]) if lists else np.zeros(0)


def near_pairs(profile: Profiles, threshold: float) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]:
    """Pairs i < j whose bound is not above the threshold, and that bound."""
    p = profile
    count = len(p.atom_starts) - 1
    found = [
        _near_row(i, threshold, p.atom_starts, p.atom_kinds, p.atom_sizes, p.bond_starts, p.bond_kinds, p.bond_sizes)
        for i in range(count - 1)
    ]
    first = (
        np.repeat(np.arange(count - 1, dtype=np.int32), [len(js) for js, _ in found])
        if found
        else np.zeros(0, np.int32)
    )
    second = np.concatenate([js for js, _ in found]) if found else np.zeros(0, np.int32)
    return first, second, np.concatenate([values for _, values in found]) if found else np.zeros(0)


@njit(cache=True, nogil=True)
def profile_bound(kinds_a, sizes_a, kinds_b, sizes_b, most):  # type: ignore[no-untyped-def]
    """Σ|a − b| of two lists sorted by (kind, falling size), paired in order within a kind; stops above `most`."""
    a, b, total = 0, 0, 0.0
    while a < len(kinds_a) or b < len(kinds_b):
        if total > most:
            return total
        if b == len(kinds_b) or (a < len(kinds_a) and kinds_a[a] < kinds_b[b]):
            total += sizes_a[a]
            a += 1
        elif a == len(kinds_a) or kinds_b[b] < kinds_a[a]:
            total += sizes_b[b]
            b += 1
        else:
            total += abs(sizes_a[a] - sizes_b[b])
            a += 1
            b += 1
    return total


@njit(cache=True, nogil=True)
def _near_row(  # type: ignore[no-untyped-def]
    i, threshold, atom_starts, atom_kinds, atom_sizes, bond_starts, bond_kinds, bond_sizes
):
    """Molecules after i within the threshold, as far as the two bounds can tell."""
    n = len(atom_starts) - 1
    js, values = np.empty(n - i, np.int32), np.empty(n - i)
    a0, a1, b0, b1 = atom_starts[i], atom_starts[i + 1], bond_starts[i], bond_starts[i + 1]
    count = 0
    for j in range(i + 1, n):
        c0, c1, d0, d1 = atom_starts[j], atom_starts[j + 1], bond_starts[j], bond_starts[j + 1]
        value = profile_bound(atom_kinds[a0:a1], atom_sizes[a0:a1], atom_kinds[c0:c1], atom_sizes[c0:c1], threshold)
        if value > threshold:
            continue
        value = max(
            value,
            profile_bound(bond_kinds[b0:b1], bond_sizes[b0:b1], bond_kinds[d0:d1], bond_sizes[d0:d1], threshold),
        )
        if value > threshold:
            continue
        js[count], values[count] = j, value
        count += 1
    return js[:count].copy(), values[:count].copy()
