"""From the cells' scores to the study's tables: summary, comparisons, strata, examples, findings."""

from __future__ import annotations

from typing import Any

import polars as pl

from ..audits import examine
from ..audits.finding import RunTables
from ..data.difficulty import nearest_train_similarity
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
    bounds = {name: _bounds(parts, study) for name, parts in folds.items()}
    summary = summarise(scores, study.metrics, resamples=resamples, seed=seed)
    summary = add_skill(summary, kinds, {s: {m: b["value"] for m, b in of.items()} for s, of in bounds.items()})
    comparisons = compare(scores, study.metrics, resamples=resamples, seed=seed)
    strata = []
    for name, parts in folds.items():
        meta = parts["test"].select(*_META, "smiles", "inchikey14")
        near = nearest_train_similarity(parts["train"], parts["test"])
        meta = meta.join(near, on="inchikey14", how="left")
        of_split = scores.filter((pl.col("split") == name) & (pl.col("fold") == "test"))
        strata.append(stratify(of_split, meta, [study.primary_metric], resamples=resamples, seed=seed))
    write_parquet(run.root / "scores.parquet", scores)
    write_parquet(run.root / "summary.parquet", summary)
    write_parquet(run.root / "comparisons.parquet", comparisons)
    write_parquet(run.root / "strata.parquet", pl.concat(strata))
    write_parquet(run.root / "examples.parquet", _examples(run, study, scores, folds))
    write_json(run.root / "bounds.json", bounds)
    splits = {s.name: read_json(run.split(s.name)) for s in study.splits}
    found = examine(RunTables(summary, comparisons, kinds, splits, study.primary_metric))
    write_json(run.root / "findings.json", [finding.to_json() for finding in found])


def _bounds(parts: dict[str, pl.DataFrame], study: StudyConfig) -> dict[str, dict[str, Any]]:
    """The ceiling of each metric: what replicates from another lab reach on the test fold's molecules."""
    frame = pl.concat(list(parts.values()))
    found = replicate_ceiling(frame, parts["test"]["identifier"].to_list(), study.metrics)
    return {metric: dict(found[metric]) for metric in study.metrics if found.get(metric) is not None}


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
