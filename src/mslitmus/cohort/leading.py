"""Which representation, and which acquisition, is best? One is called so only where every other is told apart from it.

The highest of several scores is highest by luck, too. So the leader is compared with each of the others on the samples
that both predict: p by swapping the two predictions of whole groups (all that is held out together), interval by
resampling groups, and Holm's correction over all comparisons of a target.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from ..metrics.paired import holm
from .comparing import ALPHA, chance
from .groups import Ints, linked
from .learners import Floats
from .measures import OF_CLASSES, OF_NUMBERS, by_group, interval, of_classes, of_numbers, resamples
from .prediction import ALL_TARGETS, CHOSEN, CLASSIFICATION, EVERY
from .settings import CohortSettings
from .tables import ALL

_SWAPS = 1999
_NAMED = 4  # rivals that a sentence names


@dataclass(frozen=True)
class _Contender:
    """One acquisition and representation.

    Attributes:
        units, truth, called: of each seed the sample (n,), what it is and what it was called, (n, k); of classes k = 1.
    """

    acquisition: str
    representation: str
    units: tuple[Ints, ...]
    truth: tuple[Any, ...]
    called: tuple[Any, ...]


@dataclass(frozen=True)
class _Match:
    """How answers become one number."""

    classes: int  # 0: numbers
    group: Ints  # of each unit

    def counts(self, one: _Contender, allowed: Any) -> list[Floats]:
        """(G, …) a seed, of the units allowed."""
        out = []
        for units, truth, called in zip(one.units, one.truth, one.called, strict=True):
            mine = allowed[units]
            pair = (truth[mine, 0], called[mine, 0]) if self.classes else (truth[mine], called[mine])
            out.append(by_group(*pair, self.group[units[mine]], int(self.group.max()) + 1, self.classes))
        return out

    def metric(self, counts: Sequence[Floats], draws: Floats) -> Floats:
        """(B,) macro F1, or R² (the mean over targets), of weighted sums of groups; the mean over seeds."""
        each = [np.tensordot(draws, one, axes=1) for one in counts]
        if self.classes:
            return np.asarray(np.mean([of_classes(one)[OF_CLASSES[0]] for one in each], axis=0))
        return np.asarray(np.mean([of_numbers(one)[OF_NUMBERS[0]].mean(axis=-1) for one in each], axis=0))


def leaders(
    predictions: pl.DataFrame, results: pl.DataFrame, groups: Mapping[str, Mapping[str, int]], units: Mapping[str, str],
    how: CohortSettings,
) -> list[dict[str, Any]]:  # fmt: skip
    """Rows of the table `leaders`: of each target the best by the first metric, against every other.

    Args:
        predictions, results: the tables of these names.
        groups: acquisition → sample → number of its group.
        units: run → its sample, where one has several acquisitions.
    """
    out: list[dict[str, Any]] = []
    if predictions.is_empty():
        return out
    names = sorted({units.get(s, s) for s in predictions["sample"].unique().to_list()})
    place = {name: k for k, name in enumerate(names)}
    columns = []
    for of in groups.values():
        held = {units.get(s, s): str(g) for s, g in of.items()}
        columns.append([held.get(name) for name in names])
    told = linked(columns)
    of_unit = {name: k for k, name in enumerate(told.drop_nulls().unique(maintain_order=True))}
    group = np.array([of_unit[name] for name in told], np.int64)
    for question, target, parts in _questions(predictions):
        field, k = _contenders(parts, place, units, question == CLASSIFICATION)
        match = _Match(k, group)
        metric = (OF_CLASSES if k else OF_NUMBERS)[0]
        head = {"question": question, "target": target, "metric": metric}
        found = _against(field, match, how)
        same = results.filter(
            (pl.col("seed") == EVERY) & (pl.col("aggregation") == CHOSEN), **head
        ).select("acquisition", "representation", "p_permutation")  # fmt: skip
        by_chance = {(a, r): p for a, r, p in same.iter_rows()}
        out += [{**head, **row, "p_chance": by_chance.get((row["acquisition"], row["representation"]))}
                for row in found]  # fmt: skip
    return out


def _questions(predictions: pl.DataFrame) -> Iterator[tuple[str, str, list[pl.DataFrame]]]:
    """(question, target, its predictions); numbers known of the same samples also all together."""
    alike: dict[Any, list[pl.DataFrame]] = {}
    for (question, target), part in predictions.group_by("question", "target", maintain_order=True):
        yield str(question), str(target), [part]
        if question != CLASSIFICATION:
            cells = part.select("acquisition", "representation", "seed", "sample").sort(pl.all())
            alike.setdefault(cells.write_csv(), []).append(part)
    if alike:
        most = max(alike.values(), key=len)
        if len(most) > 1:
            yield str(most[0]["question"][0]), ALL_TARGETS, most


def _contenders(
    parts: Sequence[pl.DataFrame], place: Mapping[str, int], units: Mapping[str, str], classes: bool
) -> tuple[list[_Contender], int]:
    """Every acquisition and representation; and how many classes there are, 0 of numbers."""
    columns = ("truth", "predicted") if classes else ("truth_value", "predicted_value")
    told = pl.concat([parts[0]["truth"], parts[0]["predicted"]]).unique().sort().to_list() if classes else []
    code = {name: k for k, name in enumerate(told)}
    out = []
    keys = ["acquisition", "representation"]
    for (acquisition, name), _ in parts[0].group_by(keys, maintain_order=True):
        mine = [p.filter(acquisition=acquisition, representation=name).sort("seed", "sample") for p in parts]
        seeds = mine[0].partition_by("seed", maintain_order=True)
        at = tuple(np.array([place[units.get(s, s)] for s in seed["sample"]], np.int64) for seed in seeds)
        values = []
        for column in columns:
            each = [np.array([code[v] for v in p[column]]) if classes else p[column].to_numpy() for p in mine]
            whole = np.stack(each, axis=1)
            values.append(tuple(np.split(whole, np.cumsum([seed.height for seed in seeds])[:-1])))
        out.append(_Contender(str(acquisition), str(name), at, *values))
    return out, len(told)


def _against(field: Sequence[_Contender], match: _Match, how: CohortSettings) -> list[dict[str, Any]]:
    """The best of the field against each of the others."""
    everyone = np.ones(match.group.size, bool)
    one = np.ones((1, int(match.group.max()) + 1))
    values = np.array([match.metric(match.counts(each, everyone), one)[0] for each in field])
    if len(field) < 2 or not np.isfinite(values).any():
        return []
    best = int(np.nanargmax(values))
    rows = [
        {
            "acquisition": field[best].acquisition, "representation": field[best].representation,
            "value": float(values[best]), "against_acquisition": other.acquisition,
            "against_representation": other.representation, **_compared(field[best], other, match, how),
        }
        for k, other in enumerate(field) if k != best and np.isfinite(values[k])
    ]  # fmt: skip
    adjusted = holm(np.array([row["p"] for row in rows], np.float64))
    return [{**row, "p_holm": float(p)} for row, p in zip(rows, adjusted, strict=True)]


def _compared(a: _Contender, b: _Contender, match: _Match, how: CohortSettings) -> dict[str, Any]:
    """On the samples that both have."""
    both = np.zeros((2, match.group.size), bool)
    for row, each in zip(both, (a, b), strict=True):
        row[np.concatenate(each.units)] = True
    allowed = both.all(axis=0)
    seeds = min(len(a.units), len(b.units))
    mine, theirs = (match.counts(each, allowed)[:seeds] for each in (a, b))
    n = int(match.group.max()) + 1
    whole = np.ones((1, n))
    gain = float((match.metric(mine, whole) - match.metric(theirs, whole))[0])
    held = np.unique(match.group[allowed])
    draws = np.zeros((how.bootstraps, n))
    draws[:, held] = resamples(held.size, how.bootstraps, how.seed)
    low, high = interval(match.metric(mine, draws) - match.metric(theirs, draws))
    swap = np.random.default_rng(how.seed).integers(0, 2, (_SWAPS, n)).astype(float)
    sides = [[np.concatenate(pair) for pair in zip(x, y, strict=True)] for x, y in ((mine, theirs), (theirs, mine))]
    mixed = np.hstack([swap, 1 - swap])
    null = match.metric(sides[0], mixed) - match.metric(sides[1], mixed)
    known = null[np.isfinite(null)]
    as_far = np.count_nonzero(np.abs(known) >= abs(gain) - 1e-9)
    p = (1 + as_far) / (1 + known.size) if np.isfinite(gain) else 1.0
    return {"difference": gain, "low": low, "high": high, "p": p, "n_groups": int(held.size)}


def standing(rows: pl.DataFrame) -> str:
    """Of the rows of one leader, in words: `the best of 3 (p ≤ .01 …)`, or what it is not told apart from."""
    lucky = "" if not chance(rows["p_chance"][0]) else f"no better than chance (p = {rows['p_chance'][0]:.2g}), "
    near = rows.filter(pl.col("p_holm") > ALPHA)
    if lucky or near.height:
        shown = [_rival(row) for row in near.head(_NAMED).iter_rows(named=True)]
        more = f" and {near.height - _NAMED} more" if near.height > _NAMED else ""
        rivals = f"not told apart from {', '.join(shown)}{more}" if shown else ""
        return (lucky + rivals).removesuffix(", ")
    return f"the best of {rows.height + 1} (p ≤ {rows['p_holm'].to_numpy().max():.2g} against each other one, Holm)"


def acquisitions(rows: pl.DataFrame) -> list[str]:
    """Acquisitions that the leader's is not told apart from."""
    mine = rows["acquisition"][0]
    near = rows.filter((pl.col("against_acquisition") != mine) & (pl.col("p_holm") > ALPHA))
    return near["against_acquisition"].unique(maintain_order=True).to_list()


def _rival(row: Mapping[str, Any]) -> str:
    there = row["against_acquisition"]
    if there == ALL or there == row["acquisition"]:
        return str(row["against_representation"])
    return f"{row['against_representation']} in {there}"
