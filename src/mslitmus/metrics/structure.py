"""Score generated structures against the true molecules: one value a query and metric.

The structures of a query are taken by falling score, equal ones in the order given, and the first K of them count. A
query without any structure fails every metric; a text that does not parse is a structure that is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..chem.molecule import identify
from ..errors import ChemistryError, PredictionError
from ..schemas import PREDICTED_STRUCTURES
from .missing import FAIL_REMEDY, MISSING, check_choice, check_truth, conformed, refuse
from .molecule import mces_pairs, tanimoto_pairs
from .names import parse_as
from .structure_names import StructureMetric

_WHERE = "predictions"


def score(predictions: pl.DataFrame, truth: pl.DataFrame, names: Sequence[str], missing: str = "raise") -> pl.DataFrame:
    """Score structures, joined to the truth by `identifier`.

    Args:
        predictions: schema PREDICTED_STRUCTURES: one row a structure. A row with no SMILES says that there is no
            confident structure: the query is answered, and fails.
        truth: identifier, inchikey14, smiles, formula.
        names: metric names, see `metrics.structure_names`.
        missing: `"raise"` refuses a query without any row; `"fail"` gives it the worst value of each metric.

    Returns:
        One row a query in the order of `truth`: `identifier`, `predicted` (has a structure), one f64 column a metric.

    Raises:
        PredictionError: queries without a prediction, unknown identifiers; ConfigError: a bad metric name or choice;
        SchemaError: a truth that lacks a column or a value.
    """
    check_choice("missing", missing, MISSING)
    metrics = {name: parse_as(StructureMetric, name) for name in names}
    check_truth(truth, ("identifier", "inchikey14", "smiles", "formula"))
    given = conformed(predictions, PREDICTED_STRUCTURES)
    queries = truth.select("identifier")
    unknown = given.join(queries, on="identifier", how="anti")
    refuse(unknown, "not among the queries", PredictionError, _WHERE, "predict the queries only")
    if missing == "raise":
        gone = queries.join(given, on="identifier", how="anti")
        refuse(gone, "without a prediction", PredictionError, _WHERE, FAIL_REMEDY)
    most = max((metric.k for metric in metrics.values()), default=1)
    rows = _first(given, most).join(
        truth.select("identifier", "inchikey14", "formula", true="smiles"), on="identifier", maintain_order="left"
    )
    answered = queries.join(rows, on="identifier", how="left").unique("identifier")
    rows = rows.join(_identities(rows["smiles"]), on="smiles", how="left", maintain_order="left")
    columns = [_column(metric, rows, queries).alias(name) for name, metric in metrics.items()]
    has = queries["identifier"].is_in(answered.filter(pl.col("smiles").is_not_null())["identifier"].implode())
    return queries.with_columns(has.alias("predicted"), *columns)


def _first(given: pl.DataFrame, most: int) -> pl.DataFrame:
    """identifier, smiles, place (from 1): the first `most` structures of each query."""
    kept = given.filter(pl.col("smiles").is_not_null()).with_columns(pl.col("score").fill_nan(None))
    ordered = kept.sort("score", descending=True, nulls_last=True, maintain_order=True)
    numbered = ordered.with_columns(place=pl.int_range(1, pl.len() + 1).over("identifier"))
    return numbered.filter(pl.col("place") <= most).select("identifier", "smiles", "place")


def _identities(smiles: pl.Series) -> pl.DataFrame:
    """smiles, key, made (formula): of each distinct text; both null for what does not parse or has no InChI."""
    known: list[tuple[str, str | None, str | None]] = []
    for text in smiles.unique(maintain_order=True).to_list():
        try:
            who = identify(text)
            known.append((text, who.inchikey14, who.formula))
        except ChemistryError:
            known.append((text, None, None))
    return pl.DataFrame(known, schema={"smiles": pl.String, "key": pl.String, "made": pl.String}, orient="row")


def _column(metric: StructureMetric, rows: pl.DataFrame, queries: pl.DataFrame) -> pl.Series:
    """Values of one metric, one a query."""
    part = rows.filter(pl.col("place") <= metric.k)
    if metric.measure in ("mol-tanimoto", "mol-mces"):
        values: NDArray[np.float64]
        valid = part.select(pl.when(pl.col("key").is_not_null()).then("smiles"))["smiles"].to_list()
        if metric.measure == "mol-tanimoto":
            values, best = tanimoto_pairs(part["true"].to_list(), valid), pl.col("value").max()
        else:
            values, best = mces_pairs(part["true"].to_list(), valid).value, pl.col("value").min()
    else:
        column = {"mol-hit": pl.col("key") == pl.col("inchikey14"), "mol-valid": pl.col("key").is_not_null()}.get(
            metric.measure, pl.col("made") == pl.col("formula")
        )
        values = part.select(column.fill_null(False).cast(pl.Float64)).to_series().to_numpy()
        best = pl.col("value").max() if metric.measure == "mol-hit" else pl.col("value").mean()
    found = part.select("identifier", value=pl.Series(values, dtype=pl.Float64)).group_by("identifier").agg(best)
    return queries.join(found, on="identifier", how="left", maintain_order="left")["value"].fill_null(metric.worst)
