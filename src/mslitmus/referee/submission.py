"""Somebody's predictions as a study: their files are rows of the leaderboard, beside the controls of the task.

Scoring a file is running a study whose model is that file, so that it gets what every model gets: checks, intervals,
controls, skill, findings and a report.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from ..errors import ConfigError
from ..models import MODELS
from ..studies.config import StudyConfig
from ..studies.files import checked
from ..tasks.build import OptionError, build_task

Controls = Literal["all", "blind", "none"]
#: Key of a study → what the user of the command wrote instead.
PLACES = {
    "task_options": "--task-options",
    "data": "--data",
    "splits": "--split, --split-parameters",
    "metrics": "--metric",
    "statistics": "--resamples",
}


def submission(
    predictions: Mapping[str, Path],
    task: str,
    dataset: str,
    split: Mapping[str, Any],
    *,
    task_options: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
    metrics: Sequence[str] = (),
    controls: Controls = "all",
    allow_missing: bool = False,
    resamples: int = 2000,
    difficulty: bool = True,
) -> StudyConfig:
    """The study that judges prediction files.

    Args:
        predictions: name on the leaderboard → file, in any format of `tasks.intake`.
        split: as in a study file, e.g. {"method": "molecule", "seed": 0}.
        data: filters as in a study file. Queries that the file was made for must be the same: see `mslitmus template`.
        controls: of the task; `blind` leaves out those that search the training spectra.

    Raises ConfigError for a name, option or file that is not there, PredictionError for a file that cannot be read or
    lacks a column: all before any data is read.
    """
    view = _task(task, task_options)
    beside = standing(view, controls)
    _check_rows(predictions, beside)
    chosen = list(metrics) or list(view.default_metrics)
    rows: list[dict[str, Any]] = [
        {
            "model": "external",
            "name": name,
            "options": {"predictions": str(path.resolve())},
            "seeds": [0],
            "allow_missing": allow_missing,
        }
        for name, path in predictions.items()
    ]
    return checked(
        {
            "name": next(iter(predictions)) if len(predictions) == 1 else "submissions",
            "title": f"{task}: {', '.join(predictions)}",
            "task": task,
            "task_options": dict(task_options or {}),
            "data": {"name": dataset, **(data or {})},
            "splits": [dict(split)],
            "models": rows + [{"model": name, "seeds": [0]} for name in beside],
            "metrics": chosen,
            "primary_metric": view.headline if view.headline in chosen else chosen[0],
            "difficulty": difficulty,
            "statistics": {"resamples": resamples},
        },
        "the submission",
        PLACES,
    )


def _task(name: str, options: Mapping[str, Any] | None) -> Any:
    try:
        return build_task(name, options)
    except OptionError as error:
        where = f"{PLACES['task_options']}, {error.where}"
        raise ConfigError(error.message, where=where, remedy=error.remedy) from error


def _check_rows(predictions: Mapping[str, Path], controls: Sequence[str]) -> None:
    """Raises ConfigError for a file that is absent, and for a row under the name of a control."""
    for name, path in predictions.items():
        if not path.is_file():
            raise ConfigError(f"no predictions of {name!r}", where=str(path), remedy="give the path of a file")
        if name in controls:
            remedy = f"name the row otherwise: 'my {name}={path}'"
            raise ConfigError(f"{name!r} is the name of a control", where=str(path), remedy=remedy)


def standing(task: Any, controls: Controls) -> list[str]:
    """The controls that stand beside every model of a task."""
    if controls == "none":
        return []
    return [name for name in task.controls if controls == "all" or MODELS[name].kind == "blind"]
