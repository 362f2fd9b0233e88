"""Where models stand over many rankings: Kendall's tau between two of them, and the normalised rank.

The normalised rank is FlexMS's (arXiv 2602.22822): the rank of a model under one metric on one split, scaled so that
the number of models does not matter, then averaged. Here 0 is the first place and 1 the last, as for candidates.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import polars as pl

from ..schemas import NORMALISED_RANKS, conform
from .intervals import Array
from .tables import direction


def normalised_ranks(summary: pl.DataFrame, without: Collection[str] = (), average: str = "molecule") -> pl.DataFrame:
    """Mean, best and worst normalised rank on test of every model, by split and over all, in schema NORMALISED_RANKS.

    Args:
        summary: schema SUMMARY; rows over all seeds count.
        without: models that take no part (an oracle).

    (rank − 1) / (models − 1) under each metric that has a best value; equal means share their ranks' mean. A single
    model has rank 0. Metrics of one kind (cosine at three widths) count as often as they are listed.
    """
    ways = {name: direction(name) for name in summary.get_column("metric").unique()}
    way = pl.col("metric").replace_strict(ways, return_dtype=pl.Int64, default=0)
    rows = (
        summary.filter(
            (pl.col("fold") == "test")
            & (pl.col("average") == average)
            & pl.col("seed").is_null()
            & ~pl.col("model").is_in(list(without))
        )
        .with_columns(way.alias("_way"))
        .filter((pl.col("_way") != 0) & pl.col("mean").is_not_null())
    )
    of = ["split", "metric"]
    place = (-pl.col("mean") * pl.col("_way")).rank("average").over(of) - 1
    ranked = rows.with_columns((place / pl.max_horizontal(pl.len().over(of) - 1, 1)).alias("_rank"))
    counted = ranked.with_columns(pl.len().over(of).alias("n_models"))
    numbers = [
        pl.col("_rank").mean().alias("mean"),
        pl.col("_rank").min().alias("best"),
        pl.col("_rank").max().alias("worst"),
        pl.len().alias("n_rankings"),
        pl.col("n_models").max(),
    ]
    by_split = counted.group_by("split", "model").agg(numbers)
    overall = counted.group_by("model").agg(numbers).with_columns(split=pl.lit(None, dtype=pl.String))
    table = pl.concat([by_split, overall.select(by_split.columns)])
    return conform(table, NORMALISED_RANKS).sort("split", "mean", "model", nulls_last=True)


def kendall(x: Array, y: Array) -> float:
    """Kendall's tau-b of two scores of the same k ≥ 2 things (Kendall, Biometrika 1945, 33, 239); NaN without order.

    (C − D) / √((n₀ − ties in x)(n₀ − ties in y)), C and D the pairs in the same and in the opposite order.
    """
    upper = np.triu_indices(len(x), 1)
    a, b = (np.sign(np.subtract.outer(v, v))[upper] for v in (np.asarray(x, float), np.asarray(y, float)))
    scale = np.sqrt(float((a != 0).sum()) * float((b != 0).sum()))
    return float((a * b).sum() / scale) if scale else float("nan")


def kept(x: Array, y: Array) -> tuple[int, int]:
    """(pairs that both scores put in the same order, pairs that x puts in an order)."""
    upper = np.triu_indices(len(x), 1)
    a, b = (np.sign(np.subtract.outer(v, v))[upper] for v in (np.asarray(x, float), np.asarray(y, float)))
    return int((a * b > 0).sum()), int((a != 0).sum())
