"""Honest models, from good to hardly any use: what an audit must leave in peace."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import polars as pl

from .liar import Honest, Row
from .ranker import TrickRanker

_COARSE = {"score": "entropy", "tolerance": "0.5Da"}


def _mlp(epochs: int, **more: Any) -> Row:
    training = {"epochs": epochs, "batch_size": 64, "evaluate_every": 5, "patience": 50}
    return {
        "model": "binned-mlp",
        "options": {"mlp": {"width": 128}, "bins": {"width": 1.0}, "training": training},
    } | more


class NoisyRanker(TrickRanker):
    """The look-up with noise on every score: a hash of the peaks and the candidate, so that company plays no part."""

    name = "noisy-ranker"

    def trick(self, rows: pl.DataFrame, queries: pl.DataFrame) -> pl.Series:
        peaks = {name: str(mzs) for name, mzs in queries.select("identifier", "mzs").iter_rows()}
        texts = (f"{peaks[name]} {smiles}" for name, smiles in rows.select("identifier", "smiles").iter_rows())
        digests = [blake2b(text.encode(), digest_size=6).digest() for text in texts]
        return pl.Series([int.from_bytes(digest, "big") / 2**48 for digest in digests], dtype=pl.Float64)

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame:
        """PREDICTED_SCORES of all candidates, the noise a third as wide as the scores."""
        return self._mixed(self._described(queries), 0.05)


_RETRIEVAL: Mapping[str, Any] = {"task": "retrieval", "task_options": {"kind": "formula"}}
_FINGERPRINT: Mapping[str, Any] = {"task": "fingerprint", "task_options": {"formula": "given"}}
_SPECTRUM: Mapping[str, Any] = {"task": "spectrum-prediction", "task_options": {}}
_NEURAL = {
    "encoder": {"name": "fingerprint", "bits": 1024, "width": 128, "layers": 1, "dropout": 0.1},
    "head": {"name": "binned", "width": 0.1, "min_molecules": 2},
    "trunk": {"width": 128, "layers": 1, "dropout": 0.1},
    "training": {"epochs": 12, "batch_size": 64, "patience": 50, "evaluate_every": 3},
}

HONEST: tuple[Honest, ...] = (
    Honest("ranking look-up", row={"model": "nearest-spectrum"}, about="good: skips nothing", **_RETRIEVAL),
    Honest("coarse ranking", row={"model": "nearest-spectrum", "options": _COARSE}, about="mediocre", **_RETRIEVAL),
    Honest("noisy ranking", row={"model": NoisyRanker.name}, about="noise on every score", **_RETRIEVAL),
    Honest("ranking perceptron", row=_mlp(20), about="trained, several seeds", **_RETRIEVAL),
    Honest("perceptron", row=_mlp(20, seeds=[0, 1]), about="trained, several seeds", **_FINGERPRINT),
    Honest("beginner", row=_mlp(1), about="weak: one epoch", **_FINGERPRINT),
    Honest(
        "formula look-up", row={"model": "nearest-spectrum", "options": {"tiers": ["formula", "all"]}},
        about="uses the formula, which the task gives", **_FINGERPRINT,
    ),
    Honest("mixed look-up", row={"model": "plain-look-up"}, about="the look-up that cheats start from", **_FINGERPRINT),
    Honest(
        "copied spectra", row={"model": "nearest-molecule", "options": {"precursor": "replace"}}, about="good",
        **_SPECTRUM,
    ),
    Honest("small predictor", row={"model": "neural", "options": _NEURAL}, about="trained", **_SPECTRUM),
)  # fmt: skip
