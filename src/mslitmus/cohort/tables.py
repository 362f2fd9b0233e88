"""The tables of a cohort's run folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from ..schemas import Schema

#: Where a sheet tells no acquisitions apart, and where several are read together.
ALL, TOGETHER = "all", "together"
#: Added to the name of a representation: the same procedure on shuffled labels.
SHUFFLED = " (labels shuffled)"

_MEANS = ("order", "n_spectra", "n_peaks", "total_intensity", "in_blank")

RESULTS: Schema = {
    "question": pl.String(),  # classification, regression, separation, nearest
    "target": pl.String(),
    "acquisition": pl.String(),  # its name, `all` where the sheet tells none apart, `together` for all of them
    "representation": pl.String(),
    "aggregation": pl.String(),  # `chosen` within the training side of each fold, or one that was fixed
    "metric": pl.String(),
    "value": pl.Float64(),
    "low": pl.Float64(),  # 95 %, by resampling groups
    "high": pl.Float64(),
    "chance_mean": pl.Float64(),  # of the same procedure on shuffled labels
    "p_permutation": pl.Float64(),  # one-sided
    "n_samples": pl.Int64(),
    "n_groups": pl.Int64(),  # of samples that share a fold
    "seed": pl.String(),  # of the folds, or `all`: the mean
}
PREDICTIONS: Schema = {
    "question": pl.String(),
    "target": pl.String(),
    "acquisition": pl.String(),
    "representation": pl.String(),
    "seed": pl.String(),
    "fold": pl.Int64(),
    "sample": pl.String(),
    "truth": pl.String(),
    "predicted": pl.String(),
    "probability": pl.Float64(),  # of the predicted class; null where the learner gives none
    "truth_value": pl.Float64(),  # of numbers
    "predicted_value": pl.Float64(),
}
CONFUSION: Schema = {
    "target": pl.String(),
    "acquisition": pl.String(),
    "representation": pl.String(),
    "truth": pl.String(),
    "predicted": pl.String(),
    "count": pl.Float64(),  # mean over seeds
}
COORDINATES: Schema = {
    "representation": pl.String(),
    "acquisition": pl.String(),
    "sample": pl.String(),
    "x": pl.Float64(),
    "y": pl.Float64(),
    "method": pl.String(),  # umap; principal coordinates where there are too few samples for it
}
NEIGHBOURS: Schema = {
    "representation": pl.String(),
    "acquisition": pl.String(),
    "sample": pl.String(),
    "neighbour": pl.String(),
    "distance": pl.Float64(),  # of the sample vectors
    "truth_distance": pl.Float64(),  # of the targets
    "best_possible_distance": pl.Float64(),  # the least truth_distance of any sample outside the group
}
SEPARATION: Schema = {
    "representation": pl.String(),
    "acquisition": pl.String(),
    "target": pl.String(),
    "metric": pl.String(),  # silhouette, permanova-f, permanova-r2
    "value": pl.Float64(),
    "p_permutation": pl.Float64(),
    "n_samples": pl.Int64(),
    "n_groups": pl.Int64(),
}
#: Every representation against the baseline, on the same resamples of groups.
COMPARISONS: Schema = {
    "question": pl.String(),
    "target": pl.String(),
    "acquisition": pl.String(),
    "representation": pl.String(),
    "against": pl.String(),
    "metric": pl.String(),
    "difference": pl.Float64(),  # how much better; of an error, how much smaller
    "low": pl.Float64(),
    "high": pl.Float64(),
}
#: Of each target the best acquisition and representation, against every other.
LEADERS: Schema = {
    "question": pl.String(),
    "target": pl.String(),
    "metric": pl.String(),  # macro-f1 or r2
    "acquisition": pl.String(),
    "representation": pl.String(),
    "value": pl.Float64(),
    "p_chance": pl.Float64(),  # of the leader against shuffled labels
    "against_acquisition": pl.String(),
    "against_representation": pl.String(),
    "difference": pl.Float64(),  # on the samples that both have
    "low": pl.Float64(),
    "high": pl.Float64(),
    "p": pl.Float64(),  # two-sided, by swapping the predictions of whole groups
    "p_holm": pl.Float64(),  # over all rows of one target
    "n_groups": pl.Int64(),
}
TABLES: Mapping[str, Schema] = {
    "results": RESULTS,
    "predictions": PREDICTIONS,
    "confusion": CONFUSION,
    "coordinates": COORDINATES,
    "neighbours": NEIGHBOURS,
    "separation": SEPARATION,
    "comparisons": COMPARISONS,
    "leaders": LEADERS,
}
#: Made of the predictions of all representations together.
DERIVED = ("comparisons", "leaders")


def together(rows: pl.DataFrame, acquisitions: Sequence[str]) -> tuple[pl.DataFrame, list[pl.Series]]:
    """The samples that have all acquisitions, one row each, named by their `unit`; and their runs in each acquisition.

    Batches differ between acquisitions, so a sample's is the combination; what is counted or ordered is the mean.

    Args:
        rows: of a sheet or of samples.parquet.
    """
    single = [rows.filter(pl.col("acquisition") == name).unique("unit", keep="first", maintain_order=True)
              for name in acquisitions]  # fmt: skip
    units = single[0].select("unit")
    for each in single[1:]:
        units = units.join(each, on="unit", how="semi", maintain_order="left")
    aligned = [units.join(each, on="unit", how="left", maintain_order="left") for each in single]
    means = [name for name in _MEANS if name in rows.columns]
    whole = pl.concat(aligned, how="vertical").group_by("unit", maintain_order=True).agg(
        pl.col(means).cast(pl.Float64).mean(), batch=pl.col("batch").drop_nulls().unique(maintain_order=True)
    )  # fmt: skip
    whole = whole.with_columns(batch=pl.when(pl.col("batch").list.len() > 0).then(pl.col("batch").list.join(" + ")))
    out = aligned[0].drop("batch", *means).join(whole, on="unit", how="left", maintain_order="left")
    out = out.with_columns(sample=pl.col("unit"), acquisition=pl.lit(TOGETHER))
    return out.select(rows.columns), [each["sample"] for each in aligned]


def table(rows: Sequence[Mapping[str, Any]], schema: Schema) -> pl.DataFrame:
    """Rows as a frame; what a row lacks is null."""
    full = [{name: row.get(name) for name in schema} for row in rows]
    return pl.DataFrame(full, schema=dict(schema), orient="row")
