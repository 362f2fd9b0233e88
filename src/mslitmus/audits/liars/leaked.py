"""Three ways for test molecules to be in training: the split, twins under another key, and a look-up that profits."""

from __future__ import annotations

from dataclasses import replace
from hashlib import blake2b
from itertools import chain

import numpy as np
import polars as pl

from ...chem.molecule import identify
from ...errors import ChemistryError
from .liar import LOOK_UP_RANKER, Liar, World, share
from .ranker import PlainRanker


def leaked_molecules(world: World, dose: float) -> World:
    """Of a share of the test molecules every second spectrum trains. The split still calls itself one by molecule."""
    told = sorted(share(world.molecules("test"), dose, f"leak {world.seed}"))
    place = pl.int_range(pl.len()).over("inchikey14")
    rows = world.fold("test").sort("identifier").with_columns(place=place)
    moved = rows.filter(pl.col("inchikey14").is_in(told) & (pl.col("place") % 2 == 1))["identifier"]
    fold = pl.when(pl.col("identifier").is_in(moved.implode())).then(pl.lit("train")).otherwise("fold")
    return replace(world, folds=world.folds.with_columns(fold=fold), own_folds=True)


def twins(world: World, dose: float) -> World:
    """Of a share of the test molecules, a twin trains: the same spectra, shaken a little, as the hydrochloride's."""
    told = sorted(share(world.molecules("test"), dose, f"twins {world.seed}"))
    rows = world.fold("test").filter(pl.col("inchikey14").is_in(told))
    salts = {}
    for smiles in rows["smiles"].unique().sort():
        try:
            salts[smiles] = identify(f"{smiles}.Cl")
        except ChemistryError:  # no InChI: this molecule keeps no twin
            continue
    rows = rows.filter(pl.col("smiles").is_in(list(salts)))
    made = [salts[text] for text in rows["smiles"]]
    names = [blake2b(f"twin {name}".encode(), digest_size=8).hexdigest() for name in rows["identifier"]]
    copies = rows.with_columns(
        identifier=pl.Series([f"COPY-{name}" for name in names], dtype=pl.String),
        smiles=pl.Series([each.smiles for each in made], dtype=pl.String),
        inchikey14=pl.Series([each.inchikey14 for each in made], dtype=pl.String),
        formula=pl.Series([each.formula for each in made], dtype=pl.String),
        mzs=_shaken(rows["mzs"], 2e-6, world.seed),
        intensities=_shaken(rows["intensities"], 0.03, world.seed + 1),
    )
    added = copies.select("identifier", fold=pl.lit("train"))
    spectra = pl.concat([world.spectra, copies.select(world.spectra.columns)])
    return replace(world, spectra=spectra, folds=pl.concat([world.folds, added]), own_folds=True)


def _shaken(lists: pl.Series, sigma: float, seed: int) -> pl.Series:
    """Every value times 1 + a small normal number, intensities no higher than 1."""
    rng = np.random.default_rng(seed)
    lengths = lists.list.len().to_numpy()
    values = np.array(list(chain.from_iterable(lists.to_list())), dtype=float)
    values = values * rng.normal(1.0, sigma, len(values))
    if lists.name == "intensities":
        values = np.clip(values, 1e-4, 1.0)
    ends = np.cumsum(lengths)[:-1]
    return pl.Series(
        lists.name, [part.tolist() for part in np.split(values, ends)] if len(lengths) else [], dtype=lists.dtype
    )


MEMORISER = Liar(
    name="memoriser",
    story="a random split by spectrum looks up the molecule itself: nearest neighbour .95 against .29 by molecule on "
    "MassBank (design, section 10)",
    planted="half of the spectra of a share of the test molecules train; the model is a look-up",
    row=lambda dose: {"model": PlainRanker.name},
    honest=LOOK_UP_RANKER,
    audits=("overlap", "leakage"),
    plant=leaked_molecules,
    gains="world",
    dose=0.5,
    doses=(0.01, 0.02, 0.05, 0.1, 0.25, 0.5),
)
NEAR_DUPLICATE = Liar(
    name="twin memoriser",
    story="duplicates across libraries under other identifiers and salt forms: near leakage (issue, point 1)",
    planted="the spectra of a share of the test molecules train as those of the hydrochloride, shaken by 2 ppm and 3 "
    "%; no InChIKey is in both folds",
    row=lambda dose: {"model": PlainRanker.name},
    honest=LOOK_UP_RANKER,
    audits=("leakage", "spectrum-leakage"),
    plant=twins,
    gains="world",
    dose=0.5,
    doses=(0.01, 0.02, 0.05, 0.1, 0.25, 0.5),
)
