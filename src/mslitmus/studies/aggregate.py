"""From the cells' scores to the study's tables: summary, comparisons, strata, examples, findings."""

from __future__ import annotations

from typing import Any

import polars as pl

from ..audits import Evidence, examine
from ..audits.finding import RunTables
from ..data.splits.mces import molecule_clusters
from ..metrics.comparisons import compare
from ..metrics.groups import worst_group
from ..metrics.repeated import compare_over_seeds
from ..metrics.strata import stratify
from ..metrics.summary import add_skill, summarise
from ..provenance import write_json, write_parquet
from ..tasks.protocol import Task
from .analyses import analyse
from .config import StudyConfig
from .examples import disagreements, examples
from .folder import RunFolder, read_json, read_table
from .pool_sizes import pool_sizes
from .query_traits import query_traits


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
    clusters = _clusters(folds) if study.statistics.unit == "mces" else None
    summary = summarise(scores, study.metrics, resamples=resamples, seed=seed, clusters=clusters)
    summary = add_skill(summary, kinds, bounds)
    comparisons = compare(scores, study.metrics, resamples=resamples, seed=seed, clusters=clusters)
    meta = query_traits(run, folds, task)
    absent = ("similarity_to_train", "library_answer", "library_rivals")
    known = meta.drop(c for c in absent if meta[c].is_null().all())
    strata = stratify(scores, known, [study.primary_metric], resamples=resamples, seed=seed, clusters=clusters)
    write_parquet(run.root / "scores.parquet", scores)
    write_parquet(run.root / "summary.parquet", summary)
    write_parquet(run.root / "test_queries.parquet", meta)
    write_parquet(run.root / "comparisons.parquet", comparisons)
    write_parquet(run.root / "strata.parquet", strata)
    write_parquet(run.root / "worst_groups.parquet", worst_group(strata))
    write_parquet(run.root / "repeated.parquet", compare_over_seeds(scores, [study.primary_metric], kinds=kinds))
    write_parquet(run.root / "examples.parquet", examples(run, study, task, scores, folds))
    write_parquet(run.root / "disagreements.parquet", disagreements(run, study, task, scores, folds))
    write_parquet(run.root / "pool_sizes.parquet", pool_sizes(run, study, task, folds))
    queries = {name: parts["val"].height + parts["test"].height for name, parts in folds.items()}
    analyse(run, study, scores, records, summary, comparisons, queries, clusters)
    write_json(run.root / "bounds.json", bounds)
    splits = {s.name: read_json(run.split(s.name)) for s in study.splits}
    found = examine(Evidence(RunTables(summary, comparisons, kinds, splits, study.primary_metric, scores)))
    write_json(run.root / "findings.json", [finding.to_json() for finding in found.findings])


def _clusters(folds: dict[str, dict[str, pl.DataFrame]]) -> pl.DataFrame:
    """inchikey14, cluster: single linkage at MCES < 10 of all molecules that are asked about."""
    parts = [parts[fold].select("inchikey14", "smiles") for parts in folds.values() for fold in ("val", "test")]
    return molecule_clusters(pl.concat(parts)).table
