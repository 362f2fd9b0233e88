"""Which member of a pool looks like the truth, from structures alone: features of candidates and their choice model.

Two users share this: the blind control `structure-only`, and the quality figure of a candidate set, the AUC of a
classifier of truth against decoy. Both fit the conditional logit (McFadden 1974): in a pool with feature rows x_j,

    P(j is the truth) = exp(w·x_j) / Σ_k exp(w·x_k),    loss = mean over pools of −ln P(truth) + λ/2 |w|²

so that what all members of a pool share (their formula, say) neither helps nor harms.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import optimize, sparse

from ...chem import molecule

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Csr = Any  # scipy.sparse.csr_matrix, which has no stubs

BITS = 2048
CENTRALITY = ("mean_tanimoto", "max_tanimoto")
_BLOCK = 20_000  # candidates featurised at a time


@dataclass(frozen=True)
class Pools:
    """Pools end to end: `member` (rows,) numbers into `smiles`, the distinct structures; `offsets` (pools + 1)."""

    smiles: list[str]
    member: Integers
    offsets: Integers

    @staticmethod
    def of(lists: pl.Series) -> Pools:
        """From a List[str] column, one pool of SMILES a row."""
        lengths = lists.list.len().fill_null(0).to_numpy().astype(np.int64)
        flat = lists.filter(lists.list.len() > 0).explode()
        distinct = flat.unique().sort()
        number = pl.DataFrame({"smiles": distinct}).with_row_index("member")
        rows = pl.DataFrame({"smiles": flat}).join(number, on="smiles", how="left", maintain_order="left")
        return Pools(
            distinct.to_list(),
            rows["member"].to_numpy().astype(np.int64),
            np.concatenate(([0], np.cumsum(lengths))),
        )


def features(pools: Pools, progress: Callable[[str], None] | None = None) -> Csr:
    """CSR matrix, one row a member: log Morgan counts (BITS), log descriptors (`molecule.TRAITS`), centrality.

    Centrality is the mean and the greatest Tanimoto similarity to the other members: decoys made from a truth lie
    around it. A molecule's row depends on itself and its pool only.
    """
    counts, packed, descriptors = [], [], []
    for start in range(0, len(pools.smiles), _BLOCK):
        traits = molecule.traits(pools.smiles[start : start + _BLOCK], bits=BITS)
        shape = (len(traits.indptr) - 1, BITS)
        counts.append(sparse.csr_matrix((np.log1p(traits.counts), traits.indices, traits.indptr), shape=shape))
        packed.append(_pack(traits.indptr, traits.indices, BITS // 64))
        descriptors.append(np.log1p(traits.descriptors))
        if progress and len(pools.smiles) > _BLOCK:
            progress(f"structures described: {min(start + _BLOCK, len(pools.smiles)):,} of {len(pools.smiles):,}")
    if not counts:
        return sparse.csr_matrix((0, BITS + len(molecule.TRAITS) + len(CENTRALITY)))
    central = centrality(np.concatenate(packed)[pools.member], pools.offsets)
    dense = np.concatenate([np.concatenate(descriptors)[pools.member], central], axis=1)
    return sparse.hstack([sparse.vstack(counts)[pools.member], sparse.csr_matrix(dense)], format="csr")


@numba.njit(cache=True, nogil=True)
def _pack(indptr, indices, words):  # type: ignore[no-untyped-def]
    """Sparse bit numbers → words of 64 bits, (n, words), as `molecule.morgan_packed`."""
    out = np.zeros((indptr.size - 1, words), np.uint64)
    for row in range(out.shape[0]):
        for k in range(indptr[row], indptr[row + 1]):
            out[row, indices[k] >> 6] |= np.uint64(1) << np.uint64(indices[k] & 63)
    return out


@numba.njit(cache=True, nogil=True)
def popcount(word):  # type: ignore[no-untyped-def]
    """Number of set bits of an unsigned 64-bit word (Hacker's Delight, 5-2)."""
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))


@numba.njit(cache=True, nogil=True)
def centrality(packed, offsets):  # type: ignore[no-untyped-def]
    """Mean and greatest Tanimoto of each row to the others of its pool: (rows, 2). Alone in a pool: 0, 0."""
    out = np.zeros((packed.shape[0], 2))
    for pool in range(offsets.size - 1):
        start, stop = offsets[pool], offsets[pool + 1]
        for a in range(start, stop):
            for b in range(a + 1, stop):
                shared, union = 0, 0
                for word in range(packed.shape[1]):
                    shared += popcount(packed[a, word] & packed[b, word])
                    union += popcount(packed[a, word] | packed[b, word])
                similarity = shared / union if union else 0.0
                for row in (a, b):
                    out[row, 0] += similarity
                    out[row, 1] = max(out[row, 1], similarity)
        for a in range(start, stop):
            out[a, 0] /= max(stop - start - 1, 1)
    return out


def scaling(rows: Csr) -> Floats:
    """1 / standard deviation of the dense columns, 1 of the Morgan counts and of constant columns: (features,)."""
    dense = rows[:, BITS:].toarray()
    spread = dense.std(axis=0)
    return np.concatenate(
        [np.ones(min(BITS, rows.shape[1])), np.divide(1, spread, out=np.ones_like(spread), where=spread > 1e-9)]
    )


def fit_choice(rows: Csr, offsets: Integers, truth: Integers, penalty: float, start: Floats | None = None) -> Floats:
    """Weights (features,) of the conditional logit by L-BFGS.

    Args:
        rows: (members, features) CSR, pools end to end.
        offsets: (pools + 1); no pool may be empty.
        truth: (pools,) row number of each pool's truth.
        penalty: λ of the module's loss.
        start: weights to begin from, else 0.
    """
    pools, repeats = len(truth), np.diff(offsets)
    seen = np.flatnonzero(np.bincount(rows.indices, minlength=rows.shape[1]))  # the others' weights are 0
    own = rows if len(seen) == rows.shape[1] else rows[:, seen]
    transposed = own.T  # a view: CSR read as CSC

    def loss(weights: Floats) -> tuple[float, Floats]:
        score = own @ weights
        score -= np.repeat(np.maximum.reduceat(score, offsets[:-1]), repeats)
        power = np.exp(score)
        total = np.add.reduceat(power, offsets[:-1])
        pull = power / np.repeat(total, repeats)
        pull[truth] -= 1
        value = float((np.log(total) - score[truth]).mean()) + penalty / 2 * float(weights @ weights)
        return value, transposed @ pull / pools + penalty * weights

    first = np.zeros(len(seen)) if start is None else start[seen]
    settings = {"maxiter": 200, "maxcor": 10, "ftol": 1e-7, "gtol": 1e-6}
    found = optimize.minimize(loss, first, jac=True, method="L-BFGS-B", options=settings)
    weights = np.zeros(rows.shape[1])
    weights[seen] = found.x
    return weights


def log_likelihood(scores: Floats, offsets: Integers, truth: Integers) -> float:
    """Mean over pools of ln P(truth) under the softmax of the scores."""
    highest = np.maximum.reduceat(scores, offsets[:-1])
    total = np.add.reduceat(np.exp(scores - np.repeat(highest, np.diff(offsets))), offsets[:-1])
    return float((scores[truth] - highest - np.log(total)).mean())


def truth_auc(scores: Floats, offsets: Integers, truth: Integers) -> float:
    """Mean over pools of the share of decoys that score below the truth, ties half: 0.5 where nothing can be told."""
    lengths = np.diff(offsets)
    own = np.repeat(scores[truth], lengths)
    below = np.add.reduceat((scores < own) + 0.5 * (scores == own), offsets[:-1]) - 0.5  # the truth ties with itself
    several = lengths > 1
    return float((below[several] / (lengths[several] - 1)).mean()) if several.any() else 0.5
