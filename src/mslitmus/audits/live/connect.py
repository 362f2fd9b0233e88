"""A model as something that can be asked: a command line, a Python object, or the saved model of a run.

ask_command("python my_model.py {queries} {predictions}", task, folder)
ask_object("my_package.my_model:model", task)
askable(model, name)
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any

import polars as pl

from ...errors import ConfigError, MissingExtraError, ModelError
from ...models.commands import fill, parse_command, placeholders, run
from ...tasks.intake import read_predictions
from ...tasks.protocol import Task
from ...tasks.template import format_of, write_queries, write_training
from ..evidence import Absent, Ask

_WHERE = "--command"
_KNOWN = ("queries", "predictions", "out", "folder", "python")
_LOG = "command.log"


class CommandAsk:
    """A command line that answers a query file: called with queries, it runs once and returns the predictions.

    `costly` tells audits that each question starts a program, so that they ask few.
    """

    costly = True

    def __init__(self, command: str, task: Task, folder: Path, format: str = "parquet", timeout: float | None = None):
        self._arguments = parse_command(command, _KNOWN, where=_WHERE)
        used = placeholders(self._arguments)
        if "queries" not in used or not used & {"predictions", "out"}:
            remedy = "e.g. python my_model.py {queries} {predictions}"
            raise ConfigError("the command needs {queries} and {predictions}", where=_WHERE, remedy=remedy)
        self._ending = format_of(Path(f"x.{format}"), None)
        self._task, self._folder, self._timeout, self._number = task, folder, timeout, count(1)

    def __call__(self, queries: pl.DataFrame) -> pl.DataFrame:
        """Raises ModelError for a program that fails or writes nothing, PredictionError for a bad answer."""
        place = self._folder / f"question-{next(self._number):04d}"
        place.mkdir(parents=True, exist_ok=True)
        asked, answer = place / f"queries.{self._ending}", place / f"predictions.{self._ending}"
        answer.unlink(missing_ok=True)
        if set(queries.columns) <= set(self._task.visible):
            write_queries(queries, asked, self._task)
        else:  # an audit that shows more on purpose
            write_training(queries, asked)
        values = {
            "queries": asked, "predictions": answer, "out": answer, "folder": self._folder, "python": sys.executable,
        }  # fmt: skip
        run(fill(self._arguments, values), cwd=Path.cwd(), log=self._folder / _LOG, timeout=self._timeout)
        if not answer.exists():
            remedy = f"write the answer to {{predictions}}; what it said is in {self._folder / _LOG}"
            raise ModelError("the command ended well but wrote no answer", where=_WHERE, remedy=remedy)
        predictions = read_predictions(answer, self._task, queries)
        shutil.rmtree(place)  # hundreds of questions would fill the disk; a failed one is left to be looked at
        return predictions


def ask_command(
    command: str, task: Task, folder: Path, format: str = "parquet", timeout: float | None = None
) -> CommandAsk:
    """A program as a live model.

    Args:
        command: with `{queries}` (the file of questions) and `{predictions}` or `{out}` (where the answer goes), each a
            whole argument or part of one; `{folder}` and `{python}` too. No shell runs; it starts in the current
            folder.
        task: prepared.
        folder: where questions, answers and `command.log` go.
        format: of the question and the answer: parquet, jsonl or csv.
        timeout: seconds for one question.
    Raises ConfigError for a command that cannot be run.
    """
    return CommandAsk(command, task, folder.resolve(), format, timeout)


def ask_object(name: str, task: Task) -> Ask:
    """A Python object as a live model: `module:attribute`, found from the current folder too.

    The attribute is an object with `predict(queries)`, a function of queries, or a class that needs no argument.
    Raises ConfigError for a name that leads nowhere or an object that cannot predict.
    """
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute):
        raise ConfigError(f"{name!r} names no object", where="module:attribute", remedy="e.g. my_model:predict")
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        found: Any = import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != module.split(".")[0]:
            raise MissingExtraError(f"{module!r} needs {error.name!r}", remedy=f"pip install {error.name}") from error
        remedy = "run from the folder that holds it, or install it"
        raise ConfigError(f"no module {module!r}", where=name, remedy=remedy) from error
    except AttributeError as error:
        raise ConfigError(f"{module!r} has no {attribute!r}", where=name, remedy="check the spelling") from error
    model = found() if isinstance(found, type) else found
    ask = getattr(model, "predict", model)
    if not callable(ask):
        remedy = "give it predict(queries) → predictions (docs/external.md)"
        raise ConfigError(f"{name!r} has no predict", where=name, remedy=remedy)
    served = getattr(model, "task", task.name)
    if served not in (task.name, "any"):
        raise ConfigError(
            f"{name!r} is of the task {served!r}, not {task.name!r}", where=name, remedy="ask another run"
        )
    asked: Ask = ask
    return asked


def is_costly(ask: Ask) -> bool:
    """Whether each question starts a program, so that few should be asked."""
    owner = getattr(ask, "__self__", ask)
    options = getattr(getattr(owner, "inner", owner), "options", None)
    return bool(getattr(ask, "costly", False) or getattr(options, "command", None))


def askable(model: Any, name: str) -> Ask:
    """`predict` of a loaded model. Raises Absent for one that answers from a file, or by chance on purpose.

    A command's folder is copied first, so that questions leave no trace in the run.
    """
    inner = getattr(model, "inner", model)
    options = getattr(inner, "options", None)
    if getattr(options, "predictions", None) is not None:
        raise Absent(f"{name} is a file of predictions: give its command line (--command)")
    if getattr(options, "choose", None) == "random":
        raise Absent(f"{name} draws its answers by chance, on purpose")
    if getattr(options, "command", None) is not None:
        copy = Path(tempfile.mkdtemp(prefix="mslitmus-asked-"))
        inner.save(copy)
        inner = type(inner).load(copy)
        if hasattr(model, "inner"):
            model.inner = inner
        else:
            model = inner
    ask: Ask = model.predict
    return ask
