"""Honest rankers with odd habits: one abstains, one shrugs, one shouts."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import polars as pl
from pydantic import Field

from ....models.options import Options
from ....models.protocol import FitContext, FitReport
from ..ranker import TrickOptions, TrickRanker


class UnsureOptions(TrickOptions):
    """When it is unsure."""

    unsure: float = Field(0.3, ge=0, le=1, description="share of the validation queries that it would be unsure of")


class Undecided(TrickRanker):
    """The look-up, but where the nearest training spectrum is far (a quantile on validation) all candidates score 0."""

    name = "undecided-ranker"
    Options: ClassVar[type[Options]] = UnsureOptions

    def fit(self, train: pl.DataFrame, val: pl.DataFrame, context: FitContext) -> FitReport:
        report = super().fit(train, val, context)
        self.weight = 0.0
        self.state = self.base.inner.neighbours(val)["similarity"].quantile(self.options.unsure)
        return report

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame:
        """PREDICTED_SCORES of all candidates, in the order asked."""
        sure = pl.col("similarity") >= self.state
        known = self.base.inner.neighbours(queries).select("identifier", sure=sure)
        scores = super().predict(queries).join(known, on="identifier", how="left", maintain_order="left")
        score = pl.when("sure").then("score").otherwise(0.0)
        return scores.select("identifier", "candidate", score=score)


class Abstainer(Undecided):
    """The look-up without an answer there: left out, counted as failed, and no claim that says otherwise."""

    name = "abstaining-ranker"

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame:
        """PREDICTED_SCORES of those queries that it answers."""
        near = self.base.inner.neighbours(queries).filter(pl.col("similarity") >= self.state)
        return super().predict(queries.join(near.select("identifier"), on="identifier", how="semi"))


class HeavyTailed(TrickRanker):
    """The look-up's scores through tan(π x / 2), times a power of ten by the number of peaks: ranks stay as they are,
    values run over seven orders of magnitude and mean another thing in every query."""

    name = "heavy-tailed-ranker"

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame:
        """PREDICTED_SCORES of all candidates, in the order asked."""
        scale = pl.lit(10.0).pow(pl.col("mzs").list.len().cast(pl.Float64) % 4)
        asked = queries.select("identifier", scale=scale)
        scores = self._mixed(self._described(queries), 0.0)
        rows = scores.join(asked, on="identifier", how="left", maintain_order="left")
        steep = np.tan(np.pi / 2 * np.clip(rows["score"].to_numpy(), 0.0, 0.9995))
        return rows.select("identifier", "candidate", score=pl.col("scale") * pl.Series(steep))
