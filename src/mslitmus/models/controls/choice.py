"""The classifier behind `structure-only` and `smiles-style`: a conditional logit over the training pools.

A subclass says how candidates are described; this file fits (`data.candidates.likeness`), chooses the penalty on
validation and scores. Ties between penalties go to the better validation likelihood, then to the stronger penalty.
"""

from __future__ import annotations

import json
import time
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field
from scipy import sparse

from ...data.candidates.likeness import Csr, Pools, fit_choice, log_likelihood, truth_auc
from ...errors import ModelError
from ...provenance import write_json
from ...schemas import PREDICTED_SCORES, conform
from ..options import Options
from ..protocol import FitContext, FitReport
from .control import Control, drawn, pools_with_truth, score_pools

Floats = NDArray[np.float64]
_BLOCK = 200  # pools described at a time


class ChoiceOptions(Options):
    """Options of a classifier of pools."""

    max_pools: int = Field(1000, ge=1, description="training pools, drawn by the seed where there are more")
    val_pools: int = Field(1000, ge=0, description="validation pools that choose the penalty")
    refit: bool = Field(True, description="fit again on training and validation pools once the penalty is chosen")
    penalties: tuple[float, ...] = Field(
        (1.0, 0.1, 0.01, 0.001, 0.0001), min_length=1, description="λ, strongest first"
    )


@dataclass(frozen=True)
class _Described:
    """Pools as a classifier sees them, with the row of each pool's truth."""

    rows: Csr
    offsets: NDArray[np.int64]
    truth: NDArray[np.int64]


class PoolClassifier(Control):
    """Scores candidates by w·x, w fitted to tell the truth from the rest of its pool.

    Anybody may learn from the validation pools too, and more pools tell more, so the control does (`refit`). A
    validation pool itself is then still scored by the weights that have not seen it.
    """

    Options: ClassVar[type[Options]] = ChoiceOptions
    weights: Floats | None = None
    before: Floats | None = None  # weights without the validation pools
    learned: frozenset[str] = frozenset()  # marks of the validation pools

    @abstractmethod
    def describe(self, pools: Pools, progress: Callable[[str], None] | None = None) -> Csr:
        """(members, features) of pools end to end."""

    def scale(self, rows: Csr) -> Floats:
        """Factor of each feature before the penalty, (features,)."""
        return np.ones(rows.shape[1])

    def fit(self, train: pl.DataFrame, val: pl.DataFrame, context: FitContext) -> FitReport:
        started = time.perf_counter()
        chosen = drawn(pools_with_truth(train), self.options.max_pools, context.seed)
        if chosen.is_empty():
            raise ModelError(
                f"{self.name} has no training pool that holds its truth",
                remedy="set train_pools of the task above 0, or leave this control out",
            )
        held = drawn(pools_with_truth(val), self.options.val_pools, context.seed)
        known = self._described(chosen, context.progress)
        scale = self.scale(known.rows)
        known = _Described((known.rows @ sparse.diags(scale)).tocsr(), known.offsets, known.truth)
        asked = self._described(held, context.progress) if held.height else None
        best: tuple[float, float] | None = None
        weights, notes = np.zeros(len(scale)), {}
        for penalty in sorted(self.options.penalties, reverse=True):
            weights = fit_choice(known.rows, known.offsets, known.truth, penalty, start=weights)
            if asked is None:
                self.weights, notes = (
                    weights * scale,
                    {"penalty": penalty, "chosen": "the weakest: no validation pools"},
                )
                continue
            scores = asked.rows @ (weights * scale)
            value = context.score(_table(held, scores), held), log_likelihood(scores, asked.offsets, asked.truth)
            context.progress(f"{self.name}: penalty {penalty:g}, validation {value[0]:.4f}, likelihood {value[1]:.4f}")
            if best is None or value > best:
                best, self.weights = value, weights * scale
                auc = truth_auc(scores, asked.offsets, asked.truth)
                notes = {"penalty": penalty, "validation_auc": auc, "validation_likelihood": value[1]}
        self.before = self.weights
        if asked is not None and self.options.refit:
            both = _together(known, asked, scale)
            self.weights = scale * fit_choice(both.rows, both.offsets, both.truth, notes["penalty"], start=weights)
            self.learned = frozenset(_marks(held["candidates"]))
            notes["refitted_on"] = chosen.height + held.height
        notes = {"training_pools": chosen.height, "validation_pools": held.height, **notes}
        score = None if best is None else best[0]
        return FitReport(time.perf_counter() - started, self.parameters(), "fitted", best_score=score, notes=notes)

    def _described(self, molecules: pl.DataFrame, progress: Callable[[str], None]) -> _Described:
        pools = Pools.of(molecules["candidate_smiles"])
        index = [names.index(own) for names, own in molecules.select("candidates", "inchikey14").iter_rows()]
        return _Described(self.describe(pools, progress), pools.offsets, pools.offsets[:-1] + np.array(index, np.int64))

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame:
        """PREDICTED_SCORES of all candidates, in the order asked."""
        if self.weights is None or self.before is None:
            raise self.not_fitted()
        seen = pl.Series([mark in self.learned for mark in _marks(queries["candidates"])], dtype=pl.Boolean)
        sides = ((self.weights, queries.filter(~seen)), (self.before, queries.filter(seen)))
        return pl.concat([self._scored(asked, weights) for weights, asked in sides])

    def _scored(self, queries: pl.DataFrame, weights: Floats) -> pl.DataFrame:
        def scores(lists: pl.Series) -> Floats:
            found: Floats = self.describe(Pools.of(lists)) @ weights
            return found

        return score_pools(queries, scores, _BLOCK)

    def parameters(self) -> int:
        return 0 if self.weights is None else int(np.count_nonzero(self.weights))

    def save(self, folder: Path) -> None:
        if self.weights is None or self.before is None:
            raise self.not_fitted()
        super().save(folder)
        np.save(folder / "weights.npy", np.stack([self.weights, self.before]))
        write_json(folder / "learned.json", sorted(self.learned))

    @classmethod
    def load(cls, folder: Path) -> Self:
        model = super().load(folder)
        model.weights, model.before = np.load(folder / "weights.npy")
        model.learned = frozenset(json.loads((folder / "learned.json").read_text(encoding="utf-8")))
        return model


def _together(train: _Described, val: _Described, scale: Floats) -> _Described:
    """Training pools (scaled already) and validation pools end to end."""
    rows = sparse.vstack([train.rows, (val.rows @ sparse.diags(scale)).tocsr()], format="csr")
    size = train.offsets[-1]
    offsets = np.concatenate([train.offsets, val.offsets[1:] + size])
    return _Described(rows, offsets, np.concatenate([train.truth, val.truth + size]))


def _marks(pools: pl.Series) -> list[str]:
    """What a pool is known by: a hash of its candidates in their order."""
    texts = pools.list.join("\n").fill_null("").to_list()
    known = {text: blake2b(text.encode(), digest_size=12).hexdigest() for text in set(texts)}
    return [known[text] for text in texts]


def _table(molecules: pl.DataFrame, scores: Any) -> pl.DataFrame:
    """PREDICTED_SCORES of pools scored end to end."""
    rows = molecules.select("identifier", candidate="candidates").explode("candidate")
    return conform(rows.with_columns(score=pl.Series(scores)), PREDICTED_SCORES)
