"""The best of several seeds, printed as the model's score."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ....models.protocol import FitContext, FitReport
from ....provenance import write_json
from ...claim import Claim, Printed
from ..company import Alone
from ..copied_bits import LookUp
from ..liar import Liar

_SPOILT = 0.4  # largest share of bits that a seed loses


class Seeded(LookUp):
    """The look-up, less a share of bits that the seed draws: runs that differ as those of small networks do."""

    name = "seeded-look-up"
    drawn = 0

    def fit(self, train: pl.DataFrame, val: pl.DataFrame, context: FitContext) -> FitReport:
        self.drawn = context.seed
        return super().fit(train, val, context)

    def said(self, values: NDArray[np.float32], queries: pl.DataFrame) -> NDArray[np.float32]:
        rng = np.random.default_rng(1000 + self.drawn)
        return np.where(rng.random(values.shape[1]) < _SPOILT * rng.random(), np.float32(0.0), values)

    def save(self, folder: Path) -> None:
        super().save(folder)
        write_json(folder / "drawn.json", {"seed": self.drawn})

    @classmethod
    def load(cls, folder: Path) -> Self:
        model = super().load(folder)
        model.drawn = json.loads((folder / "drawn.json").read_text(encoding="utf-8"))["seed"]
        return model


def best_seed(scores: pl.DataFrame, model: str, metric: str, dose: float) -> tuple[Claim, ...]:
    """The mean of the seed that tests best; how many there were is not said."""
    rows = scores.filter((pl.col("model") == model) & (pl.col("fold") == "test"))
    seeds = rows.group_by("seed").agg(pl.col(metric).mean(), n=pl.len()).sort(metric)
    value, n = float(seeds[metric][-1]), int(seeds["n"][-1])
    return (Claim("claims.csv, row 1", model, metric, Printed(round(value, 4), 0.0001), split="molecule", n=n),)


def _row(dose: float) -> dict[str, Any]:
    return {"model": Seeded.name, "seeds": list(range(max(2, round(10 * dose))))}


BEST_OF_SEEDS = Liar(
    name="best of seeds",
    story="the maximum over runs in place of their mean: Reimers & Gurevych 2017 (doi 10.18653/v1/D17-1035) show how "
    "much of a difference between published systems a lucky seed can make",
    planted="five runs that differ by seed are all on record; the author prints the best one's test score",
    task="fingerprint",
    task_options={},
    row=_row,
    honest={"model": Alone.name},
    audits=("claims", "selection"),
    claims=best_seed,
    dose=0.5,
    doses=(0.2, 0.5, 1.0),
    gains="",
)
