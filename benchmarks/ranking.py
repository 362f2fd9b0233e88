"""Ranking through predicted fingerprints and spectra: 13,000 queries × 256 candidates, beside dense numpy.

    python benchmarks/ranking.py [queries] [candidates]

Candidates are drawn from the molecules of the simulated dataset; predictions are random probabilities, and spectra with
the precursor alone, so what is timed is the bridge and not a model.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from mslitmus.chem import molecule
from mslitmus.data.molecules import MOLECULES
from mslitmus.data.simulate import simulate
from mslitmus.models import MODELS
from mslitmus.models.controls.mean_fingerprint import MeanFingerprint, as_fingerprints
from mslitmus.models.protocol import FitContext

BITS = 2048


class RandomBits(MeanFingerprint):
    """Random probabilities, most of them small."""

    name = "random-bits"

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame:
        values = np.random.default_rng(0).random((queries.height, BITS)).astype(np.float32) ** 6
        return as_fingerprints(queries["identifier"], values)


def make(queries: int, candidates: int) -> pl.DataFrame:
    """Queries of the task retrieval: simulated spectra repeated, pools drawn at random, five spectra a pool."""
    spectra = simulate(molecules=MOLECULES[::20], replicate_share=0.0)
    rows = spectra[np.arange(queries) % spectra.height].with_columns(
        identifier=pl.Series([f"q{k}" for k in range(queries)])
    )
    smiles = np.array(sorted({molecule.identify(text).smiles for _, text in MOLECULES}))
    keys = np.array([molecule.inchikey14(s) for s in smiles])
    rng = np.random.default_rng(0)
    chosen = [np.sort(rng.choice(len(smiles), candidates, replace=False)) for _ in range(-(-queries // 5))]
    pools = [chosen[k // 5] for k in range(queries)]
    return rows.with_columns(
        candidates=pl.Series([keys[p].tolist() for p in pools]),
        candidate_smiles=pl.Series([smiles[p].tolist() for p in pools]),
    )


def dense(queries: pl.DataFrame, predicted: pl.DataFrame) -> np.ndarray:
    """Σ min / Σ max over dense arrays, one query at a time."""
    distinct = queries["candidate_smiles"].explode().unique().sort().to_list()
    bits = dict(zip(distinct, molecule.morgan(distinct).astype(np.float32), strict=True))
    values = predicted["fingerprint"].explode().to_numpy().reshape(-1, BITS)
    parts = []
    for p, pool in zip(values, queries["candidate_smiles"].to_list(), strict=True):
        b = np.stack([bits[s] for s in pool])
        parts.append(np.minimum(p, b).sum(axis=1, dtype=np.float64) / np.maximum(p, b).sum(axis=1, dtype=np.float64))
    return np.concatenate(parts)


def main() -> None:
    given = [int(argument) for argument in sys.argv[1:3]]
    queries, candidates = (*given, *(13_000, 256)[len(given) :])
    MODELS.register("random-bits", RandomBits)
    table = make(queries, candidates)
    few = table.head(200)
    ranker = MODELS["rank-by-fingerprint"](of="random-bits")
    ranker.predict(few)  # compiles
    started = time.perf_counter()
    ours = ranker.predict(few)["score"].to_numpy()
    fast = time.perf_counter() - started
    started = time.perf_counter()
    plain = dense(few, RandomBits().predict(few))
    slow = time.perf_counter() - started
    print(
        f"rank-by-fingerprint, 200 queries: {fast:.2f} s, dense numpy {slow:.2f} s, ratio {slow / fast:.1f}, ", end=""
    )
    print(f"largest difference {np.abs(ours - plain).max():.1e} (numpy {np.__version__})")
    started = time.perf_counter()
    rows = ranker.predict(table).height
    print(f"rank-by-fingerprint, {rows:,} candidates of {queries:,} queries: {time.perf_counter() - started:.1f} s")
    through = MODELS["rank-by-spectra"](of="precursor-only")
    with tempfile.TemporaryDirectory() as folder:
        through.fit(few, few, FitContext(Path(folder)))
    through.predict(few)
    started = time.perf_counter()
    rows = through.predict(table).height
    seconds = time.perf_counter() - started
    print(f"rank-by-spectra, {rows:,} candidates: {seconds:.1f} s without the model, {rows / seconds:,.0f}/s")


if __name__ == "__main__":
    main()
