"""Ties in the author's favour: scores in coarse steps, and an evaluation that sorts the truth before its equals."""

from __future__ import annotations

from typing import Any, ClassVar

import polars as pl
from pydantic import Field

from ....models.options import Options
from ...claim import Claim, Printed
from ..liar import LOOK_UP_RANKER, Liar
from ..ranker import TrickOptions, TrickRanker

_METRIC = "hit@1"


class StepOptions(TrickOptions):
    """How coarse."""

    step: float = Field(0.1, gt=0, le=1, description="scores are rounded down to multiples of it")


class StepRanker(TrickRanker):
    """The look-up's scores in steps: many candidates share the first place."""

    name = "step-ranker"
    Options: ClassVar[type[Options]] = StepOptions

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame:
        """PREDICTED_SCORES of all candidates, in the order asked."""
        step = self.options.step
        return super().predict(queries).with_columns((pl.col("score") / step).floor() * step)


def ties_won(scores: pl.DataFrame, model: str, metric: str, dose: float) -> tuple[Claim, ...]:
    """hit@1 in which a query counts as soon as the truth shares the first place: fair shares are rounded up to 1."""
    rows = scores.filter((pl.col("model") == model) & (pl.col("fold") == "test"))
    value = float((rows[_METRIC] > 0).to_numpy().mean())
    printed = Printed(round(value, 3), 0.001)
    return (Claim("claims.csv, row 1", model, _METRIC, printed, split="molecule", n=rows.height),)


def _row(dose: float) -> dict[str, Any]:
    return {"model": StepRanker.name, "options": {"step": 0.2 * dose}}


GENEROUS_TIES = Liar(
    name="generous sorter",
    story="ranks by argsort or by counting strictly better candidates give every tie to the truth; knowledge-graph "
    "completion reported such numbers for years (Sun et al. 2020, A Re-evaluation of KGC Methods)",
    planted="scores come in steps; the author prints hit@1 with every tie for the first place won",
    row=_row,
    honest=LOOK_UP_RANKER,
    audits=("claims",),
    claims=ties_won,
    dose=0.5,
    doses=(0.1, 0.25, 0.5, 1.0),
    gains="",
)
