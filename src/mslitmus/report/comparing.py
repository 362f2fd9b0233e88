"""Values of the paired comparisons: the matrix of model pairs over molecules, and the pairs over repeated trainings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from ..audits.finding import paired
from .board import Entry, board, chosen, merit
from .finding import ALPHA
from .folder import ORACLE, RunFiles
from .numbers import (
    count,
    directed,
    interval,
    metric_label,
    p_value,
    reported_first,
    rising,
    score,
    usable,
)

#: Up to so many models every pair is shown; beyond, the rows are the trained ones and the best control.
MOST = 7


@dataclass(frozen=True)
class Pair:
    """One cell of the comparison matrix: the better ranked model minus the other."""

    difference: str
    interval: str
    p: str
    effect: str
    n: str
    verdict: str  # gain, loss, open


@dataclass(frozen=True)
class Matrix:
    metric: str
    label: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Pair | None, ...]], ...]
    n: str | None  # molecules, where the same in every pair
    turned: bool  # cells are column minus row
    left_out: int  # pairs of two models that do not matter: they have no cell


def matrices(files: RunFiles, split: str) -> list[Matrix]:
    """One matrix a metric; models from best to worst, so that a cell tells how much the row gains over the column.

    The oracle has no place in it: it knows the truth, and nothing is to be learnt from losing to it.
    """
    if files.comparisons is None:
        return []
    out = []
    for metric in reported_first(files.comparisons["metric"].unique(maintain_order=True).to_list(), files.primary):
        here = files.comparisons.filter((pl.col("split") == split) & (pl.col("metric") == metric))
        known = {*here["model_a"].to_list(), *here["model_b"].to_list()}
        known = {model for model in known if files.kind(model) != ORACLE}
        entries = sorted(board(files, split, metric, "molecule"), key=lambda e: -merit(e, metric))
        models = [e.model for e in entries if e.model in known] + sorted(known - {e.model for e in entries})
        if len(models) >= 2:
            out.append(_matrix(files, split, metric, models, entries))
    return out


def _matrix(files: RunFiles, split: str, metric: str, models: Sequence[str], entries: Sequence[Entry]) -> Matrix:
    """Every pair once, above the diagonal; of many models the pairs with one that matters, turned to fit a page."""
    leading = list(models)
    if len(models) > MOST:
        best = chosen(files, split, metric, "molecule", control=True)
        mattering = {e.model for e in entries if e.trained} | ({best.model} if best else set())
        leading = [model for model in models if model in mattering] or [models[0]]
    others = [model for model in models if model not in leading]
    opponents = [model for model in models if model in others or model != leading[0]]
    above = {a: set(leading[: i + 1]) for i, a in enumerate(leading)}
    cells = {(a, b): None if b in above[a] else _pair(files, split, metric, a, b) for a in leading for b in opponents}
    counts = {pair.n for pair in cells.values() if pair}
    turned = bool(others)
    columns = leading if turned else opponents
    rows = tuple(
        (row, tuple(cells[(column, row) if turned else (row, column)] for column in columns))
        for row in (opponents if turned else leading[:-1])
    )
    return Matrix(
        metric=metric,
        label=metric_label(metric),
        columns=tuple(columns),
        rows=rows,
        n=counts.pop() if len(counts) == 1 else None,
        turned=turned,
        left_out=len(others) * (len(others) - 1) // 2,
    )


def _pair(files: RunFiles, split: str, metric: str, a: str, b: str) -> Pair | None:
    row = paired(files.comparisons, split, metric, a, b)
    if row is None:
        return None
    return Pair(
        difference=score(row["difference"], sign=True),
        interval=interval(row["low"], row["high"]),
        p=p_value(row["p_holm"]),
        effect=score(row["effect_size"], 2, sign=True),
        n=count(row["n_molecules"]),
        verdict=_verdict(metric, row["difference"], row["p_holm"]),
    )


def _verdict(metric: str, difference: float | None, p: float | None) -> str:
    """gain or loss of the first model over the second where p decides, with the metric's own direction; else open."""
    if not (usable(p) and usable(difference) and directed(metric)) or p is None or difference is None or p >= ALPHA:
        return "open"
    return "gain" if (difference > 0) == rising(metric) else "loss"


@dataclass(frozen=True)
class Repeat:
    """One pair of models over repeated trainings: first minus second."""

    models: tuple[str, str]
    difference: str
    interval: str
    p: str
    verdict: str


@dataclass(frozen=True)
class Repeats:
    """The pairs of one split and metric that seeds say something about."""

    metric: str
    label: str
    seeds: str
    deviation: str
    p_anova: str
    rows: tuple[Repeat, ...]


def repeats(files: RunFiles, split: str) -> list[Repeats]:
    """Tukey's comparisons over seeds, a table a metric; empty where no model was trained more than once.

    Pairs of which seeds say nothing (two controls, one seed) and the oracle are left out. The better model of a pair
    stands first.
    """
    if files.repeated is None:
        return []
    here = files.repeated.filter((pl.col("split") == split) & pl.col("p_tukey").is_not_null())
    out = []
    for metric in reported_first(here["metric"].unique(maintain_order=True).to_list(), files.primary):
        place = {e.model: i for i, e in enumerate(_ranked(files, split, metric))}
        found = []
        for row in here.filter(pl.col("metric") == metric).iter_rows(named=True):
            a, b = row["model_a"], row["model_b"]
            if ORACLE not in (files.kind(a), files.kind(b)):
                turned = place.get(a, 0) > place.get(b, 0)
                found.append((place.get(b if turned else a, 0), place.get(a if turned else b, 0), _repeat(row, turned)))
        if found:
            first = here.filter(pl.col("metric") == metric).row(0, named=True)
            found.sort(key=lambda entry: entry[:2])
            out.append(
                Repeats(
                    metric=metric,
                    label=metric_label(metric),
                    seeds=count(first["n_blocks"]),
                    deviation=score(first["deviation"], 4),
                    p_anova=p_value(first["p_anova"]),
                    rows=tuple(repeat for _, _, repeat in found),
                )
            )
    return out


def _ranked(files: RunFiles, split: str, metric: str) -> list[Entry]:
    return sorted(board(files, split, metric, "molecule"), key=lambda e: -merit(e, metric))


def _repeat(row: dict[str, object], turned: bool) -> Repeat:
    """A row of REPEATED as it stands, or the other way round."""
    a, b, p = str(row["model_a"]), str(row["model_b"]), row["p_tukey"]
    difference, low, high = (_number(row[key]) for key in ("difference", "low", "high"))
    if turned:
        a, b = b, a
        difference, low, high = (None if v is None else -v for v in (difference, high, low))
    return Repeat(
        models=(a, b),
        difference=score(difference, sign=True),
        interval=interval(low, high),
        p=p_value(p),
        verdict=_verdict(str(row["metric"]), difference, _number(p)),
    )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and usable(value) else None
