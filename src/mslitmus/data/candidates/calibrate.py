"""The likeness model of decoys: log odds of truth against raw decoy, learned on pools of the dataset's own molecules.

Two models are fitted, each on the pools of half of the sampled molecules; a molecule is judged by the one that has not
seen its half, so no pool is made with knowledge of its own truth.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ...chem.molecule import TRAITS, parse
from . import workers
from .decoys import RARITIES, features, grow
from .library import Library
from .likeness import BITS, fit_choice
from .reference import Reference
from .sets import draw

_SAMPLE = 800  # molecules
_RAW = 60  # decoys of each
_FEWEST = 40  # molecules below which nothing is learned
_PENALTY = 0.03
_CHUNK = 10
_WIDTH = BITS + len(TRAITS) + RARITIES


@dataclass(frozen=True)
class Likeness:
    """Weights (2, features), scaling included; row h judges the molecules of half h."""

    weights: NDArray[np.float64] = field(repr=False)

    def score(self, key: str, rows: Any) -> NDArray[np.float64]:
        """Log odds, up to a constant, of `features` rows in the pool of the molecule `key`."""
        scores: NDArray[np.float64] = rows @ self.weights[half(key)]
        return scores

    def save(self, folder: Path) -> None:
        temporary = folder / f".likeness.{os.getpid()}.npz"  # whole before it gets its name: a kill must not leave half
        np.savez(temporary, weights=self.weights)
        os.replace(temporary, folder / "likeness.npz")

    @staticmethod
    def load(folder: Path) -> Likeness:
        """What `save` wrote, once a process."""
        return _load(folder)


@lru_cache(maxsize=2)
def _load(folder: Path) -> Likeness:
    with np.load(folder / "likeness.npz") as arrays:
        return Likeness(arrays["weights"])


def half(key: str) -> int:
    return draw("half", key) % 2


def learn(reference: Reference, first_list: str, folder: Path, processes: int) -> Likeness:
    """Fit on molecules of the first list; without enough of them, all candidates are alike."""
    own = reference.frame.filter(reference.frame.get_column("origin") == first_list)
    rows = sorted(own.select("inchikey14", "smiles", "formula").rows(), key=lambda row: draw("calibrate", row[0]))
    sample = rows[:_SAMPLE]
    weights = np.zeros((2, _WIDTH))
    if len(sample) >= _FEWEST:
        chunks = [(folder, sample[i : i + _CHUNK]) for i in range(0, len(sample), _CHUNK)]
        pools = [pool for part in workers.apply(f"{__name__}:raw_pools", chunks, processes) for pool in part]
        for side in (0, 1):  # the weights of one half are learned on the other
            weights[side] = _fit([pool for key, pool in pools if half(key) != side])
    return Likeness(weights)


def raw_pools(task: tuple[Path, list[tuple[str, str, str]]]) -> list[tuple[str, Any]]:
    """(InChIKey-14, feature rows with the truth first) of some molecules; none that has no decoy. Runs in a worker."""
    folder, molecules = task
    library = Library.load(folder)
    out = []
    for key, smiles, formula in molecules:
        raw = grow(formula, [smiles], _RAW, library, Random(draw("calibrate", key)))
        if raw:
            truth = features([smiles], [parse(smiles)], 1, library)
            others = features([each.smiles for each in raw], [each.molecule for each in raw], 0, library)
            out.append((key, sparse.vstack([truth, others], format="csr")))
    return out


def _fit(pools: list[Any]) -> NDArray[np.float64]:
    """Weights of the conditional logit on scaled columns, the scaling multiplied in."""
    if not pools:
        return np.zeros(_WIDTH)
    rows = sparse.vstack(pools, format="csr")
    offsets = np.concatenate([[0], np.cumsum([pool.shape[0] for pool in pools])]).astype(np.int64)
    scale = np.ones(_WIDTH)
    spread = rows[:, BITS:].toarray().std(axis=0)
    scale[BITS:] = np.divide(1, spread, out=np.zeros_like(spread), where=spread > 1e-9)
    scaled = (rows @ sparse.diags(scale)).tocsr()
    return fit_choice(scaled, offsets, offsets[:-1], _PENALTY) * scale
