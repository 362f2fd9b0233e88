"""One cell of a study: split × model × seed. Fit, predict and score are stages with a file each, so a kill loses one
stage at most."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from .. import metrics, train
from ..data import store
from ..errors import PredictionError
from ..models.protocol import FitContext
from ..provenance import environment, now, write_json, write_parquet
from .config import ModelConfig, StudyConfig, build_model
from .folder import claim, read_json, read_table

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Cell:
    """What one cell computes from: the folds (train, val, test) of one split, one model, one seed."""

    folder: Path
    split: str
    split_identity: str
    model: ModelConfig
    seed: int
    folds: dict[str, pl.DataFrame]


def compute(cell: Cell, study: StudyConfig, task: Any, progress: Progress) -> None:
    """Do what is not yet done of this cell. Finished stages are kept."""
    claim(cell.folder, identity(study, cell.split_identity, cell.model, cell.seed))
    fitted = _fit(cell, study, task, progress)
    predicted = _predict(cell, task, progress)
    scored = _score(cell, study, task, progress)
    record = {
        "split": cell.split,
        "model": cell.model.name,
        "kind": fitted["kind"],
        "seed": cell.seed,
        "options": cell.model.options,
        "parameters": fitted["parameters"],
        "seconds": {"fit": fitted["seconds"], "predict": predicted["seconds"], "score": scored["seconds"]},
        "fit": fitted["report"],
        "environment": fitted["environment"],
    }
    if not (cell.folder / "cell.json").exists() or read_json(cell.folder / "cell.json") != record:
        write_json(cell.folder / "cell.json", record)


def identity(study: StudyConfig, split: str, model: ModelConfig, seed: int) -> dict[str, Any]:
    """Everything that decides the predictions. Metrics and statistics may change; then only scores are made again."""
    return {
        "task": study.task,
        "split": split,
        "model": model.model,
        "options": model.options,
        "seed": seed,
        "selection_metric": study.primary_metric,
        "max_seconds": study.budget.max_seconds,
    }


def _fit(cell: Cell, study: StudyConfig, task: Any, progress: Progress) -> dict[str, Any]:
    path = cell.folder / "fit.json"
    if path.exists():
        return dict(read_json(path))
    model = build_model(cell.model.model, cell.model.options)

    def score(predictions: pl.DataFrame, truth: pl.DataFrame) -> float:
        """The headline number: the mean over molecules of their spectra's mean."""
        values = metrics.score(predictions, truth, [study.primary_metric], missing="raise")
        molecules = values.join(truth.select("identifier", "inchikey14"), on="identifier").group_by("inchikey14")
        return float(molecules.agg(pl.col(study.primary_metric).mean())[study.primary_metric].mean())  # type: ignore[arg-type]

    context = FitContext(
        folder=cell.folder / "model",
        seed=cell.seed,
        score=score,
        progress=progress,
        device=study.budget.device,
        max_seconds=study.budget.max_seconds,
        threads=study.budget.threads,
        cache=store.home() / "features",
    )
    context.folder.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    report = train.fit(model, task.training_view(cell.folds["train"]), task.training_view(cell.folds["val"]), context)
    model.save(context.folder)
    record = {
        "kind": model.kind,
        "parameters": model.parameters(),
        "seconds": max(time.perf_counter() - started, report.seconds),  # a resumed fit counts its earlier sessions
        "report": report.to_json(),
        "finished": now(),
        "environment": environment(),
    }
    write_json(path, record)
    return record


def _predict(cell: Cell, task: Any, progress: Progress) -> dict[str, Any]:
    """Predictions of val and test. The model is loaded from its folder and sees the visible columns only."""
    path, record_path = cell.folder / "predictions.parquet", cell.folder / "predict.json"
    if record_path.exists() and path.exists():
        return dict(read_json(record_path))
    from ..models import MODELS

    queries = task.queries(pl.concat([cell.folds["val"], cell.folds["test"]]))
    progress(f"predicting {queries.height:,} spectra")
    model = MODELS[cell.model.model].load(cell.folder / "model")
    started = time.perf_counter()
    predictions = model.predict(queries)
    if not isinstance(predictions, pl.DataFrame):
        message = f"model {cell.model.name!r} predicted a {type(predictions).__name__}"
        raise PredictionError(message, where=str(cell.folder), remedy="`predict` returns a polars DataFrame")
    try:
        predictions = task.check(predictions, queries)
    except PredictionError as error:  # which of the study's models it was
        raise PredictionError(error.message, where=str(cell.folder), remedy=error.remedy) from error
    record = {"seconds": time.perf_counter() - started, "rows": predictions.height}
    write_parquet(path, predictions)
    write_json(record_path, record)
    return record


def _score(cell: Cell, study: StudyConfig, task: Any, progress: Progress) -> dict[str, Any]:
    path, record_path = cell.folder / "scores.parquet", cell.folder / "score.json"
    if record_path.exists() and path.exists():
        record = dict(read_json(record_path))
        if record["metrics"] == study.metrics:
            return record
    started = time.perf_counter()
    predictions = read_table(cell.folder / "predictions.parquet")
    parts = []
    for fold in ("val", "test"):
        truth = task.truth(cell.folds[fold])
        mine = predictions.join(truth.select("identifier"), on="identifier", how="semi")
        scores = metrics.score(mine, truth, study.metrics, missing="fail")
        keys = truth.select("identifier", "inchikey14")
        parts.append(
            keys.join(scores, on="identifier", how="left", maintain_order="left").with_columns(fold=pl.lit(fold))
        )
    write_parquet(
        path,
        pl.concat(parts).select("fold", "identifier", "inchikey14", pl.exclude("fold", "identifier", "inchikey14")),
    )
    record = {"seconds": time.perf_counter() - started, "metrics": study.metrics}
    write_json(record_path, record)
    return record
