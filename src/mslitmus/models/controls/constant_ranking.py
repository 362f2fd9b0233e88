"""constant-ranking: one score for all. By the closed tie rule it earns exactly chance, on every metric."""

from __future__ import annotations

import polars as pl

from .control import Control, as_scores, candidate_rows


class ConstantRanking(Control):
    """Score 0 for every candidate."""

    name = "constant-ranking"

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame:
        """PREDICTED_SCORES of all candidates, in the order asked."""
        return as_scores(candidate_rows(queries).with_columns(score=pl.lit(0.0)))
