"""Splits by what the molecule is: random (by spectrum), molecule, scaffold, formula. Groups never straddle folds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import polars as pl

from ...chem import molecule as chem
from ...errors import ChemistryError, SplitError
from .allocate import allocate, check_fractions, linked
from .split import Assignment

DEFAULT_FRACTIONS = (0.8, 0.1, 0.1)
BALANCES = ("spectra", "molecules")


def by_spectrum(frame: pl.DataFrame, *, seed: int, fractions: Sequence[float] = DEFAULT_FRACTIONS) -> Assignment:
    """`random`: every spectrum for itself, so that nearly every test molecule is in train."""
    shares = check_fractions(fractions)
    identifiers = frame["identifier"].to_list()
    fold = allocate(dict.fromkeys(identifiers, 1), shares, seed)
    folds = pl.DataFrame({"identifier": identifiers, "fold": [fold[i] for i in identifiers]})
    return Assignment(folds.with_columns(group=pl.col("identifier")), {"fractions": list(shares), "balance": "spectra"})


def by_molecule(
    frame: pl.DataFrame, *, seed: int, fractions: Sequence[float] = DEFAULT_FRACTIONS, balance: str = "spectra"
) -> Assignment:
    """`molecule`: by InChIKey-14. Spectra without one are left out."""
    return _by_key(frame, lambda rows: rows["inchikey14"], ("inchikey14",), seed, fractions, balance)


def by_formula(
    frame: pl.DataFrame, *, seed: int, fractions: Sequence[float] = DEFAULT_FRACTIONS, balance: str = "spectra"
) -> Assignment:
    """`formula`: by formula of the neutral molecule, so that no isomer of a test molecule is in train."""
    return _by_key(frame, lambda rows: rows["formula"], ("inchikey14", "formula"), seed, fractions, balance)


def by_scaffold(
    frame: pl.DataFrame, *, seed: int, fractions: Sequence[float] = DEFAULT_FRACTIONS, balance: str = "spectra"
) -> Assignment:
    """`scaffold`: whole Bemis–Murcko scaffolds (no stereo). Acyclic molecules share the empty scaffold,
    which is no likeness: they group by InChIKey-14."""
    return _by_key(frame, scaffolds, ("inchikey14",), seed, fractions, balance)


def scaffolds(rows: pl.DataFrame) -> pl.Series:
    """Scaffold of each row, `acyclic:<InChIKey-14>` where the molecule has no ring, null where SMILES do not parse."""
    distinct = rows["smiles"].drop_nulls().unique()
    found: list[str | None] = []
    for smiles in distinct:
        try:
            found.append(chem.scaffold(smiles))
        except ChemistryError:  # counted by the caller as a spectrum without a scaffold
            found.append(None)
    table = pl.DataFrame({"smiles": distinct, "scaffold": pl.Series(found, dtype=pl.String)})
    acyclic = pl.concat_str([pl.lit("acyclic:"), pl.col("inchikey14")])
    return (
        rows.select("smiles", "inchikey14")
        .join(table, on="smiles", how="left", maintain_order="left")
        .select(pl.when(pl.col("scaffold") == "").then(acyclic).otherwise(pl.col("scaffold")))
        .to_series()
    )


def _by_key(
    frame: pl.DataFrame,
    key: Callable[[pl.DataFrame], pl.Series],
    disjoint: tuple[str, ...],
    seed: int,
    fractions: Sequence[float],
    balance: str,
) -> Assignment:
    shares = check_fractions(fractions)
    if balance not in BALANCES:
        raise SplitError(f"balance {balance!r}", remedy=f"fold sizes are counted in {' or '.join(BALANCES)}")
    rows = frame.with_columns(key(frame).alias("key")).filter(
        pl.col("inchikey14").is_not_null() & pl.col("key").is_not_null()
    )
    group_of = linked(rows["inchikey14"].to_list(), rows["key"].to_list()) if rows.height else {}
    groups = pl.DataFrame(
        {"inchikey14": list(group_of), "group": list(group_of.values())},
        schema={"inchikey14": pl.String, "group": pl.String},
    )
    rows = rows.join(groups, on="inchikey14")
    weight = pl.len() if balance == "spectra" else pl.col("inchikey14").n_unique()
    sizes = dict(rows.group_by("group").agg(weight.alias("n")).iter_rows())
    fold = allocate(sizes, shares, seed)
    table = pl.DataFrame({"group": list(fold), "fold": list(fold.values())})
    missing = frame.height - rows.height
    return Assignment(
        rows.select("identifier", "group").join(table, on="group").select("identifier", "fold", "group"),
        {"fractions": list(shares), "balance": balance},
        left_out={"no structure to group by": missing} if missing else {},
        disjoint=disjoint,
    )
