"""The leaderboard as values: one entry a model, seeds pooled, controls told apart from trained models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from statistics import fmean
from typing import Any

import polars as pl

from .folder import CONTROL_KINDS, ORACLE, RunFiles
from .numbers import rising, usable


@dataclass(frozen=True)
class Entry:
    """One model on one split, metric and average: the pooled row of the summary (no seed), else the mean over seeds."""

    model: str
    kind: str
    mean: float | None
    low: float | None
    high: float | None
    seeds: tuple[float, ...]
    bound: float | None
    skill_blind: float | None
    skill_neighbour: float | None
    coverage: float | None
    n_queries: int | None
    n_molecules: int | None
    n_effective: float | None
    n_clusters: int | None
    answered: float | None  # mean over the answered queries alone, where some were skipped
    parameters: float | None
    seconds_fit: float | None
    seconds_predict: float | None
    transductive: bool = False  # learned from the very queries it answers, and says so

    @property
    def control(self) -> bool:
        """A trivial model that trained ones are compared with; the oracle is none."""
        return self.kind in CONTROL_KINDS

    @property
    def oracle(self) -> bool:
        """Knows the truth: marks how far up the ladder a perfect choice gets."""
        return self.kind == ORACLE

    @property
    def trained(self) -> bool:
        """Ranked among the trained: transductive ones are ranked apart."""
        return not (self.control or self.oracle or self.transductive)

    @property
    def partial(self) -> bool:
        """Does not answer every query."""
        return self.coverage is not None and self.coverage < 1


def board(files: RunFiles, split: str, metric: str, average: str, fold: str = "test") -> list[Entry]:
    """Entries of one table: trained models, then controls and oracle, each best first. Empty without a summary."""
    if files.summary is None:
        return []
    rows = files.summary.filter(
        (pl.col("split") == split)
        & (pl.col("metric") == metric)
        & (pl.col("average") == average)
        & (pl.col("fold") == fold)
    )
    names = rows["model"].unique(maintain_order=True).to_list()
    entries = [_entry(files, split, name, rows.filter(pl.col("model") == name)) for name in names]
    return sorted(entries, key=lambda e: (not e.trained, -merit(e, metric), e.model))


def merit(entry: Entry, metric: str) -> float:
    """The mean, turned so that more is better; a model without a mean comes last."""
    if entry.mean is None:
        return -inf
    return entry.mean if rising(metric) else -entry.mean


def _entry(files: RunFiles, split: str, model: str, rows: pl.DataFrame) -> Entry:
    cells = files.cells_of(split, model)
    single, together = rows.filter(pl.col("seed").is_not_null()), rows.filter(pl.col("seed").is_null())
    pool = together if together.height else single

    def pooled(column: str) -> float | None:
        return average_of(pool[column].to_list())

    def counted(column: str) -> int | None:
        value = pooled(column)
        return None if value is None else round(value)

    return Entry(
        model=model,
        kind=files.kind(model),
        mean=pooled("mean"),
        low=pooled("low"),
        high=pooled("high"),
        seeds=tuple(value for value in single["mean"].to_list() if usable(value)),
        bound=pooled("bound"),
        skill_blind=pooled("skill_blind"),
        skill_neighbour=pooled("skill_neighbour"),
        coverage=pooled("coverage"),
        n_queries=counted("n_queries"),
        n_molecules=counted("n_molecules"),
        n_effective=pooled("n_effective"),
        n_clusters=counted("n_clusters"),
        answered=_answered(files, pool),
        parameters=average_of([cell.get("parameters") for cell in cells]),
        seconds_fit=average_of([seconds_of(cell, "fit") for cell in cells]),
        seconds_predict=average_of([seconds_of(cell, "predict") for cell in cells]),
        transductive=any(_noted(cell).get("transductive") for cell in cells),
    )


def _noted(cell: Mapping[str, Any]) -> Mapping[str, Any]:
    """The notes of the fit."""
    fit = cell.get("fit")
    notes = fit.get("notes") if isinstance(fit, Mapping) else None
    return notes if isinstance(notes, Mapping) else {}


def _answered(files: RunFiles, pool: pl.DataFrame) -> float | None:
    """Mean over the answered test queries alone: what a report that shrinks its denominator would print."""
    if files.answered is None or not pool.height or pool["fold"][0] != "test":
        return None
    keys = ["split", "model", "metric", "average"]
    found = files.answered.join(pool.select(keys).head(1), on=keys, how="semi")
    return average_of(found["mean"].to_list())


def average_of(values: Sequence[Any]) -> float | None:
    """Mean of the usable numbers, None if there is none."""
    good = [float(value) for value in values if usable(value)]
    return fmean(good) if good else None


def seconds_of(cell: Mapping[str, Any], stage: str) -> float | None:
    seconds = cell.get("seconds")
    value = seconds.get(stage) if isinstance(seconds, Mapping) else None
    return float(value) if usable(value) and value is not None else None


def chosen(files: RunFiles, split: str, metric: str, average: str, *, control: bool) -> Entry | None:
    """The test entry of the best trained model, or of the best control, as the *validation* fold ranks them.

    Choosing on test would flatter the winner. Where no validation scores were kept the test fold has to rank.
    """
    entries = {e.model: e for e in board(files, split, metric, average) if (e.control if control else e.trained)}
    judged = [e for e in board(files, split, metric, average, "val") if e.model in entries and e.mean is not None]
    ranked = judged or [e for e in entries.values() if e.mean is not None]
    best = max(ranked, key=lambda e: merit(e, metric), default=None)
    return entries[best.model] if best else None


def validated(files: RunFiles) -> bool:
    """Whether validation scores were kept; without them `chosen` has only test to choose by."""
    return files.summary is not None and bool((files.summary["fold"] == "val").any())
