"""Audits of a cohort: can its result be read as biology? Each reads the run folder's files and gives findings."""

from __future__ import annotations

from pathlib import Path

from ...provenance import write_json
from ...registry import Registry
from ..examination import ordered
from ..finding import Finding
from .tables import CohortTables

COHORT_AUDITS = Registry(
    "cohort audit",
    {
        "confounding": "mslitmus.audits.cohort.confounding:confounding",
        "amount": "mslitmus.audits.cohort.confounding:amount",
        "blanks": "mslitmus.audits.cohort.blanks:blanks",
        "replicates": "mslitmus.audits.cohort.replicates:replicates",
        "size": "mslitmus.audits.cohort.size:size",
    },
)
FILE = "findings.json"


def is_cohort(folder: Path) -> bool:
    """Whether a run folder is a cohort's."""
    return (folder / "samples.parquet").is_file()


def examine_cohort(folder: Path) -> tuple[Finding, ...]:
    """All audits, most severe first. Raises RunError where the folder is no cohort's."""
    tables = CohortTables.read(folder)
    return tuple(ordered([finding for name in COHORT_AUDITS for finding in COHORT_AUDITS[name](tables)]))


def write(folder: Path, findings: tuple[Finding, ...]) -> Path:
    """Write findings.json into the run folder."""
    write_json(folder / FILE, [finding.to_json() for finding in findings])
    return folder / FILE
