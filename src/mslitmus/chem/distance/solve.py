"""One pair of molecules: from the cheap bound to the exact distance, as far as the time allows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from threading import Timer
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._bound import initial_parts
from ._mapping import TINY
from ._search import BEST, ENOUGH, search, tighten
from .graph import Graph, assemble
from .programme import solve_programme

#: Rounds at the root: a first look that most pairs need no more than, then with an eye on the clock; and at a node.
_LOOK, _ROOT, _NODE = 40, 1500, 60
#: Sweeps of dual ascent before the subgradient takes over.
_SWEEPS = 3
#: From this product of atom counts on the clock runs from the start, and all of the time goes to branch and bound.
_LARGE = 10_000
#: Share of the time that branch and bound may take before the integer programme gets the rest.
_SEARCH_SHARE = 0.7


@dataclass(frozen=True)
class Bounds:
    """What is known of one distance: lower ≤ distance ≤ upper."""

    lower: float
    upper: float

    @property
    def exact(self) -> bool:
        return self.upper <= self.lower + TINY


def bounds(
    a: Graph, b: Graph, threshold: float | None = 15.0, time_limit: float = 10.0, decide: bool = False
) -> Bounds:
    """Bounds that meet, or of which the lower is above the threshold, unless the time (seconds) runs out before.

    Args:
        threshold: None asks for the exact distance, however large.
        decide: only tell on which side of the threshold the distance is: stop at any upper bound that is not above it.
    """
    _compile()
    if a.neighbours.shape[1] < b.neighbours.shape[1]:
        a, b = b, a  # the kernels run over subsets of the second atom's neighbours
    return _Pair(a, b, threshold, decide).solve(time_limit)


@lru_cache(maxsize=1)
def _compile() -> None:
    """Compile the kernels before any clock runs (tens of seconds the first time on a machine, then from the cache)."""
    ring = np.array([[0, 1.5, 1], [1.5, 0, 1.5], [1, 1.5, 0]])
    pair = _Pair(assemble([6, 6, 6], ring), assemble([6, 6, 8], ring), None)
    pair._tighten(2, 1)
    pair._search()


class _Pair:
    """The arrays that the kernels share for one pair. `domain` is what is left of the atom pairs at the root."""

    def __init__(self, a: Graph, b: Graph, threshold: float | None, decide: bool = False) -> None:
        self.a, self.b = a, b
        self.total = a.total + b.total
        self.step = _step(a, b)
        self.cutoff = math.inf if threshold is None else self._first_above(threshold)
        self.blocks = _blocks(a, b)
        self.domain = a.elements[:, None] == b.elements[None, :]
        self.state = np.array([self.total, 0.0, threshold if decide and threshold is not None else -1.0])
        self.best_image = np.full(len(a), -1, np.int32)
        self.image = np.empty(len(a), np.int32)
        self.stop = np.zeros(1, np.bool_)
        self.prices = np.zeros((len(self.blocks), max(len(a), len(b))))
        self.worth, self.limit = np.zeros(self.domain.shape), np.full(self.domain.shape, np.inf)
        self.theta = initial_parts(
            a.elements, a.degrees, a.neighbours, a.weights, b.elements, b.degrees, b.neighbours, b.weights
        )

    def _first_above(self, threshold: float) -> float:
        """The smallest distance above the threshold that this pair can have: total − k·step."""
        return max(self.total - math.ceil((self.total - threshold) / self.step - 1 - TINY) * self.step, 0.0)

    def _graphs(self) -> tuple[Any, ...]:
        a, b = self.a, self.b
        return (
            a.degrees, a.neighbours, a.weights, a.back, b.degrees, b.neighbours, b.back, b.matrix,
        )  # fmt: skip

    def _tighten(self, rounds: int, sweeps: int) -> float:
        bound = tighten(
            self.domain, self.theta, self.prices, self.worth, self.limit, self.image, self.best_image, self.state,
            self.stop, rounds, sweeps, self.cutoff, self.step, self.total, self.blocks, *self._graphs(),
        )  # fmt: skip
        return float(bound)

    def _search(self) -> bool:
        deepest = min(len(self.a) + len(self.b), 64_000_000 // self.domain.size) + 1
        domains = np.zeros((deepest, *self.domain.shape), np.bool_)
        domains[0] = self.domain
        done = search(
            domains, self.theta, self.prices, self.best_image, self.state, self.stop, _NODE, self.cutoff, self.step,
            self.total, self.blocks, *self._graphs(),
        )  # fmt: skip
        return bool(done)

    @property
    def _goal(self) -> float:
        return min(self.cutoff, float(self.state[BEST]))

    def _open(self, lower: float) -> bool:
        return lower < self._goal - TINY and self.state[BEST] > self.state[ENOUGH]

    def solve(self, time_limit: float) -> Bounds:
        start = perf_counter()
        large = self.domain.size > _LARGE
        lower = -math.inf if large else self._tighten(_LOOK, _SWEEPS)
        if self._open(lower):
            with _alarm(self.stop, (1.0 if large else _SEARCH_SHARE) * time_limit):
                lower = max(lower, self._tighten(_ROOT, _SWEEPS if large else 0))
                if self._open(lower) and self._search():
                    lower = self._goal
        left = time_limit - (perf_counter() - start)
        if self._open(lower) and left > 0 and not large:
            lower = max(lower, self._programme(left))
        best = float(self.state[BEST])
        return Bounds(_tidy(min(lower, best)), _tidy(best))

    def _programme(self, seconds: float) -> float:
        least = self.total - self._goal + self.step  # what a mapping that beats the goal saves
        known, saved = solve_programme(self.a, self.b, self.domain, least, seconds)
        if saved is not None:
            self.state[BEST] = min(self.state[BEST], self.total - saved)
        if known is None:
            return self._goal
        return min(self.total - math.floor(known / self.step + TINY) * self.step, self._goal)


def _tidy(distance: float) -> float:
    """Distances are multiples of one half."""
    return max(round(2 * distance) / 2, 0.0)


def _step(a: Graph, b: Graph) -> float:
    """Savings are sums of 2·min(w₁, w₂), whole numbers all: distances differ by multiples of their common divisor."""
    return float(math.gcd(*(min(u, v) for u in a.orders for v in b.orders)) or 1)


def _blocks(a: Graph, b: Graph) -> NDArray[np.int32]:
    """(elements, 4): first and last + 1 row and column of every element that both molecules have."""
    rows, columns = a.spans, b.spans
    both = [(*span, *columns[element]) for element, span in rows.items() if element in columns]
    return np.array(both, np.int32).reshape(-1, 4)


@contextmanager
def _alarm(stop: NDArray[np.bool_], seconds: float) -> Iterator[None]:
    """Sets `stop[0]` after a while; the kernels run without the interpreter's lock and look at it."""
    if seconds <= 0:
        stop.fill(True)
        yield
        return
    timer = Timer(seconds, stop.fill, args=(True,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
