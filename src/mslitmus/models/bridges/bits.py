"""Fingerprints of candidates, and sums of predictions over their bits: all that ranking by fingerprint costs.

Every similarity offered is a function of s = Σ_{k in candidate} v_k for some values v of the query, so one kernel that
walks the set bits of a candidate (some fifty of 2,048) serves them all.
"""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

import numba
import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...chem import molecule
from ...data.candidates.likeness import popcount

BITS = 2048


def packed_bits(smiles: pl.Series, cache: Path | None) -> NDArray[np.uint64]:
    """Morgan bits (radius 2) of each, (n, 32) words. Kept in `cache`, since every model of a study asks for the same.

    `smiles` are distinct and sorted, so that the same set has the same name.
    """
    texts = smiles.to_list()
    if cache is None:
        return molecule.morgan_packed(texts, bits=BITS)
    digest = sha256("\n".join([molecule.RDKIT_VERSION, str(BITS), *texts]).encode()).hexdigest()[:16]
    path = cache / f"candidates-{digest}.npy"
    if path.exists():
        found: NDArray[np.uint64] = np.load(path)
        return found
    packed = molecule.morgan_packed(texts, bits=BITS)
    cache.mkdir(parents=True, exist_ok=True)
    temporary = cache / f".{path.name}.{os.getpid()}.npy"
    np.save(temporary, packed)
    os.replace(temporary, path)
    return packed


def bit_counts(packed: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Number of bits of each, (n,)."""
    counts: NDArray[np.float64] = _counts(packed)
    return counts


@numba.njit(cache=True, nogil=True)
def _counts(packed):  # type: ignore[no-untyped-def]
    out = np.zeros(packed.shape[0])
    for row in range(packed.shape[0]):
        for word in range(packed.shape[1]):
            out[row] += popcount(packed[row, word])
    return out


@numba.njit(cache=True, nogil=True)
def sums_over_bits(values, packed, query, candidate):  # type: ignore[no-untyped-def]
    """Σ of values[query[i]] (queries, bits) over the set bits of packed[candidate[i]]: (pairs,), in float64."""
    out = np.zeros(query.size)
    for pair in range(query.size):
        total = 0.0
        for word in range(packed.shape[1]):
            left = packed[candidate[pair], word]
            while left:
                rest = left & (left - np.uint64(1))
                total += values[query[pair], 64 * word + popcount((left ^ rest) - np.uint64(1))]
                left = rest
        out[pair] = total
    return out
