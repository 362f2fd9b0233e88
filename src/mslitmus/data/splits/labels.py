"""What a spectrum can be grouped by that is not a column: its scaffold, its compound class, its energy condition."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from ...chem import molecule as chem
from ...chem.classes import compound_classes
from ...errors import ChemistryError, SplitError
from ..laboratory import laboratory

#: Kinds of collision energy that are in eV (NCE converted on import, ramps and steps by their mean). Unitless numbers
#: and resonant-CID percentages are not: they take no part in an energy split.
ELECTRONVOLT_KINDS = ("eV", "NCE", "ramp", "stepped")


def label(frame: pl.DataFrame, name: str, parameters: Mapping[str, Any]) -> pl.Series:
    """The column `name`, or the derived label `scaffold`, `laboratory`, `class` (with the split's `test`) or `energy`
    (with the split's `low`, `high`).

    Raises SplitError if the frame has neither the column nor what the label derives from.
    """
    needed = {
        "scaffold": ("smiles", "inchikey14"),
        "laboratory": ("source",),
        "class": ("smiles", "inchikey14"),
        "energy": ("collision_energy", "collision_energy_kind"),
    }
    if absent := [column for column in needed.get(name, (name,)) if column not in frame.columns]:
        raise SplitError(f"columns absent: {', '.join(absent)}", remedy="see docs/schema.md for the columns")
    if name == "scaffold":
        return scaffolds(frame)
    if name == "laboratory":
        return frame.select(laboratory()).to_series()
    if name == "class":
        inside = in_classes(frame, parameters["test"])
        return frame.select(pl.when(inside).then(pl.lit("inside")).when(~inside).then(pl.lit("outside"))).to_series()
    if name == "energy":
        return energy_condition(frame, parameters["low"], parameters["high"])
    return frame[name]


def scaffolds(rows: pl.DataFrame) -> pl.Series:
    """Bemis–Murcko scaffold of each row (no stereo), `acyclic:<InChIKey-14>` where the molecule has no ring: the empty
    scaffold is no likeness. Null where SMILES are absent or do not parse."""
    distinct = rows["smiles"].drop_nulls().unique()
    found: list[str | None] = []
    for smiles in distinct:
        try:
            found.append(chem.scaffold(smiles))
        except ChemistryError:  # the splitter counts it as a spectrum without a structure
            found.append(None)
    table = pl.DataFrame({"smiles": distinct, "scaffold": pl.Series(found, dtype=pl.String)})
    acyclic = pl.concat_str([pl.lit("acyclic:"), pl.col("inchikey14")])
    return (
        rows.select("smiles", "inchikey14")
        .join(table, on="smiles", how="left", maintain_order="left")
        .select(pl.when(pl.col("scaffold") == "").then(acyclic).otherwise(pl.col("scaffold")).alias("scaffold"))
        .to_series()
    )


def in_classes(frame: pl.DataFrame, names: Iterable[str]) -> pl.Series:
    """Whether each row's molecule is in any of these compound classes (`chem.classes`); null without a structure.

    A molecule with tautomers of different classes is in all of them.
    """
    wanted = set(names)
    distinct = frame["smiles"].drop_nulls().unique()
    found: list[bool | None] = []
    for smiles in distinct:
        try:
            found.append(not wanted.isdisjoint(compound_classes(smiles)))
        except ChemistryError:  # as no structure: whoever filters by class leaves it out
            found.append(None)
    table = pl.DataFrame({"smiles": distinct, "inside": pl.Series(found, dtype=pl.Boolean)})
    rows = frame.select("smiles", "inchikey14").join(table, on="smiles", how="left", maintain_order="left")
    whole = pl.when(pl.col("inchikey14").is_null()).then("inside").otherwise(pl.col("inside").any().over("inchikey14"))
    return rows.select(inside=pl.when(pl.col("inside").is_not_null()).then(whole)).to_series()


def energy_condition(frame: pl.DataFrame, low: float, high: float) -> pl.Series:
    """`low` (≤ low eV), `high` (≥ high eV), `middle` between; null where the energy is absent or not in eV."""
    energy = pl.col("collision_energy").cast(pl.Float64)
    condition = pl.when(energy <= low).then(pl.lit("low")).when(energy >= high).then(pl.lit("high"))
    known = pl.col("collision_energy_kind").is_in(ELECTRONVOLT_KINDS) & energy.is_finite()
    return frame.select(pl.when(known).then(condition.otherwise(pl.lit("middle"))).alias("energy")).to_series()
