"""A finding: what an audit saw, how bad it is, how much it touches, and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import polars as pl

SEVERITIES = ("fatal", "warning", "note", "pass")


@dataclass(frozen=True)
class Finding:
    """One claim of an audit. `affected` counts what `evidence` shows; `remedy` says what to do next."""

    audit: str
    severity: str
    claim: str
    affected: int
    evidence: str
    remedy: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class RunTables:
    """The files of a run, as audits read them: tables of `mslitmus.schemas`, and the split records by split name."""

    summary: pl.DataFrame
    comparisons: pl.DataFrame
    kinds: Mapping[str, str]
    splits: Mapping[str, Mapping[str, Any]]
    primary: str


class Audit(Protocol):
    """Reads a run's tables, returns findings (none is an answer too)."""

    def __call__(self, tables: RunTables) -> list[Finding]: ...
