"""Which trained model of a run folder answers: the best on validation, or the one that is named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from ..errors import RunError, unknown_name
from ..models import MODELS
from ..models.generate.saved import registered
from .folder import read_json, read_table

TASK = "spectrum-prediction"


@dataclass(frozen=True)
class Chosen:
    """A saved model and where it comes from.

    Attributes:
        folder: of the model.
        registered: its name in MODELS.
        cell, run: folders, None for a model folder that lies elsewhere.
        split, name, seed: of the cell.
        kind: trained, neighbour, …
        metric: the study's primary metric; `score` its mean per molecule on validation, None where not scored.
    """

    folder: Path
    registered: str
    cell: Path | None = None
    run: Path | None = None
    split: str = ""
    name: str = ""
    seed: int = 0
    kind: str = "trained"
    metric: str = ""
    score: float | None = None

    @property
    def label(self) -> str:
        """`gin × binned, split molecule, seed 0`."""
        return f"{self.name}, split {self.split}, seed {self.seed}" if self.cell else str(self.folder)

    def load(self) -> Any:
        """The model itself. Raises ModelError where its files are damaged or of another version."""
        return MODELS[self.registered].load(self.folder)


def choose(
    path: Path, model: str | None = None, split: str | None = None, seed: int | None = None, task: str = TASK
) -> Chosen:
    """From a run folder, a cell's folder or a model's folder.

    Of a run, that cell of a trained model which scores best on validation, among those of `model`, `split` and `seed`
    where given; without `split` the first split counts that the study names, since a score of one split says nothing
    about another. A model that was not trained answers only when it is named.

    Raises RunError for a folder that holds no model, or none so named: the message lists what there is.
    """
    if (path / "cell.json").is_file():
        return _cell(path, task)
    if (path / "options.json").is_file():
        alone = Chosen(path, _registered(path, task))
        return _cell(path.parent, task) if (path.parent / "cell.json").is_file() else alone
    cells = [_cell(found.parent, task) for found in sorted(path.glob("cells/*/*/seed*/cell.json"))]
    usable = [cell for cell in cells if (cell.folder / "options.json").is_file() and cell.kind != "oracle"]
    if not usable:
        what = "no finished model here" if path.is_dir() else "no such folder"
        remedy = f"give a run folder of the task {task!r} (`mslitmus run`), or the model folder of one of its cells"
        raise RunError(what, where=str(path), remedy=remedy)
    split = split or _first_split(path, usable)
    usable = _named("split", split, [cell.split for cell in usable], usable, path)
    if model is None:
        trained = [cell for cell in usable if cell.kind == "trained"]
        if not trained:
            names = ", ".join(dict.fromkeys(cell.name for cell in usable))
            remedy = f"name one of them with --model, or train one: see docs/models.md (here: {names})"
            raise RunError("the run has no trained model", where=str(path), remedy=remedy)
        usable = trained
    else:
        usable = _named("model", model, [cell.name for cell in usable], usable, path)
    if seed is not None:
        usable = _named("seed", str(seed), [str(cell.seed) for cell in usable], usable, path)
    return max(usable, key=lambda cell: -1.0 if cell.score is None else cell.score)


def _named(kind: str, wanted: str, names: Sequence[str], cells: list[Chosen], path: Path) -> list[Chosen]:
    found = [cell for name, cell in zip(names, cells, strict=True) if name == wanted]
    if not found:
        error = unknown_name(kind, wanted, names)
        there = "; ".join(cell.label for cell in cells)
        raise RunError(error.message, where=str(path), remedy=f"{error.remedy}; there is: {there}")
    return found


def _first_split(path: Path, cells: Sequence[Chosen]) -> str:
    """The first split of the study that has a cell; the first by name where the study's file is gone."""
    import yaml

    found = {cell.split for cell in cells}
    try:
        study = yaml.safe_load((path / "config.yaml").read_text(encoding="utf-8"))
        named = [entry["name"] for entry in study["splits"]]
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        named = []
    return next((name for name in [*named, *sorted(found)] if name in found), "")


def _registered(folder: Path, task: str) -> str:
    """What a model folder without a cell holds."""
    return "neural" if task == TASK else registered(folder)


def _cell(folder: Path, wanted: str = TASK) -> Chosen:
    """A finished cell. Raises RunError for one of another task or a damaged file."""
    record, identity = read_json(folder / "cell.json"), read_json(folder / "identity.json")
    task = identity.get("task")
    task = task.get("name") if isinstance(task, dict) else task
    if task != wanted:
        raise RunError(f"a model of the task {task!r}", where=str(folder), remedy=f"give one of the task {wanted!r}")
    metric = identity["selection_metric"]
    return Chosen(
        folder / "model",
        identity["model"],
        folder,
        folder.parents[3] if folder.parents[2].name == "cells" else None,
        record["split"],
        record["model"],
        record["seed"],
        record["kind"],
        metric,
        _validation_score(folder, metric),
    )


def _validation_score(folder: Path, metric: str) -> float | None:
    """Mean per molecule on the validation fold; None where it was not scored."""
    path = folder / "scores.parquet"
    if not path.is_file():
        return None
    scores = read_table(path)
    if metric not in scores.columns:
        return None
    each = scores.filter(pl.col("fold") == "val").group_by("inchikey14", maintain_order=True).agg(pl.col(metric).mean())
    return each[metric].mean() if each.height else None  # type: ignore[return-value]
