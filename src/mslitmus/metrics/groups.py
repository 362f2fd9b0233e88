"""The worst group: in which condition is a model weakest, with an interval that knows the group was picked."""

from __future__ import annotations

import polars as pl
from scipy.special import stdtrit

from ..errors import ConfigError
from ..schemas import Schema, conform
from .tables import direction, unit_range

#: Levels of fewer molecules are not picked from: their means are worst by chance.
LEAST_MOLECULES = 20
#: One row a (split, model, metric, stratum).
WORST_GROUPS: Schema = {
    "split": pl.String(),
    "model": pl.String(),
    "metric": pl.String(),
    "stratum": pl.String(),
    "level": pl.String(),  # the worst one
    "mean": pl.Float64(),
    "low": pl.Float64(),  # simultaneous over the levels that it was picked from
    "high": pl.Float64(),
    "spread": pl.Float64(),  # how much better the best level is, 0 or more
    "n_groups": pl.Int64(),  # levels that it was picked from
    "n_queries": pl.Int64(),
    "n_molecules": pl.Int64(),
}


def worst_group(strata: pl.DataFrame, least: int = LEAST_MOLECULES, level: float = 0.95) -> pl.DataFrame:
    """The level with the worst mean of each (split, model, metric, stratum), in schema WORST_GROUPS.

    Args:
        strata: from `strata.stratify`.
        least: levels of fewer molecules are passed over, and `unknown`, which names no condition.
        level: coverage with which `strata` was made.

    The worst of k noisy means lies too low by selection. The interval is therefore wide enough to hold for all k levels
    at once, so also for the one picked (Bonferroni): each half of the BCa interval is multiplied by
    t(1 − α/2k) / t(1 − α/2), Student's t with one degree of freedom less than the level has molecules, which keeps its
    asymmetry, and cut at 0 and 1 for metrics that lie between. The mean itself is not corrected. Worst is lowest
    where more is better, highest where less is; metrics without a best value have no worst group. Strata with no level
    that is large enough have no row; with one, `spread` is 0 and the interval unchanged. Raises ConfigError for a bad
    option.
    """
    if not 0 < level < 1 or least < 1:
        raise ConfigError("level must lie between 0 and 1, least must be 1 or more")
    if strata.is_empty():
        return pl.DataFrame(schema=dict(WORST_GROUPS))
    ways = {name: direction(name) for name in strata.get_column("metric").unique()}
    way = pl.col("metric").replace_strict(ways, return_dtype=pl.Int64)
    of = ["split", "model", "metric", "stratum"]
    named = (pl.col("n_molecules") >= least) & (pl.col("level") != "unknown") & pl.col("mean").is_not_null()
    ranked = (
        strata.with_columns(way.alias("_way"))
        .filter(named & (pl.col("_way") != 0))
        .with_columns((pl.col("mean") * pl.col("_way")).alias("_goodness"))
        .with_columns(
            pl.len().over(of).cast(pl.Int64).alias("n_groups"),
            (pl.col("_goodness").max() - pl.col("_goodness").min()).over(of).alias("spread"),
        )
        .sort(*of, "_goodness", "order")
        .group_by(of, maintain_order=True)
        .first()
    )
    factor = pl.Series(
        "_factor",
        [_widening(k, n, level) for k, n in ranked.select("n_groups", "n_molecules").iter_rows()],
        dtype=pl.Float64,
    )
    wide = {end: pl.col("mean") + factor * (pl.col(end) - pl.col("mean")) for end in ("low", "high")}
    bounded = pl.col("metric").is_in([name for name in ways if unit_range([name])[0]])
    ends = [pl.when(bounded).then(value.clip(0, 1)).otherwise(value).alias(end) for end, value in wide.items()]
    return conform(ranked.with_columns(ends), WORST_GROUPS)


def _widening(groups: int, molecules: int, level: float) -> float:
    """By how much the interval of a mean grows if it must hold for `groups` means at once."""
    tail, freedom = (1 - level) / 2, max(molecules - 1, 1)
    return float(stdtrit(freedom, 1 - tail / groups) / stdtrit(freedom, 1 - tail))
