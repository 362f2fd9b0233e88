"""Overlap: which test molecules did the models meet in training?"""

from __future__ import annotations

from .finding import Finding, RunTables


def overlap(tables: RunTables) -> list[Finding]:
    """Per split, the share of test molecules that occur in train, read off the split's difficulty record."""
    findings = []
    for name, record in tables.splits.items():
        exact = (record.get("difficulty") or {}).get("overlap", {}).get("molecules")
        if exact is None:
            continue
        count, share = int(exact["count"]), float(exact["share"] or 0.0)
        if count:
            claim = f"{share:.1%} of the test molecules of split {name} are in train"
            evidence = f"{count} molecules by InChIKey-14 (method {record['method']})"
            remedy = "read its numbers as interpolation, and show a molecule or scaffold split beside it"
            findings.append(Finding("overlap", "warning", claim, count, evidence, remedy))
        else:
            claim = f"no test molecule of split {name} is in train"
            findings.append(Finding("overlap", "pass", claim, 0, "exact overlap 0 by InChIKey-14", "nothing to do"))
    return findings
