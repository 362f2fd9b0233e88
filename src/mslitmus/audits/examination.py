"""Run audits one after another: what each found, why it was not run, or how it failed."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..errors import MissingExtraError, unknown_name
from ..registry import Registry
from .evidence import Absent, Evidence
from .finding import SEVERITIES, Finding


@dataclass(frozen=True)
class Outcome:
    """One audit's answer. At most one of `not_run` (the input or package that it lacks) and `error` is set.

    error: what it raised; `trace` is its traceback. An audit that fails says nothing about the run.
    """

    name: str
    findings: tuple[Finding, ...] = ()
    not_run: str | None = None
    error: Exception | None = None
    trace: str = ""
    seconds: float = 0.0


def names_of(audits: Mapping[str, Any], costs: Sequence[str]) -> list[str]:
    """Audits of these costs. One that cannot be imported counts as `files`: it then fails where it is run, by name."""
    chosen = []
    for name in audits:
        try:
            cost = audits[name].cost
        except Exception:  # told by `examined`
            cost = "files"
        if cost in costs:
            chosen.append(name)
    return chosen


def examined(audits: Registry, evidence: Evidence, names: Sequence[str]) -> Iterator[Outcome]:
    """Run the named audits in order; an outcome each, as soon as it is known.

    Whatever an audit raises ends this audit alone and is told in its outcome. Raises ConfigError for an unknown name,
    before any is run.
    """
    for name in names:
        if name not in audits:
            raise unknown_name(audits.kind, name, audits)
    for number, name in enumerate(names, 1):
        started = time.perf_counter()

        def outcome(name: str = name, started: float = started, **told: Any) -> Outcome:
            return Outcome(name, **told, seconds=round(time.perf_counter() - started, 3))

        try:
            audit = audits[name]
            evidence.progress(f"[{number}/{len(names)}] {name}: {audit.about}")
            found = tuple(replace(finding, audit=name) for finding in audit(evidence))  # told under its registered name
        except (Absent, MissingExtraError) as absent:
            yield outcome(not_run=str(absent))
        except Exception as error:  # odd data must cost one audit, not all; the command tells it and ends non-zero
            yield outcome(error=error, trace=traceback.format_exc())
        else:
            yield outcome(findings=found)


def ordered(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Most severe first, then by audit and claim."""
    return tuple(sorted(findings, key=lambda f: (SEVERITIES.index(f.severity), f.audit, f.claim)))
