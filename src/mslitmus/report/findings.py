"""What the audits saw, as the pages and the terminal show it: findings.json of the run, and audit.json over it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..audits.finding import SEVERITIES
from .folder import RunFiles
from .numbers import usable

#: How many there are of each, in a sentence.
WORDS = {"fatal": "fatal", "warning": "warnings", "note": "notes", "pass": "passed"}


@dataclass(frozen=True)
class Shown:
    """One finding as text; `severity` is one of SEVERITIES, anything unknown counts as a note."""

    audit: str
    severity: str
    claim: str
    evidence: str
    affected: int
    remedy: str


@dataclass(frozen=True)
class Examined:
    """All findings of a run, most severe first.

    not_run: (audit, why); failed: (audit, what it raised); `stale`: audit.json is of other scores than these.
    """

    findings: tuple[Shown, ...]
    not_run: tuple[tuple[str, str], ...]
    failed: tuple[tuple[str, str], ...]
    stale: bool
    audited: bool

    @property
    def counts(self) -> dict[str, int]:
        """severity → number of findings, every severity."""
        return {name: sum(f.severity == name for f in self.findings) for name in SEVERITIES}

    @property
    def lacking(self) -> list[tuple[str, list[str]]]:
        """Why audits were not run, and which: (reason, names)."""
        reasons: dict[str, list[str]] = {}
        for name, why in self.not_run:
            reasons.setdefault(why, []).append(name)
        return list(reasons.items())

    def of(self, *severities: str) -> tuple[Shown, ...]:
        return tuple(f for f in self.findings if f.severity in severities)

    def about(self, *names: str) -> tuple[Shown, ...]:
        """Findings whose claim names one of these (a model's name, say), passes included."""
        return tuple(f for f in self.findings if any(mentions(f.claim, name) for name in names))


def examined(files: RunFiles) -> Examined | None:
    """Findings of the last audit; of audits that it did not run, those of the run itself. None before any audit."""
    record = files.audit or {}
    if files.findings is None and not record:
        return None
    stale = bool(record) and record.get("state", {}).get("scores.parquet") != files.scores_hash
    entries = [] if stale else [shown_of(entry) for entry in record.get("findings", [])]
    told = set() if stale else set(record.get("seconds", {}))
    entries += [shown for entry in files.findings or () if (shown := shown_of(entry)).audit not in told]
    entries.sort(key=lambda f: (SEVERITIES.index(f.severity), f.audit, f.claim))
    lacking = {} if stale else record.get("not_run", {})
    failed = {} if stale else record.get("failed", {})
    return Examined(
        findings=tuple(entries),
        not_run=tuple(sorted((str(name), str(why)) for name, why in lacking.items())),
        failed=tuple(sorted((str(name), str((about or {}).get("error", ""))) for name, about in failed.items())),
        stale=stale,
        audited=bool(record) and not stale,
    )


def of_record(record: Mapping[str, Any]) -> Examined:
    """The same from the contents of an audit.json alone."""
    shown = sorted(map(shown_of, record["findings"]), key=lambda f: (SEVERITIES.index(f.severity), f.audit, f.claim))
    failed = {name: about["error"] for name, about in record["failed"].items()}
    return Examined(tuple(shown), tuple(sorted(record["not_run"].items())), tuple(sorted(failed.items())), False, True)


def mentions(claim: str, name: str) -> bool:
    """Whether a claim names a model: as whole words, so that `mlp` is not found in `binned-mlp`."""
    start = claim.find(name)
    while start >= 0:
        around = claim[max(start - 1, 0) : start], claim[start + len(name) : start + len(name) + 1]
        if not any(c and (c.isalnum() or c in "-_") for c in around):
            return True
        start = claim.find(name, start + 1)
    return False


def counted(counts: Mapping[str, int]) -> str:
    """`1 fatal, 3 warnings, 2 notes, 8 passed`; of what there is none nothing but for `no fatal finding`."""
    parts = []
    for name in SEVERITIES:
        number = counts.get(name, 0)
        if number:
            word = WORDS[name]
            parts.append(f"{number} {word[:-1] if number == 1 and word.endswith('s') else word}")
    return ", ".join(parts) or "nothing found"


def grouped(findings: Sequence[Shown]) -> list[tuple[str, int]]:
    """(audit, how many of these findings it has), by name."""
    names = sorted({f.audit for f in findings})
    return [(name, sum(f.audit == name for f in findings)) for name in names]


def shown_of(entry: Mapping[str, Any]) -> Shown:
    """One entry of a findings.json."""
    severity, affected = str(entry.get("severity", "note")), entry.get("affected")
    remedy = str(entry.get("remedy") or "")
    return Shown(
        audit=str(entry.get("audit", "")),
        severity=severity if severity in SEVERITIES else "note",
        claim=str(entry.get("claim", "")),
        evidence=str(entry.get("evidence") or ""),
        affected=int(affected) if usable(affected) and affected is not None else 0,
        remedy="" if remedy == "nothing to do" else remedy,
    )
