"""Values of the section Stability: which orderings of the leaderboard hold, and against what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl
from markupsafe import Markup

from .bumps import Course, bump_chart
from .finding import ALPHA
from .folder import RunFiles
from .numbers import MISSING, count, duration, metric_label, p_value, percent, rising, score, usable

#: Share of resamples of molecules in which an ordering must stand to be said to hold.
HOLDS = 0.95
#: Fewer trained models make no chart of ranks.
LEAST_CHARTED = 3
#: Gain on validation within the last quarter of the budget that is worth a word.
STILL_RISING = 0.01


@dataclass(frozen=True)
class Neighbours:
    """A model and the one after it."""

    place: int
    models: tuple[str, str]
    difference: str
    resamples: str
    p: str
    trainings: str
    settled: str
    splits: str
    holds: bool


@dataclass(frozen=True)
class Stability:
    """One split: the verdicts, the ladder of neighbours, ranks over the budget."""

    split: str
    label: str
    verdicts: tuple[str, ...]
    rows: tuple[Neighbours, ...]
    several_seeds: bool
    several_splits: bool
    budget: bool
    chart: Markup | None


def stability(files: RunFiles) -> list[Stability]:
    """One entry a split of orderings.parquet; empty without it."""
    if files.orderings is None:
        return []
    found = []
    for split in files.split_names:
        pairs = files.orderings.filter(pl.col("split") == split)
        if pairs.height:
            found.append(_of(files, split, pairs))
    return found


def _of(files: RunFiles, split: str, pairs: pl.DataFrame) -> Stability:
    course = _course(files, split)
    verdicts = [_over_molecules(pairs), _over_trainings(pairs, files, split), _over_splits(pairs, files, split)]
    verdicts.append(_over_budget(files, split, course))
    next_to = pairs.filter(pl.col("apart") == 1).sort("place")
    return Stability(
        split=split,
        label=metric_label(str(pairs["metric"][0])),
        verdicts=tuple(verdict for verdict in verdicts if verdict),
        rows=tuple(_neighbours(row) for row in next_to.iter_rows(named=True)),
        several_seeds=bool(pairs["trainings_kept"].is_not_null().any()),
        several_splits=bool((pairs["n_splits"] > 0).any()),
        budget=bool(next_to["settled"].is_not_null().any()),
        chart=_chart(files, split, course),
    )


def _over_molecules(pairs: pl.DataFrame) -> str:
    held, beside = pairs["resamples_kept"] >= HOLDS, pairs.filter(pl.col("apart") == 1)
    firm = int((pairs["p_holm"] < ALPHA).sum())
    near = int((beside["resamples_kept"] >= HOLDS).sum())
    tau = score(float((2 * pairs["resamples_kept"] - 1).mean() or 0.0), 2)  # type: ignore[arg-type]
    return (
        f"Other molecules: {int(held.sum())} of {pairs.height} orderings hold in at least {percent(HOLDS, 0)} of "
        f"resamples ({firm} with Holm’s correction for all pairs and metrics); of the {beside.height} between "
        f"neighbours in the ranking {near}. Kendall’s τ of a resample to the ranking here is {tau} on average."
    )


def _over_trainings(pairs: pl.DataFrame, files: RunFiles, split: str) -> str:
    known = pairs.filter(pl.col("trainings_kept").is_not_null())
    if known.is_empty():
        return ""
    held = int((known["trainings_kept"] == 1).sum())
    taus = _agreement(files, split, "seed")["tau"].drop_nulls()
    worst = f" τ of a single seed’s ranking to it: {score(taus.min(), 2)} or more." if taus.len() else ""
    return (
        f"Other trainings: {held} of {known.height} orderings with a model that was trained more than once hold "
        f"whichever two trainings are compared.{worst}"
    )


def _over_splits(pairs: pl.DataFrame, files: RunFiles, split: str) -> str:
    rows = _agreement(files, split, "split")
    if rows.is_empty():
        return ""
    parts = [
        f"{row['setting']} ({row['n_kept']} of {row['n_pairs']} orderings, τ {score(row['tau'], 2)})"
        for row in rows.iter_rows(named=True)
    ]
    return f"Other splits: the same order on {', '.join(parts)}."


def _over_budget(files: RunFiles, split: str, course: pl.DataFrame) -> str:
    rows = _agreement(files, split, "budget")
    if rows.is_empty():
        return ""
    parts = [f"{row['n_kept']} at {row['setting']} (τ {score(row['tau'], 2)})" for row in rows.iter_rows(named=True)]
    total = count(rows["n_pairs"].max())
    by_share = {share: dict(part.select("model", "score").iter_rows()) for (share,), part in course.group_by("share")}
    way = 1 if rising(files.primary) else -1
    before, after = by_share.get(0.75, {}), by_share.get(1.0, {})
    gains = [way * (after[m] - before[m]) for m in after if usable(after[m]) and usable(before.get(m))]
    climbing = sum(gain > STILL_RISING for gain in gains)
    still = f" In its last quarter {climbing} of {len(after)} models still gained more than {score(STILL_RISING, 2)}."
    return (
        f"Less training: of {total} orderings of trained models on validation, {', '.join(parts)} of the budget.{still}"
    )


def _agreement(files: RunFiles, split: str, against: str) -> pl.DataFrame:
    if files.agreement is None:
        return pl.DataFrame(schema={"setting": pl.String, "tau": pl.Float64, "n_kept": pl.Int64, "n_pairs": pl.Int64})
    return files.agreement.filter((pl.col("split") == split) & (pl.col("against") == against))


def _neighbours(row: Mapping[str, Any]) -> Neighbours:
    combinations = row["n_trainings"]
    share = row["trainings_kept"]
    return Neighbours(
        place=row["place"],
        models=(row["model_a"], row["model_b"]),
        difference=score(row["difference"], sign=True),
        resamples=percent(row["resamples_kept"]),
        p=p_value(row["p_holm"]),
        trainings=f"{score_of(share * combinations)} of {combinations}" if share is not None else MISSING,
        settled=f"from {percent(row['settled'], 0)}" if row["settled"] is not None else MISSING,
        splits=f"{row['splits_kept']} of {row['n_splits']}" if row["n_splits"] else MISSING,
        holds=row["resamples_kept"] >= HOLDS,
    )


def score_of(number: float) -> str:
    """A count that ties may have halved: 9, 8.5."""
    return f"{number:g}"


def _course(files: RunFiles, split: str) -> pl.DataFrame:
    if files.budget_scores is None:
        return pl.DataFrame(schema={"share": pl.Float64, "model": pl.String, "score": pl.Float64, "rank": pl.Float64})
    return files.budget_scores.filter(pl.col("split") == split)


def _chart(files: RunFiles, split: str, course: pl.DataFrame) -> Markup | None:
    shares = course["share"].unique().sort().to_list()
    if course["model"].n_unique() < LEAST_CHARTED or len(shares) < 2:
        return None
    courses = []
    for (model,), part in course.sort("share").group_by("model", maintain_order=True):
        ranks = tuple(part["rank"].to_list())
        values = ", ".join(
            f"{percent(row['share'], 0)} ({duration(row['seconds'])}): {score(row['score'])}"
            for row in part.iter_rows(named=True)
        )
        courses.append(Course(str(model), ranks, f"{model}: {values}", ranks[-1] != ranks[-2]))
    title = f"Rank on validation, {count(len(courses))} trained models"
    label = f"Rank of the trained models on the {split} split over shares of the budget"
    return bump_chart(courses, [percent(share, 0) for share in shares], label=label, title=title)
