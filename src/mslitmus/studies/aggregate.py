"""From the cells' scores to the study's tables: summary, comparisons, strata, examples, findings."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import polars as pl

from ..audits import examine
from ..audits.finding import RunTables
from ..data.protocols import worst_disagreements
from ..metrics.comparisons import compare
from ..metrics.strata import stratify
from ..metrics.summary import add_skill, summarise
from ..provenance import write_json, write_parquet
from ..schemas import EXAMPLES, conform
from ..tasks.protocol import Task
from .config import StudyConfig
from .folder import RunFolder, read_json, read_table

#: Molecules on the sheet that a protocol draws for an expert, per model.
SHEET = 12
_META = ("identifier", "adduct", "instrument_type", "collision_energy", "collision_energy_kind", "precursor_mz")


def gather(run: RunFolder, study: StudyConfig) -> tuple[pl.DataFrame, list[dict[str, Any]]]:
    """All cells' scores as one table (split, model, seed, fold, identifier, …), and the cells' records."""
    tables, records = [], []
    for split in study.splits:
        for model in study.models:
            for seed in model.seeds or study.seeds:
                folder = run.cell(split.name, model.name, seed)
                records.append(read_json(folder / "cell.json"))
                keys = [
                    pl.lit(split.name).alias("split"),
                    pl.lit(model.name).alias("model"),
                    pl.lit(seed).alias("seed"),
                ]
                tables.append(read_table(folder / "scores.parquet").select(*keys, pl.all()))
    return pl.concat(tables), records


def aggregate(run: RunFolder, study: StudyConfig, task: Task, folds: dict[str, dict[str, pl.DataFrame]]) -> None:
    """Write scores, summary, comparisons, strata, examples and findings of a study whose cells are finished.

    Args:
        task: the prepared task.
        folds: split name → fold name → the study's records (schema SPECTRA), val and test as they were asked.
    """
    scores, records = gather(run, study)
    kinds = {record["model"]: record["kind"] for record in records}
    resamples, seed = study.statistics.resamples, study.statistics.seed
    bounds = {name: task.bounds(parts, study.metrics) for name, parts in folds.items()}
    summary = summarise(scores, study.metrics, resamples=resamples, seed=seed)
    summary = add_skill(summary, kinds, bounds)
    comparisons = compare(scores, study.metrics, resamples=resamples, seed=seed)
    meta = pl.concat([_meta(run, name, parts["test"]) for name, parts in folds.items()])
    strata = stratify(scores, meta, [study.primary_metric], resamples=resamples, seed=seed)
    write_parquet(run.root / "scores.parquet", scores)
    write_parquet(run.root / "summary.parquet", summary)
    write_parquet(run.root / "comparisons.parquet", comparisons)
    write_parquet(run.root / "strata.parquet", strata)
    write_parquet(run.root / "examples.parquet", _examples(run, study, scores, folds))
    write_parquet(run.root / "disagreements.parquet", _disagreements(run, study, scores, folds))
    write_json(run.root / "bounds.json", bounds)
    splits = {s.name: read_json(run.split(s.name)) for s in study.splits}
    found = examine(RunTables(summary, comparisons, kinds, splits, study.primary_metric))
    write_json(run.root / "findings.json", [finding.to_json() for finding in found])


def _meta(run: RunFolder, split: str, test: pl.DataFrame) -> pl.DataFrame:
    """The conditions of each test spectrum, and how near its molecule lies to the training fold."""
    near = read_table(run.beside(split) / "nearest.parquet")
    return test.select(*_META, "inchikey14").join(near, on="inchikey14", how="left").with_columns(split=pl.lit(split))


def ranked(scores: pl.DataFrame, metric: str) -> pl.DataFrame:
    """Answered test queries of each (split, model, seed) from best to worst: adds `place` (0 …) and `n`.

    Equal scores (many are 0) come in the order of a hash, not of the identifier, which would show one laboratory.
    """
    asked = scores.filter((pl.col("fold") == "test") & pl.col("predicted"))
    lots = [blake2b(name.encode(), digest_size=8).digest() for name in asked["identifier"]]
    order = asked.with_columns(lot=pl.Series(lots, dtype=pl.Binary)).sort(metric, "lot", descending=[True, False])
    of_model = ("split", "model", "seed")
    return order.drop("lot").with_columns(place=pl.int_range(pl.len()).over(of_model), n=pl.len().over(of_model))


def _examples(
    run: RunFolder, study: StudyConfig, scores: pl.DataFrame, folds: Mapping[str, Mapping[str, pl.DataFrame]]
) -> pl.DataFrame:
    """Best, median and worst test spectrum of each model, by the primary metric at the first seed."""
    order = ranked(scores, study.primary_metric)
    places = {"best": pl.lit(0), "median": pl.col("n") // 2, "worst": pl.col("n") - 1}
    picks = [order.filter(pl.col("place") == place).with_columns(rank=pl.lit(rank)) for rank, place in places.items()]
    return _drawn(run, study, pl.concat(picks), folds)


def _disagreements(
    run: RunFolder, study: StudyConfig, scores: pl.DataFrame, folds: Mapping[str, Mapping[str, pl.DataFrame]]
) -> pl.DataFrame:
    """The sheet for an expert that a protocol asks for: per trained model, the molecules that agree least."""
    wanted = [split.name for split in study.splits if split.protocol]
    asked = scores.filter(pl.col("split").is_in(wanted))
    if asked.is_empty():
        return pl.DataFrame(schema=EXAMPLES)
    worst = worst_disagreements(asked, study.primary_metric, SHEET)
    return _drawn(run, study, worst.with_columns(pl.col("rank").cast(pl.String)), folds)


def _drawn(
    run: RunFolder, study: StudyConfig, picks: pl.DataFrame, folds: Mapping[str, Mapping[str, pl.DataFrame]]
) -> pl.DataFrame:
    """Picked queries (split, model, rank, identifier, the primary metric) with truth and first-seed prediction."""
    rows = []
    for split in study.splits:
        for model in study.models:
            seed = (model.seeds or study.seeds)[0]
            mine = picks.filter((pl.col("split") == split.name) & (pl.col("model") == model.name))
            mine = mine.filter(pl.col("seed") == seed) if "seed" in mine.columns else mine
            predictions = (
                read_table(run.cell(split.name, model.name, seed) / "predictions.parquet")
                .filter(pl.col("identifier").is_in(mine["identifier"].to_list()))
                .rename({"mzs": "predicted_mzs", "intensities": "predicted_intensities"})
            )
            rows.append(
                mine.select("split", "model", "rank", "identifier", pl.col(study.primary_metric).alias("score"))
                .with_columns(metric=pl.lit(study.primary_metric))
                .join(predictions, on="identifier", how="left", maintain_order="left")
                .join(folds[split.name]["test"], on="identifier", how="left", maintain_order="left")
            )
    return conform(pl.concat(rows), EXAMPLES)
