"""smiles-style: what the spelling of the candidates gives away, no chemistry read.

A conditional logit on the n-grams of characters of each SMILES (start and end marked), hashed into 16,384 features.
Above chance where truth and decoys were written by different tools, or are different kinds of molecules.
"""

from __future__ import annotations

from collections.abc import Callable

import numba
import numpy as np
from pydantic import Field
from scipy import sparse

from ...data.candidates.likeness import Csr, Pools
from .choice import ChoiceOptions, PoolClassifier

FEATURES = 2**14
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # 2⁶⁴ / golden ratio: Knuth's multiplicative hash


class SmilesStyleOptions(ChoiceOptions):
    """Options of smiles-style."""

    longest: int = Field(4, ge=1, le=8, description="characters of the longest n-gram; all shorter ones count too")


class SmilesStyle(PoolClassifier):
    """Learned from the strings of training pools: truth against the rest."""

    name = "smiles-style"
    Options = SmilesStyleOptions

    def describe(self, pools: Pools, progress: Callable[[str], None] | None = None) -> Csr:
        """Log counts of hashed n-grams, (members, FEATURES)."""
        texts = [f"^{text}$".encode() for text in pools.smiles]
        ends = np.cumsum([0, *map(len, texts)])
        letters = np.frombuffer(b"".join(texts), np.uint8)
        columns, indptr = _ngrams(letters, ends, self.options.longest)
        counts = sparse.csr_matrix((np.ones(len(columns), np.float32), columns, indptr), shape=(len(texts), FEATURES))
        counts.sum_duplicates()
        np.log1p(counts.data, out=counts.data)
        return counts[pools.member]


@numba.njit(cache=True, nogil=True)
def _ngrams(letters, ends, longest):  # type: ignore[no-untyped-def]
    """Feature number of every n-gram of every text, and where each text's begin: (n-grams,), (texts + 1)."""
    columns = np.zeros(letters.size * longest, np.int32)
    indptr = np.zeros(ends.size, np.int64)
    k = 0
    for text in range(ends.size - 1):
        for start in range(ends[text], ends[text + 1]):
            value = np.uint64(0)
            for stop in range(start, min(start + longest, ends[text + 1])):
                value = (value ^ np.uint64(letters[stop])) * _MULTIPLIER
                columns[k] = np.int32((value ^ (value >> np.uint64(29))) >> np.uint64(50)) & 0x3FFF
                k += 1
        indptr[text + 1] = k
    return columns[:k], indptr
