"""external: a model that lives elsewhere, as a file of predictions or as a command.

`predictions: path` reads what another machine has predicted. `command: …` runs a program that reads the query file and
writes the answer; `fit_command` runs once before, and what it learns stays in `{folder}`. Placeholders: `{train}`,
`{val}` (rows to learn from), `{queries}` (visible columns only), `{out}` (where the answer goes), `{folder}` (the
model's own folder), `{seed}`, `{python}` (the interpreter that runs mslitmus). docs/external.md has tested examples.
"""

from __future__ import annotations

import json
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, Self

import polars as pl
from pydantic import Field

from ..errors import ConfigError, ModelError
from ..provenance import file_hash, now, write_json
from ..tasks import TASKS
from ..tasks.intake import check_file, read_predictions
from ..tasks.template import write_training
from .commands import fill, named_files, parse_command, placeholders, run
from .options import Options, parse_options
from .protocol import FitContext, FitReport, Kind

_WHERE = "model 'external'"
_KNOWN = ("train", "val", "queries", "out", "folder", "seed", "python")
_LOG = "command.log"
_STATE = "external.json"


class ExternalOptions(Options):
    """Options of external: `predictions` or `command`, never both."""

    task: str = Field("spectrum-prediction", description="set by the study")
    kind: Kind = Field("trained", description="what it is compared as: blind, neighbour, trained")
    predictions: str | None = Field(None, description="file of predictions, in any format of the intake")
    intake_format: str | None = Field(None, description="of `predictions` or the answer; default: told by the content")
    command: str | None = Field(None, description="program that answers {queries} in {out}")
    fit_command: str | None = Field(None, description="program that learns from {train} and {val} into {folder}")
    rest: Literal["missing", "lowest"] = Field("missing", description="of adapters: pool members that a tool left out")
    format: Literal["parquet", "jsonl", "csv", "mgf"] = Field("parquet", description="of the files handed over")
    timeout: float | None = Field(None, gt=0, description="seconds for each command")
    cwd: str = Field(".", description="folder that commands start in and `predictions` is relative to")


class External:
    """A model of any task that another program is, or was. `fit` runs no more than `fit_command`."""

    task: str = "any"  # the study says which

    def __init__(self, **options: Any) -> None:
        self.options = parse_options(ExternalOptions, options, where=_WHERE)
        self.task = self.options.task
        self.kind: Kind = self.options.kind
        if self.task not in TASKS:
            TASKS[self.task]  # raises with the nearest name
        if (self.options.predictions is None) == (self.options.command is None):
            remedy = "predictions: a file made elsewhere; command: a program that is run"
            raise ConfigError("give either predictions or command", where=_WHERE, remedy=remedy)
        if self.options.fit_command is not None and self.options.command is None:
            raise ConfigError("fit_command without command", where=_WHERE, remedy="give the command that predicts too")
        if self.options.format == "mgf" and self.task == "retrieval":
            raise ConfigError("MGF cannot hold candidates", where=_WHERE, remedy="format: parquet, jsonl or csv")
        self._predict = self._parsed(self.options.command, needs=("queries", "out"))
        self._fit = self._parsed(self.options.fit_command, needs=())
        self._folder: Path | None = None
        self._state: dict[str, Any] = {}
        self._say: Callable[[str], None] = _silent

    def report_to(self, progress: Callable[[str], None]) -> None:
        """Where commands, and rows of a file that are left out, are told: a loaded model has no context."""
        self._say = progress

    def check_task(self, task: Any) -> None:
        """Before any work: the file of predictions is there, can be read and has the columns of the task's answer."""
        if self.options.predictions is not None:
            check_file(self._predictions(), self.task, self.options.intake_format)

    @property
    def source(self) -> str:
        """The file that predictions come from, for messages."""
        return str(self._predictions() if self.options.predictions is not None else self._file("answer"))

    def _parsed(self, command: str | None, needs: tuple[str, ...]) -> list[str]:
        if command is None:
            return []
        arguments = parse_command(command, _KNOWN, where=_WHERE)
        for name in needs:
            if name not in placeholders(arguments):
                raise ConfigError(
                    f"the command has no {{{name}}}", where=_WHERE, remedy="e.g. --queries {queries} --out {out}"
                )
        return arguments

    def fit(self, train: pl.DataFrame, val: pl.DataFrame, context: FitContext) -> FitReport:
        """Write what the commands read, run `fit_command`. A file of predictions is only looked up and hashed."""
        started = time.perf_counter()
        self._say = context.progress
        self._folder = context.folder.resolve()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._state = {"seed": context.seed, "fitted": now()}
        if self.options.predictions is not None:
            path = self._predictions()
            self._state["sha256"] = _hash(path)
            return FitReport(seconds=time.perf_counter() - started, notes={"predictions": path.name, **self._state})
        used = placeholders([*self._fit, *self._predict])
        for name, frame in (("train", train), ("val", val)):
            if name in used:
                write_training(frame, self._file(name))
        if self._fit:
            self._run(self._fit, {})
        notes = {"command": self.options.command, "log": str(self._folder / _LOG)}
        return FitReport(seconds=time.perf_counter() - started, stopped="fitted elsewhere", notes=notes)

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame:
        """The answer in the task's schema. Raises PredictionError for a bad answer, ModelError for a failed command."""
        if self.options.predictions is not None:
            path = self._predictions()
            if self._state.get("sha256") not in (None, _hash(path)):
                remedy = "a study answers from one state of a file: give the new one another name, or start a new run"
                raise ModelError("the predictions changed since the model was fitted", where=str(path), remedy=remedy)
            return self._read(path, queries, "drop")
        asked = self._file("queries")
        answer = self._file("answer")
        answer.unlink(missing_ok=True)  # an old answer must not pass for this one
        write_training(queries, asked)
        self._run(self._predict, {"queries": asked, "out": answer})
        if not answer.exists():
            raise ModelError(
                f"the command ended well but wrote no {answer.name}", where=self.options.command,
                remedy=f"write the answer to {{out}}; what the command said is in {self._own() / _LOG}",
            )  # fmt: skip
        return self._read(answer, queries, "raise")

    def _read(self, path: Path, queries: pl.DataFrame, unknown: Literal["raise", "drop"]) -> pl.DataFrame:
        options = self.options
        return read_predictions(path, self.task, queries, options.intake_format, unknown, options.rest, self._say)

    @classmethod
    def inputs(cls, options: Mapping[str, Any]) -> dict[str, str]:
        """Files that decide the predictions, by their hashes: another state of a file is another model.

        Of commands, the files that their arguments name (a script, its settings).
        """
        model = cls(**options)
        if model.options.predictions is not None:
            return {"predictions": _hash(model._predictions())}
        cwd = Path(model.options.cwd).expanduser().resolve()
        named = named_files([*model._fit, *model._predict], cwd)
        return {text: _remembered(path, path.stat().st_mtime_ns, path.stat().st_size) for text, path in named.items()}

    def _predictions(self) -> Path:
        path = Path(self.options.cwd).expanduser() / Path(str(self.options.predictions)).expanduser()
        if not path.is_file() and not (path.is_dir() and self.options.intake_format):
            raise ModelError("no such file of predictions", where=str(path), remedy="check predictions and cwd")
        return path.resolve()

    def _own(self) -> Path:
        if self._folder is None:
            raise ModelError("external was not fitted", where=_WHERE, remedy="call fit, or load a saved one")
        return self._folder

    def _file(self, name: str) -> Path:
        """MGF holds spectra only: queries without peaks go out as CSV, answers that are no spectra come back as CSV."""
        of_spectra = (self.task == "spectrum-prediction") == (name == "answer") or name in ("train", "val")
        ending = self.options.format if self.options.format != "mgf" or of_spectra else "csv"
        return self._own() / f"{name}.{ending}"

    def _run(self, arguments: list[str], files: dict[str, Path]) -> None:
        cwd = Path(self.options.cwd).expanduser().resolve()
        if not cwd.is_dir():
            raise ModelError("no such folder to start the command in", where=str(cwd), remedy="correct the option cwd")
        values = {
            "train": self._file("train"), "val": self._file("val"), "folder": self._own(),
            "seed": self._state.get("seed", 0), "python": sys.executable, **files,
        }  # fmt: skip
        filled = fill(arguments, values)
        self._say(f"$ {shlex.join(filled)}")
        run(filled, cwd=cwd, log=self._own() / _LOG, timeout=self.options.timeout)

    def parameters(self) -> int:
        """Unknown here, and said as 0."""
        return 0

    def save(self, folder: Path) -> None:
        """Options, state, and what the commands made, so that the folder stands for itself."""
        folder.mkdir(parents=True, exist_ok=True)
        if folder.resolve() != self._own():
            shutil.copytree(self._own(), folder, dirs_exist_ok=True)
        write_json(folder / "options.json", self.options.model_dump())
        write_json(folder / _STATE, self._state)

    @classmethod
    def load(cls, folder: Path) -> Self:
        model = cls(**json.loads((folder / "options.json").read_text(encoding="utf-8")))
        model._state = json.loads((folder / _STATE).read_text(encoding="utf-8"))
        model._folder = folder.resolve()
        return model


def _silent(_: str) -> None:
    return None


@lru_cache(maxsize=256)
def _remembered(path: Path, changed: int, size: int) -> str:
    """Hash of a file of this age and size: every cell of a study asks, and weights may be large."""
    return file_hash(path)


def _hash(path: Path) -> str:
    """SHA-256 of a file, or of the names and hashes of all files of a folder."""
    if path.is_file():
        return file_hash(path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return sha256("\n".join(f"{file.relative_to(path)} {file_hash(file)}" for file in files).encode()).hexdigest()
