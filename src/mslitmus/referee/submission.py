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
from ..tasks import TASKS

Controls = Literal["all", "blind", "none"]


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

    Raises ConfigError for a name, option or file that is not there.
    """
    for name, path in predictions.items():
        if not path.is_file():
            raise ConfigError(f"no predictions of {name!r}", where=str(path), remedy="give the path of a file")
    view = TASKS[task](**(task_options or {}))
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
            "models": rows + [{"model": name, "seeds": [0]} for name in standing(view, controls)],
            "metrics": chosen,
            "primary_metric": view.headline if view.headline in chosen else chosen[0],
            "difficulty": difficulty,
            "statistics": {"resamples": resamples},
        },
        where="the submission",
    )


def standing(task: Any, controls: Controls) -> list[str]:
    """The controls that stand beside every model of a task."""
    if controls == "none":
        return []
    return [name for name in task.controls if controls == "all" or MODELS[name].kind == "blind"]
