"""random-ranking: a number drawn from a hash of seed, query and candidate. What chance gives, with its noise."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from ..options import Options
from .control import Control, as_scores, candidate_rows


class RandomRankingOptions(Options):
    """Options of random-ranking."""

    seed: int = Field(0, ge=0, description="another seed is another ranking")


class RandomRanking(Control):
    """Uniform scores in [0, 1) that depend on (seed, identifier, candidate) and on nothing else."""

    name = "random-ranking"
    Options = RandomRankingOptions

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame:
        """PREDICTED_SCORES of all candidates, in the order asked."""
        rows = candidate_rows(queries)
        query = _hashes(rows["identifier"], f"query {self.options.seed}")
        candidate = _hashes(rows["candidate"], f"candidate {self.options.seed}")
        return as_scores(rows.with_columns(score=pl.Series(_mixed(query ^ _mixed(candidate)) / 2.0**64)))


def _hashes(names: pl.Series, salt: str) -> NDArray[np.uint64]:
    """64 bits of BLAKE2b of each name, hashed once a distinct name."""
    distinct = names.unique()
    digests = [blake2b(f"{salt}\n{name}".encode(), digest_size=8).digest() for name in distinct]
    table = pl.DataFrame({"name": distinct, "hash": np.frombuffer(b"".join(digests), "<u8")})
    found = pl.DataFrame({"name": names}).join(table, on="name", how="left", maintain_order="left")
    return found["hash"].to_numpy().astype(np.uint64)


def _mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Finaliser of SplitMix64 (Steele, Lea & Flood 2014): every bit of the input moves every bit of the output."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
