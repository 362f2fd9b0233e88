"""first-candidate: ranks by position in the list that is shown.

Above chance only where the order tells the truth, as in candidate files that carry the truth at index 0.
"""

from __future__ import annotations

import polars as pl

from .control import Control, as_scores


class FirstCandidate(Control):
    """Score −0, −1, −2, … down the list."""

    name = "first-candidate"

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame:
        """PREDICTED_SCORES of all candidates, in the order asked."""
        lists = queries.filter(pl.col("candidates").list.len() > 0).select(
            "identifier", candidate="candidates", position=pl.int_ranges(pl.col("candidates").list.len())
        )
        rows = lists.explode("candidate", "position")
        return as_scores(rows.with_columns(score=-pl.col("position").cast(pl.Float64)))
