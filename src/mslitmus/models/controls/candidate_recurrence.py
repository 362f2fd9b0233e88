"""candidate-recurrence: ranks by how often an *unknown* molecule comes back in the training pools.

A dataset's own molecules, those of the test fold too, are candidates of each other where formula or mass agree. So a
true molecule recurs in the pools of its training isomers, while made-up decoys recur less; training molecules cannot be
right in a split by molecule and come last. What this earns is what the pools give away across folds.
"""

from __future__ import annotations

import time

import polars as pl

from ..options import Options
from ..protocol import FitContext, FitReport
from .candidate_popularity import CandidatePopularity
from .control import pools_with_truth


class CandidateRecurrence(CandidatePopularity):
    """Counts training pools that hold a candidate; a training molecule counts −1."""

    name = "candidate-recurrence"
    Options = Options

    def fit(self, train: pl.DataFrame, val: pl.DataFrame, context: FitContext) -> FitReport:
        started = time.perf_counter()
        found = pools_with_truth(train).select(candidate="candidates").explode("candidate")
        counts = found.group_by("candidate").agg(count=pl.len().cast(pl.Int64))
        known = train.select(candidate="inchikey14").drop_nulls().unique().with_columns(count=pl.lit(-1, pl.Int64))
        rest = counts.join(known, on="candidate", how="anti")
        self._counts = pl.concat([rest, known]).sort("candidate")
        return FitReport(seconds=time.perf_counter() - started, stopped="counted", notes={"counted": rest.height})

    def counted(self, queries: pl.DataFrame) -> pl.DataFrame:
        return self._known()
