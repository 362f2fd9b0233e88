"""Branch and bound over atom mappings with the Lagrangean bound of `_bound`: the exact answer to nearly every pair.

A node allows some atom pairs (`domain`). Its bound is tightened round by round; assignments met on the way are
mappings, improved by swaps, and so upper bounds; atom pairs whose reduced cost takes them past the goal are struck out.
What is left is branched on. Since no saving is negative, the smaller side of every element is mapped whole, and only
atoms of the larger side can stay free.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ._bound import FORBIDDEN, assign, polyak_step, shift_parts, values
from ._mapping import TINY, grow, improve, savings

#: Entries of `state`: the shortest distance found, nodes visited, and the distance at which nothing shorter is wanted.
BEST, NODES, ENOUGH = 0, 1, 2
#: Rounds without gain before the subgradient step is shortened, by how much, and the length at which it gives up.
_PATIENCE, _SHORTEN, _SHORTEST = 20, 0.7, 0.03
#: Rounds between attempts at a better mapping.
_PAUSE = 12


@njit(cache=True, nogil=True)
def _assignment(worth, domain, blocks, prices, image, limit):  # type: ignore[no-untyped-def]
    """Best assignment over all elements: its total worth (−inf if none is allowed). Fills `image` and `limit`."""
    total = 0.0
    image[:] = -1
    for k in range(len(blocks)):
        r0, r1, c0, c1 = blocks[k]
        rows, cols = r1 - r0, c1 - c0
        m = max(rows, cols)
        cost = np.zeros((m, m))
        for r in range(rows):
            for c in range(cols):
                cost[r, c] = -worth[r0 + r, c0 + c] if domain[r0 + r, c0 + c] else FORBIDDEN
        row_of, col_of, dual = np.empty(m, np.int32), np.empty(m, np.int32), np.empty(m)
        value = assign(cost, m, prices[k], row_of, col_of, dual)
        if value > FORBIDDEN / 2:
            return -np.inf
        total -= value
        for r in range(rows):
            if col_of[r] < cols:
                image[r0 + r] = c0 + col_of[r]
            for c in range(cols):
                limit[r0 + r, c0 + c] = -dual[r] - prices[k][c]
    return total


@njit(cache=True, nogil=True)
def _try_mappings(  # type: ignore[no-untyped-def]
    rounds, image, best_image, state, total, blocks, worth, limit, deg1, nb1, w1, deg2, nb2, matrix2
):  # fmt: skip
    """Improve the assignment, and a grown mapping, by swaps; keep the better one if it is the best so far."""
    mine = image.copy()
    for attempt in range(2):
        if attempt == 1:
            grow(rounds // _PAUSE, mine, blocks, worth, limit, deg1, nb1, w1, deg2, nb2, matrix2)
        improve(mine, blocks, deg1, nb1, w1, matrix2)
        found = total - savings(mine, deg1, nb1, w1, matrix2)
        if found < state[BEST] - TINY:
            state[BEST] = found
            best_image[:] = mine


@njit(cache=True, nogil=True)
def _strike(domain, blocks, worth, limit, spare):  # type: ignore[no-untyped-def]
    """Forbid the atom pairs that cost more than `spare`. Returns whether there were any."""
    struck = False
    for k in range(len(blocks)):
        for i in range(blocks[k, 0], blocks[k, 1]):
            for j in range(blocks[k, 2], blocks[k, 3]):
                if domain[i, j] and limit[i, j] - worth[i, j] > spare:
                    domain[i, j] = False
                    struck = True
    return struck


@njit(cache=True, nogil=True)
def tighten(  # type: ignore[no-untyped-def]
    domain, theta, prices, worth, limit, image, best_image, state, stop, rounds, sweeps, cutoff, step, total, blocks,
    deg1, nb1, w1, back1, deg2, nb2, back2, matrix2
):  # fmt: skip
    """Bound one node in up to `rounds` rounds, the first `sweeps` of dual ascent, the others of Polyak's subgradient.

    Stops when the bound reaches the goal min(cutoff, state[BEST]) or no longer moves. Strikes atom pairs from `domain`,
    keeps a better mapping in `best_image` and its distance in `state[BEST]`. Returns the lower bound on the distance,
    rounded up to what distances of this pair can be (total − k·step); inf where no mapping is allowed.
    """
    values(theta, domain, deg1, nb1, deg2, nb2, blocks, worth)
    length, since, least, bound = 1.0, 0, np.inf, -np.inf
    for r in range(rounds):
        upper = _assignment(worth, domain, blocks, prices, image, limit)
        if upper == -np.inf:
            return np.inf
        bound = max(bound, total - np.floor(upper / step + TINY) * step)
        if bound > min(cutoff, state[BEST]) - TINY or stop[0]:
            return bound
        if r % _PAUSE == 0:
            _try_mappings(r, image, best_image, state, total, blocks, worth, limit, deg1, nb1, w1, deg2, nb2, matrix2)
        goal = min(cutoff, state[BEST])
        if bound > goal - TINY or state[BEST] <= state[ENOUGH]:
            return bound
        if upper < least - 1e-3:
            least, since = upper, 0
        else:
            since += 1
            if since > _PATIENCE:
                length, since = length * _SHORTEN, 0
                if length < _SHORTEST:
                    return bound
        spare = max(
            upper - (total - goal + step), 0.0
        )  # a mapping that beats the goal saves a step more than total − goal
        if r % 4 == 0 and _strike(domain, blocks, worth, limit, spare + 10 * TINY):
            values(theta, domain, deg1, nb1, deg2, nb2, blocks, worth)
        elif r < sweeps:
            shift_parts(theta, domain, deg1, nb1, back1, deg2, nb2, back2, blocks, limit, worth)
            values(theta, domain, deg1, nb1, deg2, nb2, blocks, worth)
        else:
            excess = length * max(upper - (total - goal), 0.0)
            places = polyak_step(image, excess, theta, domain, deg1, nb1, back1, deg2, nb2, back2, worth)
            if places == 0:  # the assignment is a mapping that saves `upper`
                state[BEST] = min(state[BEST], total - savings(image, deg1, nb1, w1, matrix2))
                best_image[:] = image
                return bound
    return bound


@njit(cache=True, nogil=True)
def _choose(domain, limit, worth, blocks, used1, used2, deg1, deg2, nb1, nb2, out):  # type: ignore[no-untyped-def]
    """The atom to branch on: few images, many neighbours used already, high degree; images of least reduced cost first.

    Returns (atom or −1 where all is decided, whether it is of the first molecule, number of images in `out`).
    """
    best, chosen, of_first, size = np.inf, -1, True, 0
    for k in range(len(blocks)):
        r0, r1, c0, c1 = blocks[k]
        for side in range(2):
            if (r1 - r0 > c1 - c0) if side == 0 else (c1 - c0 > r1 - r0):
                continue  # an atom of the larger side may stay free
            for x in range(r0 if side == 0 else c0, r1 if side == 0 else c1):
                if (used1[x] if side == 0 else used2[x]) > 0:
                    continue
                count = np.sum(domain[x, c0:c1]) if side == 0 else np.sum(domain[r0:r1, x])
                if count <= 1:
                    continue
                near, degree = 0, deg1[x] if side == 0 else deg2[x]
                for a in range(degree):
                    near += (used1[nb1[x, a]] if side == 0 else used2[nb2[x, a]]) > 0
                score = 100.0 * count - 100.0 * near - degree
                if score < best:
                    best, chosen, of_first, size = score, x, side == 0, count
    if chosen < 0:
        return chosen, of_first, 0
    n, size = len(worth[0]) if of_first else len(worth), 0
    slack = np.empty(n)
    for y in range(n):
        if domain[chosen, y] if of_first else domain[y, chosen]:
            slack[y] = limit[chosen, y] - worth[chosen, y] if of_first else limit[y, chosen] - worth[y, chosen]
            b = size
            while b > 0 and slack[out[b - 1]] > slack[y]:
                out[b] = out[b - 1]
                b -= 1
            out[b] = y
            size += 1
    return chosen, of_first, size


@njit(cache=True, nogil=True)
def search(  # type: ignore[no-untyped-def]
    domains, theta, prices, best_image, state, stop, rounds, cutoff, step, total, blocks,
    deg1, nb1, w1, back1, deg2, nb2, back2, matrix2
):  # fmt: skip
    """Depth first below the root `domains[0]`. Gives up when another thread sets `stop[0]`, or at a mapping that is
    good enough. Returns whether the tree is exhausted: then no mapping is below min(cutoff, state[BEST])."""
    n1, n2 = domains.shape[1], domains.shape[2]
    deepest = len(domains) - 1
    used1, used2 = np.zeros(n1, np.int32), np.zeros(n2, np.int32)
    worth, limit = np.zeros((n1, n2)), np.full((n1, n2), np.inf)  # pairs of different elements stay at inf
    atoms, firsts = np.empty(deepest + 1, np.int32), np.empty(deepest + 1, np.bool_)
    sizes, nexts = np.zeros(deepest + 1, np.int32), np.zeros(deepest + 1, np.int32)
    images = np.empty((deepest + 1, max(n1, n2)), np.int32)
    image = np.empty(n1, np.int32)
    depth, fresh = 0, True
    while depth >= 0:
        if fresh:
            state[NODES] += 1
            bound = tighten(
                domains[depth], theta, prices, worth, limit, image, best_image, state, stop, rounds, 0, cutoff, step,
                total, blocks, deg1, nb1, w1, back1, deg2, nb2, back2, matrix2,
            )  # fmt: skip
            sizes[depth] = nexts[depth] = 0
            if stop[0] or state[BEST] <= state[ENOUGH]:
                return False
            if bound < min(cutoff, state[BEST]) - TINY:
                atoms[depth], firsts[depth], sizes[depth] = _choose(
                    domains[depth], limit, worth, blocks, used1, used2, deg1, deg2, nb1, nb2, images[depth]
                )
                if atoms[depth] < 0:
                    sizes[depth] = 0
                elif depth == deepest:
                    return False
            fresh = False
        if nexts[depth] > 0:  # back from a child
            x, y = atoms[depth], images[depth, nexts[depth] - 1]
            used1[x if firsts[depth] else y] -= 1
            used2[y if firsts[depth] else x] -= 1
        if nexts[depth] >= sizes[depth]:
            depth -= 1
            continue
        x, y = atoms[depth], images[depth, nexts[depth]]
        nexts[depth] += 1
        i, j = (x, y) if firsts[depth] else (y, x)
        used1[i] += 1
        used2[j] += 1
        domains[depth + 1] = domains[depth]
        domains[depth + 1, i, :] = False
        domains[depth + 1, :, j] = False
        domains[depth + 1, i, j] = True
        depth += 1
        fresh = True
    return True
