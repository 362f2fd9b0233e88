"""A model made of another one of another task: how the inner one is fitted, and what it has to say itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import polars as pl

from ..tasks import TASKS
from ..tasks.protocol import mean_per_molecule
from . import MODELS
from .protocol import FitContext, FitReport

#: Where it lies in the folder of the outer one, in training and saved.
INNER = "inner"


class Around:
    """Base of models around `inner`."""

    inner: Any

    def check_task(self, task: Any) -> None:
        """What the inner model has to say against the task, before any work."""
        check = getattr(self.inner, "check_task", None)
        if check is not None:
            check(task)

    def report_to(self, progress: Callable[[str], None]) -> None:
        """Where `predict` tells what it does: a loaded model has no context."""
        told = getattr(self.inner, "report_to", None)
        if told is not None:
            told(progress)

    @property
    def source(self) -> str | None:
        """The file that the inner model's predictions come from, if they do."""
        source: str | None = getattr(self.inner, "source", None)
        return source


def inputs_of(name: str, options: Mapping[str, Any]) -> dict[str, str]:
    """Hashes of the files that a model answers from, where it says so."""
    read = getattr(MODELS[name], "inputs", None)
    return dict(read(options)) if read else {}


def fit_inner(inner: Any, metric: str, train: pl.DataFrame, val: pl.DataFrame, context: FitContext) -> FitReport:
    """Fit it in `folder/inner` on the records as its own task shows them, without candidates.

    Args:
        metric: of its own task, mean over molecules on validation: chooses its epoch.
    """
    task = TASKS[inner.task]()

    def score(predictions: pl.DataFrame, rows: pl.DataFrame) -> float:
        truth = task.truth(rows)
        return mean_per_molecule(task.score(predictions, truth, [metric], missing="fail"), truth, metric)

    def records(frame: pl.DataFrame) -> pl.DataFrame:
        bare = frame.drop("candidates", "candidate_smiles", strict=False)
        shown: pl.DataFrame = task.training_view(task.eligible(bare))
        return shown

    inside = replace(context, folder=context.folder / INNER, score=score)
    inside.folder.mkdir(parents=True, exist_ok=True)
    report: FitReport = inner.fit(records(train), records(val), inside)
    return report
