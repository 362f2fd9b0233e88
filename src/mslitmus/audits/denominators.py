"""Denominators: does every model answer every query? A published headline reversed because a baseline skipped."""

from __future__ import annotations

import polars as pl

from .finding import Finding, RunTables


def denominators(tables: RunTables) -> list[Finding]:
    """A warning per split and model whose coverage on the test fold is below 1 (skips count as failures)."""
    rows = tables.summary.filter(
        (pl.col("fold") == "test")
        & (pl.col("metric") == tables.primary)
        & (pl.col("average") == "spectrum")
        & pl.col("seed").is_null()
    )
    findings = []
    for row in rows.filter(pl.col("coverage") < 1).iter_rows(named=True):
        skipped = round((1 - row["coverage"]) * row["n_queries"])
        findings.append(
            Finding(
                audit="denominators",
                severity="warning",
                claim=f"{row['model']} skips {1 - row['coverage']:.1%} of the queries of split {row['split']}",
                affected=skipped,
                evidence=f"{skipped} of {row['n_queries']} test spectra lack a prediction; each scores 0",
                remedy="predict every query, or report coverage beside every number",
            )
        )
    if rows.height and not findings:
        claim = "every model answers every query"
        evidence = f"coverage 100 % for {rows['model'].n_unique()} models on {rows['split'].n_unique()} splits"
        findings.append(Finding("denominators", "pass", claim, 0, evidence, "nothing to do"))
    return findings
