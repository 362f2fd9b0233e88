"""Audits: one file each, from a run's files to findings. `examine` runs all and sorts by severity."""

from __future__ import annotations

from ..registry import Registry
from .finding import SEVERITIES, Finding, RunTables

AUDITS = Registry(
    "audit",
    {
        "denominators": "mslitmus.audits.denominators:denominators",
        "trivial": "mslitmus.audits.trivial:trivial",
        "overlap": "mslitmus.audits.overlap:overlap",
    },
)


def examine(tables: RunTables) -> list[Finding]:
    """Findings of every registered audit, most severe first."""
    findings = [finding for name in AUDITS for finding in AUDITS[name](tables)]
    return sorted(findings, key=lambda f: (SEVERITIES.index(f.severity), f.audit, f.claim))
