"""A look-up that answers only where it is sure, and an author who prints the mean over what it answered."""

from __future__ import annotations

from typing import Any, ClassVar

import polars as pl
from pydantic import Field

from ...models.options import Options
from ...models.protocol import FitContext, FitReport
from ..claim import Claim, Printed
from .liar import LOOK_UP_RANKER, Liar
from .ranker import TrickOptions, TrickRanker


class SkipperOptions(TrickOptions):
    """Options of the skipper."""

    skip: float = Field(0.5, ge=0, le=1, description="share of the validation queries that it would leave out")


class Skipper(TrickRanker):
    """Leaves out queries whose nearest training spectrum is less similar than a quantile on validation."""

    name = "skipper"
    Options: ClassVar[type[Options]] = SkipperOptions

    def fit(self, train: pl.DataFrame, val: pl.DataFrame, context: FitContext) -> FitReport:
        report = super().fit(train, val, context)
        self.weight = 0.0
        self.state = self._similarity(val)["similarity"].quantile(self.options.skip)
        return report

    def _similarity(self, queries: pl.DataFrame) -> pl.DataFrame:
        found: pl.DataFrame = self.base.inner.neighbours(queries)
        return found

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame:
        """PREDICTED_SCORES of those queries that it dares to answer."""
        sure = self._similarity(queries).filter(pl.col("similarity") >= self.state)
        return super().predict(queries.join(sure.select("identifier"), on="identifier", how="semi"))


def mean_of_answered(scores: pl.DataFrame, model: str, metric: str, dose: float) -> tuple[Claim, ...]:
    """The mean over answered queries, printed with the number of all queries."""
    rows = scores.filter((pl.col("model") == model) & (pl.col("fold") == "test"))
    value: Any = rows.filter("predicted")[metric].mean()
    printed = Printed(round(value, 3), 0.001)
    return (Claim("claims.csv, row 1", model, metric, printed, split="molecule", n=rows.height),)


SKIPPER = Liar(
    name="skipper",
    story="a nearest-neighbour baseline that skipped up to 62 % of its queries: once denominators are kept, a "
    "published headline reverses (design, section 5)",
    planted="the model leaves out its least sure queries; the author prints the mean over the rest as that of all",
    row=lambda dose: {"model": Skipper.name, "options": {"skip": dose}, "allow_missing": True},
    honest=LOOK_UP_RANKER,
    audits=("denominators", "claims"),
    claims=mean_of_answered,
    dose=0.5,
    doses=(0.05, 0.2, 0.5),
    gains="",
)
