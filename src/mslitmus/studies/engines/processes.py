"""Several cells at a time on this machine, each in a process of its own."""

from __future__ import annotations

import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import RunError
from ...train import gpus, require_device
from ..config import StudyConfig
from .bench import Bench, Progress
from .plan import TRIES, Job, Schedule
from .worker import Said, Worker, end_all

#: Number of threads of the numerical libraries, where they read it when they are loaded.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "POLARS_MAX_THREADS")


@dataclass(frozen=True)
class Processes:
    """So many cells at a time; 0: as many as GPUs, or as cores have room for."""

    jobs: int = 0

    def check(self, study: StudyConfig) -> None:
        require_device(study.budget.device, study.budget.devices)

    def run(self, bench: Bench, jobs: Sequence[Job], progress: Progress, done: Callable[[Job], None]) -> None:
        devices = gpus(bench.study.budget.device)
        workers = min(self.jobs or _fitting(bench.study, len(devices)), len(jobs))
        threads = bench.study.budget.threads or max(1, cores() // workers)
        many = f"; more threads than the {cores()} cores: see budget.threads" if workers * threads > cores() else ""
        progress(f"{workers} processes of {threads} threads{many}")
        with sigterm_ends(), bench.with_threads(threads).staged() as staged:
            _Crew(staged, workers, _environments(threads, workers, devices, bench.study.budget.devices)).work(
                Schedule(jobs), progress, done
            )


class _Crew:
    """The workers of one run. All is decided in the calling thread, where what workers say arrives in order."""

    def __init__(self, staged: Path, size: int, environments: list[dict[str, str]]) -> None:
        self._staged, self._environments = staged, environments
        self._said: queue.SimpleQueue[tuple[Worker, Said]] = queue.SimpleQueue()
        self._workers: dict[int, Worker] = {}
        self._busy: dict[Worker, Job] = {}
        self._idle: list[Worker] = []
        self._failed_starts = 0
        self._size = size

    def work(self, schedule: Schedule, progress: Progress, done: Callable[[Job], None]) -> None:
        try:
            for number in range(self._size):
                self._start(number)
            while schedule:
                worker, (kind, value) = self._said.get()
                if self._workers.get(worker.number) is worker:
                    self._hear(worker, kind, value, schedule, progress, done)
        finally:
            end_all(list(self._workers.values()))

    def _start(self, number: int) -> None:
        self._workers[number] = Worker(number, self._staged, self._environments[number], self._heard)

    def _heard(self, worker: Worker, said: Said) -> None:
        self._said.put((worker, said))

    def _hear(
        self, worker: Worker, kind: str, value: Any, schedule: Schedule, progress: Progress, done: Callable[[Job], None]
    ) -> None:
        job = self._busy.get(worker)
        if kind == "line" and job is not None:
            progress(f"{job.mark} {value}")
            return
        if kind == "error":
            progress(f"{job.mark if job else 'a worker process'} failed")
            raise value
        if kind == "ended":
            self._replace(worker, job, value, schedule, progress)
        else:
            self._idle.append(worker)
            if job is not None:
                del self._busy[worker]
                schedule.done(job)
                progress(f"{job} is finished")
                done(job)
        self._hand_out(schedule, progress)

    def _hand_out(self, schedule: Schedule, progress: Progress) -> None:
        while self._idle and (job := schedule.next()) is not None:
            worker = self._idle.pop(0)
            self._busy[worker] = job
            progress(str(job))
            worker.give(job.key)

    def _replace(self, worker: Worker, job: Job | None, how: str, schedule: Schedule, progress: Progress) -> None:
        """A worker died: its cell is tried again by a new one."""
        worker.end(0.0)
        self._idle = [other for other in self._idle if other is not worker]
        self._busy.pop(worker, None)
        if job is not None:
            schedule.died(job, how)
            progress(f"{job.mark} its process died {how}: once more")
        else:
            self._failed_starts += 1
            if self._failed_starts > TRIES:
                remedy = "fewer --jobs need less memory; the same command continues"
                raise RunError(f"worker processes end {how} before they get to work", remedy=remedy)
        self._start(worker.number)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _fitting(study: StudyConfig, devices: int) -> int:
    if devices:
        return max(1, devices // study.budget.devices)
    return max(1, cores() // (study.budget.threads or 1))


def _environments(threads: int, workers: int, devices: list[str], each: int) -> list[dict[str, str]]:
    """A worker's variables: its threads and, where there are several GPUs, those `each` that are its own."""
    limits = dict.fromkeys(_THREADS, str(threads))
    if len(devices) < 2:
        return [limits] * workers
    own = [[devices[(number * each + k) % len(devices)] for k in range(each)] for number in range(workers)]
    return [{**limits, "CUDA_VISIBLE_DEVICES": ",".join(mine)} for mine in own]


@contextmanager
def sigterm_ends() -> Iterator[None]:
    """SIGTERM unwinds the stack, so that the workers are ended; a batch system sends it before it kills."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return

    def end(signum: int, frame: Any) -> None:
        raise SystemExit(128 + signum)

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
