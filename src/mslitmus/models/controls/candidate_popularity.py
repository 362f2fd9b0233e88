"""candidate-popularity: ranks by how often a candidate has been seen, whatever the spectrum says.

What counts (`count`):

- `train-pools`: the pools of training molecules that hold the candidate;
- `records`: the training spectra of the candidate itself. In a split by molecule the truth has none, and a control that
  prefers the *unknown* one knows which candidates cannot be right;
- `asked-pools`: the pools among the queries that hold it. Transductive: the answer to one query depends on which others
  are asked. It exists to find sets whose decoys are shared and whose truths are not, and is no fair model.

`direction: auto` takes the direction that scores better on validation, `more` where both score alike.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import polars as pl

from ...provenance import write_json, write_parquet
from ..options import Options
from ..protocol import FitContext, FitReport
from .control import Control, as_scores, candidate_rows, pools_with_truth


class CandidatePopularityOptions(Options):
    """Options of candidate-popularity."""

    count: Literal["train-pools", "records", "asked-pools"] = "train-pools"
    direction: Literal["auto", "more", "less"] = "auto"


class CandidatePopularity(Control):
    """Counts candidates; see the module for what counts."""

    name = "candidate-popularity"
    Options: ClassVar[type[Options]] = CandidatePopularityOptions
    _counts: pl.DataFrame | None = None
    _sign = 1

    def fit(self, train: pl.DataFrame, val: pl.DataFrame, context: FitContext) -> FitReport:
        started = time.perf_counter()
        if self.options.count == "records":
            found = train.filter(pl.col("inchikey14").is_not_null()).select(candidate="inchikey14")
        else:
            found = pools_with_truth(train).select(candidate="candidates").explode("candidate")
        self._counts = found.group_by("candidate").agg(count=pl.len().cast(pl.Int64)).sort("candidate")
        notes: dict[str, Any] = {"counted": self._counts.height}
        self._sign = -1 if self.options.direction == "less" else 1
        truth = pools_with_truth(val)
        if self.options.direction == "auto" and truth.height:
            more, less = (context.score(self._scored(truth, sign), truth) for sign in (1, -1))
            self._sign = 1 if more >= less else -1
            notes |= {"validation_more": more, "validation_less": less}
        notes["direction"] = "more" if self._sign == 1 else "less"
        return FitReport(seconds=time.perf_counter() - started, stopped="counted", notes=notes)

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame:
        """PREDICTED_SCORES of all candidates, in the order asked."""
        return self._scored(queries, self._sign)

    def _scored(self, queries: pl.DataFrame, sign: int) -> pl.DataFrame:
        counts = self.counted(queries)
        rows = candidate_rows(queries).join(counts, on="candidate", how="left", maintain_order="left")
        return as_scores(rows.with_columns(score=(sign * pl.col("count").fill_null(0)).cast(pl.Float64)))

    def counted(self, queries: pl.DataFrame) -> pl.DataFrame:
        """`candidate`, `count`."""
        return _asked(queries) if self.options.count == "asked-pools" else self._known()

    def _known(self) -> pl.DataFrame:
        if self._counts is None:
            raise self.not_fitted()
        return self._counts

    def save(self, folder: Path) -> None:
        super().save(folder)
        write_json(folder / "direction.json", {"sign": self._sign})
        write_parquet(folder / "counts.parquet", self._known())

    @classmethod
    def load(cls, folder: Path) -> Self:
        model = super().load(folder)
        model._sign = int(json.loads((folder / "direction.json").read_text(encoding="utf-8"))["sign"])
        model._counts = pl.read_parquet(folder / "counts.parquet")
        return model


def _asked(queries: pl.DataFrame) -> pl.DataFrame:
    """In how many distinct pools of the queries each candidate occurs: spectra of one molecule share a pool."""
    pools = queries.select(candidate="candidates", pool=pl.col("candidates").list.join(" ")).unique("pool")
    return pools.explode("candidate").group_by("candidate").agg(count=pl.len().cast(pl.Int64))
