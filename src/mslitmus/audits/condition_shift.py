"""Condition shift: were the test spectra measured under other conditions than the training spectra?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from ..data.difficulty import energy_bin
from ..data.laboratory import laboratory
from ..data.shift import cramers_v
from ..metrics.intervals import Array
from .audit import Audit
from .by_molecule import ALPHA, LEAST_MOLECULES, corrected, estimate, side_by_side, trained
from .evidence import Evidence
from .finding import Finding
from .leads import parts_differ

NAME = "condition-shift"
CONDITIONS = ("instrument_type", "adduct", "energy", "laboratory", "ion_mode")
#: Conditions that make a common cell; the laboratory is none of a spectrum's own.
CELL = ("instrument_type", "adduct", "energy")
#: A shift counts from here on: one test molecule in ten would have to change its condition.
LEAST_DISTANCE = 0.1
#: A headline moves from here on: the second decimal of most leaderboards.
MOVED = 0.02
PERMUTATIONS = 999
_REMEDY = "report the score on the conditions that train has beside the mean, or split so that they are shared"


@dataclass(frozen=True)
class Shift:
    """Test against train in one condition, each molecule counted once in either fold.

    v: Cramér's V, bias-corrected (Bergsma 2013); distance: total variation, 0 to 1; p: by permuting the fold of
    molecules, NaN where the condition has one level.
    """

    split: str
    condition: str
    v: float
    distance: float
    p: float
    levels: int

    def __str__(self) -> str:
        return f"{self.condition.replace('_', ' ')} V {self.v:.2f}, total variation {self.distance:.2f}"


def condition_shift(evidence: Evidence) -> list[Finding]:
    """Per split: which conditions shift (Holm over conditions and splits), and what the scores are without the spectra
    whose instrument × adduct × energy bin fewer than 20 training molecules have.

    Pass: no shift of 0.1 in total variation is shown. Note: a shift, but either the split is made for it or no headline
    surely moves. Warning: a shift nobody asked for, and the common conditions surely score otherwise (Holm over models)
    so that a headline moves by 0.02.
    """
    splits = list(evidence.tables.splits)
    shifts = [shift for split in splits for shift in shifts_of(split, conditions_of(evidence, split))]
    ps = corrected([shift.p for shift in shifts])
    sure = [s for s, p in zip(shifts, ps, strict=True) if np.isfinite(p) and p < ALPHA and s.distance >= LEAST_DISTANCE]
    return [_judge(evidence, split, [s for s in shifts if s.split == split], sure) for split in splits]


def conditions_of(evidence: Evidence, split: str) -> dict[str, pl.DataFrame]:
    """fold (train, test) → identifier, inchikey14 and the `CONDITIONS` as strings (`unknown` where null)."""

    def make() -> dict[str, pl.DataFrame]:
        folds = evidence.folds(split)
        return {fold: labelled(folds[fold]) for fold in ("train", "test")}

    found: dict[str, pl.DataFrame] = evidence.kept(("conditions", split), make)
    return found


def labelled(rows: pl.DataFrame) -> pl.DataFrame:
    named = rows.select("identifier", "inchikey14", "instrument_type", "adduct", "ion_mode", laboratory()).with_columns(
        energy_bin(rows)
    )
    return named.with_columns(pl.col(*CONDITIONS).cast(pl.String).fill_null("unknown"))


def shifts_of(split: str, folds: Mapping[str, pl.DataFrame], seed: int = 0) -> list[Shift]:
    """The shift of every condition between `train` and `test` of `folds` (columns of `labelled`)."""
    both = pl.concat([folds[fold].with_columns(fold=pl.lit(fold)) for fold in ("train", "test")])
    return [_shift(split, both, condition, seed) for condition in CONDITIONS]


def _shift(split: str, both: pl.DataFrame, condition: str, seed: int) -> Shift:
    """A unit is the spectra of one molecule in one fold, as shares of the levels, so that one weighs as much as
    another; p exchanges the folds of units."""
    counts = both.group_by("inchikey14", "fold", condition).len().sort("inchikey14", "fold", condition)
    wide = counts.pivot(condition, index=["inchikey14", "fold"], values="len").fill_null(0)
    shares = wide.drop("inchikey14", "fold").to_numpy().astype(np.float64)
    shares /= shares.sum(axis=1, keepdims=True)
    test = (wide["fold"] == "test").to_numpy()
    observed = shares[test].sum(axis=0), shares[~test].sum(axis=0)
    distance = 0.5 * float(np.abs(observed[0] / test.sum() - observed[1] / (~test).sum()).sum())
    v = cramers_v(np.column_stack(observed))[1]
    if shares.shape[1] < 2:
        return Shift(split, condition, 0.0, 0.0, float("nan"), shares.shape[1])
    p = _permuted(shares, int(test.sum()), _statistic(observed[0], shares.sum(axis=0), float(test.mean())), seed)
    return Shift(split, condition, v or 0.0, distance, p, shares.shape[1])


def _statistic(drawn: Array, total: Array, share: float) -> Array:
    """Pearson's statistic of levels (…, k) of the units drawn against those expected, which orders as Cramér's V."""
    found: Array = ((drawn - share * total) ** 2 / total).sum(axis=-1)
    return found


def _permuted(shares: Array, size: int, observed: Array, seed: int) -> float:
    rng = np.random.default_rng(seed)
    total, units = shares.sum(axis=0), len(shares)
    drawn = np.zeros((PERMUTATIONS, units), np.float32)
    for row in drawn:
        row[rng.permutation(units)[:size]] = 1.0
    reached = _statistic((drawn @ shares.astype(np.float32)).astype(np.float64), total, size / units)
    return float((1 + (reached >= float(observed) * (1 - 1e-6)).sum()) / (1 + PERMUTATIONS))


def common(folds: Mapping[str, pl.DataFrame], least: int = LEAST_MOLECULES) -> pl.DataFrame:
    """Of the test spectra: identifier, `common`: at least so many training molecules have its `CELL`."""
    cells = folds["train"].group_by(CELL).agg(molecules=pl.col("inchikey14").n_unique())
    joined = folds["test"].join(cells, on=CELL, how="left", maintain_order="left")
    return joined.select("identifier", common=pl.col("molecules").fill_null(0) >= least)


def _judge(evidence: Evidence, split: str, shifts: Sequence[Shift], sure: Sequence[Shift]) -> Finding:
    folds = conditions_of(evidence, split)
    tested = folds["test"]["inchikey14"].n_unique()
    listed = "; ".join(f"{s} over {s.levels} levels" for s in shifts)
    mine = [s for s in sure if s.split == split]
    if not mine:
        claim = f"train and test of split {split} share their conditions"
        shown = f"{listed}; {tested} test molecules, no p below {ALPHA:g} with a total variation of {LEAST_DISTANCE:g}"
        return Finding(NAME, "pass", claim, tested, shown, "nothing to do")
    names = " and ".join(s.condition.replace("_", " ") for s in mine)
    rows = side_by_side(evidence, split).join(common(folds), on="identifier", maintain_order="left")
    inside, molecules = rows["common"].to_numpy(), rows["inchikey14"].to_numpy()
    shown, moved = _restricted(rows, inside, trained(evidence.tables))
    outside = int(len(inside) - inside.sum())
    text = f"{listed}; {outside:,} of {len(inside):,} test spectra are under conditions of fewer than "
    text += f"{LEAST_MOLECULES} training molecules{shown}"
    affected = len(np.unique(molecules[~inside]))
    if designed := evidence.tables.splits[split].get("shifted"):
        claim = f"test of split {split} differs from train in {names}; the split is made to shift {designed}"
        return Finding(NAME, "note", claim, affected, text, "read it as a test of another condition")
    if moved:
        claim = f"test of split {split} differs from train in {names}, and it moves the score of {', '.join(moved)}"
        return Finding(NAME, "warning", claim, affected, text, _REMEDY)
    claim = f"test of split {split} differs from train in {names}; no score surely moves with it"
    return Finding(NAME, "note", claim, affected, text, "name the conditions beside the score")


def _restricted(rows: pl.DataFrame, inside: np.ndarray, models: Sequence[str]) -> tuple[str, list[str]]:
    """Scores of the trained models with and without the uncommon conditions, and those that surely move."""
    models = [model for model in models if model in rows.columns]
    if not models or not inside.any() or inside.all():
        return "", []
    molecules = rows["inchikey14"].to_numpy()
    ps = corrected([parts_differ(rows[model].to_numpy(), molecules, inside, ~inside) for model in models])
    parts, moved = [], []
    for model, p in zip(models, ps, strict=True):
        whole, part = (estimate(rows[model].to_numpy(), molecules, where) for where in (None, inside))
        parts.append(f"{model} {whole.mean:.3f} in all, {part} in common conditions")
        if np.isfinite(p) and p < ALPHA and abs(part.mean - whole.mean) >= MOVED:
            moved.append(model)
    return "; " + ", ".join(parts), moved


CONDITION_SHIFT = Audit("were test spectra measured under other conditions than train?", "files", condition_shift)
