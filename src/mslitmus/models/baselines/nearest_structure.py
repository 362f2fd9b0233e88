"""Generation without generating: training molecules handed in as structures. The rungs that a generator must beat.

- `nearest-structure`: the molecules of the most similar training spectra, by the rule of `nearest_spectrum`, each once;
- `random-structure`: random molecules of the same pool: what the formula alone gives;
- `best-structure`, the oracle: the training molecule that is most similar to the truth.

The pool is the training molecules of the query's formula where queries name it and there is one, else those of its
mass, else all.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from ...schemas import PREDICTED_STRUCTURES, conform
from ...spectra.library import Subsets
from .best_molecule import BestMolecule
from .nearest_spectrum import NearestSpectrum, NearestSpectrumOptions
from .tiers import OF_FORMULA


class NearestStructureOptions(NearestSpectrumOptions):
    """Options of nearest-structure."""

    tiers: tuple[str, ...] = Field(("formula", "mass", "all"), min_length=1)
    structures: int = Field(10, ge=1, le=1000, description="of a query at most")


class NearestStructure(NearestSpectrum):
    """The molecules of the nearest training spectra."""

    task = "generation"
    name = "nearest-structure"
    Options = NearestStructureOptions

    def check_task(self, task: Any) -> None:
        """Any: tiers of formulae are passed over where queries do not name theirs."""

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame:
        """PREDICTED_STRUCTURES, best first; the score is the spectrum's similarity."""
        if self._spectra is None:
            raise self.not_fitted()
        named = "formula" in queries.columns
        tiers = [tier for tier in self.options.tiers if named or tier not in OF_FORMULA]
        open_, parts = np.arange(queries.height), [pl.DataFrame(schema={**PREDICTED_STRUCTURES, "query": pl.Int64()})]
        for tier in tiers:
            asked = queries[open_]
            rows, scores = self._several(asked, self._tiers.pools(tier, asked))
            number, place = np.nonzero(rows >= 0)
            found = pl.DataFrame(
                {
                    "identifier": asked["identifier"].gather(number),
                    "smiles": self._library.rows["smiles"].gather(rows[number, place]),
                    "score": scores[number, place].astype(np.float64),
                    "query": open_[number],
                }
            )
            parts.append(found.unique(["identifier", "smiles"], keep="first", maintain_order=True))
            open_ = open_[(rows < 0).all(axis=1)]
        return conform(pl.concat(parts).sort("query", maintain_order=True), PREDICTED_STRUCTURES)

    def _several(self, queries: pl.DataFrame, pools: Subsets) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """(n, structures) library rows of distinct molecules, −1 where there are no more, and their scores."""
        names = self._library.rows.select(pl.coalesce("inchikey14", "smiles")).to_series()
        hits = self._library.rank(queries, self._scoring, pools, top_k=self.options.structures, group=names)
        rows, scores = hits.rows.copy(), np.asarray(hits.scores, np.float64)
        alone = np.flatnonzero((rows < 0).all(axis=1))
        if alone.size:  # no peak in common: the neighbour of nearest precursor
            rows[alone, 0] = self._chosen(queries, pools)[0][alone]
        return rows, scores


class RandomStructure(NearestStructure):
    """Random molecules of the pool, by a hash of the seed and the query's identifier."""

    kind = "blind"
    name = "random-structure"

    def _several(self, queries: pl.DataFrame, pools: Subsets) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        k = self.options.structures
        rows, scores = np.full((queries.height, k), -1), np.tile(-np.arange(k, dtype=np.float64), (queries.height, 1))
        firsts: dict[int, NDArray[np.int64]] = {}
        for query, identifier in enumerate(queries["identifier"].to_list()):
            number = int(pools.of[query])
            if number not in firsts:
                pool = pools.rows_of(query)
                firsts[number] = pool[np.unique(self._molecule[pool], return_index=True)[1]]
            digest = blake2b(f"{self._seed}\n{identifier}".encode(), digest_size=8).digest()
            drawn = np.random.default_rng(int.from_bytes(digest, "big")).permutation(firsts[number])[:k]
            rows[query, : len(drawn)] = drawn
        return rows, scores


class BestStructure(BestMolecule):
    """The training molecule nearest to the truth."""

    task = "generation"
    name = "best-structure"

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame:
        """PREDICTED_STRUCTURES, one row a query; the score is the Tanimoto similarity to the truth."""
        found = self.neighbours(queries)
        return conform(found.select("identifier", "smiles", score="similarity"), PREDICTED_STRUCTURES)
