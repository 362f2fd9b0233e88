"""formula-only: ranks by how near a candidate's theoretical m/z lies to the stated precursor m/z.

In pools by mass it shows what the precursor alone gives; in pools of one formula all are tied, and it earns chance.
Candidates of equal formula tie exactly: the mass is computed from the formula.
"""

from __future__ import annotations

import polars as pl

from ...chem import molecule
from ...chem.formula import parse_adduct, parse_formula
from ...errors import ChemistryError
from .control import Control, as_scores, candidate_rows

_UNWEIGHED = 1e6  # Da off, for a candidate with an element that has no mass here: it ranks last
_DECIMALS = 7  # of a mass difference in Da


class FormulaOnly(Control):
    """Score −|theoretical − stated precursor m/z| (Da). A query without a readable adduct ties all its candidates."""

    name = "formula-only"

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame:
        """PREDICTED_SCORES of all candidates, in the order asked."""
        ions = _ions(queries["adduct"])
        rows = candidate_rows(queries, "precursor_mz", "adduct")
        rows = rows.join(_masses(rows["smiles"]), on="smiles", how="left", maintain_order="left")
        rows = rows.join(ions, on="adduct", how="left", maintain_order="left")
        theory = (pl.col("molecules") * pl.col("mass") + pl.col("shift")) / pl.col("size")
        off = (theory - pl.col("precursor_mz")).abs().round(_DECIMALS).fill_null(_UNWEIGHED)
        return as_scores(rows.with_columns(score=pl.when(pl.col("size").is_null()).then(0.0).otherwise(-off)))


def _masses(smiles: pl.Series) -> pl.DataFrame:
    """(smiles, mass): monoisotopic mass (Da) of each distinct structure, null where an element has none."""
    distinct = smiles.unique()
    masses: list[float | None] = []
    for text in molecule.formulas(distinct.to_list()):
        try:
            masses.append(parse_formula(text).mass)
        except ChemistryError:
            masses.append(None)
    return pl.DataFrame({"smiles": distinct, "mass": pl.Series(masses, dtype=pl.Float64)})


def _ions(adducts: pl.Series) -> pl.DataFrame:
    """(adduct, molecules, shift, size): m/z = (molecules · mass + shift) / size. Unreadable adducts have no row."""
    rows = []
    for text in adducts.drop_nulls().unique():
        try:
            adduct = parse_adduct(text)
        except ChemistryError:
            continue
        size = abs(adduct.charge)
        rows.append((text, adduct.molecules, adduct.mz(0.0) * size, size))
    columns = {"adduct": pl.String, "molecules": pl.Int64, "shift": pl.Float64, "size": pl.Int64}
    return pl.DataFrame(rows, schema=columns, orient="row")
