"""The exact integer programme (scipy's HiGHS), for the few pairs that branch and bound leaves open.

Unlike the formulation of myopic-mces, where an edge pair leans on the sum of two node pairs, every edge pair leans here
on each of its two node pairs, and all edge pairs of one node pair with the same neighbour lean on it together. Its
linear relaxation is nearly always the integer optimum.
"""

from __future__ import annotations

from collections import defaultdict
from time import perf_counter

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from .graph import Graph

#: Edge pairs: beyond this the first linear relaxation alone takes many seconds, and HiGHS heeds no time limit in it.
_MOST = 4000
#: HiGHS's word for it.
_INFEASIBLE = 2


def solve_programme(
    a: Graph, b: Graph, domain: NDArray[np.bool_], least: float, seconds: float
) -> tuple[float | None, float | None]:
    """(upper bound on what a mapping inside `domain` saves, what the best mapping found saves).

    The bound is None if no mapping saves `least` or more; the second is None if none was found. Both are equal where
    the optimum was found in time.
    """
    start = perf_counter()
    pairs = {(int(i), int(j)): n for n, (i, j) in enumerate(np.argwhere(domain))}
    gains, rows = _edges(a, b, pairs)
    if not gains:
        return None, None
    if len(gains) > _MOST:
        return float(sum(gains)), None
    matrix, ceiling = _constraints(pairs, gains, rows)
    seconds -= perf_counter() - start
    if seconds <= 0:
        return float(sum(gains)), None
    objective = np.concatenate([np.zeros(len(pairs)), -np.asarray(gains)])
    whole = np.concatenate([np.ones(len(pairs)), np.zeros(len(gains))])  # edge pairs follow from node pairs
    found = milp(
        objective,
        integrality=whole,
        bounds=Bounds(0, 1),
        constraints=[
            LinearConstraint(matrix, -np.inf, ceiling),
            LinearConstraint(objective[None, :], -np.inf, 1e-6 - least),
        ],
        options={"time_limit": seconds},
    )
    if found.status == _INFEASIBLE:
        return None, None
    saved = None if found.x is None else float(np.round(-found.fun))
    if found.status == 0:
        return saved, saved
    dual = getattr(found, "mip_dual_bound", None)
    return (float(sum(gains)) if dual is None or not np.isfinite(dual) else float(-dual)), saved


def _edges(
    a: Graph, b: Graph, pairs: dict[tuple[int, int], int]
) -> tuple[list[float], dict[tuple[int, int, int], list[int]]]:
    """Savings of the edge pairs, and the rows they lean on: (node pair, side, neighbour) → edge pairs."""
    gains: list[float] = []
    rows: dict[tuple[int, int, int], list[int]] = defaultdict(list)
    for (i, j), ends in pairs.items():
        for k in a.neighbours[i, : a.degrees[i]].tolist():
            if k < i:
                continue
            for x in b.neighbours[j, : b.degrees[j]].tolist():
                others = pairs.get((k, x))
                if others is None:
                    continue
                for row in ((ends, 0, k), (ends, 1, x), (others, 0, i), (others, 1, j)):
                    rows[row].append(len(gains))
                gains.append(2 * min(a.matrix[i, k], b.matrix[j, x]))
    return gains, rows


def _constraints(
    pairs: dict[tuple[int, int], int], gains: list[float], rows: dict[tuple[int, int, int], list[int]]
) -> tuple[csr_array, NDArray[np.float64]]:
    """Every atom has one image at most, and Σ edge pairs of a row ≤ its node pair."""
    entries: list[tuple[int, int, float]] = []
    ceiling: list[float] = []
    for side in range(2):
        members: dict[int, list[int]] = defaultdict(list)
        for pair, n in pairs.items():
            members[pair[side]].append(n)
        for columns in members.values():
            entries += [(len(ceiling), n, 1.0) for n in columns]
            ceiling.append(1.0)
    for (node, _, _), edges in rows.items():
        entries += [(len(ceiling), len(pairs) + e, 1.0) for e in edges] + [(len(ceiling), node, -1.0)]
        ceiling.append(0.0)
    r, c, value = zip(*entries, strict=True)
    return csr_array((value, (r, c)), shape=(len(ceiling), len(pairs) + len(gains))), np.array(ceiling)
