"""A ranker that looks up the nearest spectrum, as an honest one does, and adds a trick. Subclasses say which.

    score = Tanimoto(candidate, molecule of the nearest training spectrum) + weight · trick(candidate)

The trick is standardised within each pool; its weight is chosen on validation, as an author would tune any feature.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, ClassVar, Self

import polars as pl
from pydantic import Field

from ...models import MODELS
from ...models.controls.control import Control, as_scores, candidate_rows, pools_with_truth
from ...models.options import Options
from ...models.protocol import FitContext, FitReport, Kind
from ...provenance import write_json

_WEIGHTS = (0.0, 0.02, 0.1, 0.5, 5.0)
BASE = "rank-by-fingerprint"


class TrickOptions(Options):
    """Options of a planted ranker."""

    alone: bool = Field(False, description="the trick alone: the spectrum plays no part")
    file: str | None = Field(None, description="what some tricks read: answers, a list of molecules")


class TrickRanker(Control):
    """Says that it was trained. `state` is all that it learned, as JSON values."""

    kind: Kind = "trained"
    Options: ClassVar[type[Options]] = TrickOptions

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.base: Any = MODELS[BASE](of="nearest-spectrum")
        self.weight = 0.0
        self.state: Any = None

    def learn(self, train: pl.DataFrame, pools: pl.DataFrame) -> Any:
        """State from the training fold; `pools` has one row a molecule with `candidates`, `candidate_smiles`."""
        return None

    def trick(self, rows: pl.DataFrame, queries: pl.DataFrame) -> pl.Series:
        """One number a row of `rows` (identifier, candidate, smiles, place in the pool): higher is likelier."""
        return pl.repeat(0.0, rows.height, eager=True)

    def fit(self, train: pl.DataFrame, val: pl.DataFrame, context: FitContext) -> FitReport:
        started = time.perf_counter()
        self.base.fit(train, val, context)
        self.state = self.learn(train, pools_with_truth(train))
        held = pools_with_truth(val)
        rows = self._described(held)
        scored = [(context.score(self._mixed(rows, weight), held), -weight) for weight in _WEIGHTS]
        self.weight = -max(scored)[1]
        return FitReport(time.perf_counter() - started, 1, "fitted", notes={"weight": self.weight})

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame:
        """PREDICTED_SCORES of all candidates, in the order asked."""
        return self._mixed(self._described(queries), self.weight)

    def _described(self, queries: pl.DataFrame) -> pl.DataFrame:
        """One row a candidate: the look-up's score as `base`, the standardised `trick`."""
        rows = candidate_rows(queries).with_columns(place=pl.int_range(pl.len()).over("identifier"))
        trick = pl.col("trick") - pl.col("trick").mean().over("identifier")
        spread = pl.col("trick").std().over("identifier").fill_null(0.0)
        scaled = pl.when(spread > 0).then(trick / spread).otherwise(0.0)
        rows = rows.with_columns(self.trick(rows, queries).cast(pl.Float64).alias("trick")).with_columns(trick=scaled)
        if self.options.alone:
            return rows.with_columns(base=pl.lit(0.0))
        base = self.base.predict(queries).rename({"score": "base"})
        rows = rows.join(base, on=["identifier", "candidate"], how="left", maintain_order="left")
        return rows.with_columns(pl.col("base").fill_null(0.0))

    def _mixed(self, rows: pl.DataFrame, weight: float) -> pl.DataFrame:
        return as_scores(
            rows.with_columns(score=pl.col("base") + (1.0 if self.options.alone else weight) * pl.col("trick"))
        )

    def parameters(self) -> int:
        return 1

    def save(self, folder: Path) -> None:
        super().save(folder)
        self.base.save(folder / "base")
        write_json(folder / "state.json", {"weight": self.weight, "state": self.state})

    @classmethod
    def load(cls, folder: Path) -> Self:
        model = super().load(folder)
        model.base = MODELS[BASE].load(folder / "base")
        known = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        model.weight, model.state = known["weight"], known["state"]
        return model


class PlainRanker(TrickRanker):
    """No trick at all: what it gains, it gains from the world it is put in."""

    name = "plain-ranker"
