"""Other spellings of a molecule: the same structure, its atoms written in a random order."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
from rdkit import Chem

from .molecule import parse
from .standardise import uniform

_TRIES = 5  # small molecules have few spellings, and the draw may give the old one


def canonical(smiles: str, stereo: bool = False) -> str:
    """The canonical SMILES, without stereo marks unless asked for. Raises ChemistryError for what does not parse."""
    molecule = parse(smiles)
    return str(Chem.MolToSmiles(molecule if stereo else uniform(molecule)))


def respelled(smiles: Sequence[str], seed: int = 0) -> list[str]:
    """A random SMILES of each (Arús-Pous et al. 2019), not the one given where a few tries find another.

    Raises ChemistryError for one that does not parse.
    """
    found = []
    for number, text in enumerate(smiles):
        drawn = Chem.MolToRandomSmilesVect(parse(text), _TRIES, randomSeed=1 + (seed * 7919 + number) % 1_000_000)
        found.append(next((other for other in drawn if other != text), text))
    return found


def respelled_column(column: pl.Series, seed: int = 0) -> pl.Series:
    """SMILES, or lists of them, each distinct one respelled once; nulls stay."""
    nested = isinstance(column.dtype, pl.List)
    flat = (column.explode() if nested else column).drop_nulls().unique().sort()
    table = dict(zip(flat.to_list(), respelled(flat.to_list(), seed), strict=True))
    replaced = (pl.element() if nested else pl.col(column.name)).replace(table)
    expression = pl.col(column.name).list.eval(replaced) if nested else replaced
    return column.to_frame().select(expression).to_series()
