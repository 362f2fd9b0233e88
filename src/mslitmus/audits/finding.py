"""A finding: what an audit saw, how bad it is, how much it touches, and what to do."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from ..metrics.names import parse_metric

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
    scores: pl.DataFrame | None = None  # of every cell, as `metrics.summary.summarise` takes them

    @property
    def rising(self) -> bool:
        """Whether more of the primary metric is better."""
        return parse_metric(self.primary).higher_is_better


def best_of(tables: RunTables, split: str, *kinds: str, among: Collection[str] | None = None) -> str | None:
    """The best model of these kinds (and `among` these, where given) by its mean per molecule on validation, never on
    test; None where there is none."""
    names = [model for model, kind in tables.kinds.items() if kind in kinds and (among is None or model in among)]
    rows = tables.summary.filter(
        (pl.col("split") == split)
        & (pl.col("fold") == "val")
        & (pl.col("metric") == tables.primary)
        & (pl.col("average") == "molecule")
        & pl.col("seed").is_null()
        & pl.col("mean").is_not_null()
        & pl.col("model").is_in(names)
    ).sort("mean", "model", descending=[tables.rising, False])
    return str(rows["model"][0]) if rows.height else None


def paired(comparisons: pl.DataFrame | None, split: str, metric: str, a: str, b: str) -> Mapping[str, Any] | None:
    """The row of COMPARISONS as a − b, whichever way round the table holds it; None if it holds neither."""
    if comparisons is None:
        return None
    here = comparisons.filter((pl.col("split") == split) & (pl.col("metric") == metric))
    for first, second, straight in ((a, b, True), (b, a, False)):
        rows = here.filter((pl.col("model_a") == first) & (pl.col("model_b") == second))
        if rows.height:
            row = rows.row(0, named=True)
            return row if straight else _reversed(row)
    return None


def _reversed(row: Mapping[str, Any]) -> Mapping[str, Any]:
    def negative(value: float | None) -> float | None:
        return None if value is None else -value

    return {
        **row,
        "model_a": row["model_b"],
        "model_b": row["model_a"],
        "difference": negative(row["difference"]),
        "low": negative(row["high"]),
        "high": negative(row["low"]),
        "effect_size": negative(row["effect_size"]),
    }
