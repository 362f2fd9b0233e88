"""Worst group: in which instrument × adduct × energy does a model fail, though its mean is good?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from ..metrics.paired import sign_flip
from .audit import Audit
from .by_molecule import ALPHA, LEAST_MOLECULES, Estimate, corrected, estimate, means, side_by_side, trained
from .condition_shift import CELL, conditions_of
from .evidence import Absent, Evidence
from .finding import Finding, best_of

NAME = "worst-group"
_REMEDY = "report this group beside the mean, train on more of its kind, or say that the model is not for it"


@dataclass(frozen=True)
class Group:
    """One condition of one model: its score, its lead over the best trivial model, and the p of "no difference"."""

    split: str
    model: str
    control: str
    name: str
    score: Estimate
    ahead: Estimate
    overall: Estimate
    p: float


def worst_group(evidence: Evidence) -> list[Finding]:
    """Per split and trained model, groups of at least 20 molecules against the best trivial model (blind control or
    neighbour, chosen on validation), by sign flips over molecules, Holm over all groups, models and splits.

    Warning: the model leads on the whole, and is surely worse than the trivial model in a group. Pass: in no group is
    that shown. The worst mean is named with an interval that holds for all groups at once (Bonferroni).
    """
    if not trained(evidence.tables):
        raise Absent("is about trained models; this run has none")
    groups = [group for split in evidence.tables.splits for group in _groups(evidence, split)]
    if not groups:
        raise Absent(f"needs conditions with {LEAST_MOLECULES} test molecules and a trivial model beside the trained")
    ps = corrected([group.p for group in groups])
    tested: dict[tuple[str, str], list[tuple[Group, float]]] = {}
    for group, p in zip(groups, ps, strict=True):
        tested.setdefault((group.split, group.model), []).append((group, float(p)))
    return [_judge(found) for found in tested.values()]


def _groups(evidence: Evidence, split: str) -> Iterator[Group]:
    control = best_of(evidence.tables, split, "blind", "neighbour")
    cells = conditions_of(evidence, split)["test"].select("identifier", group=pl.concat_str(CELL, separator=", "))
    rows = side_by_side(evidence, split).join(cells, on="identifier", maintain_order="left")
    sizes = rows.group_by("group").agg(pl.col("inchikey14").n_unique()).filter(pl.col("inchikey14") >= LEAST_MOLECULES)
    names = sorted(sizes["group"])
    if control is None or not names:
        return
    molecules, of = rows["inchikey14"].to_numpy(), rows["group"].to_numpy()
    for model in (m for m in trained(evidence.tables) if m in rows.columns):
        values = rows[model].to_numpy()
        ahead = values - rows[control].to_numpy()
        overall = estimate(ahead, molecules)
        for name in names:
            here = of == name
            score = estimate(values, molecules, here, level=1 - ALPHA / len(names))
            yield Group(
                split, model, control, name, score, estimate(ahead, molecules, here), overall,
                _p(ahead[here], molecules[here]),
            )  # fmt: skip


def _p(ahead: np.ndarray, molecules: np.ndarray) -> float:
    return float(sign_flip(means(ahead, molecules)[:, None])[0])


def _judge(tested: list[tuple[Group, float]]) -> Finding:
    first = tested[0][0]
    where = f"{first.model} on split {first.split}"
    behind = [(g, p) for g, p in tested if np.isfinite(p) and p < ALPHA and g.ahead.high < 0]
    low = min((g for g, _ in tested), key=lambda g: g.score.mean)
    least = min((g for g, _ in tested), key=lambda g: g.ahead.mean)
    shown = (
        f"worst of {len(tested)} groups of {LEAST_MOLECULES} molecules or more: {low.name} with {low.score}, "
        f"the interval simultaneous over the groups; lead over {first.control} in all {first.overall}"
    )
    if behind and first.overall.mean > 0:
        worst = min((g for g, _ in behind), key=lambda g: g.ahead.mean)
        claim = f"{where} is worse than {first.control} in {worst.name}, though better on the whole"
        listed = "; ".join(f"{g.name}: {g.ahead}, Holm p {p:.2g}" for g, p in behind)
        affected = sum(g.ahead.n for g, _ in behind)
        return Finding(NAME, "warning", claim, affected, f"lead by group: {listed}; {shown}", _REMEDY)
    shown += f"; least lead: {least.ahead} in {least.name}"
    tested_molecules = sum(g.score.n for g, _ in tested)
    if first.overall.mean <= 0:
        claim = f"{where} has no lead over {first.control} that a group could lose"
        return Finding(NAME, "note", claim, tested_molecules, shown, "see the audit `trivial`")
    claim = f"{where} is in no group surely worse than {first.control}"
    return Finding(NAME, "pass", claim, tested_molecules, shown, "nothing to do")


WORST_GROUP = Audit("is a model that is good on the whole worse than trivial in some condition?", "files", worst_group)
