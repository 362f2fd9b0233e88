"""Ordering the answers of a query anew: by the fingerprint that the network predicts, and by re-predicted spectra.

    score = log-likelihood + w₁ · similarity of fingerprints + w₂ · similarity of spectra

The fingerprint's is Σ min(p, b) / Σ max(p, b) of predicted probabilities p and the answer's Morgan bits b. For the
spectrum's a fitted predictor of spectra answers for each structure under the query's own conditions. Weights are given,
or chosen on validation: those under which the first answer is most similar (Tanimoto) to the truth, mean over queries;
of equal ones the smallest. (The similarity of the best of ten does not depend on their order.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from ...chem.molecule import formulas, identify, morgan, tanimoto
from ...errors import ChemistryError, ConfigError, ModelError, PredictionError
from ...metrics.spectrum import score_flat
from ...schemas import PREDICTED_SPECTRA, conform
from ...spectra.flat import flatten
from ..bridges.rank_by_spectra import CONDITIONS, similarity_metric, take
from ..options import Options
from ..trained import read_json

Weight = float | Literal["validation"]
#: What is tried on validation, for each of the two.
TRIED = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)


class RerankOptions(Options):
    """Options of `rerank`."""

    fingerprint: Weight = Field(0.0, description="weight of the fingerprint's similarity, or chosen on validation")
    spectrum: Weight = Field(0.0, description="weight of the spectrum's similarity, or chosen on validation")
    predictor: str = Field("", description="folder of a fitted predictor of spectra: `model` of a cell")
    similarity: str = Field("cosine-sqrt@0.1Da", description="of spectra: a spectrum metric that is a similarity")


@dataclass(frozen=True)
class Asked:
    """The answers of one query, likeliest first: SMILES, log-likelihoods, (answers, 2) similarities."""

    smiles: tuple[str, ...]
    likelihoods: NDArray[np.float64]
    similar: NDArray[np.float64]

    @classmethod
    def nothing(cls) -> Self:
        return cls((), np.zeros(0), np.zeros((0, 2)))

    @classmethod
    def merged(cls, parts: Sequence[Asked]) -> Self:
        """The answers of one query under several formulae, likeliest first, each molecule once."""
        if not parts:
            return cls.nothing()
        smiles = [text for part in parts for text in part.smiles]
        likelihoods = np.concatenate([part.likelihoods for part in parts])
        order = np.argsort(-likelihoods, kind="stable")
        kept: dict[str, int] = {}
        for k in order:
            kept.setdefault(identify(smiles[k]).inchikey14, int(k))
        rows = list(kept.values())
        similar = np.concatenate([part.similar for part in parts])
        return cls(tuple(smiles[k] for k in rows), likelihoods[rows], similar[rows])

    def weighed(self, weight: float) -> Asked:
        """With a log weight on every likelihood."""
        return replace(self, likelihoods=self.likelihoods + weight)


class Reranker:
    """Looks at answers, chooses weights, orders."""

    def __init__(self, options: RerankOptions) -> None:
        self.options = options
        asked: dict[str, Weight] = {"fingerprint": options.fingerprint, "spectrum": options.spectrum}
        if bad := next((name for name, w in asked.items() if w != "validation" and float(w) < 0), None):
            raise ConfigError(f"a weight of {asked[bad]}", where=f"rerank.{bad}", remedy="0 or more, or validation")
        if options.spectrum != 0 and not options.predictor:
            remedy = "predictor: runs/matrix/cells/SPLIT/ROW/seed0/model"
            raise ConfigError("re-ranking by spectra needs a predictor", where="rerank", remedy=remedy)
        self.metric = similarity_metric(options.similarity, "keep")
        self.weights = np.array([0.0 if w == "validation" else float(w) for w in asked.values()])
        self.open = np.array([w == "validation" for w in asked.values()])
        self.chosen: dict[str, Any] = {}
        self.choosing = False
        self._predictor: Any = None

    @property
    def to_choose(self) -> bool:
        """Whether a weight is to be chosen and has not been."""
        return bool(self.open.any()) and not self.chosen

    @property
    def used(self) -> NDArray[np.bool_]:
        """(2,) which similarities count: an open one only while its weight is being chosen, not in every epoch."""
        return (self.weights > 0) | (self.open & self.choosing)

    def looked_at(
        self, answers: Sequence[Sequence[tuple[str, float]]], bits: NDArray[np.float32], queries: pl.DataFrame
    ) -> list[Asked]:
        """(SMILES, log-likelihood) of each query with their similarities; `bits`: (queries, bits) probabilities."""
        sizes = [len(each) for each in answers]
        row = np.repeat(np.arange(len(answers)), sizes)
        smiles = [text for each in answers for text, _ in each]
        similar = np.zeros((len(smiles), 2))
        if smiles and self.used[0]:
            own = morgan(smiles, bits=bits.shape[1]).astype(np.float64)
            asked = bits[row].astype(np.float64)
            similar[:, 0] = np.minimum(asked, own).sum(axis=1) / np.maximum(asked, own).sum(axis=1)
        if smiles and self.used[1]:
            similar[:, 1] = self._spectra(smiles, row, queries)
        parts = np.split(similar, np.cumsum(sizes)[:-1]) if sizes else []
        return [
            Asked(tuple(text for text, _ in each), np.array([score for _, score in each], np.float64), part)
            for each, part in zip(answers, parts, strict=True)
        ]

    def ranked(self, asked: Asked) -> list[tuple[str, float]]:
        """Best first; equal ones as they came."""
        scores = asked.likelihoods + asked.similar @ self.weights
        return [(asked.smiles[k], float(scores[k])) for k in np.argsort(-scores, kind="stable")]

    def choose(self, answers: Sequence[Asked], truth: Sequence[str]) -> None:
        """Fix the open weights by the first answers' mean Tanimoto similarity to the true SMILES."""
        close = [_closeness(asked, true) for asked, true in zip(answers, truth, strict=True)]
        grids = [TRIED if is_open else (given,) for is_open, given in zip(self.open, self.weights, strict=True)]
        pairs = sorted(((a, b) for a in grids[0] for b in grids[1]), key=sum)
        tried = [(self._first(answers, close, np.array(pair)), pair) for pair in pairs]
        value, best = max(tried, key=lambda one: one[0])  # the first of equal ones: the smallest weights
        self.weights = np.array(best)
        self.chosen = {"fingerprint": best[0], "spectrum": best[1], "tanimoto_first": value, "queries": len(answers)}
        self.chosen["tanimoto_first_unranked"] = self._first(answers, close, np.zeros(2))

    @staticmethod
    def _first(answers: Sequence[Asked], close: Sequence[NDArray[np.float64]], weights: NDArray[np.float64]) -> float:
        firsts = [
            each[np.argmax(asked.likelihoods + asked.similar @ weights)] if len(each) else 0.0
            for asked, each in zip(answers, close, strict=True)
        ]
        return float(np.mean(firsts)) if firsts else 0.0

    def forget(self) -> None:
        """Weights that were chosen are open again: before another fit."""
        self.chosen, self.weights = {}, np.where(self.open, 0.0, self.weights)

    def told(self) -> dict[str, Any]:
        """What was chosen, as JSON."""
        return dict(self.chosen)

    def recall(self, told: dict[str, Any]) -> None:
        """The weights that were chosen before."""
        self.chosen = dict(told)
        if told:
            self.weights = np.array([told["fingerprint"], told["spectrum"]], np.float64)

    # -- spectra -----------------------------------------------------------------------------------------------------

    def _spectra(self, smiles: list[str], row: NDArray[np.int64], queries: pl.DataFrame) -> NDArray[np.float64]:
        """Similarity of the query's spectrum and that predicted for each structure; 0 where none is predicted."""
        shown = (
            queries[row]
            .select(c for c in CONDITIONS if c in queries.columns)
            .with_columns(
                identifier=pl.Series([f"answer-{k}" for k in range(len(smiles))]),
                smiles=pl.Series(smiles),
                inchikey14=pl.Series([identify(text).inchikey14 for text in smiles]),
                formula=pl.Series(formulas(smiles)),
            )
        )
        predicted = shown.select("identifier").join(
            conform(self._predicted(shown), PREDICTED_SPECTRA), on="identifier", how="left", maintain_order="left"
        )
        sides = flatten(predicted, PredictionError, "predictions"), take(flatten(queries), row)
        metrics = {self.metric.name: self.metric}
        return score_flat(*sides, metrics, shown["precursor_mz"].to_numpy())[self.metric.name]

    def _predicted(self, shown: pl.DataFrame) -> pl.DataFrame:
        """A structure that the predictor's own chemistry refuses costs itself alone."""
        if self._predictor is None:
            self._predictor = open_predictor(Path(self.options.predictor))
        try:
            found: pl.DataFrame = self._predictor.predict(shown)
            return found
        except (ChemistryError, ModelError):
            if shown.height == 1:
                return pl.DataFrame(schema=PREDICTED_SPECTRA)
            half = shown.height // 2
            return pl.concat(
                [conform(self._predicted(part), PREDICTED_SPECTRA) for part in (shown[:half], shown[half:])]
            )


def open_predictor(folder: Path) -> Any:
    """A fitted model of spectrum prediction. Raises ConfigError for a folder that holds none."""
    from .. import MODELS

    if not (folder / "options.json").is_file() and (folder / "model").is_dir():
        folder = folder / "model"
    identity = folder.parent / "identity.json"
    name = read_json(identity)["model"] if identity.is_file() else "neural"
    held = identity.is_file() or (folder / "options.json").is_file()
    if not held or MODELS[name].task != "spectrum-prediction":
        remedy = "give the folder `model` of a cell of spectrum prediction"
        raise ConfigError("no fitted predictor of spectra", where=str(folder), remedy=remedy)
    return MODELS[name].load(folder)


def _closeness(asked: Asked, true: str) -> NDArray[np.float64]:
    """(answers,) Tanimoto similarity to the truth."""
    if not asked.smiles:
        return np.zeros(0)
    bits = morgan([true, *asked.smiles])
    return np.asarray(tanimoto(bits[:1], bits[1:])[0], np.float64)
