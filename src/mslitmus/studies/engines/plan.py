"""Which cells there are, which must come before which, and what an engine is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ...audits.evidence import CellKey
from ...errors import RunError
from ..config import StudyConfig
from ..start_from import in_order
from .bench import Bench, Progress

#: How often a cell is tried whose process dies: once more after the first time.
TRIES = 2


@dataclass(frozen=True)
class Job:
    """One cell to compute, the `number`th of `total`, after the cells `after`."""

    key: CellKey
    number: int
    total: int
    after: frozenset[CellKey] = frozenset()

    @property
    def mark(self) -> str:
        return f"[{self.number}/{self.total}]"

    @property
    def name(self) -> str:
        return f"{self.key.split} · {self.key.model} · seed {self.key.seed}"

    def __str__(self) -> str:
        return f"{self.mark} {self.name}"


class Engine(Protocol):
    """Where the cells of a study are computed."""

    def check(self, study: StudyConfig) -> None:
        """Raises a MslitmusError, before any work, where this engine cannot run the study."""
        ...

    def run(self, bench: Bench, jobs: Sequence[Job], progress: Progress, done: Callable[[Job], None]) -> None:
        """Compute all `jobs`, each after those it depends on, and call `done` as each is finished.

        Raises the first error of a cell at once; what was finished before stays, and trainings under way go on from
        their checkpoint when the study is run again.
        """
        ...


def jobs_of(study: StudyConfig) -> list[Job]:
    """Every cell of the study, in an order that a single process can go through."""
    rows = [(s, m, seed) for s in study.splits for m in in_order(study.models) for seed in (m.seeds or study.seeds)]
    jobs = []
    for number, (split, model, seed) in enumerate(rows, 1):
        parent = model.start_from
        after = frozenset() if parent is None else frozenset({CellKey(split.name, parent.model, seed)})
        jobs.append(Job(CellKey(split.name, model.name, seed), number, len(rows), after))
    return jobs


def execute(bench: Bench, engine: Engine, progress: Progress, note: Callable[[], None]) -> None:
    """All cells of a study. What is finished is only looked through, here; the engine gets the rest.

    Args:
        note: called after each cell that was computed.
    """
    open_keys: set[CellKey] = set()
    jobs = []
    for job in jobs_of(bench.study):
        if job.after & open_keys or not bench.finished(job.key):  # a row whose parent goes on is looked at after it
            open_keys.add(job.key)
            jobs.append(job)
        else:
            bench.compute(job.key, progress)
    note()
    if jobs:
        engine.run(bench, jobs, progress, lambda job: note())


class Schedule:
    """Which job is next where several run at a time."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._waiting = list(jobs)
        self._open = {job.key for job in jobs}
        self._deaths: dict[CellKey, int] = {}

    def __bool__(self) -> bool:
        """Whether a job is not done yet."""
        return bool(self._open)

    def next(self) -> Job | None:
        """A job whose predecessors are done; None where all that is left must wait."""
        for job in self._waiting:
            if not job.after & self._open:
                self._waiting.remove(job)
                return job
        return None

    def done(self, job: Job) -> None:
        self._open.discard(job.key)

    def died(self, job: Job, how: str) -> None:
        """Its process died: the job waits again. Raises RunError where it did so before."""
        self._deaths[job.key] = self._deaths.get(job.key, 0) + 1
        if self._deaths[job.key] >= TRIES:
            what = f"cell {job.name}: its process died {TRIES} times, at last {how}"
            remedy = "if memory ran out: fewer --jobs, smaller batches; the same command continues from there"
            raise RunError(what, remedy=remedy)
        self._waiting.insert(0, job)
