"""How sure a model is of each answer, and whether the answer is right: read off its predictions alone.

retrieval     confidence: score of the best candidate, or its lead over the second, whichever tells more on validation
              right: hit@1 (ties share); gap: how far the truth lies below the best
fingerprint   confidence: Tanimoto to be expected if the probabilities were true, Σ_b p / (|b| + Σ_¬b p), b the bits ≥ ½
              right: the primary metric; gap: confidence − right
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..metrics.rates import Array, auc, molecule_weights
from .evidence import Absent, CellKey, Evidence
from .rankings import laid_scores, layout, tops

TASKS = ("retrieval", "fingerprint")
META = ("adduct", "instrument_type", "collision_energy", "collision_energy_kind")


@dataclass(frozen=True)
class Answers:
    """Queries of one fold, (n,) each: molecule, confidence by each way of reading it, score in [0, 1], gap, conditions.

    binary: right is yes or no (a rank), no similarity.
    """

    molecules: NDArray[Any]
    confidences: dict[str, Array]
    right: Array
    gap: Array
    meta: pl.DataFrame
    binary: bool

    @property
    def weight(self) -> Array:
        return molecule_weights(self.molecules)[1]

    @property
    def size(self) -> int:
        """Molecules."""
        return len(np.unique(self.molecules))


def answers(evidence: Evidence, key: CellKey, fold: str) -> Answers | None:
    """Answers of one fold; None where it holds no predictions. Raises Absent for a task without confidences."""
    task = evidence.require_task(*TASKS)

    def make() -> Answers | None:
        rows = evidence.folds(key.split)[fold].select("identifier", "inchikey14", *META)
        scores = evidence.scores(key, fold)
        known = rows.join(scores.drop("inchikey14"), on="identifier", how="inner", maintain_order="left")
        if task.name == "retrieval":
            return _ranked(evidence, key, fold, known)
        predictions = evidence.predictions(key, fold)
        return None if predictions.is_empty() else _bits(predictions, known, evidence)

    found: Answers | None = evidence.kept(("answers", key, fold), make)
    return found


def chosen_way(val: Answers | None, test: Answers) -> str:
    """The way of reading confidence that is better on validation; the first one where there is no validation."""
    ways = list(test.confidences)
    if val is None or len(ways) == 1 or not val.binary:
        return ways[0]
    found = {way: auc(val.confidences[way], val.right, val.weight) for way in ways}
    return max(ways, key=lambda way: -1.0 if np.isnan(found[way]) else found[way])


def _ranked(evidence: Evidence, key: CellKey, fold: str, known: pl.DataFrame) -> Answers | None:
    laid = layout(evidence, key.split, fold)
    first = tops(laid, laid_scores(evidence, key, fold))
    found = laid.rows.select(
        "identifier",
        best=pl.Series(first.best, nan_to_null=True),
        second=pl.Series(first.second),
        tied=pl.Series(first.tied),
        truth=pl.Series(first.own, nan_to_null=True),
    ).drop_nulls("best")
    if found.is_empty():
        return None
    table = known.join(found, on="identifier", how="inner", maintain_order="left")
    hit = pl.col("hit@1") if "hit@1" in table.columns else (pl.col("truth") == pl.col("best")) / pl.col("tied")
    table = table.with_columns(right=hit.cast(pl.Float64).fill_null(0.0), gap=pl.col("best") - pl.col("truth"))
    confidences = {
        "score of the best candidate": table["best"].to_numpy().astype(np.float64),
        "lead over the second candidate": (table["best"] - table["second"]).to_numpy().astype(np.float64),
    }
    gap = table["gap"].cast(pl.Float64).fill_null(float("inf")).to_numpy()
    return Answers(
        table["inchikey14"].to_numpy(), confidences, table["right"].to_numpy(), gap, table.select(META), True
    )


def _bits(predictions: pl.DataFrame, known: pl.DataFrame, evidence: Evidence) -> Answers:
    table = known.join(predictions, on="identifier", how="inner", maintain_order="left")
    p = table["fingerprint"].explode().to_numpy().astype(np.float32).reshape(table.height, -1)
    on = p >= 0.5
    inside, outside = np.where(on, p, 0.0).sum(axis=1), np.where(on, 0.0, p).sum(axis=1)
    expected = (inside / np.maximum(on.sum(axis=1) + outside, 1e-12)).astype(np.float64)
    primary = evidence.tables.primary
    if primary not in table.columns or not evidence.tables.rising:
        raise Absent("needs a similarity as primary metric")
    right = table[primary].cast(pl.Float64).to_numpy()
    ways = {"expected Tanimoto": expected}
    return Answers(table["inchikey14"].to_numpy(), ways, right, expected - right, table.select(META), False)
