"""The fragmenter's kernels: pieces of a molecular graph as bitmasks, 64 atoms a word.

On a connected piece, bridges and two-bond cuts come out of one depth-first search: give each non-tree bond a random
64-bit label and each tree bond the XOR of the labels of the non-tree bonds that span it. Then a bond labelled 0 is a
bridge, and two bonds of equal label form a two-edge cut (cycle-space sampling; Pritchard & Thurimella, ACM Trans.
Algorithms 2011). Two unlike bonds share a label with probability 2^-64. The pieces themselves are XORs of subtree
masks, so the work is linear in atoms plus pieces, but for comparing the labels of every two bonds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

_ZERO, _ONE = np.uint64(0), np.uint64(1)


@njit(cache=True)
def _label(bond: int) -> Any:
    """splitmix64: a well-mixed 64-bit label of a bond."""
    z = np.uint64(bond + 1) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@njit(cache=True)
def _holds(mask: Any, atom: int) -> Any:
    return (mask[atom // 64] >> np.uint64(atom % 64)) & _ONE


@njit(cache=True)
def _search(mask: Any, root: int, graph: Any, sub: Any, labels: Any, sides: Any, orders: Any) -> tuple[int, float]:
    """Depth-first search of the piece `mask` from atom `root`: (k, total order of the bonds that leave the piece).

    Of its k bonds it fills `labels[:k]`, `sides[:k]` (the atoms below a tree bond, none for a non-tree bond) and
    `orders[:k]`: the bond's own order and the total order of the bonds that leave the piece from `sides`. `sub[root]`
    becomes all atoms reached.
    """
    starts, neighbours, bonds_at, order = graph
    atoms = len(starts) - 1
    place = np.zeros(atoms, np.int32)  # preorder number, 0 = not visited
    cursor, came_by = np.empty(atoms, np.int32), np.empty(atoms, np.int32)
    label, stack, leaving = np.zeros(atoms, np.uint64), np.empty(atoms, np.int32), np.zeros(atoms)
    sub[:] = _ZERO
    stack[0], top, clock, k = root, 0, 1, 0
    place[root], cursor[root], came_by[root] = 1, starts[root], -1
    sub[root, root // 64] = _ONE << np.uint64(root % 64)
    while top >= 0:
        v = stack[top]
        if cursor[v] < starts[v + 1]:
            u, bond = neighbours[cursor[v]], bonds_at[cursor[v]]
            cursor[v] += 1
            if not _holds(mask, u):
                leaving[v] += order[bond]
            elif bond != came_by[v] and place[u] == 0:
                clock += 1
                top += 1
                stack[top] = u
                place[u], cursor[u], came_by[u] = clock, starts[u], bond
                sub[u, u // 64] = _ONE << np.uint64(u % 64)
            elif bond != came_by[v] and place[u] < place[v]:
                labels[k] = _label(bond)
                label[v] ^= labels[k]
                label[u] ^= labels[k]
                sides[k, :] = _ZERO
                orders[k, 0], orders[k, 1] = order[bond], 0.0
                k += 1
            continue
        top -= 1
        if top >= 0:
            parent = stack[top]
            labels[k] = label[v]
            label[parent] ^= label[v]
            orders[k, 0], orders[k, 1] = order[came_by[v]], leaving[v]
            leaving[parent] += leaving[v]
            for w in range(sub.shape[1]):
                sides[k, w] = sub[v, w]
                sub[parent, w] |= sub[v, w]
            k += 1
    return k, leaving[root]


@njit(cache=True)
def _insert(table: Any, masks: Any, count: int, piece: Any) -> bool:
    """Put `piece` at masks[count] unless the hash table knows it; True if it was new."""
    size = np.uint64(len(table) - 1)
    code = _ZERO
    for word in piece:
        code = (code ^ word) * np.uint64(0xFF51AFD7ED558CCD)
        code ^= code >> np.uint64(32)
    slot = np.int64(code & size)
    while table[slot] >= 0:
        same = True
        for w in range(len(piece)):
            if masks[table[slot], w] != piece[w]:
                same = False
                break
        if same:
            return False
        slot = np.int64(np.uint64(slot + 1) & size)
    table[slot] = count
    masks[count, :] = piece
    return True


@njit(cache=True)
def _split(
    mask: Any, k: int, labels: Any, sides: Any, orders: Any, leaving: float, max_order: float, ring_cuts: bool,
    table: Any, masks: Any, count: int,
) -> int:  # fmt: skip
    """Add both pieces of every cut of `mask` that `max_order` allows; returns the new count, at most len(masks)."""
    words = len(mask)
    piece, rest = np.empty(words, np.uint64), np.empty(words, np.uint64)
    for x in range(k):
        bridge = labels[x] == _ZERO
        for y in range(x, x + 1 if bridge else k):
            if not bridge and (x == y or not ring_cuts or labels[x] != labels[y]):
                continue
            # two tree bonds of one label lie on one path from the root: one side holds the other
            cut = orders[x, 0] if bridge else orders[x, 0] + orders[y, 0]
            outer = orders[x, 1] if bridge else abs(orders[x, 1] - orders[y, 1])
            for w in range(words):
                piece[w] = sides[x, w] if bridge else sides[x, w] ^ sides[y, w]
                rest[w] = mask[w] ^ piece[w]
            if outer + cut <= max_order and count < len(masks) and _insert(table, masks, count, piece):
                count += 1
            if leaving - outer + cut <= max_order and count < len(masks) and _insert(table, masks, count, rest):
                count += 1
    return count


@njit(cache=True)
def enumerate_pieces(
    starts: Any, neighbours: Any, bonds_at: Any, order: Any, depth: int, max_order: float, limit: int, ring_cuts: bool
) -> Any:
    """Breadth-first over pieces: (masks (n, w), depth (n,), truncated), n ≤ limit.

    The graph is CSR over atoms: `neighbours` and `bonds_at` from starts[a] to starts[a + 1]; bonds have an `order`
    (b,). The whole graph comes first; the parts of a salt or mixture follow as pieces of no cut. A piece whose broken
    bonds have a total order above `max_order` is dropped and not cut further.
    """
    atoms, bonds = len(starts) - 1, len(order)
    words = (atoms + 63) // 64
    graph = (starts, neighbours, bonds_at, order)
    masks, levels = np.zeros((limit + 1, words), np.uint64), np.zeros(limit + 1, np.int8)
    size = 1024
    while size < 2 * limit + 2:
        size *= 2
    table = np.full(size, -1, np.int32)
    sub, labels = np.empty((atoms, words), np.uint64), np.empty(bonds, np.uint64)
    sides, orders = np.empty((bonds, words), np.uint64), np.empty((bonds, 2))
    whole, seen = np.zeros(words, np.uint64), np.zeros(words, np.uint64)
    for a in range(atoms):
        whole[a // 64] |= _ONE << np.uint64(a % 64)
    _insert(table, masks, 0, whole)
    count = 1
    for a in range(atoms):
        if not _holds(seen, a):
            _search(masks[0], a, graph, sub, labels, sides, orders)
            seen |= sub[a]
            if count < limit and _insert(table, masks, count, sub[a]):
                count += 1
    first, last = (1 if count > 1 else 0), count
    for level in range(1, depth + 1):
        for i in range(first, last):
            root = 0
            while not _holds(masks[i], root):
                root += 1
            k, leaving = _search(masks[i], root, graph, sub, labels, sides, orders)
            before = count
            count = _split(masks[i], k, labels, sides, orders, leaving, max_order, ring_cuts, table, masks, count)
            levels[before:count] = level
            if count > limit:
                return masks[:limit].copy(), levels[:limit].copy(), True
        first, last = last, count
    return masks[:count].copy(), levels[:count].copy(), False


@njit(cache=True)
def describe(masks: Any, element: Any, elements: int, hydrogens: Any, masses: Any, ends: Any, kinds: Any) -> Any:
    """Of every piece: element counts (n, e), hydrogens (n,), mass (n,), broken bonds by kind (n, 6).

    `kinds` (b, 3) tells of each bond its order class 0 to 3, whether a ring holds it, whether it joins a heteroatom.
    """
    n = len(masks)
    counts, breaks = np.zeros((n, elements), np.int16), np.zeros((n, 6), np.int16)
    hydrogen, mass = np.zeros(n, np.int16), np.zeros(n)
    inside = np.zeros(len(masses), np.bool_)
    for i in range(n):
        for a in range(len(masses)):
            inside[a] = _holds(masks[i], a)
            if inside[a]:
                counts[i, element[a]] += 1
                hydrogen[i] += hydrogens[a]
                mass[i] += masses[a]
        for b in range(len(ends)):
            if inside[ends[b, 0]] != inside[ends[b, 1]]:
                breaks[i, kinds[b, 0]] += 1
                breaks[i, 4] += kinds[b, 1]
                breaks[i, 5] += kinds[b, 2]
    return counts, hydrogen, mass, breaks
