"""Molecule ablation: does a spectrum predictor read the molecule, or the precursor m/z and the conditions alone?

The same questions about another molecule: one of the same formula, one of nearly the same mass, any. Everything else
stays, the precursor m/z with it, so that a predictor that only echoes the precursor gives itself away.
"""

from __future__ import annotations

from functools import partial

import polars as pl

from .audit import Audit
from .evidence import Absent, Evidence
from .finding import Finding
from .live.changes import Change, Edit, keep, measure
from .live.sample import SEED, Asked, each_model, tests
from .live.swaps import MOLECULE, donors, swapped
from .live.verdict import among_isomers, reading

NAME = "molecule-ablation"
RANDOM, NEAR, ISOMER = "of another query", "of another query of nearly the same mass", "of another query, an isomer"


def molecule_ablation(evidence: Evidence) -> list[Finding]:
    """Per model whether it reads the molecule, and more of it than the formula. Raises Absent."""
    task = evidence.require_task()
    if "smiles" not in task.visible or "mzs" in task.visible:
        raise Absent(f"is about tasks whose queries bring a molecule; this run is of {task.name}")
    count = tests(evidence)

    def judge(model: Asked) -> list[Finding]:
        changes = measure(model, edits_of(model), count)
        keep(evidence, NAME, model, changes)
        main, near, isomer = changes
        findings = [reading(NAME, model, "molecule", main, [near], changes)]
        return findings if findings[0].severity in ("fatal", "warning") else [*findings, *_isomers(model, isomer)]

    return each_model(evidence, NAME, judge)


def edits_of(model: Asked) -> list[Edit]:
    """Every ablation of one model's sample."""
    sample = model.sample

    def exchanged(common: str, queries: pl.DataFrame) -> pl.DataFrame:
        chosen = donors(sample.rows, sample.pool, common, SEED)  # type: ignore[arg-type]
        return swapped(queries, sample.pool, chosen, MOLECULE)

    commons = {RANDOM: "nothing", NEAR: "mass", ISOMER: "formula"}
    return [Edit(name, partial(exchanged, common)) for name, common in commons.items()]


def _isomers(model: Asked, isomer: Change) -> list[Finding]:
    """Whether more is read of the molecule than the formula."""
    claims = (
        f"{model.key} predicts as well for an isomer: it reads the formula, not the structure",
        f"that {model.key} tells isomers apart is not shown",
    )
    where = "judge it within groups of one formula (task retrieval, kind formula)"
    return among_isomers(NAME, model, isomer, [isomer], claims, where)


MOLECULE_ABLATION = Audit("does a spectrum predictor read the molecule?", "live", molecule_ablation)
