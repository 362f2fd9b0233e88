"""Which queries of a study its page draws: the best, median and worst of a model, and a protocol's disagreements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b

import polars as pl

from ..data.protocols import worst_disagreements
from ..metrics.names import parse_metric
from ..schemas import EXAMPLES, conform
from ..tasks.protocol import Task
from .config import StudyConfig
from .folder import RunFolder, read_table

#: Molecules on the sheet that a protocol draws for an expert, per model.
SHEET = 12
_Folds = Mapping[str, Mapping[str, pl.DataFrame]]


def ranked(scores: pl.DataFrame, metrics: Sequence[str]) -> pl.DataFrame:
    """Answered test queries of each (split, model, seed) from best to worst: adds `place` (0 …) and `n`.

    The first metric decides, the others where it is equal (a miss by one rank is no worse by hit@1 than one by fifty),
    then a hash: the order of identifiers would show one laboratory.
    """
    asked = scores.filter((pl.col("fold") == "test") & pl.col("predicted"))
    rising = [parse_metric(metric).higher_is_better for metric in metrics]
    lots = [blake2b(name.encode(), digest_size=8).digest() for name in asked["identifier"]]
    order = asked.with_columns(lot=pl.Series(lots, dtype=pl.Binary))
    order = order.sort(*metrics, "lot", descending=[*rising, False], nulls_last=True)
    of_model = ("split", "model", "seed")
    return order.drop("lot").with_columns(place=pl.int_range(pl.len()).over(of_model), n=pl.len().over(of_model))


def examples(run: RunFolder, study: StudyConfig, task: Task, scores: pl.DataFrame, folds: _Folds) -> pl.DataFrame:
    """Best, median and worst test spectrum of each model, by the primary metric at the first seed."""
    metrics = [study.primary_metric, *(m for m in study.metrics if m != study.primary_metric)]
    order = ranked(scores, metrics)
    places = {"best": pl.lit(0), "median": pl.col("n") // 2, "worst": pl.col("n") - 1}
    picks = [order.filter(pl.col("place") == place).with_columns(rank=pl.lit(rank)) for rank, place in places.items()]
    return _drawn(run, study, task, pl.concat(picks), folds)


def disagreements(run: RunFolder, study: StudyConfig, task: Task, scores: pl.DataFrame, folds: _Folds) -> pl.DataFrame:
    """The sheet for an expert that a protocol asks for: per trained model, the molecules that agree least."""
    wanted = [split.name for split in study.splits if split.protocol]
    asked = scores.filter(pl.col("split").is_in(wanted))
    if asked.is_empty():
        return pl.DataFrame(schema=EXAMPLES)
    worst = worst_disagreements(asked, study.primary_metric, SHEET)
    return _drawn(run, study, task, worst.with_columns(pl.col("rank").cast(pl.String)), folds)


def _drawn(run: RunFolder, study: StudyConfig, task: Task, picks: pl.DataFrame, folds: _Folds) -> pl.DataFrame:
    """Picked queries (split, model, rank, identifier, the primary metric) with truth and first-seed prediction."""
    rows = []
    for split in study.splits:
        for model in study.models:
            seed = (model.seeds or study.seeds)[0]
            mine = picks.filter((pl.col("split") == split.name) & (pl.col("model") == model.name))
            mine = mine.filter(pl.col("seed") == seed) if "seed" in mine.columns else mine
            wanted = pl.col("identifier").is_in(mine["identifier"].to_list())
            predictions = read_table(run.cell(split.name, model.name, seed) / "predictions.parquet").filter(wanted)
            test = folds[split.name]["test"].filter(wanted)
            rows.append(
                mine.select("split", "model", "rank", "identifier", pl.col(study.primary_metric).alias("score"))
                .with_columns(metric=pl.lit(study.primary_metric))
                .join(task.shown(predictions, test), on="identifier", how="left", maintain_order="left")
                .join(test, on="identifier", how="left", maintain_order="left")
            )
    return conform(pl.concat([_padded(table) for table in rows]), EXAMPLES)


def _padded(table: pl.DataFrame) -> pl.DataFrame:
    """With every column of EXAMPLES: a task fills in what it predicts, the rest is null."""
    absent = [pl.lit(None, dtype=dtype).alias(name) for name, dtype in EXAMPLES.items() if name not in table.columns]
    return conform(table.with_columns(absent), EXAMPLES)
