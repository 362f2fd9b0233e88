"""What every cell of a run is computed from, staged once by the process that runs the study.

The main process reads the dataset, makes splits and candidate pools and leaves the result as one file in the run
folder. A worker, on this machine or on another one that sees the folder, reads that file once and computes any cell:
so that all engines work on the same rows.
"""

from __future__ import annotations

import pickle
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import polars as pl

from ...audits.evidence import CellKey
from ...errors import RunError
from ...lock import DEAD, exclusive
from ..cells import Cell, compute, finished
from ..config import StudyConfig
from ..folder import RunFolder

Progress = Callable[[str], None]
_STAGED = ".staged-"
#: Seconds for which another machine's file may be out of sight on a network disk (NFS keeps listings up to a minute).
LATE = 60.0


@dataclass(frozen=True)
class Bench:
    """A study with its data.

    Attributes:
        root: the run folder.
        task: the prepared task.
        asked: split → fold → rows, val and test as they are asked.
        made_of: split → digest of everything that decides its folds.
    """

    study: StudyConfig
    root: Path
    task: Any
    asked: dict[str, dict[str, pl.DataFrame]]
    made_of: dict[str, str]

    def with_threads(self, threads: int) -> Self:
        """The same with so many threads a cell."""
        budget = self.study.budget.model_copy(update={"threads": threads})
        return replace(self, study=self.study.model_copy(update={"budget": budget}))

    def cell(self, key: CellKey) -> Cell:
        model = next(row for row in self.study.models if row.name == key.model)
        folder = RunFolder(self.root).cell(key.split, key.model, key.seed)
        return Cell(folder, key.split, self.made_of[key.split], model, key.seed, self.asked[key.split], self.task)

    def finished(self, key: CellKey) -> bool:
        """Whether nothing is left to compute of this cell."""
        return finished(self.cell(key), self.study)

    def compute(self, key: CellKey, progress: Progress) -> None:
        """Do what is not yet done of this cell, alone in its folder: a process that was given up may still be there."""
        cell = self.cell(key)
        cell.folder.mkdir(parents=True, exist_ok=True)
        with exclusive(cell.folder, wait=2 * DEAD):
            compute(cell, self.study, progress)

    @contextmanager
    def staged(self) -> Iterator[Path]:
        """The file for workers, there while within. Raises RunError where a plug-in's task cannot be handed over."""
        for old in self.root.glob(f"{_STAGED}*"):  # of a run that was killed
            old.unlink(missing_ok=True)
        path = self.root / f"{_STAGED}{uuid.uuid4().hex}"
        try:
            try:
                path.write_bytes(pickle.dumps(self, protocol=pickle.HIGHEST_PROTOCOL))
            except (pickle.PicklingError, AttributeError, TypeError) as error:
                what = f"the study cannot be handed to another process: {error}"
                raise RunError(what, where=str(self.root), remedy="run it with --jobs 1") from error
            yield path
        finally:
            path.unlink(missing_ok=True)


def read_bench(path: Path, late: float = LATE) -> Bench:
    """The bench that `staged` left. Raises RunError where the file does not come into sight within `late` seconds."""
    if not appears(path, late):
        remedy = "the run folder must lie on a file system that every machine sees under the same path"
        raise RunError("the staged study is not to be seen from here", where=str(path), remedy=remedy)
    bench: Bench = pickle.loads(path.read_bytes())
    return bench


def appears(path: Path, late: float) -> bool:
    """Whether a file is there within `late` seconds."""
    until = time.monotonic() + late
    while not path.exists():
        if time.monotonic() > until:
            return False
        time.sleep(0.2)
    return True
