"""Overlap: which test molecules did the models meet in training?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .audit import Audit
from .evidence import Evidence
from .finding import Finding

#: Above this share of near twins a split deserves a note.
NOTED = 0.05


def overlap(evidence: Evidence) -> list[Finding]:
    """Per split, the share of test molecules that occur in train, read off the split's difficulty record; a note where
    it was not measured. `leakage` counts them anew from the folds, whatever the record says."""
    tables = evidence.tables
    findings = []
    for name, record in tables.splits.items():
        exact = ((record.get("difficulty") or {}).get("overlap") or {}).get("molecules")
        if exact is None:
            findings.append(_unmeasured(name))
            continue
        count, share = int(exact["count"]), float(exact["share"] or 0.0)
        if count:
            claim = f"by its own record {share:.1%} of the test molecules of split {name} are in train"
            shown = f"{count} molecules by InChIKey-14 (method {record['method']})"
            remedy = "read its numbers as interpolation, and show a molecule or scaffold split beside it"
            findings.append(Finding("overlap", "warning", claim, count, shown, remedy))
        else:
            claim = f"by its own record split {name} has no test molecule in train"
            findings.append(Finding("overlap", "pass", claim, 0, "exact overlap 0 by InChIKey-14", "nothing to do"))
            findings += _twins(name, record)
    return findings


def _unmeasured(name: str) -> Finding:
    claim = f"the overlap of split {name} was not measured"
    evidence = "the record of the split holds no difficulty, so nobody counted test molecules that are in train"
    remedy = "run with difficulty: `difficulty: true` in the study, --difficulty of `mslitmus score`"
    return Finding("overlap", "note", claim, 0, evidence, remedy)


def _twins(name: str, record: Mapping[str, Any]) -> list[Finding]:
    """A note where many test molecules have a near twin in train (homologues, mostly): the last histogram bin."""
    nearest = (record.get("difficulty") or {}).get("nearest_train") or {}
    counts, edges = (nearest.get("histogram", {}).get(key) or [] for key in ("counts", "edges"))
    total = sum(counts)
    if not total or counts[-1] / total <= NOTED:
        return []
    claim = f"{counts[-1] / total:.1%} of the test molecules of split {name} have a near twin in train"
    evidence = (
        f"{counts[-1]} of {total} molecules with Tanimoto ≥ {edges[-2]:g} (Morgan radius 2) to a training molecule"
    )
    remedy = "read the stratum of similarity to train beside the mean"
    return [Finding("overlap", "note", claim, int(counts[-1]), evidence, remedy)]


OVERLAP = Audit("which test molecules did the models meet in training?", "quick", overlap)
