"""The evidence of a run folder: what `mslitmus audit RUN` shows to the audits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from ..audits import Evidence, RunTables
from ..audits.evidence import Absent, Ask, CellKey, Pretraining, no_model
from ..audits.live.connect import askable
from ..errors import ModelError, RunError
from ..lineage import LINEAGE, comes_from
from .config import StudyConfig
from .files import load
from .folder import RunFolder, read_json, read_table
from .stage import Stage, stage


class _Run:
    """A run folder with its data, staged when first asked for."""

    def __init__(self, root: Path, study: StudyConfig, progress: Callable[[str], None]) -> None:
        self.folder, self.study, self.progress = RunFolder(root), study, progress

    @cached_property
    def stage(self) -> Stage:
        """Dataset, folds and queries as the run had them. Raises RunError where the dataset is another one now."""
        staged = stage(self.study, self.progress)
        path = self.folder.root / "dataset.json"
        was = read_json(path).get("selected", {}).get("hash") if path.exists() else None
        if was is not None and was != staged.data_hash:
            remedy = "bring that release of the dataset back, or run the study again under another --name"
            if self.study.data.held_out_by is not None:
                remedy += f" (it also depends on {self.study.data.held_out_by}: did that change?)"
            raise RunError("the dataset is not the one that the run was made of", where=str(path), remedy=remedy)
        return staged

    def folds(self, split: str) -> Mapping[str, pl.DataFrame]:
        return self.stage.asked[split]

    def predictions(self, key: CellKey) -> pl.DataFrame:
        return read_table(self.folder.cell(key.split, key.model, key.seed) / "predictions.parquet")

    def open_model(self, key: CellKey) -> Ask:
        """The fitted model of a cell. Raises Absent for a file of predictions, which cannot be asked."""
        from ..models import MODELS

        row = next(model for model in self.study.models if model.name == key.model)
        if row.model == "external" and row.options.get("predictions"):
            raise Absent(f"{key.model} is a file of predictions: give its command line (--command)")
        folder = self.folder.cell(key.split, key.model, key.seed) / "model"
        try:
            model = MODELS[row.resolved(self.study.task)[0]].load(folder)
        except (OSError, KeyError, ValueError, TypeError) as error:
            remedy = "run the study again"
            raise ModelError(f"the saved model cannot be read: {error}", where=str(folder), remedy=remedy) from error
        return askable(model, key.model)


def evidence_of(
    root: Path,
    *,
    live: bool = False,
    pretraining: Sequence[Pretraining] = (),
    progress: Callable[[str], None] = lambda line: None,
) -> Evidence:
    """Evidence of a finished run.

    Args:
        live: whether audits may ask the saved models.
        pretraining: lists declared by the caller.
    Raises RunError for a folder that is no finished run.
    """
    for name in ("config.yaml", "summary.parquet", "comparisons.parquet", "scores.parquet"):
        if not (root / name).exists():
            remedy = "give the folder of a finished `mslitmus run` or `mslitmus score`"
            raise RunError(f"no finished run: {name} is absent", where=str(root), remedy=remedy)
    study = load(root / "config.yaml")
    run = _Run(root, study, progress)
    records = [
        _record(run.folder.cell(split.name, model.name, seed))
        for split in study.splits
        for model in study.models
        for seed in (model.seeds or study.seeds)
    ]
    tables = RunTables(
        summary=read_table(root / "summary.parquet"),
        comparisons=read_table(root / "comparisons.parquet"),
        kinds={record["model"]: record["kind"] for record in records},
        splits={split.name: read_json(run.folder.split(split.name)) for split in study.splits},
        primary=study.primary_metric,
        scores=read_table(root / "scores.parquet"),
    )
    return Evidence(
        tables=tables,
        task=run.stage.task,
        cells={CellKey(record["split"], record["model"], record["seed"]): record for record in records},
        read_folds=run.folds,
        read_predictions=run.predictions,
        open_model=run.open_model if live else no_model,
        pretraining=tuple(pretraining),
        progress=progress,
    )


def _record(cell: Path) -> dict[str, Any]:
    """cell.json, and what the model comes from (`comes_from`) where its folder says so."""
    record: dict[str, Any] = dict(read_json(cell / "cell.json"))
    if (cell / "model" / LINEAGE).exists():
        record["comes_from"] = [asdict(origin) for origin in comes_from(cell / "model")]
    return record
