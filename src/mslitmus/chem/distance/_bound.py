"""Numba kernels of the Lagrangean bound on what two molecules share; see `_search` for how they are used.

Maximise the savings S = Σ 2·min(w_ik, w_jl) over edge pairs whose ends are mapped, i → j and k → l; the distance is
W₁ + W₂ − S. The saving of an edge pair is split between its two ends: θ[i, j, a, b] is the part that atom pair (i, j)
counts for its a-th and b-th neighbours, and the two parts always add up to the saving. An atom pair is then worth at
most the best matching of its neighbours, and the molecules share at most the best assignment of atoms with these
values. With halves for parts this is the neighbourhood bound of myopic-mces (Kretschmer et al. 2023). Moving parts
lowers it, never below the truth: from pairs that are tight in the assignment to pairs with slack (block-coordinate
ascent, as Swoboda et al. 2017, CVPR, "A study of Lagrangean decompositions and dual ascent solvers for graph
matching"), then along subgradients (Held & Karp 1971; step of Polyak 1969). The best such bound is the linear
relaxation of `programme`.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]
Bools = NDArray[np.bool_]

#: Cost of an assignment that is not allowed.
FORBIDDEN = 1e6
_NONE = -1e9


@njit(cache=True, nogil=True)
def initial_parts(  # type: ignore[no-untyped-def]
    el1, deg1, nb1, w1, el2, deg2, nb2, w2
):
    """θ with halves: (n1, n2, D1, D2); entries that pair different elements stay at `_NONE`."""
    n1, n2 = len(el1), len(el2)
    theta = np.full((n1, n2, nb1.shape[1], nb2.shape[1]), _NONE)
    for i in range(n1):
        for j in range(n2):
            if el1[i] != el2[j]:
                continue
            for a in range(deg1[i]):
                for b in range(deg2[j]):
                    if el1[nb1[i, a]] == el2[nb2[j, b]]:
                        theta[i, j, a, b] = min(w1[i, a], w2[j, b])
    return theta


@njit(cache=True, nogil=True)
def match_neighbours(rows, cols, part, allowed, forward, backward, through, want):  # type: ignore[no-untyped-def]
    """Best matching of ≤ rows × cols entries of `part` where `allowed`; leaving out is free.

    Fills `through[a, b]`, the best matching that uses (a, b), if `want`. Dynamic programme over subsets of columns.
    """
    full = 1 << cols
    for mask in range(full):
        forward[0, mask] = 0.0
    for a in range(rows):
        for mask in range(full):
            best = forward[a, mask]
            for b in range(cols):
                if mask >> b & 1 and allowed[a, b]:
                    value = forward[a, mask ^ (1 << b)] + part[a, b]
                    best = max(best, value)
            forward[a + 1, mask] = best
    if want:
        for mask in range(full):
            backward[rows, mask] = 0.0
        for a in range(rows - 1, 0, -1):
            for mask in range(full):
                best = backward[a + 1, mask]
                for b in range(cols):
                    if mask >> b & 1 and allowed[a, b]:
                        value = backward[a + 1, mask ^ (1 << b)] + part[a, b]
                        best = max(best, value)
                backward[a, mask] = best
        for a in range(rows):
            for b in range(cols):
                if not allowed[a, b]:
                    continue
                rest = (full - 1) ^ (1 << b)
                best = _NONE
                mask = rest
                while True:  # all subsets of the other columns
                    value = forward[a, mask] + backward[a + 1, rest ^ mask]
                    best = max(best, value)
                    if mask == 0:
                        break
                    mask = (mask - 1) & rest
                through[a, b] = best + part[a, b]
    return forward[rows, full - 1]


@njit(cache=True, nogil=True)
def _augment(start, cost, m, price, row_of, col_of, dual):  # type: ignore[no-untyped-def]
    """Assign one more row along the shortest augmenting path; part of `assign`."""
    reach, before, done = np.full(m, np.inf), np.empty(m, np.int32), np.zeros(m, np.bool_)
    r, low, sink = start, 0.0, -1
    while sink < 0:
        best, where = np.inf, -1
        for c in range(m):
            if done[c]:
                continue
            value = low + cost[r, c] - dual[r] - price[c]
            if value < reach[c]:
                reach[c] = value
                before[c] = r
            if reach[c] < best or (reach[c] == best and row_of[c] < 0):
                best, where = reach[c], c
        low = best
        done[where] = True
        if row_of[where] < 0:
            sink = where
        else:
            r = row_of[where]
    dual[start] += low
    for c in range(m):
        if done[c] and c != sink:
            dual[row_of[c]] += low - reach[c]
            price[c] -= low - reach[c]
    c = sink
    while True:
        r = before[c]
        row_of[c] = r
        c, col_of[r] = col_of[r], c
        if r == start:
            return


@njit(cache=True, nogil=True)
def assign(cost, m, price, row_of, col_of, dual):  # type: ignore[no-untyped-def]
    """Minimum assignment of the m × m matrix `cost`, started from the column prices of an earlier one.

    Shortest augmenting paths (Jonker & Volgenant 1987). Updates `price` (m), `row_of` (m), `col_of` (m), `dual` (m: of
    rows) such that cost[r, c] − dual[r] − price[c] ≥ 0, with equality on the assignment. Returns the total.
    """
    for c in range(m):
        row_of[c] = -1
    for r in range(m):
        low, where = np.inf, -1
        for c in range(m):
            value = cost[r, c] - price[c]
            if value < low or (value == low and row_of[c] < 0 and row_of[where] >= 0):
                low, where = value, c
        dual[r] = low
        if row_of[where] < 0:
            row_of[where] = r
            col_of[r] = where
        else:
            col_of[r] = -1
    for start in range(m):
        if col_of[start] < 0:
            _augment(start, cost, m, price, row_of, col_of, dual)
    total = 0.0
    for r in range(m):
        total += cost[r, col_of[r]]
    return total


@njit(cache=True, nogil=True)
def _allow(i, j, theta, domain, deg1, nb1, deg2, nb2, allowed):  # type: ignore[no-untyped-def]
    """Which neighbours of (i, j) may be paired, into `allowed`."""
    for a in range(deg1[i]):
        for b in range(deg2[j]):
            allowed[a, b] = theta[i, j, a, b] > -1e8 and domain[nb1[i, a], nb2[j, b]]


@njit(cache=True, nogil=True)
def values(theta, domain, deg1, nb1, deg2, nb2, blocks, worth):  # type: ignore[no-untyped-def]
    """worth[i, j]: the best matching of neighbours of every atom pair that `domain` (n1, n2) allows."""
    d1, d2 = theta.shape[2], theta.shape[3]
    allowed = np.zeros((d1, d2), np.bool_)
    forward = np.empty((d1 + 1, 1 << d2))
    backward = np.empty((1, 1))
    for k in range(len(blocks)):
        for i in range(blocks[k, 0], blocks[k, 1]):
            for j in range(blocks[k, 2], blocks[k, 3]):
                if domain[i, j]:
                    part = theta[i, j]
                    _allow(i, j, theta, domain, deg1, nb1, deg2, nb2, allowed)
                    worth[i, j] = match_neighbours(deg1[i], deg2[j], part, allowed, forward, backward, backward, False)


@njit(cache=True, nogil=True)
def shift_parts(  # type: ignore[no-untyped-def]
    theta, domain, deg1, nb1, rev1, deg2, nb2, rev2, blocks, limit, worth
):
    """One sweep of dual ascent: every atom pair takes from its neighbours all that its slack lets it hold.

    limit[i, j] is what pair (i, j) may be worth without changing the assignment bound. Updates `theta`; call `values`
    afterwards.
    """
    d1, d2 = theta.shape[2], theta.shape[3]
    allowed = np.zeros((d1, d2), np.bool_)
    through = np.empty((d1, d2))
    forward = np.empty((d1 + 1, 1 << d2))
    backward = np.empty((d1 + 1, 1 << d2))
    for k in range(len(blocks)):
        for i in range(blocks[k, 0], blocks[k, 1]):
            for j in range(blocks[k, 2], blocks[k, 3]):
                if not domain[i, j]:
                    continue
                part = theta[i, j]
                _allow(i, j, theta, domain, deg1, nb1, deg2, nb2, allowed)
                match_neighbours(deg1[i], deg2[j], part, allowed, forward, backward, through, True)
                share = 1.0 / max(min(deg1[i], deg2[j]), 1)
                for a in range(deg1[i]):
                    for b in range(deg2[j]):
                        if allowed[a, b]:
                            more = share * (limit[i, j] - through[a, b])
                            part[a, b] += more
                            theta[nb1[i, a], nb2[j, b], rev1[i, a], rev2[j, b]] -= more


@njit(cache=True, nogil=True)
def _count_on(image, theta, domain, deg1, nb1, deg2, nb2):  # type: ignore[no-untyped-def]
    """chosen[i, a]: the neighbour of i's image that the best matching gives to i's a-th neighbour, or −1."""
    d1, d2 = theta.shape[2], theta.shape[3]
    allowed = np.zeros((d1, d2), np.bool_)
    forward = np.empty((d1 + 1, 1 << d2))
    chosen = np.full((len(image), d1), -1, np.int32)
    for i in range(len(image)):
        j = image[i]
        if j < 0:
            continue
        _allow(i, j, theta, domain, deg1, nb1, deg2, nb2, allowed)
        part = theta[i, j]
        match_neighbours(deg1[i], deg2[j], part, allowed, forward, forward, part, False)
        mask = (1 << deg2[j]) - 1
        for a in range(deg1[i] - 1, -1, -1):
            best = forward[a + 1, mask]
            if best == forward[a, mask]:
                continue
            for b in range(deg2[j]):
                if mask >> b & 1 and allowed[a, b] and best == forward[a, mask ^ (1 << b)] + part[a, b]:
                    chosen[i, a] = b
                    mask ^= 1 << b
                    break
    return chosen


@njit(cache=True, nogil=True)
def polyak_step(  # type: ignore[no-untyped-def]
    image, excess, theta, domain, deg1, nb1, back1, deg2, nb2, back2, worth
):
    """One subgradient step: where an assigned atom pair counts on a neighbour pair that does not count on it, move
    part of the saving to the other end, `excess` shared by all such places (Polyak's step length). Updates `theta`, and
    `worth` of what changed. Returns the number of places: 0 means that the assignment keeps its word and is optimal.
    """
    n1, d1, d2 = len(image), theta.shape[2], theta.shape[3]
    chosen = _count_on(image, theta, domain, deg1, nb1, deg2, nb2)
    places = np.empty((n1 * d1, 4), np.int32)
    count = 0
    for i in range(n1):
        for a in range(d1):
            b = chosen[i, a]
            if b < 0:
                continue
            j, k = image[i], nb1[i, a]
            if image[k] == nb2[j, b] and chosen[k, back1[i, a]] == back2[j, b]:
                continue
            places[count, 0], places[count, 1], places[count, 2], places[count, 3] = i, j, a, b
            count += 1
    for x in range(count):
        i, j, a, b = places[x]
        theta[i, j, a, b] -= excess / count
        theta[nb1[i, a], nb2[j, b], back1[i, a], back2[j, b]] += excess / count
    allowed = np.zeros((d1, d2), np.bool_)
    forward = np.empty((d1 + 1, 1 << d2))
    for x in range(count):
        i, j, a, b = places[x]
        for end in range(2):
            r, c = (i, j) if end == 0 else (nb1[i, a], nb2[j, b])
            _allow(r, c, theta, domain, deg1, nb1, deg2, nb2, allowed)
            worth[r, c] = match_neighbours(deg1[r], deg2[c], theta[r, c], allowed, forward, forward, theta[r, c], False)
    return count
