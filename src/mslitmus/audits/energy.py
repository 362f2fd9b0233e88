"""Energy: how much of a score comes from spectra that are nearly all precursor, and does the ranking hold without them?

After Nguyen et al. (J. Am. Soc. Mass Spectrom. 2024): predict only where the energy is high enough to fragment the
precursor. The restriction is the protocol `nguyen` of `data.protocols`, its cut-off fixed on validation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..data.difficulty import energy_bin
from ..data.protocols import nguyen, precursor_survival
from ..data.splits.split import Split
from ..errors import SplitError
from ..metrics.intervals import Array
from .audit import Audit
from .by_molecule import ALPHA, LEAST_MOLECULES, corrected, estimate, means, one_sample, side_by_side, trained
from .evidence import Absent, Evidence
from .finding import Finding, best_of
from .leads import Lead, Question, lead, verdict

NAME = "energy"
#: A spectrum is fragmented if its precursor keeps at most this share of the intensity (as in the protocol `nguyen`).
FRAGMENTED = 0.5
#: Nearly all precursor from here on.
INTACT = 0.9
_QUESTION = Question(
    audit=NAME,
    open="what {model} owes to spectra that are mostly precursor",
    faded="{model} leads {control} only on spectra that are mostly precursor",
    there="on fragmented spectra",
    parts=("on spectra that are mostly precursor", "on fragmented ones"),
    remedy="report the score of fragmented spectra (protocol: nguyen, or a metric `:no-precursor`) beside the mean",
)


@dataclass(frozen=True)
class Side:
    """One split: test scores by spectrum, molecules, precursor survival (NaN unknown), who is under the protocol."""

    split: str
    rows: pl.DataFrame
    molecules: NDArray[np.str_]
    survival: Array
    fragmented: NDArray[np.bool_]
    protocol: NDArray[np.bool_]
    cutoff: str


def energy(evidence: Evidence) -> list[Finding]:
    """Per split and trained model: the score with and without spectra whose precursor survives.

    Warning: the lead over the best trivial model has faded on fragmented spectra (`leads.Lead.faded`, Holm over
    models and splits). Warning, once a split: two models surely change places (each order sure by Holm over the pairs
    of its part). Pass: the model leads on fragmented spectra too. Note: neither is shown.
    """
    models = trained(evidence.tables)
    if not models:
        raise Absent("is about trained models; this run has none")
    tested: list[tuple[Side, str, str | None, Lead | None]] = []
    sides = [side(evidence, split) for split in evidence.tables.splits]
    for one in sides:
        control = best_of(evidence.tables, one.split, "blind", "neighbour")
        for model in (m for m in models if m in one.rows.columns):
            found = None if control is None else _lead(one, model, control)
            tested.append((one, model, control, found))
    ps = corrected([float("nan") if found is None else found.p for *_, found in tested])
    findings = [_judge(evidence, *test, float(p)) for test, p in zip(tested, ps, strict=True)]
    return findings + [finding for one in sides for finding in _places(evidence, one)]


def side(evidence: Evidence, split: str) -> Side:
    """The test fold of a split, made once."""

    def make() -> Side:
        folds = evidence.folds(split)
        survival = precursor_survival(folds["test"])
        known = folds["test"].select("identifier").with_columns(survival=survival, energy_bin=energy_bin(folds["test"]))
        rows = side_by_side(evidence, split).join(known, on="identifier", maintain_order="left")
        kept = rows["survival"].fill_null(float("nan")).to_numpy()
        with np.errstate(invalid="ignore"):
            fragmented = kept <= FRAGMENTED
        inside, cutoff = _protocol(evidence, split)
        chosen = rows["identifier"].is_in(inside.implode()).to_numpy()
        return Side(split, rows, rows["inchikey14"].to_numpy(), kept, fragmented, chosen, cutoff)

    found: Side = evidence.kept(("energy", split), make)
    return found


def _protocol(evidence: Evidence, split: str) -> tuple[pl.Series, str]:
    """Test identifiers under the protocol `nguyen` and its cut-off; none, with the reason, where it does not apply."""
    folds = evidence.folds(split)
    frame = pl.concat(list(folds.values()), how="diagonal")
    named = [rows.select("identifier", fold=pl.lit(fold)) for fold, rows in folds.items()]
    record = evidence.tables.splits[split]
    made = Split(str(record.get("method", split)), None, 0, {}, pl.concat(named).sort("identifier"), "")
    try:
        found = nguyen(frame, made)
    except SplitError as error:
        return pl.Series([], dtype=pl.String), f"the protocol nguyen does not apply ({error.message})"
    inside = found.split.folds.filter(pl.col("fold") == "test")["identifier"]
    return inside, f"under the protocol nguyen (from {found.energy_cutoff:g} eV, fixed on validation)"


def _lead(one: Side, model: str, control: str) -> Lead:
    whole, rest = (one.rows[name].to_numpy() for name in (model, control))
    return lead(whole, rest, one.molecules, ~one.fragmented & np.isfinite(one.survival), one.fragmented)


def _judge(evidence: Evidence, one: Side, model: str, control: str | None, found: Lead | None, p: float) -> Finding:
    shown = _shown(evidence, one, one.rows[model].to_numpy())
    intact = int((one.survival > FRAGMENTED).sum())
    return verdict(_QUESTION, f"{model} on split {one.split}", control, found, p, intact, shown)


def _shown(evidence: Evidence, one: Side, values: Array) -> str:
    metric = evidence.tables.primary
    whole = estimate(values, one.molecules)
    parts = [estimate(values, one.molecules, where) for where in (one.fragmented, one.protocol)]
    share = float((one.survival >= INTACT).mean())
    text = f"{metric} {whole} in all, {parts[0]} on fragmented spectra (precursor keeps at most {FRAGMENTED:.0%})"
    text += f", {parts[1]} {one.cutoff}" if parts[1].n else f"; {one.cutoff}"
    text += f"; {share:.1%} of the spectra are nearly all precursor ({INTACT:.0%} or more)"
    return f"{text}; by energy: {_levels(one, values)}"


def _levels(one: Side, values: Array) -> str:
    bins = one.rows["energy_bin"].to_numpy()
    names = sorted(set(bins), key=lambda name: (not name.endswith("eV"), _first(name), name))
    found = [(name, estimate(values, one.molecules, bins == name)) for name in names]
    return ", ".join(f"{name} {e.mean:.3f} (n = {e.n})" for name, e in found if e.n >= LEAST_MOLECULES)


def _first(name: str) -> float:
    """`≤ 10 eV` → 0, `10–20 eV` → 10, `> 60 eV` → 60: the order of the bins."""
    digits = "".join(c if c.isdigit() else " " for c in name).split()
    return 0.0 if name.startswith("≤") or not digits else float(digits[0])


def _places(evidence: Evidence, one: Side) -> list[Finding]:
    """Pairs of models (one of them trained) whose order on all spectra and on fragmented ones is sure and opposite."""
    models = [m for m in evidence.tables.kinds if m in one.rows.columns and evidence.tables.kinds[m] != "oracle"]
    mine = set(trained(evidence.tables))
    pairs = [(a, b) for i, a in enumerate(models) for b in models[i + 1 :] if mine & {a, b}]
    if not pairs or not one.fragmented.any():
        return []
    everywhere = np.ones(len(one.molecules), bool)
    swapped = []
    for (a, b), first, second in zip(
        pairs, _orders(one, pairs, everywhere), _orders(one, pairs, one.fragmented), strict=True
    ):
        if first * second < 0:
            swapped.append(f"{a} and {b}")
    best = [_best(one, models, where) for where in (everywhere, one.fragmented)]
    shown = f"best of {len(models)} models: {best[0]} on all spectra, {best[1]} on fragmented ones; {len(pairs)} pairs"
    n = len(np.unique(one.molecules[one.fragmented]))
    if swapped:
        claim = f"without spectra that are mostly precursor, models of split {one.split} change places"
        return [
            Finding(NAME, "warning", claim, n, f"{'; '.join(swapped)} surely change places; {shown}", _QUESTION.remedy)
        ]
    claim = f"no two models of split {one.split} surely change places on fragmented spectra"
    return [Finding(NAME, "pass", claim, n, shown, "nothing to do")]


def _best(one: Side, models: Sequence[str], where: NDArray[np.bool_]) -> str:
    return max(models, key=lambda model: _mean(one, model, where))


def _mean(one: Side, model: str, where: NDArray[np.bool_]) -> float:
    return float(means(one.rows[model].to_numpy()[where], one.molecules[where]).mean())


def _orders(one: Side, pairs: Sequence[tuple[str, str]], where: NDArray[np.bool_]) -> list[int]:
    """1 where a is surely better than b in this part, −1 where worse, 0 where unsure; paired t-tests over molecules."""
    ps, signs = [], []
    for a, b in pairs:
        ahead = (one.rows[a].to_numpy() - one.rows[b].to_numpy())[where]
        each = means(ahead, one.molecules[where])
        ps.append(one_sample(each))
        signs.append(int(np.sign(each.mean())))
    return [s if np.isfinite(p) and p < ALPHA else 0 for s, p in zip(signs, corrected(ps), strict=True)]


ENERGY = Audit("how much of a score comes from spectra that are nearly all precursor?", "files", energy)
