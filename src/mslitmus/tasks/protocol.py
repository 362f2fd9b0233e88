"""What a task is: what a model may see, what the truth is, what a valid prediction looks like, how it scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, Self

import polars as pl

from ..errors import PredictionError, SchemaError
from ..schemas import Schema, conform

#: Split → metric → average → bound, as `metrics.summary.add_skill` takes it for one split.
Bounds = dict[str, dict[str, Any]]
Folds = Mapping[str, pl.DataFrame]
SHOWN = 5


class Task(Protocol):
    """A view of a dataset. The scorer meets truth and predictions; a model never meets the truth of its queries."""

    name: str
    visible: tuple[str, ...]
    predictions: Schema
    metric_family: str
    default_metrics: tuple[str, ...]
    headline: str  # the metric that chooses epochs where a study names no other
    controls: tuple[str, ...]  # models that know nothing or look up: what stands beside every model

    def eligible(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The rows this task can be asked about."""

    def prepared(self, folds: Mapping[str, Folds], molecules: pl.DataFrame, progress: Callable[[str], None]) -> Self:
        """This task with whatever it must make before the first query (candidate pools).

        Args: split → fold → rows; `inchikey14` and `smiles` of every molecule of the dataset.
        """

    def record(self) -> dict[str, Any]:
        """What decides queries and truth beside the rows themselves: goes into the identity of every prediction."""

    def artifacts(self) -> dict[str, Any]:
        """What the report shows of the preparation: file stem in the run folder → JSON value."""

    def asked(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Of the rows of a held-out fold, those that become queries (a retrieval query needs a pool to rank)."""

    def queries(self, frame: pl.DataFrame) -> pl.DataFrame:
        """What a model sees of the rows it predicts."""

    def truth(self, frame: pl.DataFrame) -> pl.DataFrame:
        """What the scorer compares with."""

    def training_view(self, frame: pl.DataFrame) -> pl.DataFrame:
        """What a model may learn from."""

    def check(self, predictions: pl.DataFrame, queries: pl.DataFrame) -> pl.DataFrame:
        """Predictions in the task's schema; raises PredictionError that names rows. Missing ones pass."""

    def score(
        self, predictions: pl.DataFrame, truth: pl.DataFrame, metrics: Sequence[str], missing: str = "raise"
    ) -> pl.DataFrame:
        """`identifier`, `predicted`, one column a metric: one row a row of `truth`."""

    def shown(self, predictions: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
        """What a page draws of predictions for `rows`: `identifier` and columns of schema EXAMPLES."""

    def bounds(self, folds: Folds, metrics: Sequence[str]) -> Bounds:
        """What the best possible model reaches on the test fold, where that is not a metric's best value."""


class Plain:
    """What a task does that makes nothing before the first query, asks about every eligible row, and whose bound is the
    metric's best value."""

    def prepared(self, folds: Mapping[str, Folds], molecules: pl.DataFrame, progress: Callable[[str], None]) -> Self:
        return self

    def artifacts(self) -> dict[str, Any]:
        return {}

    def asked(self, frame: pl.DataFrame) -> pl.DataFrame:
        return frame

    def bounds(self, folds: Folds, metrics: Sequence[str]) -> Bounds:
        return {}


def conformed(predictions: pl.DataFrame, schema: Schema, queries: pl.DataFrame) -> pl.DataFrame:
    """Predictions in `schema`, of known queries. Raises PredictionError."""
    try:
        table = conform(predictions, schema, where="predictions")
    except SchemaError as error:
        raise PredictionError(error.message, where=error.where, remedy=error.remedy) from error
    unknown = table.join(queries.select("identifier"), on="identifier", how="anti")
    refuse(unknown, "not among the queries", "predict the identifiers of the query file only")
    return table


def refuse(rows: pl.DataFrame, what: str, remedy: str) -> None:
    """Raise PredictionError that names up to five of `rows`, if there are any."""
    if rows.height:
        names = ", ".join(repr(i) for i in rows["identifier"].unique(maintain_order=True).head(SHOWN))
        raise PredictionError(f"{rows.height} predictions {what}: {names}", where="predictions", remedy=remedy)


def refuse_missing(predictions: pl.DataFrame, queries: pl.DataFrame) -> None:
    """Raise PredictionError where a query has no prediction at all."""
    absent = queries.select("identifier").join(predictions.select("identifier"), on="identifier", how="anti")
    if absent.height:
        names = ", ".join(repr(i) for i in absent["identifier"].head(SHOWN))
        raise PredictionError(
            f"{absent.height} of {queries.height} queries have no prediction: {names}",
            where="predictions",
            remedy="predict every query, or allow_missing: true (--allow-missing): each then counts as failed",
        )


def mean_per_molecule(scores: pl.DataFrame, truth: pl.DataFrame, metric: str) -> float:
    """The headline number: the mean over molecules of their spectra's mean, summed in one order: equal bits."""
    rows = scores.select("identifier", metric).join(truth.select("identifier", "inchikey14"), on="identifier")
    ordered = rows.sort("inchikey14", "identifier").group_by("inchikey14", maintain_order=True)
    value = ordered.agg(pl.col(metric).mean())[metric].mean()
    return float(value) if isinstance(value, int | float) else float("nan")
