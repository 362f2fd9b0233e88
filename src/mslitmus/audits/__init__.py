"""Audits: one file each, from a run's evidence to findings. `examine` runs those that are wanted and can be run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..registry import Registry
from .evidence import Absent, Evidence
from .examination import examined, names_of, ordered
from .finding import Finding, RunTables

AUDITS = Registry(
    "audit",
    {
        "denominators": "mslitmus.audits.denominators:DENOMINATORS",
        "leakage": "mslitmus.audits.leakage:LEAKAGE",
        "spectrum-leakage": "mslitmus.audits.spectrum_leakage:SPECTRUM_LEAKAGE",
        "labels": "mslitmus.audits.labels:LABELS",
        "candidates": "mslitmus.audits.candidates:CANDIDATES",
        "shortcuts": "mslitmus.audits.shortcuts:SHORTCUTS",
        "ladder": "mslitmus.audits.ladder:LADDER",
        "calibration": "mslitmus.audits.calibration:CALIBRATION",
        "selection": "mslitmus.audits.selection:SELECTION",
        "pseudo-replication": "mslitmus.audits.pseudo_replication:PSEUDO_REPLICATION",
        "claims": "mslitmus.audits.claims:CLAIMS",
        "trivial": "mslitmus.audits.trivial:TRIVIAL",
        "overlap": "mslitmus.audits.overlap:OVERLAP",
        "spectrum-ablation": "mslitmus.audits.spectrum_ablation:SPECTRUM_ABLATION",
        "molecule-ablation": "mslitmus.audits.molecule_ablation:MOLECULE_ABLATION",
        "metadata": "mslitmus.audits.metadata:METADATA",
        "batching": "mslitmus.audits.batching:BATCHING",
        "noise": "mslitmus.audits.noise:NOISE",
        "similarity-curve": "mslitmus.audits.similarity_curve:SIMILARITY_CURVE",
        "condition-shift": "mslitmus.audits.condition_shift:CONDITION_SHIFT",
        "worst-group": "mslitmus.audits.worst_group:WORST_GROUP",
        "energy": "mslitmus.audits.energy:ENERGY",
        "isomers": "mslitmus.audits.isomers:ISOMERS",
        "unseen-formulae": "mslitmus.audits.unseen_formulae:UNSEEN_FORMULAE",
        "intensity-blindness": "mslitmus.audits.intensity_blindness:INTENSITY_BLINDNESS",
    },
)


@dataclass(frozen=True)
class Examination:
    """What the audits found, most severe first; why others were not run; seconds of each."""

    findings: tuple[Finding, ...]
    not_run: dict[str, str]
    seconds: dict[str, float]


def examine(evidence: Evidence, names: Sequence[str] | None = None, costs: Sequence[str] = ("quick",)) -> Examination:
    """Run audits. `examination.examined` goes on where one of them fails; this raises what it raised.

    Args:
        names: those alone, whatever they cost; None: all of `costs`.
    Raises ConfigError for an unknown name.
    """
    findings: list[Finding] = []
    not_run, seconds = {}, {}
    for outcome in examined(AUDITS, evidence, names_of(AUDITS, costs) if names is None else list(names)):
        if outcome.error is not None:
            raise outcome.error
        findings += outcome.findings
        seconds[outcome.name] = outcome.seconds
        if outcome.not_run is not None:
            not_run[outcome.name] = outcome.not_run
    return Examination(ordered(findings), not_run, seconds)


__all__ = ["AUDITS", "Absent", "Evidence", "Examination", "Finding", "RunTables", "examine"]
