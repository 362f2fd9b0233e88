"""rank-by-fingerprint: a fingerprint predictor as a ranker. Candidates are ranked by how well their Morgan bits fit.

With p the predicted probabilities and b the bits of a candidate (Morgan, radius 2, 2,048 bits):

- `tanimoto`: Σ min(p, b) / Σ max(p, b); for p of 0 and 1 the Tanimoto similarity;
- `cosine`: p·b / (|p| |b|), as MassSpecGym ranks;
- `loglik`: Σ b ln p + (1 − b) ln(1 − p), the bits taken as independent; p is clipped to [clip, 1 − clip] first.

A query that the inner model does not answer gets no scores.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from ...errors import PredictionError
from ...schemas import PREDICTED_FINGERPRINTS, PREDICTED_SCORES, conform
from .bits import BITS, bit_counts, packed_bits, sums_over_bits
from .bridge import Bridge, BridgeOptions

_BLOCK = 4096  # queries a block: 4,096 × 2,048 values are 34 MB


class RankByFingerprintOptions(BridgeOptions):
    """Options of rank-by-fingerprint."""

    similarity: Literal["tanimoto", "cosine", "loglik"] = "tanimoto"
    clip: float = Field(1e-3, gt=0, lt=0.5, description="of loglik: no bit is surer than this")


class RankByFingerprint(Bridge):
    """Ranks candidates by the fingerprint that the inner model predicts from the spectrum."""

    name = "rank-by-fingerprint"
    inner_task = "fingerprint"
    inner_metric = "fp-tanimoto-soft"
    Options = RankByFingerprintOptions

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame:
        """PREDICTED_SCORES of all candidates of the queries that the inner model answers, in the order asked."""
        pools = queries.filter(pl.col("candidates").list.len() > 0)
        lists = pools.select("identifier", candidate="candidates", smiles="candidate_smiles")
        asked = pools.drop("candidates", "candidate_smiles")
        predicted = conform(self.inner.predict(asked), PREDICTED_FINGERPRINTS).drop_nulls("fingerprint")
        answered = lists.join(predicted, on="identifier", how="inner", maintain_order="left")
        if answered.filter(pl.col("fingerprint").list.len() != BITS).height:
            message = f"{self.options.of!r} predicts fingerprints of another length than {BITS:,} bits"
            raise PredictionError(message, remedy="a fingerprint model gives one probability for each bit")
        smiles = answered["smiles"].explode().unique().sort()
        packed = packed_bits(smiles, self._cache)
        counts = bit_counts(packed)
        number = pl.DataFrame({"smiles": smiles}).with_row_index("number")
        parts = [pl.DataFrame(schema=PREDICTED_SCORES)]
        for start in range(0, answered.height, _BLOCK):
            block = answered.slice(start, _BLOCK).with_row_index("query")
            values = block["fingerprint"].explode().to_numpy().reshape(-1, BITS)
            rows = block.select("query", "identifier", "candidate", "smiles").explode("candidate", "smiles")
            rows = rows.join(number, on="smiles", how="left", maintain_order="left")
            who, which = (rows[c].to_numpy().astype(np.int64) for c in ("query", "number"))
            scores = self._similarity(values.astype(np.float64), packed, counts, who, which)
            parts.append(rows.select("identifier", "candidate", score=pl.Series(scores)))
        return conform(pl.concat(parts), PREDICTED_SCORES)

    def _similarity(
        self,
        p: NDArray[np.float64],
        packed: NDArray[np.uint64],
        counts: NDArray[np.float64],
        query: NDArray[np.int64],
        candidate: NDArray[np.int64],
    ) -> NDArray[np.float64]:
        """One number a pair, from sums over the candidate's bits and over all bits of the query."""
        if self.options.similarity == "loglik":
            p = np.clip(p, self.options.clip, 1 - self.options.clip)
            without = np.log1p(-p)
            likelihood: NDArray[np.float64] = without.sum(axis=1)[query]
            likelihood += sums_over_bits(np.log(p) - without, packed, query, candidate)
            return likelihood
        shared = sums_over_bits(p, packed, query, candidate)
        bits = counts[candidate]
        if self.options.similarity == "cosine":
            whole = np.sqrt((p * p).sum(axis=1))[query] * np.sqrt(bits)
        else:
            whole = p.sum(axis=1)[query] + bits - shared
        ratio: NDArray[np.float64] = np.divide(shared, whole, out=np.zeros_like(shared), where=whole > 0)
        return ratio
