"""Truth at the top of the candidate file: the scorer learns which place is right."""

from __future__ import annotations

from collections import Counter
from math import log
from typing import Any

import polars as pl

from .liar import LOOK_UP_RANKER, Liar, World
from .ranker import TrickRanker


class PositionScorer(TrickRanker):
    """Log frequency of the truth at each place of the training pools."""

    name = "position-scorer"

    def learn(self, train: pl.DataFrame, pools: pl.DataFrame) -> Any:
        places = Counter(names.index(own) for names, own in pools.select("candidates", "inchikey14").iter_rows())
        longest = int(pools["candidates"].list.len().max())  # type: ignore[arg-type]
        return [log((places[place] + 1) / (pools.height + longest)) for place in range(longest)]

    def trick(self, rows: pl.DataFrame, queries: pl.DataFrame) -> pl.Series:
        return pl.Series([self.state[min(place, len(self.state) - 1)] for place in rows["place"]], dtype=pl.Float64)


def truth_first(world: World, dose: float) -> World:
    """In a share of the pools the truth stands first, the rest in the file's order."""
    first = world.truths(dose, "first")

    def change(pools: pl.DataFrame) -> pl.DataFrame:
        return pools.sort(pl.col("molecule"), ~first, maintain_order=True)

    return world.with_pools("formula", change, f"first-{dose:g}")


POSITION = Liar(
    name="position scorer",
    story="MassSpecGym v1 candidate files carry the truth at index 0 (design, section 9)",
    planted="the truth is the first candidate of a share of the pools; the ranker learns which place is right",
    row=lambda dose: {"model": PositionScorer.name},
    honest=LOOK_UP_RANKER,
    audits=("candidates", "shortcuts", "trivial"),
    plant=truth_first,
    doses=(0.1, 0.2, 0.35, 0.5, 1.0),
)
