"""Spectrum ablation: does a model read the spectrum that it is given, and what of it?

The same queries with the spectrum taken away, exchanged, or stripped of a part. Khoo & Barzilay found by such tests
that published models hardly use intensities; a model that keeps its score without its spectrum is not reading it.
"""

from __future__ import annotations

from functools import partial

import polars as pl

from .audit import Audit
from .evidence import Absent, Evidence
from .finding import Finding
from .live import peaks
from .live.changes import Change, Edit, keep, measure
from .live.sample import SEED, Asked, each_model, tests
from .live.swaps import SPECTRUM, donors, swapped
from .live.verdict import KEPT, UNMOVED, among_isomers, reading, told

NAME = "spectrum-ablation"
#: No peak stays where it was, even in bins of 1 Da, and the shape stays.
SHIFT = 1.5
TOP = (1, 5, 20)
RANDOM, ISOMER, PRECURSOR = "of another query", "of another query with the same formula", "cut to the precursor peak"
SHIFTED, PERMUTED, BINARISED = f"moved by {SHIFT} Da", "with permuted intensities", "with equal intensities"
THINNED = f"cut to its {TOP[1]} strongest peaks"
#: Share of answers that follow the loss of weak peaks in a model that answers finely enough to show blindness.
FOLLOWS = 0.2


def spectrum_ablation(evidence: Evidence) -> list[Finding]:
    """Per model whether it reads its spectrum, its intensities, and more of it than the formula. Raises Absent."""
    require_spectra(evidence)
    count = tests(evidence)

    def judge(model: Asked) -> list[Finding]:
        changes = measure(model, edits_of(model), count)
        keep(evidence, NAME, model, changes)
        by_name = {change.edit: change for change in changes}
        main = by_name[RANDOM]
        more = [by_name[PRECURSOR], by_name[SHIFTED]]
        findings = [reading(NAME, model, "spectrum", main, more, changes)]
        if findings[0].severity in ("fatal", "warning"):
            return findings  # it explains what follows
        return [*findings, *_intensities(model, main, by_name), *_isomers(model, main, by_name[ISOMER])]

    return each_model(evidence, NAME, judge)


def require_spectra(evidence: Evidence) -> None:
    """Raises Absent for a task whose queries bring no spectrum."""
    task = evidence.require_task()
    if not set(SPECTRUM) <= set(task.visible):
        raise Absent(f"is about tasks whose queries bring a spectrum; this run is of {task.name}")


def edits_of(model: Asked) -> list[Edit]:
    """Every ablation of one model's sample."""
    sample = model.sample

    def exchanged(common: str, queries: pl.DataFrame) -> pl.DataFrame:
        chosen = donors(sample.rows, sample.pool, common, SEED)  # type: ignore[arg-type]
        return swapped(queries, sample.pool, chosen, SPECTRUM)

    return [
        Edit(RANDOM, partial(exchanged, "nothing")),
        Edit(ISOMER, partial(exchanged, "formula")),
        Edit(PRECURSOR, peaks.precursor_only),
        Edit("without any peak", peaks.empty),
        Edit(SHIFTED, partial(peaks.shifted, da=SHIFT)),
        Edit(PERMUTED, partial(peaks.permuted, seed=SEED)),
        Edit(BINARISED, peaks.binarised),
        *(Edit(f"cut to its {k} strongest peaks", partial(peaks.strongest, k=k), float(k)) for k in TOP),
    ]


def _intensities(model: Asked, main: Change, by_name: dict[str, Change]) -> list[Finding]:
    """A warning where intensities are not read at all, a note where the score does not need them.

    A model that copies one of its neighbours gives few different answers, and none may change where spectra are easily
    told apart; blindness is claimed only of one whose answers do follow which peaks there are.
    """
    both, thinned = [by_name[PERMUTED], by_name[BINARISED]], by_name[THINNED]
    if not all(change.decides for change in (*both, thinned)):
        return []
    evidence = told(model, [*both, thinned], main)
    remedy = "say so; give it intensities, or compare with a model that is never shown them"
    if all(change.moved <= UNMOVED for change in both) and thinned.moved >= FOLLOWS:
        claim = f"{model.key} is blind to intensities: permuting or equalising them changes none of its answers"
        return [Finding(NAME, "warning", claim, main.n, evidence, remedy)]
    if all(change.moved <= UNMOVED or change.loses_less_than(KEPT) for change in both):
        claim = f"the score of {model.key} does not need intensities"
        return [Finding(NAME, "note", claim, main.n, evidence, remedy)]
    return []


def _isomers(model: Asked, main: Change, isomer: Change) -> list[Finding]:
    """Whether more is read of the spectrum than the formula, on the queries that have an isomer among the others."""
    claims = (
        f"{model.key} keeps its score with the spectrum of an isomer: it reads the formula, not the structure",
        f"that {model.key} tells isomers by their spectra is not shown",
    )
    where = "report it within groups of one formula, on more of them"
    return among_isomers(NAME, model, isomer, [isomer, main], claims, where)


SPECTRUM_ABLATION = Audit("does a model read its spectrum, its intensities, its m/z?", "live", spectrum_ablation)
