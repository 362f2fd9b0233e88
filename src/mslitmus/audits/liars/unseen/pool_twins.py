"""One molecule, many queries: spectra that come with the same list of candidates are pooled before they are ranked."""

from __future__ import annotations

from typing import ClassVar

import polars as pl
from pydantic import Field

from ....models.options import Options
from ..liar import LOOK_UP_RANKER, Liar
from ..ranker import TrickOptions, TrickRanker


class PoolTwinsOptions(TrickOptions):
    """How much of it."""

    dose: float = Field(1.0, ge=0, le=1, description="weight of the other spectra's mean score")


class PoolTwins(TrickRanker):
    """Score = (1 − d) · own + d · mean over all asked queries with the same candidates: those of one molecule."""

    name = "pool-twins"
    Options: ClassVar[type[Options]] = PoolTwinsOptions

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame:
        """PREDICTED_SCORES of all candidates, in the order asked."""
        scores = super().predict(queries)
        pools = queries.select("identifier", pool=pl.col("candidates").list.sort().list.join(" "))
        both = scores.join(pools, on="identifier", how="left", maintain_order="left")
        shared = pl.col("score").mean().over("pool", "candidate")
        dose = self.options.dose
        return both.select("identifier", "candidate", score=(1 - dose) * pl.col("score") + dose * shared)


POOL_TWINS = Liar(
    name="pool twin",
    story="our own, after models that merge all energies and adducts of an analyte at test time, in a table that says "
    "'per spectrum' beside rivals that saw one",
    planted="the scores of all test spectra that come with the same candidate list are averaged",
    row=lambda dose: {"model": PoolTwins.name, "options": {"dose": dose}},
    honest=LOOK_UP_RANKER,
    audits=("batching",),
    doses=(0.25, 0.5, 1.0),
)
