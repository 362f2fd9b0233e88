"""Audits: one file each, from a run's evidence to findings. `examine` runs those that are wanted and can be run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from ..registry import Registry
from .evidence import Absent, Evidence
from .finding import SEVERITIES, Finding, RunTables

AUDITS = Registry(
    "audit",
    {
        "denominators": "mslitmus.audits.denominators:DENOMINATORS",
        "trivial": "mslitmus.audits.trivial:TRIVIAL",
        "overlap": "mslitmus.audits.overlap:OVERLAP",
    },
)


@dataclass(frozen=True)
class Examination:
    """What the audits found, most severe first; why others were not run; seconds of each."""

    findings: tuple[Finding, ...]
    not_run: dict[str, str]
    seconds: dict[str, float]


def examine(evidence: Evidence, names: Sequence[str] | None = None, costs: Sequence[str] = ("quick",)) -> Examination:
    """Run audits.

    Args:
        names: those alone, whatever they cost; None: all of `costs`.
    Raises ConfigError for an unknown name.
    """
    chosen = [name for name in AUDITS if AUDITS[name].cost in costs] if names is None else list(names)
    findings: list[Finding] = []
    not_run, seconds = {}, {}
    for number, name in enumerate(chosen, 1):
        audit = AUDITS[name]
        evidence.progress(f"[{number}/{len(chosen)}] {name}: {audit.about}")
        started = time.perf_counter()
        try:
            findings += audit(evidence)
        except Absent as absent:
            not_run[name] = str(absent)
        seconds[name] = round(time.perf_counter() - started, 3)
    ordered = sorted(findings, key=lambda f: (SEVERITIES.index(f.severity), f.audit, f.claim))
    return Examination(tuple(ordered), not_run, seconds)


__all__ = ["AUDITS", "Absent", "Evidence", "Examination", "Finding", "RunTables", "examine"]
