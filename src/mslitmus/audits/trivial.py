"""Trivial answers: does a trained model beat the best model that learns nothing?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .audit import Audit
from .evidence import Evidence
from .finding import Finding, best_of, paired

ALPHA = 0.05


def trivial(evidence: Evidence) -> list[Finding]:
    """Per split and trained model, the paired comparison with the best trivial model by validation mean."""
    tables = evidence.tables
    findings = []
    for split in tables.splits:
        best = best_of(tables, split, "blind", "neighbour")
        if best is None:
            continue
        for model in sorted(m for m, kind in tables.kinds.items() if kind == "trained"):
            row = paired(tables.comparisons, split, tables.primary, model, best)
            if row is not None:
                findings.append(_judge(row, tables.rising))
    return findings


def _judge(row: Mapping[str, Any], rising: bool) -> Finding:
    """The verdict of the report's headline: Holm's p decides, so that page and finding never contradict each other."""
    split, model, control, difference, p = (row[k] for k in ("split", "model_a", "model_b", "difference", "p_holm"))
    corrected = "undefined" if p is None else f"{p:.2g}"
    n = row["n_molecules"]
    evidence = f"{_interval(difference, row['low'], row['high'])}, Holm p = {corrected}, {n} molecules, paired"
    if p is None or p >= ALPHA or difference == 0:
        claim = f"{model} cannot be told from the trivial model {control} on split {split}"
        return Finding("trivial", "warning", claim, n, evidence, "train longer, or report the difference as it is")
    if (difference > 0) == rising:
        claim = f"{model} beats the best trivial model ({control}) on split {split}"
        return Finding("trivial", "pass", claim, n, evidence, "nothing to do")
    claim = f"{model} is worse than the trivial model {control} on split {split}"
    return Finding("trivial", "warning", claim, n, evidence, "do not report it without the trivial model beside it")


def _interval(difference: float, low: float | None, high: float | None) -> str:
    """A paired difference with its interval, as the tables print it; a single molecule has no interval."""
    within = "no interval" if low is None or high is None else f"95 % interval {low:+.3f} to {high:+.3f}"
    return f"difference {difference:+.3f} ({within})"


TRIVIAL = Audit("does a trained model beat the best model that learns nothing?", "quick", trivial)
