"""What an audit may look at: a run's tables, and, where they are at hand, its records, predictions and models.

Everything beyond the tables is fetched when an audit asks, and kept: a run of millions of predictions costs memory only
where an audit reads them. What is not there raises `Absent`, and the audit counts as not run, with that reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from ..tasks.protocol import Task
from .claim import Claim
from .finding import RunTables

#: Questions of a task's visible columns → predictions of its schema.
Ask = Callable[[pl.DataFrame], pl.DataFrame]


class Absent(Exception):  # noqa: N818 - no error: an audit that lacks an input is not run
    """An input that this audit needs is not at hand. `str()` says which, and how to give it."""


@dataclass(frozen=True, order=True)
class CellKey:
    """One column of predictions: split × model × seed."""

    split: str
    model: str
    seed: int

    def __str__(self) -> str:
        return f"{self.model} on split {self.split}, seed {self.seed}"


@dataclass(frozen=True)
class Pretraining:
    """Molecules that a model met before training, as its owner declares: any list with `smiles` and `inchikey14`."""

    name: str
    molecules: pl.DataFrame
    models: tuple[str, ...] | None = None  # those that met it; None: all trained ones


def _no_folds(split: str) -> Mapping[str, pl.DataFrame]:
    raise Absent("needs the dataset of the run (mslitmus audit RUN)")


def _no_predictions(key: CellKey) -> pl.DataFrame:
    raise Absent("needs the predictions of the run (mslitmus audit RUN)")


def no_model(key: CellKey) -> Ask:
    raise Absent("needs a model that can be asked (--live)")


def _silent(line: str) -> None:
    return None


@dataclass(frozen=True)
class Evidence:
    """Inputs of every audit.

    Attributes:
        tables: summary, comparisons, kinds, split records, scores.
        task: of the run, prepared (its candidate pools are made); None where only tables are at hand.
        cells: cell.json records by key: options, parameters, seconds, `fit` with history, `stopped`, `best_epoch`.
        read_folds: split → fold (train, val, test) → rows of SPECTRA; val and test as they were asked.
        read_predictions: key → predictions of val and test in the task's schema.
        open_model: key → a function that asks the fitted model. Only for audits marked `live`.
        pretraining: declared lists.
        claims: what an author says of the run's models.
        progress: takes one line.
    """

    tables: RunTables
    task: Task | None = None
    cells: Mapping[CellKey, Mapping[str, Any]] = field(default_factory=dict)
    read_folds: Callable[[str], Mapping[str, pl.DataFrame]] = _no_folds
    read_predictions: Callable[[CellKey], pl.DataFrame] = _no_predictions
    open_model: Callable[[CellKey], Ask] = no_model
    pretraining: tuple[Pretraining, ...] = ()
    claims: tuple[Claim, ...] = ()
    progress: Callable[[str], None] = _silent
    _kept: dict[Any, Any] = field(default_factory=dict, repr=False)

    def folds(self, split: str) -> Mapping[str, pl.DataFrame]:
        """fold → rows of SPECTRA. Raises Absent."""
        folds: Mapping[str, pl.DataFrame] = self.kept(("folds", split), lambda: self.read_folds(split))
        return folds

    def predictions(self, key: CellKey, fold: str = "test") -> pl.DataFrame:
        """One fold's predictions of a cell, schema of the task. Raises Absent."""
        rows = self.folds(key.split)[fold].select("identifier")
        return self.read_predictions(key).join(rows, on="identifier", how="semi", maintain_order="left")

    def scores(self, key: CellKey, fold: str = "test") -> pl.DataFrame:
        """identifier, inchikey14, predicted and one column a metric. Raises Absent."""
        if self.tables.scores is None:
            raise Absent("needs the scores of the run")
        wanted: dict[str, Any] = {"split": key.split, "model": key.model, "seed": key.seed, "fold": fold}
        return self.tables.scores.filter([pl.col(name) == value for name, value in wanted.items()])

    def keys(self, *kinds: str) -> list[CellKey]:
        """Cells in order; of models of these kinds only, where any are named."""
        return [key for key in sorted(self.cells) if not kinds or self.tables.kinds.get(key.model) in kinds]

    def first_seeds(self, *kinds: str) -> list[CellKey]:
        """One cell a split and model, the lowest seed: what an audit looks at where every seed would tell the same."""
        first: dict[tuple[str, str], CellKey] = {}
        for key in self.keys(*kinds):
            first.setdefault((key.split, key.model), key)
        return list(first.values())

    def require_task(self, *names: str) -> Task:
        """The task, if it is one of these. Raises Absent."""
        if self.task is None:
            raise Absent("needs the dataset of the run (mslitmus audit RUN)")
        if names and self.task.name not in names:
            raise Absent(f"is about {' and '.join(names)}; this run is of {self.task.name}")
        return self.task

    def kept(self, key: Any, make: Callable[[], Any]) -> Any:
        """What `make` returns, made once for all audits that ask under this key (look-ups, fingerprints, formulae)."""
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]
