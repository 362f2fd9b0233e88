"""Values of the section Structures: what a generator's answers are made of and cost, beside how close they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .board import average_of, board, seconds_of
from .folder import RunFiles
from .numbers import MISSING, count, duration, interval, percent, score, usable

TASK = "generation"


@dataclass(frozen=True)
class StructureRow:
    model: str
    trained: bool
    value: str
    interval: str
    silent: str  # share of test queries without a structure
    copied: str  # share of first answers that are training molecules
    novel: str
    seconds: str  # a spectrum, tuning included
    tuning: str  # of them
    dark: str  # share of queries without a relevant neighbour
    formula: str  # where it comes from, and how often a predicted one was right on validation


@dataclass(frozen=True)
class Structures:
    """One split."""

    split: str
    queries: str
    rows: tuple[StructureRow, ...]

    @property
    def tuned(self) -> bool:
        return any(row.tuning != MISSING for row in self.rows)

    @property
    def formulae(self) -> bool:
        return any(row.formula != MISSING for row in self.rows)


def structures(files: RunFiles) -> list[Structures]:
    """One entry a split, models best first; empty for other tasks and for a run without scores."""
    if files.task != TASK:
        return []
    out = []
    for split in files.split_names:
        entries = board(files, split, files.primary, "molecule")
        rows = []
        for entry in entries:
            cells = files.cells_of(split, entry.model)
            asked = [_of(cell, "inference") for cell in cells]
            copied = average_of([each.get("copied") for each in asked])
            rows.append(
                StructureRow(
                    model=entry.model,
                    trained=entry.kind == "trained",
                    value=score(entry.mean),
                    interval=interval(entry.low, entry.high),
                    silent=percent(None if entry.coverage is None else 1 - entry.coverage),
                    copied=percent(copied),
                    novel=percent(None if copied is None else 1 - copied),
                    seconds=_short(average_of([_each(cell) for cell in cells])),
                    tuning=_short(_noted(asked, "tuning_seconds_per_spectrum")),
                    dark=percent(_noted(asked, "dark")),
                    formula=_formula([_of(_of(cell, "fit"), "notes") for cell in cells]),
                )
            )
        if rows:
            out.append(Structures(split, count(max(entry.n_queries or 0 for entry in entries)), tuple(rows)))
    return out


def _each(cell: Mapping[str, Any]) -> float | None:
    """Seconds of a query: validation queries were asked in the same go."""
    seconds, queries = seconds_of(cell, "predict"), _of(cell, "inference").get("queries")
    return seconds / queries if seconds is not None and usable(queries) and queries else None


def _noted(asked: Sequence[Mapping[str, Any]], name: str) -> float | None:
    return average_of([_of(each, "notes").get(name) for each in asked])


def _of(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A part of a record that may lack it."""
    found = record.get(name)
    return found if isinstance(found, Mapping) else {}


def _short(seconds: float | None) -> str:
    """Milliseconds below a second: decoding one spectrum takes tens of them."""
    if seconds is None or not usable(seconds):
        return MISSING
    return f"{seconds * 1000:.3g} ms" if seconds < 0.9995 else duration(seconds)


def _formula(notes: Sequence[Mapping[str, Any]]) -> str:
    """`predicted, 66.2 % right`."""
    sources = sorted({str(each["formula"]) for each in notes if each.get("formula")})
    right = average_of([each.get("formula_accuracy_on_validation") for each in notes])
    return ", ".join([*sources, *([] if right is None else [f"{percent(right)} right"])]) or MISSING
