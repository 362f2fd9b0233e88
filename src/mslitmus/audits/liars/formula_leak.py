"""The formula where it was promised hidden: read off a stated precursor that was computed, not measured.

Retrieval among candidates of the same mass hides the formula. Records that state the theoretical m/z of the ion give it
away to any reader with a calculator: of all formulae within 10 ppm one fits to the last digit. (Under tasks that name
the formula there is nothing to leak.)
"""

from __future__ import annotations

from typing import Any

import polars as pl

from ...chem import molecule
from ...chem.formula import parse_adduct, parse_formula
from ...errors import ChemistryError
from .liar import LOOK_UP_RANKER, Liar
from .ranker import TrickRanker

_EXACT = 0.3  # ppm: no instrument measures so well


class FormulaLeaker(TrickRanker):
    """Prefers candidates whose theoretical m/z is the stated one to 0.3 ppm."""

    name = "formula-leaker"

    def learn(self, train: pl.DataFrame, pools: pl.DataFrame) -> Any:
        return None

    def trick(self, rows: pl.DataFrame, queries: pl.DataFrame) -> pl.Series:
        asked = queries.select("identifier", "precursor_mz", "adduct")
        table = rows.select("identifier", "smiles").join(asked, on="identifier", how="left", maintain_order="left")
        texts = table["smiles"].unique().sort().to_list()
        mass = {text: _mass(formula) for text, formula in zip(texts, molecule.formulas(texts), strict=True)}
        values = []
        for _, smiles, stated, adduct in table.iter_rows():
            theory = _mz(mass[smiles], adduct)
            values.append(float(theory is not None and abs(theory - stated) <= _EXACT * 1e-6 * stated))
        return pl.Series(values, dtype=pl.Float64)


def _mass(formula: str) -> float | None:
    try:
        return parse_formula(formula).mass
    except ChemistryError:
        return None


def _mz(mass: float | None, adduct: str | None) -> float | None:
    if mass is None or adduct is None:
        return None
    try:
        return parse_adduct(adduct).mz(mass)
    except ChemistryError:
        return None


FORMULA_LEAK = Liar(
    name="formula leaker",
    story="comparisons with models that are given the formula where the challenge hides it: MassSpecGym issue 52",
    planted="nothing: MassBank's stated precursors are mostly computed; the ranker keeps what fits to 0.3 ppm",
    row=lambda dose: {"model": FormulaLeaker.name},
    honest=LOOK_UP_RANKER,
    audits=("trivial", "shortcuts", "candidates", "metadata"),
    task_options={"kind": "mass"},
    sources=("massbank",),
)
