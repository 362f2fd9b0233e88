"""Splits by what the molecule is: random (by spectrum), molecule, scaffold, formula. Groups never straddle folds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import polars as pl

from ...errors import SplitError
from ...schemas import FOLD_NAMES
from .allocate import allocate, check_fractions, linked
from .labels import scaffolds
from .split import Assignment

DEFAULT_FRACTIONS = (0.8, 0.1, 0.1)
BALANCES = ("spectra", "molecules")


def by_spectrum(frame: pl.DataFrame, *, seed: int, fractions: Sequence[float] = DEFAULT_FRACTIONS) -> Assignment:
    """`random`: every spectrum for itself, so that nearly every test molecule is in train."""
    shares = check_fractions(fractions)
    identifiers = frame["identifier"].to_list()
    fold = allocate(dict.fromkeys(identifiers, 1), _targets(shares), seed)
    folds = pl.DataFrame({"identifier": identifiers, "fold": [fold[i] for i in identifiers]})
    return Assignment(folds.with_columns(group=pl.col("identifier")), {"fractions": list(shares), "balance": "spectra"})


def by_molecule(
    frame: pl.DataFrame, *, seed: int, fractions: Sequence[float] = DEFAULT_FRACTIONS, balance: str = "spectra"
) -> Assignment:
    """`molecule`: by InChIKey-14. Spectra without one are left out."""
    return by_key(frame, lambda rows: rows["inchikey14"], ("inchikey14",), seed, fractions, balance)


def by_formula(
    frame: pl.DataFrame, *, seed: int, fractions: Sequence[float] = DEFAULT_FRACTIONS, balance: str = "spectra"
) -> Assignment:
    """`formula`: by formula of the neutral molecule, so that no isomer of a test molecule is in train."""
    return by_key(frame, lambda rows: rows["formula"], ("inchikey14", "formula"), seed, fractions, balance)


def by_scaffold(
    frame: pl.DataFrame, *, seed: int, fractions: Sequence[float] = DEFAULT_FRACTIONS, balance: str = "spectra"
) -> Assignment:
    """`scaffold`: whole Bemis–Murcko scaffolds (no stereo). Acyclic molecules share the empty scaffold,
    which is no likeness: they group by InChIKey-14."""
    return by_key(frame, scaffolds, ("inchikey14", "scaffold"), seed, fractions, balance)


def _targets(shares: Sequence[float]) -> dict[str, float]:
    return dict(zip(FOLD_NAMES, shares, strict=True))


def by_key(
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
    fold = allocate(sizes, _targets(shares), seed)
    table = pl.DataFrame({"group": list(fold), "fold": list(fold.values())})
    missing = frame.height - rows.height
    return Assignment(
        rows.select("identifier", "group").join(table, on="group").select("identifier", "fold", "group"),
        {"fractions": list(shares), "balance": balance},
        left_out={"no structure to group by": missing} if missing else {},
        disjoint=disjoint,
    )
