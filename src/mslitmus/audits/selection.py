"""Selection: was a checkpoint, or the row that is reported, chosen on the fold that it is reported on?

From the run's own records: which epoch was kept and by what score, how far the kept epoch stands above its plateau,
whether a model gains on test what it did not have on validation, and what the best of many rows owes to chance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import ndtr

from ..metrics.paired import holm
from ..metrics.tables import average_seeds
from .audit import Audit
from .by_molecule import averaged
from .evidence import Absent, CellKey, Evidence
from .finding import Finding, RunTables

Array = NDArray[np.float64]
#: Level of the tests, after Holm's correction over models and splits.
ALPHA = 0.05
#: Scores that agree this closely are the same number; means differ by summation order in the last digits only.
SAME, APART = 1e-9, 1e-6
#: A gain on test over validation, beyond the control's, below which nobody is misled.
GAIN = 0.02
#: The kept epoch's lead over its plateau that is worth a word; epochs that make a plateau.
LEAD, LEAST_EPOCHS = 0.02, 4
#: A plateau begins where this share of the rise from the first to the best score is reached.
RISEN = 0.9
#: From so many trained rows on, the best of them is said to owe something to chance.
ROWS = 4
LEAST_MOLECULES, RESAMPLES = 20, 500


def selection(evidence: Evidence) -> list[Finding]:
    """Findings about checkpoints, folds and rows. Raises Absent without trained models or scores, or where neither
    records nor folds allow a question."""
    if not evidence.keys("trained"):
        raise Absent("needs a trained model")
    if evidence.tables.scores is None:
        raise Absent("needs the scores of the run")
    findings = _checkpoints(evidence)
    means = _by_molecule(evidence.tables)
    findings += _better_on_test(evidence.tables, means)
    findings += _best_of_many(evidence.tables, means)
    if not findings:  # silence would read as innocence
        least = f"{LEAST_MOLECULES} molecules in validation and test with a trivial model beside the trained"
        raise Absent(f"needs the record of a training with validation scores, or {least}")
    return findings


# --- checkpoints ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Kept:
    """A trained cell whose record holds validation scores by epoch."""

    key: CellKey
    epochs: tuple[tuple[int, float], ...]
    best: int
    score: float
    inner: bool  # judged by a metric of another task, behind a bridge


def _checkpoints(evidence: Evidence) -> list[Finding]:
    kept = [found for key in evidence.keys("trained") if (found := _read(key, evidence.cells[key])) is not None]
    findings = []
    for cell in kept:
        findings += _on_test(cell, evidence.tables)
        findings += _not_the_best(cell)
        findings += _above_plateau(cell)
    if kept and not any(finding.severity == "fatal" for finding in findings):
        models = len({cell.key.model for cell in kept})
        claim = "no kept epoch was chosen by the test fold"
        shown = f"{len(kept)} trainings of {models} models: the score of the kept epoch is not the test score"
        findings.append(Finding("selection", "pass", claim, len(kept), shown, "nothing to do"))
    return findings


def _read(key: CellKey, record: Mapping[str, Any]) -> _Kept | None:
    fit = record.get("fit") or {}
    history = fit.get("history") or ()
    epochs = tuple((int(e["epoch"]), float(e["score"])) for e in history if e.get("score") is not None)
    if not epochs or fit.get("best_epoch") is None or fit.get("best_score") is None:
        return None
    inner = bool((fit.get("notes") or {}).get("inner_metric"))
    return _Kept(key, epochs, int(fit["best_epoch"]), float(fit["best_score"]), inner)


def _on_test(cell: _Kept, tables: RunTables) -> list[Finding]:
    """Fatal where the score that chose the epoch is the test score, and not the validation score."""
    own = {fold: _mean(tables, cell.key, fold) for fold in ("val", "test")}
    test, val = own["test"], own["val"]
    if cell.inner or test is None or abs(cell.score - test) > SAME:
        return []
    if val is not None and abs(cell.score - val) <= APART:
        return []
    claim = f"the kept epoch of {cell.key} was chosen by its test score"
    shown = (
        f"epoch {cell.best} was kept for its score {cell.score:.6f}; the mean per molecule is {test:.6f} on test"
        f"{'' if val is None else f' and {val:.6f} on validation'}"
    )
    remedy = "choose by validation and test once; this number is a maximum over epochs on the test fold"
    return [Finding("selection", "fatal", claim, len(cell.epochs), shown, remedy)]


def _mean(tables: RunTables, key: CellKey, fold: str) -> float | None:
    rows = tables.summary.filter(
        (pl.col("split") == key.split)
        & (pl.col("model") == key.model)
        & (pl.col("fold") == fold)
        & (pl.col("metric") == tables.primary)
        & (pl.col("average") == "molecule")
        & (pl.col("seed") == key.seed)
    )
    return rows["mean"][0] if rows.height else None


def _not_the_best(cell: _Kept) -> list[Finding]:
    """A warning where another epoch has the better validation score: then something else chose."""
    epoch, best = max(cell.epochs, key=lambda pair: pair[1])
    kept = dict(cell.epochs).get(cell.best)
    if kept is not None and kept >= best - APART:
        return []
    claim = f"the kept epoch of {cell.key} is not the best one on validation"
    shown = (
        f"epoch {cell.best} was kept ({'not scored' if kept is None else f'{kept:.4f}'}); epoch {epoch} has {best:.4f}"
    )
    return [Finding("selection", "warning", claim, len(cell.epochs), shown, "say by what the epoch was chosen")]


def _above_plateau(cell: _Kept) -> list[Finding]:
    """A note where the kept epoch is a peak above a plateau: its validation score flatters, and may its successor."""
    scores = np.array([score for _, score in cell.epochs])
    risen = np.flatnonzero(scores >= scores[0] + RISEN * (scores.max() - scores[0]))
    plateau = scores[risen[0] :] if len(risen) else scores
    lead = float(scores.max() - plateau.mean())
    if len(plateau) < LEAST_EPOCHS or lead < LEAD:
        return []
    claim = f"the kept epoch of {cell.key} stands out of its plateau by {lead:.3f} on validation"
    shown = (
        f"best {scores.max():.3f}, mean of the {len(plateau)} scored epochs of the plateau {plateau.mean():.3f} "
        f"(standard deviation {plateau.std(ddof=1):.3f})"
    )
    remedy = "read the test score; a single good epoch is partly luck, and another seed may not have it"
    return [Finding("selection", "note", claim, len(plateau), shown, remedy)]


# --- folds ----------------------------------------------------------------------------------------------------------


def _by_molecule(tables: RunTables) -> dict[tuple[str, str], pl.DataFrame]:
    """(split, fold) → inchikey14 and a column a model: means of the primary metric, more is better."""
    assert tables.scores is not None
    way = 1.0 if tables.rising else -1.0
    merged = average_seeds(tables.scores, [tables.primary])
    means = averaged(merged, [tables.primary], "split", "fold", "model").with_columns(pl.col(tables.primary) * way)
    return {
        (str(split), str(fold)): part.pivot("model", index="inchikey14", values=tables.primary).sort("inchikey14")
        for (split, fold), part in means.sort("model").group_by("split", "fold")
    }


def _better_on_test(tables: RunTables, means: Mapping[tuple[str, str], pl.DataFrame]) -> list[Finding]:
    """A model's lead over the best trivial one on test against its lead on validation.

    Folds differ in difficulty, which the control shares; a lead that is larger on test than on the fold that the model
    was tuned by has no honest reason but chance: one-sided z of the difference of two independent means. The control
    is the best over the molecules of both folds: the best on validation would be flattered there, and every model
    would seem to lead by more on test. For equal variances the pooled mean does not correlate with the difference of
    the two folds' means, so that this choice favours neither.
    """
    judged = []
    for split in tables.splits:
        val, test = means.get((split, "val")), means.get((split, "test"))
        if val is None or test is None:
            continue
        trivial = [m for m in val.columns if tables.kinds.get(m) in ("blind", "neighbour") and m in test.columns]
        if not trivial:
            continue
        control = _best(pl.concat([val.select(trivial), test.select(trivial)]), trivial)
        for model in (m for m in val.columns if tables.kinds.get(m) == "trained" and m in test.columns):
            leads = [(rows[model] - rows[control]).drop_nulls().to_numpy() for rows in (val, test)]
            if min(map(len, leads)) < LEAST_MOLECULES:
                continue
            gain = float(leads[1].mean() - leads[0].mean())
            spread = float(np.sqrt(sum(lead.var(ddof=1) / len(lead) for lead in leads)))
            p = float(ndtr(-gain / spread)) if spread > 0 else 1.0
            judged.append((split, model, control, leads, gain, p))
    corrected = holm(np.array([row[-1] for row in judged]))
    findings = [
        _gained(row, float(p)) for row, p in zip(judged, corrected, strict=True) if p < ALPHA and row[4] >= GAIN
    ]
    if judged and not findings:
        claim = "no model leads by more on test than on validation"
        shown = f"{len(judged)} leads over the best trivial model, smallest Holm p = {corrected.min():.2g}"
        findings.append(Finding("selection", "pass", claim, len(judged), shown, "nothing to do"))
    return findings


def _best(means: pl.DataFrame, models: Sequence[str]) -> str:
    """The model with the best mean; the first of equals."""
    table = means.select(models).mean()
    return max(models, key=lambda model: -np.inf if table[model][0] is None else float(table[model][0]))


def _gained(row: tuple[str, str, str, list[Array], float, float], p: float) -> Finding:
    split, model, control, (val, test), gain, _ = row
    claim = f"{model} leads by more on test than on validation, split {split}"
    shown = (
        f"lead over {control} {test.mean():+.3f} on test ({len(test)} molecules), {val.mean():+.3f} on validation "
        f"({len(val)}): {gain:+.3f}, one-sided Holm p = {p:.2g}"
    )
    remedy = "ask what was tuned by the test fold, and whether test molecules were learned from"
    return Finding("selection", "warning", claim, len(test), shown, remedy)


# --- rows -----------------------------------------------------------------------------------------------------------


def _best_of_many(tables: RunTables, means: Mapping[tuple[str, str], pl.DataFrame]) -> list[Finding]:
    """What the best of the trained rows on test owes to being the best of many, and whom validation would choose."""
    findings = []
    for split in tables.splits:
        test, val = means.get((split, "test")), means.get((split, "val"))
        if test is None:
            continue
        rows = [m for m in test.columns if tables.kinds.get(m) == "trained"]
        table = test.select(rows).drop_nulls().to_numpy()
        if len(rows) < ROWS or len(table) < LEAST_MOLECULES:
            continue
        flattery, spread = optimism(table)
        best = rows[int(table.mean(axis=0).argmax())]
        known = [m for m in rows if val is not None and m in val.columns]
        chosen = _best(val, known) if val is not None and known else "none, since it was not scored"
        claim = f"{len(rows)} trained rows were tried on split {split}: the best flatters itself by {flattery:.3f}"
        shown = (
            f"{best} is best on test; drawn again, the best row scores {flattery:.3f} more than it is worth "
            f"({len(table)} molecules; standard error of a row {spread:.3f}); validation chooses "
            f"{chosen}"
        )
        remedy = "report the row that validation chooses, and how many rows were tried"
        findings.append(Finding("selection", "note", claim, len(rows), shown, remedy))
    return findings


def optimism(table: Array) -> tuple[float, float]:
    """Bootstrap bias of the maximum over columns of `table` (molecules, rows), and the largest standard error of a row.

    E*[mean*_r − mean_r], r the best row of the bootstrap sample (Efron, JASA 1983, 78, 316, of a chosen predictor).
    """
    n = len(table)
    counts = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), RESAMPLES)
    drawn, here = counts @ table / n, table.mean(axis=0)
    best = drawn.argmax(axis=1)
    bias = float((drawn[np.arange(RESAMPLES), best] - here[best]).mean())
    return max(bias, 0.0), float(table.std(axis=0, ddof=1).max() / np.sqrt(n))


SELECTION = Audit("was anything chosen on the fold that is reported?", "files", selection)
