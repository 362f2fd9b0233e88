"""What every scorer of one row a query does alike: refuse what is no prediction, keep the denominator.

The rule for what is missing (design section 5): by default it raises; with missing="fail" the query scores the worst
value of each metric. A query never leaves the table, so dropping predictions can only worsen a mean.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from ..errors import ConfigError, MslitmusError, PredictionError, SchemaError
from ..schemas import Schema, conform
from ..spectra.flat import refuse_rows

MISSING = ("raise", "fail")
FAIL_REMEDY = 'predict every query, or score with missing="fail" (a query without a prediction then fails)'


def check_choice(option: str, value: str, choices: Sequence[str] = MISSING) -> None:
    """Raises ConfigError for a word that is none of `choices`."""
    if value not in choices:
        raise ConfigError(f"{option}={value!r} is not known", remedy=" or ".join(repr(c) for c in choices))


def refuse(rows: pl.DataFrame, what: str, error: type[MslitmusError], where: str, remedy: str) -> None:
    """Raises `error` with up to five of the identifiers of `rows`, if there are any rows."""
    refuse_rows(rows, np.ones(rows.height, dtype=bool), what, error, where, remedy)


def conformed(predictions: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """Predictions with exactly the schema's columns. Raises PredictionError for one that is absent or does not cast."""
    try:
        return conform(predictions, schema, where="predictions")
    except SchemaError as error:
        raise PredictionError(error.message, where=error.where, remedy=", ".join(schema)) from error


def check_truth(truth: pl.DataFrame, columns: Sequence[str]) -> None:
    """Raises SchemaError where the truth lacks a column or a value of it, or repeats an identifier."""
    if absent := [c for c in columns if c not in truth.columns]:
        raise SchemaError(f"columns absent: {', '.join(absent)}", where="truth", remedy=f"needs {', '.join(columns)}")
    repeated = truth.filter(pl.col("identifier").is_duplicated())
    refuse(repeated, "identifier repeated", SchemaError, "truth", "identifiers must be unique")
    for column in columns:
        empty = truth.filter(pl.col(column).is_null())
        refuse(empty, f"without {column}", SchemaError, "truth", "see docs/metrics.md for what the truth needs")


def by_query(predictions: pl.DataFrame, queries: pl.Series, columns: Sequence[str], missing: str) -> pl.DataFrame:
    """One prediction row a query, in the order of `queries`; `columns` null where a query has none.

    Raises PredictionError for an identifier predicted twice or not among the queries and, with missing="raise", for a
    query without a prediction.
    """
    where = "predictions"
    repeated = predictions.filter(pl.col("identifier").is_duplicated())
    refuse(repeated, "predicted more than once", PredictionError, where, "keep one row a query")
    unknown = predictions.filter(~pl.col("identifier").is_in(queries.implode()))
    refuse(unknown, "not among the queries", PredictionError, where, "predict the queries only")
    rows = queries.to_frame().join(
        predictions.select("identifier", *columns), on="identifier", how="left", maintain_order="left"
    )
    if missing == "raise":
        gone = rows.filter(pl.col(columns[0]).is_null())
        refuse(gone, "without a prediction", PredictionError, where, FAIL_REMEDY)
    return rows
