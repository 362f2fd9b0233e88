"""One cell after the other, in this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...train import require_device
from ..config import StudyConfig
from .bench import Bench, Progress
from .plan import Job


@dataclass(frozen=True)
class Serial:
    """The default."""

    def check(self, study: StudyConfig) -> None:
        require_device(study.budget.device, study.budget.devices)

    def run(self, bench: Bench, jobs: Sequence[Job], progress: Progress, done: Callable[[Job], None]) -> None:
        for job in jobs:
            progress(str(job))
            bench.compute(job.key, progress)
            done(job)
