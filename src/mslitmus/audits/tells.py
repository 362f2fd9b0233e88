"""Pools end to end, and how well anything blind points at their truths: AUC of a feature, of a classifier, of a place.

AUC of a pool is the share of other candidates that stand below the truth, ties half: 0.5 where nothing can be told.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from ..data.candidates.likeness import fit_choice
from ..metrics.intervals import cluster_bootstrap

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
_FOLDS = 5
_PENALTY = 0.01


@dataclass(frozen=True)
class Laid:
    """Pools end to end: rows of `CANDIDATES` in the order shown; offsets (pools + 1); truth (pools,), row numbers."""

    table: pl.DataFrame
    offsets: Integers
    truth: Integers

    @property
    def pools(self) -> int:
        return len(self.truth)

    @property
    def sizes(self) -> Integers:
        return np.diff(self.offsets)


@dataclass(frozen=True)
class Auc:
    """A mean over pools with its 95 % interval, and how many pools."""

    mean: float
    low: float
    high: float
    n: int

    @property
    def clear(self) -> float:
        """How far the interval keeps off 0.5, either way; 0 where it holds 0.5."""
        return max(self.low - 0.5, 0.5 - self.high, 0.0)

    def __str__(self) -> str:
        return f"AUC {self.mean:.3f} (95 % interval {self.low:.3f} to {self.high:.3f}, {self.n:,} molecules)"


def lay(pools: pl.DataFrame) -> Laid:
    """Pools (rows of a molecule together) that hold their truth and something else."""
    is_truth = pl.col("candidate") == pl.col("molecule")
    table = pools.filter(is_truth.any().over("molecule") & (pl.len().over("molecule") > 1))
    sizes = table.group_by("molecule", maintain_order=True).len()["len"].to_numpy()
    truth = np.flatnonzero((table["candidate"] == table["molecule"]).to_numpy())
    return Laid(table, np.concatenate(([0], np.cumsum(sizes))).astype(np.int64), truth.astype(np.int64))


def draw(pools: pl.DataFrame, count: int, size: int, seed: int = 0) -> pl.DataFrame:
    """At most `count` pools, cut to `size` candidates each, the truth kept, in the order shown."""
    random = np.random.default_rng(seed)
    names = pools["molecule"].unique().sort()
    if len(names) > count:
        names = names.gather(np.sort(random.choice(len(names), count, replace=False)))
    kept = pools.filter(pl.col("molecule").is_in(names.implode()))
    kept = kept.with_columns(_lot=pl.Series(random.random(kept.height)))
    first = pl.when(pl.col("candidate") == pl.col("molecule")).then(-1.0).otherwise(pl.col("_lot"))
    return kept.filter(first.rank("ordinal").over("molecule") <= size).drop("_lot")


def pool_aucs(values: Floats, offsets: Integers, truth: Integers) -> Floats:
    """AUC of each pool, (pools,)."""
    found: Floats = _aucs(np.ascontiguousarray(values, np.float64), offsets, truth)
    return found


@numba.njit(cache=True, nogil=True)
def _aucs(values, offsets, truth):  # type: ignore[no-untyped-def]
    out = np.zeros(truth.size)
    for pool in range(truth.size):
        own, below = values[truth[pool]], 0.0
        for k in range(offsets[pool], offsets[pool + 1]):
            if k != truth[pool]:
                below += 1.0 if values[k] < own else (0.5 if values[k] == own else 0.0)
        out[pool] = below / (offsets[pool + 1] - offsets[pool] - 1)
    return out


def mean_auc(values: Floats, molecules: NDArray[Any] | None = None, bounded: bool = True) -> Auc:
    """Mean over molecules of AUCs, one value a pool or query, with the interval of a bootstrap over molecules.

    `bounded` false: of values that may lie outside 0 to 1.
    """
    labels = np.arange(len(values)) if molecules is None else molecules
    found = cluster_bootstrap(values, labels, resamples=1000, average="molecule", unit_range=np.array([bounded]))
    return Auc(float(found.mean[0]), float(found.low[0]), float(found.high[0]), found.n_clusters)


def classifier_aucs(features: Floats, laid: Laid, seed: int = 0) -> Floats:
    """AUC of each pool under a conditional logit fitted on the other pools, five folds over molecules. (pools,)."""
    spread = features.std(axis=0)
    if not (spread > 0).any() or laid.pools < 2 * _FOLDS:
        return np.full(laid.pools, 0.5)
    scaled = features[:, spread > 0] / spread[spread > 0]
    fold = np.random.default_rng(seed).permutation(laid.pools) % _FOLDS
    row_fold = np.repeat(fold, laid.sizes)
    out = np.zeros(laid.pools)
    for k in range(_FOLDS):
        train, test = fold != k, fold == k
        rows = sparse.csr_matrix(scaled[row_fold != k])
        offsets = np.concatenate(([0], np.cumsum(laid.sizes[train])))
        truth = offsets[:-1] + (laid.truth - laid.offsets[:-1])[train]
        weights = fit_choice(rows, offsets, truth, _PENALTY)
        ends = np.concatenate(([0], np.cumsum(laid.sizes[test])))
        own = ends[:-1] + (laid.truth - laid.offsets[:-1])[test]
        out[test] = pool_aucs(scaled[row_fold == k] @ weights, ends, own)
    return out


@dataclass(frozen=True)
class Places:
    """Whether truths stand anywhere in their pools with equal chance.

    p: Holm-adjusted over four tests by simulation (mean place, at the front, at the end, chi-square over ten bins);
    excess: how much more often than by chance the truth stands at its commonest place, counted from front or end.
    """

    p: float
    excess: float
    where: str
    auc: Auc


def places(laid: Laid, draws: int = 9999, seed: int = 0) -> Places:
    """Test of the truths' positions against the uniform one, pool by pool."""
    place, sizes = laid.truth - laid.offsets[:-1], laid.sizes
    random = np.random.default_rng(seed)
    observed = _statistics(place[None, :], sizes)[0]
    hits, done = np.zeros(len(observed)), 0
    block = max(1, 4_000_000 // len(sizes))
    while done < draws:
        count = min(block, draws - done)
        simulated = (random.random((count, len(sizes))) * sizes).astype(np.int64)
        hits += (_statistics(simulated, sizes) >= observed - 1e-9).sum(axis=0)
        done += count
    p = np.sort((1 + hits) / (1 + draws)) * np.arange(len(hits), 0, -1)
    excess, where = _commonest(place, sizes)
    return Places(float(min(1.0, p[0])), excess, where, mean_auc(1 - place / (sizes - 1)))


def _statistics(place: Integers, sizes: Integers) -> Floats:
    """(draws, 4): distance of the mean place from the middle, counts at the front and at the end, chi-square."""
    relative = (place + 0.5) / sizes
    bins = np.minimum((relative * 10).astype(np.int64), 9)
    counts = np.stack([(bins == b).sum(axis=1) for b in range(10)], axis=1)
    expected = np.zeros(10)
    for size, pools in zip(*np.unique(sizes, return_counts=True), strict=True):
        at = np.minimum(((np.arange(size) + 0.5) / size * 10).astype(np.int64), 9)
        expected += pools * np.bincount(at, minlength=10) / size
    known = expected > 0
    chi = ((counts - expected)[:, known] ** 2 / expected[known]).sum(axis=1)
    middle = np.abs(relative.mean(axis=1) - 0.5)
    found: Floats = np.stack([middle, (place == 0).sum(axis=1), (place == sizes - 1).sum(axis=1), chi], axis=1)
    return found


def _commonest(place: Integers, sizes: Integers) -> tuple[float, str]:
    best, where = 0.0, "nowhere in particular"
    for name, counted in (("from the front", place), ("from the end", sizes - 1 - place)):
        shares = np.bincount(counted) / len(sizes)
        chance = np.array([(1 / sizes * (sizes > k)).mean() for k in range(len(shares))])
        k = int(np.argmax(shares - chance))
        if shares[k] - chance[k] > best:
            best = float(shares[k] - chance[k])
            where = f"at place {k + 1} {name} in {shares[k]:.1%} of the pools (by chance {chance[k]:.1%})"
    return best, where
