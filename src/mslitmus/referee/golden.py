"""Golden values: what metrics and statistics make of small fixed tables, so that a changed definition shows.

A metric's parameters say what it is called with, not what it computes. A frozen benchmark therefore holds hashes of
the values themselves: other ties, another rule for what is missing, another interval give another hash.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from ..errors import ConfigError
from ..metrics.comparisons import compare
from ..metrics.names import family, parse_metric
from ..metrics.summary import add_skill, summarise
from ..metrics.tables import direction
from ..registry import Registry
from ..studies.folder import digest
from .golden_tables import GoldenTable

#: Values are compared to this many decimals: machines differ in the last bits, definitions do not.
DECIMALS = 10
RESAMPLES = 500
#: Metric family → a function without arguments that returns its `GoldenTable`; a plug-in is `golden table.<family>`.
TABLES = Registry(
    "golden table",
    {
        "spectrum": "mslitmus.referee.golden_tables:spectra",
        "ranking": "mslitmus.referee.golden_tables:rankings",
        "fingerprint": "mslitmus.referee.golden_tables:fingerprints",
        "structure": "mslitmus.referee.golden_tables:structures",
    },
)


def golden(metrics: Sequence[str], unit: str) -> tuple[dict[str, str], dict[str, str]]:
    """Hash of each metric's values and hash of its statistics, both by the metric's name.

    The statistics are mean, interval and skill of both averages, and the comparison of two models: on the same tables,
    with `unit` (`molecule` or `mces`, here made-up clusters) as what is resampled. The metrics are of one family.
    Raises ConfigError for a family without a table.
    """
    kind = family(metrics[0])
    if kind not in TABLES:
        remedy = f"its package registers the plug-in 'golden table.{kind}'"
        raise ConfigError(f"metrics of the family {kind!r} cannot be frozen: no golden table", remedy=remedy)
    table: GoldenTable = TABLES[kind]()
    scored = [table.score(given, table.truth, metrics, "fail") for given in table.predictions]
    told = statistics(_as_study(scored, table.truth, metrics), metrics, unit)
    values = {name: digest([_rounded(each, ("predicted", name)) for each in scored]) for name in metrics}
    return values, {name: digest([_rounded(t.filter(metric=name), t.columns) for t in told]) for name in metrics}


def statistics(scores: pl.DataFrame, metrics: Sequence[str], unit: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Summary with skill, and comparisons, as a study makes them."""
    clusters = None
    if unit == "mces":
        keys = scores.get_column("inchikey14").unique().sort()
        clusters = pl.DataFrame({"inchikey14": keys, "cluster": [str(k // 2) for k in range(keys.len())]})
    summary = summarise(scores, metrics, resamples=RESAMPLES, clusters=clusters)
    summary = add_skill(summary, {"asked": "trained", "control": "blind", "close": "neighbour"})
    return summary, compare(scores, metrics, resamples=RESAMPLES, clusters=clusters)


def _as_study(scored: Sequence[pl.DataFrame], truth: pl.DataFrame, metrics: Sequence[str]) -> pl.DataFrame:
    """Scores of a model with two seeds and of two controls with one, on two folds. The control `close` leaves just
    enough room for a skill on val, and just too little on test."""
    cells = (("asked", 0, 0), ("asked", 1, 1), ("control", 0, 1), ("close", 0, 1))
    keys = truth.select("identifier", "inchikey14")
    study = pl.concat(
        scored[which]
        .join(keys, on="identifier", maintain_order="left")
        .with_columns(split=pl.lit("golden"), model=pl.lit(model), seed=pl.lit(seed), fold=pl.lit(fold))
        for model, seed, which in cells
        for fold in ("val", "test")
    )
    rated = {m: direction(m) for m in metrics if direction(m)}
    room = pl.when(pl.col("fold") == "val").then(0.021).otherwise(0.019)
    near = [(parse_metric(m).best - way * room).alias(m) for m, way in rated.items()]  # type: ignore[operator]
    close = study.filter(pl.col("model") == "close").with_columns(near)
    return pl.concat([study.filter(pl.col("model") != "close"), close.select(study.columns)])


def _rounded(table: pl.DataFrame, columns: Sequence[str]) -> Mapping[str, list[Any]]:
    """Columns as JSON values; −0.0 is 0.0."""
    places = pl.selectors.float().round(DECIMALS)
    whole = pl.when(places == 0).then(0.0).otherwise(places)  # polars leaves out an addition of 0
    return table.select(columns).with_columns(whole.name.keep()).to_dict(as_series=False)
