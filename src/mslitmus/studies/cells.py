"""One cell of a study: split × model × seed. Fit, predict and score are stages with a file each, so a kill loses one
stage at most."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from .. import lineage, train
from ..chem.molecule import inchikey14
from ..data import store
from ..errors import ChemistryError, ModelError, PredictionError
from ..lineage import Origin
from ..models.protocol import FitContext, FitReport
from ..provenance import code_hash, environment, file_hash, now, write_json, write_parquet
from ..tasks.protocol import Task, mean_per_molecule, refuse_missing
from .budget import continues
from .config import ModelConfig, StudyConfig, build_model
from .fitted import fitted_cell, fitted_identity
from .folder import claim, digest, read_json, read_table
from .start_from import outdated, parent_cell, take_over

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Cell:
    """What one cell computes from: the folds (train; the queries of val and test) of one split, a model, a seed.

    `task` is prepared: its candidate pools, where it has any, are made.
    """

    folder: Path
    split: str
    split_identity: str
    model: ModelConfig
    seed: int
    folds: dict[str, pl.DataFrame]
    task: Task


def compute(cell: Cell, study: StudyConfig, progress: Progress) -> None:
    """Do what is not yet done of this cell. Finished stages are kept."""
    claim(cell.folder, identity(study, cell.task, cell.split, cell.split_identity, cell.model, cell.seed))
    fitted = _fit(cell, study, progress)
    predicted = _predict(cell, study, fitted, progress)
    scored = _score(cell, study)
    record: dict[str, Any] = {
        "split": cell.split,
        "model": cell.model.name,
        "kind": fitted["kind"],
        "seed": cell.seed,
        "options": cell.model.options,
        "parameters": fitted["parameters"],
        "seconds": {"fit": fitted["seconds"], "predict": predicted["seconds"], "score": scored["seconds"]},
        "inference": predicted.get("inference"),  # absent from cells of earlier versions
        "fit": fitted["report"],
        "environment": fitted["environment"],
        **{key: fitted[key] for key in ("train_on", "start_from") if key in fitted},
        **({"fitted": cell.model.fitted} if cell.model.fitted else {}),
    }
    if not (cell.folder / "cell.json").exists() or read_json(cell.folder / "cell.json") != record:
        write_json(cell.folder / "cell.json", record)


def finished(cell: Cell, study: StudyConfig) -> bool:
    """Whether `compute` would find nothing to do: trained as far as the budget says, predicted, scored, recorded."""
    names = ("fit.json", "predict.json", "predictions.parquet", "score.json", "scores.parquet", "cell.json")
    if not all((cell.folder / name).exists() for name in names):
        return False
    fit, predicted, scored = (read_json(cell.folder / f"{stage}.json") for stage in ("fit", "predict", "score"))
    if outdated(fit, cell.model, cell.folder) or continues(fit, study.budget, cell.folder):
        return False
    return predicted.get("fitted") == fit["finished"] and _scores_hold(scored, _scored_from(cell, study))


def identity(
    study: StudyConfig, task: Task, split: str, split_identity: str, model: ModelConfig, seed: int
) -> dict[str, Any]:
    """Everything that decides the predictions. Metrics and statistics may change; then only scores are made again."""
    name, options = model.resolved(study.task)
    own: dict[str, Any] = {}  # keys that only rows have which set them: cells of earlier versions keep their identity
    if study.data.max_val_molecules is not None:
        own["max_val_molecules"] = study.data.max_val_molecules
    if model.train_on is not None and (trained := model.train_on.identity()):
        own["train_on"] = trained
    if (start := model.start_from) is not None:
        parent = next(other for other in study.models if other.name == start.model)
        made_of = digest(identity(study, task, split, split_identity, parent, seed))
        own["start_from"] = {"identity": made_of, **start.model_dump(exclude={"model"})}
    return {
        **own,
        "task": task.record(),
        "split": split_identity,
        "queries_per_molecule": study.data.max_queries_per_molecule,
        "model": name,
        "options": options,
        "inputs": _inputs(name, options),
        "allow_missing": model.allow_missing,
        "seed": seed,
        "selection_metric": study.primary_metric,
        **fitted_identity(model, split, split_identity, seed),
    }


def _inputs(name: str, options: Mapping[str, Any]) -> dict[str, str]:
    """Hashes of the files that a model answers from, where it says so (`external`)."""
    from ..models import MODELS

    read = getattr(MODELS[name], "inputs", None)
    return dict(read(options)) if read else {}


def _fit(cell: Cell, study: StudyConfig, progress: Progress) -> dict[str, Any]:
    path = cell.folder / "fit.json"
    if path.exists():
        record = dict(read_json(path))
        if not outdated(record, cell.model, cell.folder) and not continues(record, study.budget, cell.folder):
            if not (cell.folder / "model" / lineage.LINEAGE).exists():  # fitted by an earlier version
                _tell_lineage(cell, study, _training_set(cell)[0])
            return record
    task = cell.task
    model = build_model(*cell.model.resolved(study.task))
    training, own = _training_set(cell)
    if started_from := take_over(model, cell.model, cell.folder):
        own["start_from"] = started_from

    def score(predictions: pl.DataFrame, rows: pl.DataFrame) -> float:
        truth = task.truth(rows)
        values = task.score(predictions, truth, [study.primary_metric], missing="raise")
        return mean_per_molecule(values, truth, study.primary_metric)

    source = fitted_cell(cell.model, cell.split, cell.seed)
    context = FitContext(
        folder=cell.folder / "model",
        seed=cell.seed,
        score=score,
        progress=progress,
        device=study.budget.device,
        max_seconds=study.budget.max_seconds,
        max_epochs=study.budget.max_epochs,
        max_steps=study.budget.max_steps,
        threads=study.budget.threads,
        devices=study.budget.devices,
        fitted=None if source is None else source / "model",
        cache=store.home() / "features",
    )
    context.folder.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    if started_from and not started_from["fine_tune"]:
        report = FitReport(0.0, model.parameters(), stopped=f"not trained: the model of {started_from['model']!r}")
    else:
        report = train.fit(model, task.training_view(training), task.training_view(cell.folds["val"]), context)
    model.save(context.folder)
    _tell_lineage(cell, study, training)
    record = {
        "kind": model.kind,
        "parameters": model.parameters(),
        "seconds": max(time.perf_counter() - started, report.seconds),  # a resumed fit counts its earlier sessions
        "report": report.to_json(),
        "budget": study.budget.limits,
        "finished": now(),
        "environment": environment(),
        **own,
    }
    (cell.folder / "predict.json").unlink(missing_ok=True)  # of an earlier fit, perhaps within the same second
    write_json(path, record)
    return record


def _tell_lineage(cell: Cell, study: StudyConfig, training: pl.DataFrame) -> None:
    """What the model of a cell learned from and comes from, beside it. Nobody knows that of a row made elsewhere."""
    name, options = cell.model.resolved(study.task)
    if name == "external":
        return
    origins = lineage.named(options)
    if (parent := parent_cell(cell.folder, cell.model)) is not None:
        origins.append(Origin("row", str(parent / "model")))
    if (source := fitted_cell(cell.model, cell.split, cell.seed)) is not None:
        origins.append(Origin("fitted", str(source / "model")))
    dataset = cell.folder.parents[3] / "dataset.json"  # of the run; a worker elsewhere may have no store
    origins += _simulations(read_json(dataset) if dataset.exists() else {})
    start = cell.model.start_from
    learned = training["inchikey14"] if start is None or start.fine_tune else training["inchikey14"].head(0)
    (cell.folder / "model").mkdir(exist_ok=True)
    lineage.write(cell.folder / "model", learned, origins)


def _simulations(dataset: Mapping[str, Any]) -> list[Origin]:
    """Whose answers the spectra of a dataset are. Of simulated ones that came without a record nobody knows."""
    sources = dataset.get("sources") or ()
    known = [each for each in sources if each.get("simulation")]
    if not known and dataset.get("simulated"):  # imported by an earlier version, perhaps
        return [Origin("simulation", str(each["path"])) for each in sources]
    return [Origin("simulation", each["simulation"], each.get("simulation_hash") or None) for each in known]


def _training_set(cell: Cell) -> tuple[pl.DataFrame, dict[str, Any]]:
    """What the cell learns from, and the record of how it came about, empty for the whole training fold."""
    if cell.model.train_on is None:
        return cell.folds["train"], {}
    training, counts = cell.model.train_on.apply(cell.folds["train"], cell.seed, cell.model.name)
    return training, {"train_on": counts}


def _predict(cell: Cell, study: StudyConfig, fitted: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Predictions of val and test, made again where the model was. It sees the visible columns only."""
    path, record_path = cell.folder / "predictions.parquet", cell.folder / "predict.json"
    if record_path.exists() and path.exists():
        record = dict(read_json(record_path))
        if record.get("fitted") == fitted["finished"]:
            return record
    from ..models import MODELS

    val, test = cell.folds["val"], cell.folds["test"]
    held_out = pl.concat([val, test])
    queries = cell.task.queries(held_out)
    progress(f"answering {test.height:,} test and {val.height:,} val queries")
    try:
        model = MODELS[cell.model.resolved(study.task)[0]].load(cell.folder / "model")
    except (OSError, KeyError, ValueError, TypeError) as error:  # cut short, or written by another version
        what, remedy = f"the saved model cannot be read: {error}", f"remove {cell.folder} and run again"
        raise ModelError(what, where=str(cell.folder / "model"), remedy=remedy) from error
    if model.kind != fitted["kind"]:
        what = f"model {cell.model.name!r} was fitted as {fitted['kind']!r} and loaded as {model.kind!r}"
        raise ModelError(what, where=str(cell.folder), remedy="a model's kind must not change")
    if model.kind == "oracle":  # the one kind that may know the answer: it is a bound, and marked as such everywhere
        answers = cell.task.truth(held_out).select(
            _true="identifier", truth_smiles="smiles", truth_inchikey14="inchikey14"
        )
        queries = queries.with_columns(_true=held_out["identifier"])  # a task may show other names than the true ones
        queries = queries.join(answers, on="_true", how="left", maintain_order="left").drop("_true")
    told = getattr(model, "report_to", None)
    if told is not None:
        told(progress)
    started = time.perf_counter()
    predictions = model.predict(queries)
    if not isinstance(predictions, pl.DataFrame):
        message = f"model {cell.model.name!r} predicted a {type(predictions).__name__}"
        raise PredictionError(message, where=str(cell.folder), remedy="`predict` returns a polars DataFrame")
    try:
        predictions = cell.task.check(predictions, queries)
        if not cell.model.allow_missing:
            refuse_missing(predictions, pl.concat([_answered(predictions, val), test]))
    except PredictionError as error:  # which of the study's models it was, and from which file
        where = getattr(model, "source", None) or str(cell.folder)
        message = f"model {cell.model.name!r}, split {cell.split}: {error.message}"
        raise PredictionError(message, where=where, remedy=error.remedy) from error
    record = {"seconds": time.perf_counter() - started, "rows": predictions.height, "fitted": fitted["finished"]}
    device = str(getattr(model, "device", "cpu"))  # a loaded model answers on the CPU unless it says otherwise
    record["inference"] = {"queries": queries.height, "threads": study.budget.threads, "device": device}
    if cell.task.name == "generation":
        record["inference"]["copied"] = _copied(predictions, cell.folds["train"], test)
    if noted := getattr(model, "inference_notes", None):
        record["inference"]["notes"] = dict(noted)
    write_parquet(path, predictions)
    write_json(record_path, record)
    return record


def _copied(predictions: pl.DataFrame, train: pl.DataFrame, test: pl.DataFrame) -> float | None:
    """Share of first answers to test queries that are molecules of the training fold: the rest are novel."""
    first = predictions.filter(
        pl.col("smiles").is_not_null() & pl.col("identifier").is_in(test["identifier"].implode())
    )
    first = first.sort("score", descending=True, maintain_order=True).unique("identifier", keep="first")
    known = set(train["inchikey14"].to_list())
    found = [_key(text) in known for text in first["smiles"].to_list()]
    return sum(found) / len(found) if found else None


def _key(smiles: str) -> str | None:
    """InChIKey-14; None for what does not parse, which is nobody's molecule."""
    try:
        return inchikey14(smiles)
    except ChemistryError:
        return None


def _answered(predictions: pl.DataFrame, val: pl.DataFrame) -> pl.DataFrame:
    """The validation queries, or none of them where a prediction file holds no answer to any."""
    return val if val.join(predictions.select("identifier"), on="identifier", how="semi").height else val.head(0)


def _scored_from(cell: Cell, study: StudyConfig) -> dict[str, Any]:
    """What decides the scores of a cell that is predicted."""
    answers = file_hash(cell.folder / "predictions.parquet")
    return {"metrics": study.metrics, "predictions": answers, "code": code_hash("metrics", "tasks", "chem")}


def _scores_hold(record: Mapping[str, Any], made_of: Mapping[str, Any]) -> bool:
    return all(record.get(key) == value for key, value in made_of.items())


def _score(cell: Cell, study: StudyConfig) -> dict[str, Any]:
    """Scores of the predictions there are, made again where what decides them changed, our own code included."""
    path, record_path = cell.folder / "scores.parquet", cell.folder / "score.json"
    answers = cell.folder / "predictions.parquet"
    made_of = _scored_from(cell, study)
    if record_path.exists() and path.exists():
        record = dict(read_json(record_path))
        if _scores_hold(record, made_of):
            return record
    started = time.perf_counter()
    predictions = read_table(answers)
    parts = []
    for fold, rows in (("val", _answered(predictions, cell.folds["val"])), ("test", cell.folds["test"])):
        truth = cell.task.truth(rows)
        mine = predictions.join(truth.select("identifier"), on="identifier", how="semi")
        scores = cell.task.score(mine, truth, study.metrics, missing="fail")
        keys = truth.select("identifier", "inchikey14")
        parts.append(
            keys.join(scores, on="identifier", how="left", maintain_order="left").with_columns(fold=pl.lit(fold))
        )
    write_parquet(
        path,
        pl.concat(parts).select("fold", "identifier", "inchikey14", pl.exclude("fold", "identifier", "inchikey14")),
    )
    record = {"seconds": time.perf_counter() - started, **made_of}
    write_json(record_path, record)
    return record
