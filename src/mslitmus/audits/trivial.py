"""Trivial answers: does a trained model beat the best model that learns nothing?"""

from __future__ import annotations

import polars as pl

from .finding import Finding, RunTables

ALPHA = 0.05


def trivial(tables: RunTables) -> list[Finding]:
    """Per split and trained model, the paired comparison with the best trivial model by validation mean."""
    findings = []
    for split in tables.splits:
        best = _best_trivial(tables, split)
        if best is None:
            continue
        for model in sorted(m for m, kind in tables.kinds.items() if kind == "trained"):
            row = _comparison(tables, split, model, best)
            if row is not None:
                findings.append(_judge(split, model, best, *row))
    return findings


def _best_trivial(tables: RunTables, split: str) -> str | None:
    """The control is chosen on validation, never on the fold that is reported."""
    names = [m for m, kind in tables.kinds.items() if kind in ("blind", "neighbour")]
    rows = tables.summary.filter(
        (pl.col("split") == split)
        & (pl.col("fold") == "val")
        & (pl.col("metric") == tables.primary)
        & (pl.col("average") == "molecule")
        & pl.col("seed").is_null()
        & pl.col("model").is_in(names)
    ).sort("mean", "model", descending=[True, False])
    return str(rows["model"][0]) if rows.height else None


def _comparison(
    tables: RunTables, split: str, model: str, control: str
) -> tuple[float, float | None, float | None, float | None, int] | None:
    rows = tables.comparisons.filter((pl.col("split") == split) & (pl.col("metric") == tables.primary))
    for row in rows.iter_rows(named=True):
        pair = (row["model_a"], row["model_b"])
        if pair == (model, control):
            return row["difference"], row["low"], row["high"], row["p_holm"], row["n_molecules"]
        if pair == (control, model):
            low, high = (None if row[end] is None else -row[end] for end in ("high", "low"))
            return -row["difference"], low, high, row["p_holm"], row["n_molecules"]
    return None


def _judge(
    split: str, model: str, control: str, diff: float, low: float | None, high: float | None, p: float | None, n: int
) -> Finding:
    """The verdict of the report's headline: Holm's p decides, so that page and finding never contradict each other."""
    corrected = "undefined" if p is None else f"{p:.2g}"
    evidence = f"{_interval(diff, low, high)}, Holm p = {corrected}, {n} molecules, paired"
    decided = p is not None and p < ALPHA
    if decided and diff > 0:
        claim = f"{model} beats the best trivial model ({control}) on split {split}"
        return Finding("trivial", "pass", claim, n, evidence, "nothing to do")
    if decided and diff < 0:
        claim = f"{model} is worse than the trivial model {control} on split {split}"
        return Finding("trivial", "warning", claim, n, evidence, "do not report it without the trivial model beside it")
    claim = f"{model} cannot be told from the trivial model {control} on split {split}"
    return Finding("trivial", "warning", claim, n, evidence, "train longer, or report the difference as it is")


def _interval(difference: float, low: float | None, high: float | None) -> str:
    """A paired difference with its interval, as the tables print it; a single molecule has no interval."""
    within = "no interval" if low is None or high is None else f"95 % interval {low:+.3f} to {high:+.3f}"
    return f"difference {difference:+.3f} ({within})"
