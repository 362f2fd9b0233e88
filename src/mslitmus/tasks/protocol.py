"""What a task is: which columns a model may see, what the truth is, and what a valid prediction looks like."""

from __future__ import annotations

from typing import Protocol

import polars as pl

from ..schemas import Schema


class Task(Protocol):
    """A view of a dataset. The scorer meets truth and predictions; a model never meets the truth of its queries."""

    name: str
    visible: tuple[str, ...]
    predictions: Schema
    default_metrics: tuple[str, ...]

    def eligible(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The rows this task can be asked about."""

    def queries(self, frame: pl.DataFrame) -> pl.DataFrame:
        """What a model sees of the rows it predicts."""

    def truth(self, frame: pl.DataFrame) -> pl.DataFrame:
        """What the scorer compares with."""

    def check(self, predictions: pl.DataFrame, queries: pl.DataFrame) -> pl.DataFrame:
        """Predictions in the task's schema; raises PredictionError that names rows."""
