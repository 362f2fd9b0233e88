"""Nearness of predicted fingerprints: clusters of the asked spectra, and the training spectra nearest to one of them.

Fingerprints are probabilities of bits, compared by their cosine: rows are scaled to length 1 first.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
_ROUNDS = 50  # of Lloyd's algorithm at most
_BLOCK = 4096  # points compared with all centres at a time


def scaled(values: Array) -> Array:
    """(n, bits) rows of length 1."""
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    return np.asarray(values / np.maximum(lengths, 1e-12), np.float32)


def clusters(points: Array, k: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """k-means (k-means++ start, Lloyd) of rows of length 1, at most one cluster a point.

    Returns (n,) the cluster of each point, and (clusters,) the point nearest to each centroid, largest cluster first;
    empty clusters are left out.
    """
    rng, k = np.random.default_rng(seed), min(k, len(points))
    centres = _start(points, k, rng)
    own = np.full(len(points), -1, np.int64)
    for _ in range(_ROUNDS):
        before, own = own, _nearest_centre(points, centres)
        if np.array_equal(before, own):
            break
        sums = np.zeros((k, points.shape[1]), np.float64)
        np.add.at(sums, own, points)
        sizes = np.bincount(own, minlength=k)
        centres = np.where(sizes[:, None] > 0, sums / np.maximum(sizes, 1)[:, None], centres).astype(np.float32)
    away = ((points - centres[own]) ** 2).sum(axis=1)
    kept = [c for c in np.argsort(-np.bincount(own, minlength=k), kind="stable") if (own == c).any()]
    middles = [int(np.flatnonzero(own == c)[np.argmin(away[own == c])]) for c in kept]
    number = np.zeros(k, np.int64)
    number[kept] = np.arange(len(kept))
    return number[own], np.asarray(middles, np.int64)


def _start(points: Array, k: int, rng: np.random.Generator) -> Array:
    """k-means++ (Arthur & Vassilvitskii 2007): each next centre drawn by its squared distance from those there are."""
    chosen = [int(rng.integers(len(points)))]
    least = ((points - points[chosen[0]]) ** 2).sum(axis=1).astype(np.float64)
    while len(chosen) < k:
        total = least.sum()
        chosen.append(int(rng.choice(len(points), p=least / total) if total > 0 else rng.integers(len(points))))
        least = np.minimum(least, ((points - points[chosen[-1]]) ** 2).sum(axis=1))
    return points[chosen]


def _nearest_centre(points: Array, centres: Array) -> NDArray[np.int64]:
    half = (centres**2).sum(axis=1) / 2
    parts = [np.argmax(points[at : at + _BLOCK] @ centres.T - half, axis=1) for at in range(0, len(points), _BLOCK)]
    return np.concatenate(parts).astype(np.int64)


class Pool(Protocol):
    """Training fingerprints that can be asked for the nearest: (m, n) numbers, nearest first, and (m, n) cosines."""

    def nearest(self, asked: Array, n: int) -> tuple[NDArray[np.int64], Array]: ...


class Exact:
    """All cosines, a block of queries at a time. Equal ones in the order of the pool."""

    name = "exact"

    def __init__(self, pool: Array) -> None:
        self._pool = pool

    def nearest(self, asked: Array, n: int) -> tuple[NDArray[np.int64], Array]:
        n = min(n, len(self._pool))
        numbers, values = np.empty((len(asked), n), np.int64), np.empty((len(asked), n), np.float32)
        for row, point in enumerate(asked):  # one product a point: the same numbers whatever else is asked
            cosines = self._pool @ point
            numbers[row] = np.argsort(-cosines, kind="stable")[:n]
            values[row] = cosines[numbers[row]]
        return numbers, values


class Approximate:
    """Inverted lists of faiss: a tenth of the lists is looked into."""

    name = "faiss"

    def __init__(self, pool: Array) -> None:
        import faiss

        lists = max(1, int(np.sqrt(len(pool))))
        self._index: Any = faiss.IndexIVFFlat(
            faiss.IndexFlatIP(pool.shape[1]), pool.shape[1], lists, faiss.METRIC_INNER_PRODUCT
        )
        self._index.train(pool)
        self._index.add(pool)
        self._index.nprobe = max(1, lists // 10)
        self._size = len(pool)

    def nearest(self, asked: Array, n: int) -> tuple[NDArray[np.int64], Array]:
        cosines, numbers = self._index.search(np.ascontiguousarray(asked), min(n, self._size))
        return numbers.astype(np.int64), cosines


def pool_of(fingerprints: Array, exact_up_to: int) -> Exact | Approximate:
    """Approximate beyond so many spectra where faiss is installed, else exact."""
    if len(fingerprints) > exact_up_to and find_spec("faiss") is not None:
        return Approximate(fingerprints)
    return Exact(fingerprints)


def limit_of(cosines: NDArray[np.floating[Any]], relevant: NDArray[np.bool_]) -> float:
    """The cosine that tells relevant nearest neighbours from others best (largest Youden's J: sensitivity +
    specificity − 1). −1, which refuses nothing, where all or none are relevant."""
    if not len(cosines) or relevant.all() or not relevant.any():
        return -1.0
    order = np.argsort(-cosines, kind="stable")
    ordered, hits = cosines[order], relevant[order]
    j = np.cumsum(hits) / hits.sum() - np.cumsum(~hits) / (~hits).sum()
    last = np.append(ordered[1:] != ordered[:-1], True)  # equal cosines are taken together
    return float(ordered[np.argmax(np.where(last, j, -np.inf))])
