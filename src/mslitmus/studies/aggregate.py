"""From the cells' scores to the study's tables: summary, comparisons, strata, examples, findings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import polars as pl

from ..audits import examine
from ..audits.finding import RunTables
from ..metrics.ceiling import replicate_ceiling
from ..metrics.comparisons import compare
from ..metrics.strata import stratify
from ..metrics.summary import add_skill, summarise
from ..provenance import write_json, write_parquet
from ..schemas import EXAMPLES, conform
from .config import StudyConfig
from .folder import RunFolder, read_json

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
                tables.append(pl.read_parquet(folder / "scores.parquet").select(*keys, pl.all()))
    return pl.concat(tables), records


def aggregate(run: RunFolder, study: StudyConfig, folds: dict[str, dict[str, pl.DataFrame]]) -> None:
    """Write scores, summary, comparisons, strata, examples and findings of a study whose cells are finished.

    Args:
        folds: split name → fold name → the study's records (schema SPECTRA).
    """
    scores, records = gather(run, study)
    kinds = {record["model"]: record["kind"] for record in records}
    resamples, seed = study.statistics.resamples, study.statistics.seed
    bounds = {name: _bounds(parts, study.metrics) for name, parts in folds.items()}
    summary = summarise(scores, study.metrics, resamples=resamples, seed=seed)
    summary = add_skill(summary, kinds, {s: {m: b["value"] for m, b in of.items()} for s, of in bounds.items()})
    comparisons = compare(scores, study.metrics, resamples=resamples, seed=seed)
    meta = pl.concat([_meta(run, name, parts["test"]) for name, parts in folds.items()])
    strata = stratify(scores, meta, [study.primary_metric], resamples=resamples, seed=seed)
    write_parquet(run.root / "scores.parquet", scores)
    write_parquet(run.root / "summary.parquet", summary)
    write_parquet(run.root / "comparisons.parquet", comparisons)
    write_parquet(run.root / "strata.parquet", strata)
    write_parquet(run.root / "examples.parquet", _examples(run, study, scores, folds))
    write_json(run.root / "bounds.json", bounds)
    splits = {s.name: read_json(run.split(s.name)) for s in study.splits}
    found = examine(RunTables(summary, comparisons, kinds, splits, study.primary_metric))
    write_json(run.root / "findings.json", [finding.to_json() for finding in found])


def _bounds(parts: Mapping[str, pl.DataFrame], metrics: list[str]) -> dict[str, dict[str, Any]]:
    """The ceiling of each metric: what replicates from another lab reach on the test fold's molecules."""
    found = replicate_ceiling(pl.concat(list(parts.values())), parts["test"]["identifier"].to_list(), metrics)
    return {metric: asdict(ceiling) for metric, ceiling in found.items() if ceiling is not None}


def _meta(run: RunFolder, split: str, test: pl.DataFrame) -> pl.DataFrame:
    """The conditions of each test spectrum, and how near its molecule lies to the training fold."""
    near = pl.read_parquet(run.beside(split) / "nearest.parquet")
    return test.select(*_META, "inchikey14").join(near, on="inchikey14", how="left").with_columns(split=pl.lit(split))


def _examples(
    run: RunFolder, study: StudyConfig, scores: pl.DataFrame, folds: dict[str, dict[str, pl.DataFrame]]
) -> pl.DataFrame:
    """Best, median and worst test spectrum of each model, by the primary metric at the first seed."""
    rows = []
    for split in study.splits:
        truth = folds[split.name]["test"]
        for model in study.models:
            seed = (model.seeds or study.seeds)[0]
            mine = scores.filter(
                (pl.col("split") == split.name)
                & (pl.col("model") == model.name)
                & (pl.col("seed") == seed)
                & (pl.col("fold") == "test")
                & pl.col("predicted")
            ).sort(study.primary_metric, "identifier", descending=[True, False])
            if mine.is_empty():
                continue
            picks = {"best": 0, "median": mine.height // 2, "worst": mine.height - 1}
            chosen = pl.concat([mine[i].with_columns(rank=pl.lit(rank)) for rank, i in picks.items()])
            names = chosen["identifier"].unique().to_list()
            predictions = (
                pl.scan_parquet(run.cell(split.name, model.name, seed) / "predictions.parquet")
                .filter(pl.col("identifier").is_in(names))
                .rename({"mzs": "predicted_mzs", "intensities": "predicted_intensities"})
                .collect()
            )
            rows.append(
                chosen.select("split", "model", "rank", "identifier", pl.col(study.primary_metric).alias("score"))
                .with_columns(metric=pl.lit(study.primary_metric))
                .join(predictions, on="identifier", how="left", maintain_order="left")
                .join(truth, on="identifier", how="left", maintain_order="left")
            )
    return conform(pl.concat(rows, how="diagonal"), EXAMPLES) if rows else pl.DataFrame(schema=EXAMPLES)
