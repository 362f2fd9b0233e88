"""Run a study on this machine: data → splits → cells → tables, each kept as soon as it is done."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from ..data.difficulty import MoleculeTable, difficulty, nearest_train_similarity
from ..data.splits import Split
from ..data.store import Dataset
from ..provenance import environment, file_hash, now, table_hash, write_json, write_parquet
from ..tasks.protocol import Task
from .aggregate import aggregate
from .analyses import TABLES as ANALYSES
from .budget import continues
from .cells import identity
from .config import SplitConfig, StudyConfig
from .engines import Bench, Engine, Serial, execute
from .files import dump
from .folder import RunFolder, claim, compare, digest, read_json
from .selection import select
from .stage import asked_of, dataset_of, made
from .start_from import outdated

Progress = Callable[[str], None]
#: Files of a run folder itself, beside splits/ and cells/.
_TABLES = (
    "scores",
    "summary",
    "comparisons",
    "repeated",
    "strata",
    "worst_groups",
    "examples",
    "disagreements",
    "pool_sizes",
    "test_queries",
    *ANALYSES,
    "sensitivity",
    "flips",
)
_RECORDS = ("provenance", "dataset", "ledger", "bounds", "findings", "audit", "candidates", "library_pools")
_WRITTEN = (*(f"{t}.parquet" for t in _TABLES), *(f"{r}.json" for r in _RECORDS), "config.yaml", "report.html")


def run(
    study: StudyConfig, root: Path, *, progress: Progress = print, fresh: bool = False, engine: Engine | None = None
) -> Path:
    """Compute whatever of the study is not in `root` yet and return the run folder.

    A killed run continues where it was: finished splits, trained models, predictions and scores are kept.
    Raises a MslitmusError; what was finished before it stays.

    Args:
        engine: where the cells are computed; default: here, one after the other. The results are the same.
    """
    folder = RunFolder(root)
    folder.open()
    with folder.lock():
        return _run(study, folder, progress, fresh, engine or Serial())


def _run(study: StudyConfig, folder: RunFolder, progress: Progress, fresh: bool, engine: Engine) -> Path:
    started, begun = time.perf_counter(), now()
    engine.check(study)
    task = study.build_task()
    dataset = dataset_of(study)
    frame, chosen = select(dataset, study.data, task)
    progress(f"{study.data.name}: {frame.height:,} spectra of {frame['inchikey14'].n_unique():,} molecules take part")
    data_hash = table_hash(frame)
    if fresh:  # only now: a study that cannot begin must not cost the results of the last one
        _empty(folder)
    for split in study.splits:  # refuse other settings than a finished part was made with before anything is written
        compare(folder.beside(split.name), _split_identity(split, data_hash))
    earlier = _sessions(folder)

    def note() -> None:
        """This session's wall time so far: after a kill, that of the finished cells is known."""
        session = {"begun": begun, "ended": now(), "seconds": round(time.perf_counter() - started, 1)}
        record = {**environment(), "study": digest(dump(study)), "sessions": [*earlier, session]}
        write_json(folder.root / "provenance.json", record)

    folds = {s.name: _split(s, study, frame, data_hash, folder, progress) for s in study.splits}
    task = task.prepared(folds, dataset.frame().select("inchikey14", "smiles"), progress)
    asked, left_out = asked_of(study, task, folds)
    _compare(study, task, folder, data_hash)
    _write_inputs(folder, study, dataset, frame, data_hash)
    write_json(folder.root / "ledger.json", [*dataset.ledger.to_json(), *chosen.to_json(), *left_out.to_json()])
    for name, value in task.artifacts().items():
        write_json(folder.root / f"{name}.json", value)
    made_of = {split.name: digest(_split_identity(split, data_hash)) for split in study.splits}
    execute(Bench(study, folder.root, task, asked, made_of), engine, progress, note)
    progress("scores → intervals, comparisons, strata")
    aggregate(folder, study, task, asked)
    note()
    return folder.root


def _write_inputs(folder: RunFolder, study: StudyConfig, dataset: Dataset, frame: pl.DataFrame, data_hash: str) -> None:
    """What the run is made of: the resolved study, the dataset and the records that take part."""
    (folder.root / "config.yaml").write_text(dump(study), encoding="utf-8")
    licenses = {str(k): n for k, n in frame["license"].fill_null("not stated").value_counts(sort=True).iter_rows()}
    selected = {"spectra": frame.height, "molecules": frame["inchikey14"].n_unique(), "hash": data_hash}
    info = {**dataset.info, "name": study.data.name, "selected": {**selected, "licenses": licenses}}
    write_json(folder.root / "dataset.json", info)


def _compare(study: StudyConfig, task: Task, folder: RunFolder, data_hash: str) -> None:
    """Refuse other settings than a finished cell was made with, before any cell is computed."""
    for split in study.splits:
        made_of = digest(_split_identity(split, data_hash))
        for model in study.models:
            for seed in model.seeds or study.seeds:
                cell = folder.cell(split.name, model.name, seed)
                compare(cell, identity(study, task, split.name, made_of, model, seed))
                if (cell / "fit.json").exists() and not outdated(fit := read_json(cell / "fit.json"), model, cell):
                    continues(fit, study.budget, cell)  # refuses a budget that is less than what was used


def _split(
    config: SplitConfig, study: StudyConfig, frame: pl.DataFrame, data_hash: str, folder: RunFolder, progress: Progress
) -> dict[str, pl.DataFrame]:
    """The folds of one split; made once with its difficulty, then read from the run folder."""
    claim(folder.beside(config.name), _split_identity(config, data_hash))
    path, nearest = folder.split(config.name), folder.beside(config.name) / "nearest.parquet"
    if path.exists():
        parts = Split.load(path.parent, config.name).apply(frame)
        if not nearest.exists() and study.difficulty:
            write_parquet(nearest, nearest_train_similarity(parts["train"], parts["test"], MoleculeTable.of(frame)))
        return parts
    progress(f"split {config.name}")
    split, protocol = made(config, frame, data_hash)
    if protocol is not None:
        protocol.check_leaderboard(model.model for model in study.models)
        write_json(folder.beside(config.name) / "protocol.json", protocol.record())
    parts = split.apply(frame)
    if not study.difficulty:
        split.save(path.parent, config.name)
        return parts
    molecules = MoleculeTable.of(frame)
    write_parquet(nearest, nearest_train_similarity(parts["train"], parts["test"], molecules))
    split.save(path.parent, config.name, difficulty=difficulty(frame, split, seed=config.seed, molecules=molecules))
    return parts


def _split_identity(config: SplitConfig, data_hash: str) -> dict[str, Any]:
    """Everything that decides the folds; a file of folds by its contents."""
    path = config.parameters.get("path")
    file = {"file": file_hash(Path(path))} if path and Path(path).is_file() else {}
    asked = {} if config.test_on is None else {"test_on": config.test_on.identity()}
    return {"data": data_hash, **file, **config.model_dump(mode="json"), **asked}


def _sessions(folder: RunFolder) -> list[dict[str, Any]]:
    """One entry an earlier start of this run, so that a resumed run shows its whole wall time."""
    path = folder.root / "provenance.json"
    return list(read_json(path)["sessions"]) if path.exists() else []


def _empty(folder: RunFolder) -> None:
    """Remove what a run writes, and nothing else that may lie in the folder."""
    for name in ("splits", "cells"):
        shutil.rmtree(folder.root / name, ignore_errors=True)
    for name in _WRITTEN:
        (folder.root / name).unlink(missing_ok=True)
    folder.open()
