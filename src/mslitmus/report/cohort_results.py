"""The answers of a cohort as tables: each representation beside the precursor histogram and chance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl
from markupsafe import Markup

from ..cohort.comparing import chance
from ..cohort.leading import standing
from .cohort_files import ALL, CohortFiles
from .numbers import count, interval, p_value, score, usable
from .plot import Axis, Mark, axis_header, dot

#: Question → the metric that is drawn, and those told beside it.
METRICS = {"classification": ("macro-f1", ("balanced-accuracy", "accuracy")), "regression": ("r2", ("rmse", "mae"))}
LABELS = {
    "macro-f1": "Macro F1", "balanced-accuracy": "Balanced accuracy", "accuracy": "Accuracy", "r2": "R²",
    "rmse": "RMSE", "mae": "Mean absolute error", "silhouette": "Silhouette", "permanova-r2": "PERMANOVA R²",
    "permanova-f": "PERMANOVA F", "closest-found": "Closest possible sample found",
    "truth-distance": "Distance of the truths", "excess-distance": "Farther than the nearest possible by",
}  # fmt: skip
_AXES = {"macro-f1": Axis(0.0, 1.0), "r2": Axis(-0.5, 1.0)}
_TITLES = {"classification": "Which class?", "regression": "Which value?"}


@dataclass(frozen=True)
class Row:
    name: str
    baseline: bool
    plot: Markup
    value: str
    interval: str
    chance: str
    p: str
    gain: str
    others: tuple[str, ...]


@dataclass(frozen=True)
class Group:
    """The rows of one target and acquisition."""

    title: str
    note: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Board:
    """One question."""

    title: str
    metric: str
    others: tuple[str, ...]
    axis: Markup
    groups: tuple[Group, ...]


@dataclass(frozen=True)
class Line:
    """A row of the tables of separation and of nearest samples."""

    about: str
    name: str
    metric: str
    value: str
    chance: str
    p: str


def boards(files: CohortFiles) -> list[Board]:
    """Classification and regression, where they were asked."""
    out = []
    for question, (metric, others) in METRICS.items():
        rows = _chosen(files, question)
        if rows.is_empty():
            continue
        pairs = rows.select("target", "acquisition").unique(maintain_order=True).iter_rows()
        groups = tuple(_group(files, rows, target, where, metric, others) for target, where in pairs)
        axis = _AXES[metric]
        told = tuple(LABELS[m] for m in others)
        out.append(Board(_TITLES[question], LABELS[metric], told, axis_header(axis), groups))
    return out


def _chosen(files: CohortFiles, question: str) -> pl.DataFrame:
    """Means over seeds with the aggregation that was chosen inside the folds."""
    results = files["results"]
    if results.is_empty():
        return results
    keep = (pl.col("question") == question) & (pl.col("seed") == "all") & (pl.col("aggregation") == "chosen")
    return results.filter(keep & pl.col("representation").is_in(files.representations))


def _group(
    files: CohortFiles, rows: pl.DataFrame, target: str, where: str, metric: str, others: tuple[str, ...]
) -> Group:
    mine = rows.filter((pl.col("target") == target) & (pl.col("acquisition") == where))
    drawn = mine.filter(pl.col("metric") == metric)
    drawn = drawn.with_columns(_first=pl.col("representation") == files.baseline)
    drawn = drawn.sort("_first", "value", descending=True, nulls_last=True, maintain_order=True)
    made = tuple(_row(files, row, mine, others) for row in drawn.iter_rows(named=True))
    sizes = drawn.select("n_samples", "n_groups").row(0)
    note = f"{count(sizes[0])} runs in {count(sizes[1])} groups that share folds"
    return Group(target if where == ALL else f"{target} · {where}", note, made)


def _row(files: CohortFiles, row: Mapping[str, Any], mine: pl.DataFrame, others: tuple[str, ...]) -> Row:
    name, baseline = row["representation"], row["representation"] == files.baseline
    beside = mine.filter(pl.col("representation") == name)
    marks = [Mark(row["chance_mean"], "trivial", "shuffled labels")] if usable(row["chance_mean"]) else []
    told = f"{name}: {LABELS[row['metric']]} {score(row['value'])} {interval(row['low'], row['high'])}"
    shape = "control" if baseline else "trained"
    plot = dot(_AXES[row["metric"]], row["value"], row["low"], row["high"], label=told, shape=shape, marks=marks)
    values = [beside.filter(pl.col("metric") == m)["value"].to_list() for m in others]
    return Row(
        name=name,
        baseline=baseline,
        plot=plot,
        value=score(row["value"]),
        interval=interval(row["low"], row["high"]),
        chance=score(row["chance_mean"]) if usable(row["chance_mean"]) else "",
        p=p_value(row["p_permutation"]) if usable(row["p_permutation"]) else "",
        gain="" if baseline else _gain(files, row),
        others=tuple(score(v[0]) if v else "" for v in values),
    )


def _gain(files: CohortFiles, row: Mapping[str, Any]) -> str:
    """Against the baseline, with the interval of the difference."""
    found = _compared(files, row)
    if found is None or not usable(found["difference"]):
        return ""
    return f"{score(found['difference'], sign=True)} {interval(found['low'], found['high'])}"


def _compared(files: CohortFiles, row: Mapping[str, Any]) -> Mapping[str, Any] | None:
    table = files["comparisons"]
    if table.is_empty():
        return None
    same = [pl.col(k) == row[k] for k in ("question", "target", "acquisition", "representation", "metric")]
    found = table.filter(*same, pl.col("against") == files.baseline)
    return found.row(0, named=True) if found.height else None


def sentences(files: CohortFiles) -> list[str]:
    """What was found, a sentence a target: the highest value, chance, the precursor histogram, and whether any other
    representation or acquisition may be as good."""
    out = []
    for question, (metric, _) in METRICS.items():
        rows = _chosen(files, question)
        if rows.is_empty():
            continue
        rows = rows.filter((pl.col("metric") == metric) & pl.col("value").is_not_null())
        for (target,), mine in rows.group_by("target", maintain_order=True):
            best = mine.sort("value", descending=True, maintain_order=True).row(0, named=True)
            where = "" if best["acquisition"] == ALL else f" in {best['acquisition']}"
            text = f"{target}{where}: {LABELS[metric]} {score(best['value'])} {interval(best['low'], best['high'])} "
            text += f"with {best['representation']}"
            text += f", {score(best['chance_mean'])} by chance" if usable(best["chance_mean"]) else ""
            out.append(text + _against(files, best, mine) + _standing(files, best) + ".")
    return out


def _standing(files: CohortFiles, best: Mapping[str, Any]) -> str:
    """Whether the highest value is told apart from the others."""
    table = files["leaders"]
    if table.is_empty():
        return ""
    keys = ("question", "target", "acquisition", "representation")
    rows = table.filter(*(pl.col(name) == best[name] for name in keys))
    return f"; {standing(rows)}" if rows.height else ""


def _against(files: CohortFiles, best: Mapping[str, Any], mine: pl.DataFrame) -> str:
    if best["representation"] == files.baseline:
        return ""
    found = _compared(files, best)
    if found is None or not usable(found["low"]):
        return ""
    lucky = chance(best["p_permutation"])
    verdict = "better than" if found["low"] > 0 and not lucky else "not told apart from"
    base = mine.filter((pl.col("representation") == files.baseline) & (pl.col("acquisition") == best["acquisition"]))
    value = f" ({score(base['value'][0])})" if base.height else ""
    return f", {verdict} {'chance or ' if lucky else ''}the {files.baseline.replace('-', ' ')}{value}"


def lines(files: CohortFiles, question: str) -> list[Line]:
    """`separation` or `nearest`."""
    results = files["results"]
    if results.is_empty():
        return []
    rows = results.filter((pl.col("question") == question) & pl.col("representation").is_in(files.representations))
    return [
        Line(
            about=row["target"] if row["acquisition"] == ALL else f"{row['target']} · {row['acquisition']}",
            name=row["representation"],
            metric=LABELS.get(row["metric"], row["metric"]),
            value=f"{score(row['value'])}" + (f" {interval(row['low'], row['high'])}" if usable(row["low"]) else ""),
            chance=score(row["chance_mean"]) if usable(row["chance_mean"]) else "",
            p=p_value(row["p_permutation"]) if usable(row["p_permutation"]) else "",
        )
        for row in rows.iter_rows(named=True)
    ]
