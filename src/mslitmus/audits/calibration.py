"""Calibration: does a model's confidence tell its right answers from its wrong ones, and does it hold what it promises?

Of each trained model (lowest seed): ROC of right against wrong answers (rankings) or Spearman's ρ with the score
(fingerprints), risk–coverage, expected calibration error after a monotone map fitted on validation, coverage of split
conformal sets by stratum, and what a target–decoy estimate of the error rate is worth (`decoys`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import ndtr

from ..metrics.paired import holm
from ..metrics.rates import (
    Array,
    Isotonic,
    auc,
    aurc,
    calibration_error,
    concordance,
    conformal_limit,
    resampled,
    risk_at,
)
from ..metrics.strata import STRATUM_MAKERS
from .audit import Audit
from .by_molecule import means
from .confidence import TASKS, Answers, answers, chosen_way
from .decoys import decoy_findings
from .evidence import Absent, CellKey, Evidence
from .finding import Finding

#: Level of every test after Holm's correction over this audit's tests of that kind.
ALPHA = 0.05
#: A calibrated confidence that is off by less than this on average misleads nobody, however surely it is off.
OFF = 0.05
#: Conformal levels, and the shortfall of a stratum that is worth a word.
LEVELS, SHORT = (0.8, 0.9), 0.05
#: Molecules that a fold or stratum must have, and right and wrong answers (in molecules) that a ROC needs.
LEAST, LEAST_EACH = 30, 5
_STRATA = ("adduct", "instrument", "energy")


@dataclass(frozen=True)
class _Cell:
    key: CellKey
    test: Answers
    val: Answers | None
    way: str

    @property
    def confidence(self) -> Array:
        return self.test.confidences[self.way]


@dataclass(frozen=True)
class _Shortfall:
    cell: _Cell
    level: float
    stratum: str
    coverage: float
    p: float
    molecules: int


def calibration(evidence: Evidence) -> list[Finding]:
    """Findings of every trained model, first seed. Raises Absent for a task without confidences, or too few answers."""
    evidence.require_task(*TASKS)
    cells = []
    for key in evidence.first_seeds("trained"):
        test, val = answers(evidence, key, "test"), answers(evidence, key, "val")
        if test is None or test.size < LEAST:
            continue
        val = val if val is not None and val.size >= LEAST else None
        cells.append(_Cell(key, test, val, chosen_way(val, test)))
        evidence.progress(f"  {key}")
    if not cells:
        raise Absent(f"needs a trained model with answers for {LEAST} test molecules")
    findings = [_telling(cell) for cell in cells]
    findings += _drifted([cell for cell in cells if cell.val is not None])
    findings += _uncovered([cell for cell in cells if cell.val is not None])
    for cell in cells:
        findings += decoy_findings(evidence, cell.key)
    return findings


def _telling(cell: _Cell) -> Finding:
    """Whether confidence goes with being right: note if not, else a pass; with what abstaining would buy."""
    test, c, model, split = cell.test, cell.confidence, cell.key.model, cell.key.split
    weight = test.weight
    if test.binary:
        value, low, high = resampled(auc, c, test.right, test.molecules)
        idle, shown = 0.5, f"ROC AUC of right against wrong answers {value:.3f} (95 % {low:.3f} to {high:.3f})"
    else:
        value, low, high = resampled(concordance, c, test.right, test.molecules)
        idle, shown = 0.0, f"Spearman ρ with the score {value:.3f} (95 % {low:.3f} to {high:.3f})"
    risk = float(np.average(1 - test.right, weights=weight))
    evidence = (
        f"{cell.way}: {shown}, {test.size} molecules{_spread(cell)}; mean error {risk:.3f}, of the more confident half "
        f"{risk_at(c, test.right, weight, 0.5):.3f}, AURC {aurc(c, test.right, weight):.3f}"
    )
    rights = min(float((weight * test.right).sum()), float((weight * (1 - test.right)).sum()))
    if not np.isfinite(value) or rights < LEAST_EACH:
        claim = f"the confidence of {model} on split {split} cannot be judged"
        why = "all of one confidence" if np.ptp(c) == 0 else "too few right or wrong answers"
        remedy = "report no threshold on its score; a larger test fold would tell"
        return Finding("calibration", "note", claim, test.size, f"{why}, {test.size} molecules", remedy)
    if low <= idle:
        claim = f"the confidence of {model} on split {split} does not tell right answers from wrong ones"
        remedy = "do not filter its answers by score"
        return Finding("calibration", "note", claim, test.size, evidence, remedy)
    claim = f"the confidence of {model} on split {split} tells right answers from wrong ones"
    return Finding("calibration", "pass", claim, test.size, evidence, "nothing to do")


def _spread(cell: _Cell) -> str:
    """Where the scores of right and of wrong answers lie: median, 10th and 90th percentile."""
    if not cell.test.binary:
        return ""
    parts = []
    for word, mask in (("right", cell.test.right >= 0.5), ("wrong", cell.test.right < 0.5)):
        if mask.any():
            low, middle, high = np.quantile(cell.confidence[mask], (0.1, 0.5, 0.9))
            parts.append(f"{word} {middle:.3g} ({low:.3g} to {high:.3g})")
    return f" [median and 10–90 %: {', '.join(parts)}]"


def _drifted(cells: list[_Cell]) -> list[Finding]:
    """Confidence calibrated on validation, judged on test: off by more than chance and by `OFF`."""
    judged = []
    for cell in cells:
        assert cell.val is not None
        val, test = cell.val, cell.test
        curve = Isotonic(val.confidences[cell.way], val.right, val.weight)
        expected = curve(cell.confidence)
        inner = curve(val.confidences[cell.way])
        off, error = _mean_error(test.right - expected, test.molecules)
        _, learned = _mean_error(val.right - inner, val.molecules)
        ece = calibration_error(expected, test.right, test.weight)
        spread = float(np.hypot(error, learned))
        p = float(2 * ndtr(-abs(off) / spread)) if spread > 0 else 1.0
        judged.append((cell, off, ece, float(np.average(expected, weights=test.weight)), p))
    findings = []
    corrected = holm(np.array([row[-1] for row in judged]))
    for (cell, off, ece, promised, _), p_holm in zip(judged, corrected, strict=True):
        model, split = cell.key.model, cell.key.split
        shown = (
            f"after a monotone map fitted on {cell.val.size if cell.val else 0} validation molecules, expected score "
            f"{promised:.3f}, found {promised + off:.3f} on {cell.test.size} test molecules (Holm p = {p_holm:.2g}); "
            f"expected calibration error {ece:.3f}"
        )
        if p_holm < ALPHA and abs(off) >= OFF:
            word = "promises more than it holds" if off < 0 else "promises less than it holds"
            claim = f"the calibrated confidence of {model} {word} on split {split}"
            remedy = "do not carry a threshold or a probability from validation to data like the test fold"
            findings.append(Finding("calibration", "warning", claim, cell.test.size, shown, remedy))
        else:
            claim = f"the calibrated confidence of {model} holds on split {split}"
            findings.append(Finding("calibration", "pass", claim, cell.test.size, shown, "nothing to do"))
    return findings


def _mean_error(residual: Array, molecules: NDArray[Any]) -> tuple[float, float]:
    """Mean over molecules of their spectra's mean residual, and its standard error."""
    each = means(residual, molecules)
    return float(each.mean()), float(each.std(ddof=1) / np.sqrt(len(each)))


def _uncovered(cells: list[_Cell]) -> list[Finding]:
    """Coverage of split conformal sets on test, whole and by stratum, against what they promise."""
    findings = []
    shortfalls = [found for cell in cells for found in _shortfalls(cell)]
    corrected = holm(np.array([found.p for found in shortfalls]))
    for cell in cells:
        own = [(f, p) for f, p in zip(shortfalls, corrected, strict=True) if f.cell is cell]
        if not own:
            continue
        model, split = cell.key.model, cell.key.split
        whole = ", ".join(f"{f.level:.0%}: {f.coverage:.1%}" for f, _ in own if f.stratum == "all")
        low = [(f, p) for f, p in own if p < ALPHA and f.coverage <= f.level - SHORT]
        shown = f"calibrated on validation, found on {cell.test.size} test molecules: {whole}"
        if low:
            names = list(dict.fromkeys(f.stratum for f, _ in low))
            parts = [
                f"{f.stratum} {f.coverage:.1%} of {f.level:.0%} ({f.molecules} molecules, Holm p = {p:.2g})"
                for f, p in low
            ]
            claim = f"conformal sets of {model} miss more than they promise on split {split}: {', '.join(names)}"
            remedy = "state coverage by stratum, or calibrate within it"
            size = sum(f.molecules for f, _ in low)
            shown = f"{shown}; {'; '.join(parts)}"
            findings.append(Finding("calibration", "warning", claim, size, shown, remedy))
        else:
            claim = f"conformal sets of {model} cover what they promise on split {split}, in {len(own) // 2} strata"
            findings.append(Finding("calibration", "pass", claim, cell.test.size, shown, "nothing to do"))
    return findings


def _shortfalls(cell: _Cell) -> Iterator[_Shortfall]:
    """One-sided p of each level and stratum: coverage of test molecules is below what validation was set to.

    The variance holds that of the stratum's molecules, at least the binomial one under the promise, and that of the
    limit, which is a quantile of as many validation molecules.
    """
    assert cell.val is not None
    strata = list(_levels(cell.test.meta))
    for level in LEVELS:
        limit = conformal_limit(cell.val.gap, cell.val.weight, level)
        inside = (cell.test.gap <= limit).astype(np.float64)
        chance = level * (1 - level)
        for name, mask in strata:
            molecules = cell.test.molecules[mask]
            size = len(np.unique(molecules))
            if size < LEAST:
                continue
            coverage, error = _mean_error(inside[mask], molecules)
            spread = np.sqrt(max(error**2, chance / size) + chance / cell.val.size)
            yield _Shortfall(cell, level, name, coverage, float(ndtr((coverage - level) / spread)), size)


def _levels(meta: pl.DataFrame) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """All queries, then the levels of adduct, instrument and energy as the report has them."""
    yield "all", np.ones(meta.height, dtype=bool)
    rows = meta.with_row_index("identifier")
    for stratum, columns, make in STRATUM_MAKERS:
        if stratum in _STRATA and set(columns) <= set(rows.columns):
            levels = make(rows).cast(pl.String)
            for name in sorted(set(levels.to_list()) - {"unknown", "other"}):
                yield f"{stratum} {name}", (levels == name).to_numpy()


CALIBRATION = Audit("does confidence tell right from wrong, and hold what it promises?", "files", calibration)
