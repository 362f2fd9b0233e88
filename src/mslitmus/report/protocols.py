"""Values of the section Protocol sensitivity: would another way of scoring have given another ranking?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from ..errors import ConfigError
from ..metrics.names import parse_metric
from ..metrics.ranking_names import RankingMetric
from ..metrics.sensitivity import PROTOCOL, firm, taus
from ..metrics.spectrum_names import MEASURES, SpectrumMetric
from .folder import RunFiles
from .numbers import MISSING, count, metric_label, percent, score, usable

#: Columns of ranks that a page holds.
MOST = 8
#: The reported means may differ from those of the summary by rounding alone; more is another run's.
ROUNDING = 1e-6
_AXES = ("measure", "resolution", "precursor", "energies", "average", "pool")


@dataclass(frozen=True)
class Verdict:
    """What the protocol does to the ranking of one split, in a sentence."""

    split: str
    sentence: str


@dataclass(frozen=True)
class Setting:
    """One value of one axis of the protocol."""

    name: str
    reported: bool
    alone: tuple[str, str, str]  # tau, pairs flipped, firmly flipped: this setting alone changed
    ranks: tuple[tuple[str, str], ...]  # rank of each shown model, and up, down or same
    everywhere: tuple[str, str, str]  # mean tau, share of pairs flipped, of them firmly: all protocols with it


@dataclass(frozen=True)
class Sensitivity:
    """One split."""

    split: str
    sentence: str
    reported: str
    models: tuple[str, ...]
    left_out: int
    axes: tuple[tuple[str, tuple[Setting, ...]], ...]


def sensitivities(files: RunFiles) -> list[Sensitivity]:
    """One entry a split; empty without the tables, or where they are of another state of the run (`stale`)."""
    if files.sensitivity is None or files.flips is None or stale(files):
        return []
    told = {verdict.split: verdict.sentence for verdict in verdicts(files.sensitivity, files.flips)}
    return [_of(files.sensitivity, files.flips, split, told[split]) for split in files.split_names if split in told]


def stale(files: RunFiles) -> bool:
    """Whether the tables are not of the scores that the summary holds."""
    if files.sensitivity is None or files.summary is None:
        return False
    reported = files.summary.filter(
        (pl.col("fold") == "test") & (pl.col("average") == "molecule") & pl.col("seed").is_null()
    ).select("split", "model", "metric", reported="mean")
    reported = reported.filter(pl.col("metric") == files.primary)
    reported = reported.filter(~pl.col("model").is_in([m for m in reported["model"] if files.kind(m) == "oracle"]))
    both = reported.join(
        files.sensitivity.filter(pl.col("headline")), on=["split", "model", "metric"], how="full", coalesce=True
    )
    return not (both["mean"] - both["reported"]).abs().le(ROUNDING).fill_null(False).all()


def verdicts(boards: pl.DataFrame, flips: pl.DataFrame) -> list[Verdict]:
    """One sentence a split: how many pairs flip, how far the rankings agree, and the largest firm flip."""
    agreement = taus(boards)
    found = []
    for split in boards["split"].unique(maintain_order=True).to_list():
        own, mine = flips.filter(pl.col("split") == split), agreement.filter(pl.col("split") == split)
        if mine.is_empty():
            continue
        k = boards.filter((pl.col("split") == split) & pl.col("headline")).height
        found.append(Verdict(split, _sentence(own, mine, k * (k - 1) // 2)))
    return found


def _sentence(flips: pl.DataFrame, agreement: pl.DataFrame, pairs: int) -> str:
    others = agreement.height
    if flips.is_empty():
        return f"None of {pairs} pairs of models changes order under any of {others} other protocols."
    names = ["model_a", "model_b"]
    any_, sure = (part.select(names).unique().height for part in (flips, flips.filter(firm())))
    share = flips.height / (pairs * others)
    low = agreement.sort("tau", nulls_last=True).row(0, named=True)
    changed = flips.select(PROTOCOL).unique().height
    text = (
        f"{any_} of {pairs} pairs of models change order under at least one of {others} other protocols, {sure} of "
        f"them with both orders significant; {changed} protocols change the ranking, and a protocol turns "
        f"{percent(share)} of the pairs round on average. Kendall’s τ to the reported ranking: median "
        f"{score(agreement['tau'].median(), 2)}, lowest {score(low['tau'], 2)} ({protocol_label(low)})."
    )
    return text + _largest(flips.filter(firm()))


def _largest(flips: pl.DataFrame) -> str:
    """The flip whose smaller side is largest."""
    if flips.is_empty():
        return " No flip is significant on both sides."
    least = pl.min_horizontal("headline_difference", "difference")
    row = flips.with_columns(least.alias("_least")).sort("_least", "model_a", "model_b").row(-1, named=True)
    return (
        f" The largest flip that is significant both ways: {row['model_a']} is {score(row['headline_difference'])} "
        f"better than {row['model_b']} as reported, and {score(row['difference'])} worse by {protocol_label(row)}."
    )


def protocol_label(row: Mapping[str, Any]) -> str:
    """A protocol in words: cosine, 1 Da bins, without precursor; energies merged; per spectrum."""
    label = metric_label(row["metric"])
    parts = [label if label[:2].isupper() else label[:1].lower() + label[1:]]
    if usable(row["pool"]):
        parts.append(f"pools of {count(row['pool'])}")
    if row["energies"] == "merged":
        parts.append("energies merged")
    if row["average"] == "spectrum":
        parts.append("per spectrum")
    return "; ".join(parts)


def _parts(row: Mapping[str, Any]) -> dict[str, str]:
    """Axis → setting, in words; an axis that a metric does not have is absent."""
    found = {"average": f"per {row['average']}"}
    try:
        metric = parse_metric(row["metric"])
    except ConfigError:
        return {**found, "measure": row["metric"]}
    if isinstance(metric, SpectrumMetric):
        size = f"{metric.width:g} Da bins" if metric.width is not None else f"{metric.ppm:g} ppm"
        found |= {"measure": MEASURES[metric.measure][0], "resolution": size}
        found["precursor"] = "precursor removed" if metric.no_precursor else "precursor kept"
        found["energies"] = "energies merged" if row["energies"] == "merged" else "each energy for itself"
    else:
        found["measure"] = metric_label(row["metric"])
        if isinstance(metric, RankingMetric):
            found["pool"] = f"pools of {count(row['pool'])}" if usable(row["pool"]) else "whole pools"
    return found


def _of(boards: pl.DataFrame, flips: pl.DataFrame, split: str, sentence: str) -> Sensitivity:
    here, turned = boards.filter(pl.col("split") == split), flips.filter(pl.col("split") == split)
    headline = here.filter(pl.col("headline")).sort("rank")
    models = headline["model"].to_list()
    reported = headline.row(0, named=True)
    protocols = here.select(PROTOCOL).unique(maintain_order=True).to_dicts()
    settings = {tuple(p.values()): _parts(p) for p in protocols}
    tau = {tuple(r[name] for name in PROTOCOL): r["tau"] for r in taus(here).iter_rows(named=True)}
    turns = _counted(turned)
    ranks = {
        key: dict(part.select("model", "rank").iter_rows())
        for key, part in here.group_by(PROTOCOL, maintain_order=True)
    }
    own = _parts(reported)
    pairs = len(models) * (len(models) - 1) // 2

    def setting(axis: str, name: str) -> Setting:
        keys = [key for key, parts in settings.items() if parts.get(axis) == name]
        alone = next((k for k in keys if {**settings[k], axis: own.get(axis)} == own), None)
        return Setting(
            name=name,
            reported=own.get(axis) == name,
            alone=_alone(tau.get(alone), turns.get(alone, (0, 0)), pairs) if alone else (MISSING,) * 3,
            ranks=_moves(ranks[alone], models[:MOST]) if alone else tuple((MISSING, "same") for _ in models[:MOST]),
            everywhere=_everywhere([k for k in keys if k in tau], tau, turns, pairs),
        )

    axes = []
    for axis in _AXES:
        names = list(dict.fromkeys(parts[axis] for parts in settings.values() if axis in parts))
        if len(names) > 1:
            axes.append((axis, tuple(setting(axis, name) for name in names)))
    words = [protocol_label(reported), *(own[axis] for axis in ("energies", "pool", "average") if axis in own)]
    return Sensitivity(split, sentence, "; ".join(words), tuple(models[:MOST]), len(models[MOST:]), tuple(axes))


def _counted(flips: pl.DataFrame) -> dict[tuple[Any, ...], tuple[int, int]]:
    """Protocol → pairs flipped, of them firmly."""
    table = flips.group_by(PROTOCOL).agg(pl.len(), firm().sum().alias("firm"))
    return {tuple(row[:-2]): (row[-2], row[-1]) for row in table.iter_rows()}


def _alone(tau: float | None, turns: tuple[int, int], pairs: int) -> tuple[str, str, str]:
    return score(tau, 2) if tau is not None else MISSING, f"{turns[0]} of {pairs}", str(turns[1])


def _moves(ranks: Mapping[str, int], models: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Rank of each model, which stand in their reported order, and whether it rose or fell."""
    return tuple(
        (str(ranks[model]), "up" if ranks[model] < place else "down" if ranks[model] > place else "same")
        for place, model in enumerate(models, 1)
    )


def _everywhere(
    keys: Sequence[tuple[Any, ...]],
    tau: Mapping[tuple[Any, ...], float | None],
    turns: Mapping[tuple[Any, ...], tuple[int, int]],
    pairs: int,
) -> tuple[str, str, str]:
    """Over all protocols with a setting, the reported one aside."""
    known = [value for key in keys if (value := tau[key]) is not None]
    if not known or not pairs:
        return (MISSING,) * 3
    shares = [sum(turns.get(key, (0, 0))[k] for key in keys) / (pairs * len(keys)) for k in (0, 1)]
    return score(sum(known) / len(known), 2), percent(shares[0]), percent(shares[1])
