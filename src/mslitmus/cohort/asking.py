"""Every question of a cohort, for one acquisition and one representation at a time, each answer kept."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ..provenance import code_hash, replace_folder, write_parquet
from .groups import Grouping, group, linked
from .kept import digest
from .layout import coordinates
from .nearest import neighbours
from .pooled import Features, Pooled, Together, distances
from .prediction import Asked, classification, regression
from .representation import Summary
from .samples import Sheet
from .separation import SEPARATION, separation
from .settings import CohortSettings
from .tables import ALL, TABLES, TOGETHER, table, together

_LEAST = 4  # samples of a question
_KEPT = ("results", "predictions", "confusion", "coordinates", "neighbours", "separation")


@dataclass(frozen=True)
class Vectors:
    """One representation of all runs.

    Attributes:
        summaries: run → its pooled vectors.
        key: hash of what they were made of.
    """

    name: str
    bag: bool
    aggregations: tuple[str, ...]
    summaries: Mapping[str, Summary]
    key: str

    @property
    def layout(self) -> str:
        """The aggregation whose distances the runs are laid out and compared by."""
        return "tfidf" if self.bag else "mean"


@dataclass(frozen=True)
class View:
    """The runs of one acquisition, or the samples with all of them.

    Attributes:
        rows: of the sheet; of `together` one row a sample, whose `sample` is the unit.
        parts: for each acquisition, the run of each row.
    """

    acquisition: str
    rows: pl.DataFrame
    parts: tuple[pl.Series, ...]

    def only(self, keep: pl.Series) -> View:
        return View(self.acquisition, self.rows.filter(keep), tuple(part.filter(keep) for part in self.parts))


def views(sheet: Sheet) -> list[View]:
    """All runs, or those of each acquisition and the samples that have all."""
    names = sheet.acquisitions
    if not names:
        return [View(ALL, sheet.rows, (sheet.rows["sample"],))]
    single = [sheet.rows.filter(pl.col("acquisition") == name) for name in names]
    out = [View(name, rows, (rows["sample"],)) for name, rows in zip(names, single, strict=True)]
    rows, runs = together(sheet.rows, names)
    batch = dict(sheet.rows.select("sample", "batch").iter_rows())
    rows = rows.with_columns(batch=linked([[batch[run] for run in each] for each in runs]))
    return [*out, View(TOGETHER, rows, tuple(runs))] if rows.height > 1 else out


def features(view: View, vectors: Vectors, blanks: Sequence[str], how: CohortSettings) -> Features:
    """The samples of a view, ready to be compared."""
    away = [vectors.summaries[name] for name in blanks] if how.blanks == "subtract" and vectors.bag else []
    parts = [Pooled([vectors.summaries[s] for s in part], vectors.bag, away, how.seed) for part in view.parts]
    return parts[0] if len(parts) == 1 else Together(parts)


def answer(view: View, vectors: Vectors, sheet: Sheet, how: CohortSettings, root: Path) -> dict[str, pl.DataFrame]:
    """The tables of one acquisition and representation; kept in `root/answers`, and taken from there."""
    rows = view.rows.write_json()
    settings = how.model_dump(exclude={"representations", "columns", "library"})
    key = digest(settings, rows, vectors.key, vectors.aggregations, code_hash("cohort"), view.acquisition)
    folder = root / "answers" / f"{view.acquisition}-{vectors.name}"
    if (folder / key).exists():
        return {name: pl.read_parquet(folder / key / f"{name}.parquet") for name in _KEPT}
    found = _asked(view, vectors, sheet, how)
    made = folder / f".{key}"
    shutil.rmtree(folder, ignore_errors=True)
    made.mkdir(parents=True)
    for name in _KEPT:
        write_parquet(made / f"{name}.parquet", found[name])
    replace_folder(made, folder / key)
    return found


def _asked(view: View, vectors: Vectors, sheet: Sheet, how: CohortSettings) -> dict[str, pl.DataFrame]:
    about = {"acquisition": view.acquisition, "representation": vectors.name}
    blanks = sheet.rows.filter(pl.col("role") == "blank")["sample"].to_list()
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in _KEPT}
    rows["coordinates"] = _laid_out(view, vectors, blanks, how, about)
    samples = view.only(view.rows["role"] == "sample")
    for targets, some, numbers in _blocks(samples, sheet):
        grouping = group(some.rows, how.together, max(2, how.folds))
        if _too_few(some, targets, grouping, numbers):
            continue
        asked = Asked(some.rows, grouping, features(some, vectors, blanks, how), vectors.aggregations, about, how)
        if grouping.of.max() > 0:
            answers = [regression(asked, targets)] if numbers else [classification(asked, t) for t in targets]
            for each in answers:
                rows["results"] += each.results
                rows["predictions"] += each.predictions
                rows["confusion"] += each.confusion
        distance = distances(asked.features.gram(vectors.layout, np.arange(some.rows.height)))
        apart = separation(asked, distance, targets, numbers)
        rows["results"] += apart
        rows["separation"] += [row for row in apart if row["question"] == SEPARATION]
        near, results = neighbours(asked, distance, targets, numbers)
        rows["neighbours"] += near
        rows["results"] += results
    return {name: table(rows[name], TABLES[name]) for name in _KEPT}


def _laid_out(
    view: View, vectors: Vectors, blanks: Sequence[str], how: CohortSettings, about: dict[str, str]
) -> list[dict[str, Any]]:
    """Rows of the table `coordinates`: all runs, whatever their role."""
    if view.rows.height < 2:
        return []
    gram = features(view, vectors, blanks, how).gram(vectors.layout, np.arange(view.rows.height))
    xy, method = coordinates(distances(gram), how.seed)
    samples = view.rows["sample"].to_list()
    return [
        {**about, "sample": s, "x": float(x), "y": float(y), "method": method}
        for s, (x, y) in zip(samples, xy, strict=True)
    ]


def _blocks(view: View, sheet: Sheet) -> list[tuple[tuple[str, ...], View, bool]]:
    """(targets, samples that have them, whether they are numbers); numbers known of the same samples go together, the
    most of them that there are."""
    out: list[tuple[tuple[str, ...], View, bool]] = [
        ((name,), view.only(view.rows[name].is_not_null()), False) for name in sheet.classes
    ]
    known: dict[bytes, list[str]] = {}
    for name in sheet.numbers:
        known.setdefault(view.rows[name].is_not_null().to_numpy().tobytes(), []).append(name)
    blocks = [tuple(n for n in names if view.rows[n].drop_nulls().n_unique() > 1) for names in known.values()]
    whole = max(blocks, key=len, default=())  # one answer is of `all targets`, and no second one
    for block in blocks:
        varying = [block] * bool(block) if block is whole else [(name,) for name in block]
        out += [(names, view.only(view.rows[names[0]].is_not_null()), True) for names in varying]
    return out


def _too_few(view: View, targets: Sequence[str], grouping: Grouping, numbers: bool) -> str:
    """Why nothing can be asked of these samples, in words; empty where it can."""
    rows = view.rows
    if rows.height < _LEAST:
        return f"{rows.height} samples, and {_LEAST} are needed"
    if all(rows[t].n_unique() < 2 for t in targets):
        return "all samples are of one class"
    if numbers or grouping.of.max() == 0:
        return ""
    independent = rows.select(*targets).with_columns(_group=pl.Series(grouping.of)).unique()
    if not any(independent[t].is_duplicated().any() for t in targets):
        return "no class has two independent samples"
    return ""


def unasked(sheet: Sheet, how: CohortSettings) -> list[str]:
    """Targets that cannot be asked about, in words; nothing else in the results tells of them."""
    out = []
    for view in views(sheet):
        samples = view.only(view.rows["role"] == "sample")
        at = "" if view.acquisition == ALL else f" ({view.acquisition})"
        for targets, some, numbers in _blocks(samples, sheet):
            grouping = group(some.rows, how.together, max(2, how.folds))
            if few := _too_few(some, targets, grouping, numbers):
                out.append(f"{', '.join(targets)}{at} is not asked about: {few}")
            elif grouping.of.max() == 0:
                why = f"all samples belong together ({', '.join(grouping.columns)}), so none can be held out"
                out.append(f"{', '.join(targets)}{at} is not predicted: {why}; replicates of one sample share an entry")
    return out


def grouped(sheet: Sheet, how: CohortSettings) -> dict[str, Grouping]:
    """Acquisition → the groups of its samples, in the order of the sheet."""
    return {v.acquisition: _of(v, how) for v in views(sheet)}


def _of(view: View, how: CohortSettings) -> Grouping:
    return group(view.only(view.rows["role"] == "sample").rows, how.together, max(2, how.folds))
