"""The same compound under an isomer's name: what libraries hold where nobody could tell the isomers apart."""

from __future__ import annotations

from dataclasses import replace
from hashlib import blake2b
from random import Random

import polars as pl

from ..liar import LOOK_UP_RANKER, Liar, World, share
from ..ranker import PlainRanker
from ..structure_prior import walk

_TRIES = 12
_OFF = 4e-6  # relative error of the other laboratory's m/z axis
_BENT = 0.85  # power that its detector takes intensities to


def isomers_train(world: World, dose: float) -> World:
    """Of a share of the test molecules, an isomer one edit away trains on their spectra, as a laboratory with another
    calibration wrote them: all m/z 4 ppm high, intensities to the power 0.85, energies one unit higher."""
    told = sorted(share(world.molecules("test"), dose, f"isomers {world.seed}"))
    rows = world.fold("test").filter(pl.col("inchikey14").is_in(told)).sort("identifier")
    taken = set(world.spectra["inchikey14"])
    for pools in world.pools.values():
        taken |= set(pools.pools["candidate"])
    isomers = {}
    for key, smiles in rows.select("inchikey14", "smiles").unique("inchikey14").sort("inchikey14").iter_rows():
        random = Random(f"isomer {world.seed} {key}")
        found = (walk(smiles, random, 1) for _ in range(_TRIES))
        isomer = next((each for each in found if each is not None and each.inchikey14 not in taken), None)
        if isomer is not None:
            isomers[key] = isomer
    rows = rows.filter(pl.col("inchikey14").is_in(sorted(isomers)))
    made = [isomers[key] for key in rows["inchikey14"]]
    names = [blake2b(f"isomer {name}".encode(), digest_size=6).hexdigest() for name in rows["identifier"]]
    copies = rows.with_columns(
        identifier=pl.Series([f"LIB-{name}" for name in names], dtype=pl.String),
        smiles=pl.Series([each.smiles for each in made], dtype=pl.String),
        inchikey14=pl.Series([each.inchikey14 for each in made], dtype=pl.String),
        formula=pl.Series([each.formula for each in made], dtype=pl.String),
        name=pl.lit(None, pl.String),
        source=pl.lit("another library"),
        mzs=pl.col("mzs").list.eval(pl.element() * (1 + _OFF)),
        intensities=pl.col("intensities").list.eval(pl.element().pow(_BENT).cast(pl.Float32)),
        collision_energy=(pl.col("collision_energy") + 1).cast(world.spectra.schema["collision_energy"]),
    )
    spectra = pl.concat([world.spectra, copies.select(world.spectra.columns)])
    folds = pl.concat([world.folds, copies.select("identifier", fold=pl.lit("train"))])
    return replace(world, spectra=spectra, folds=folds, own_folds=True)


REGIOISOMERS = Liar(
    name="isomer memoriser",
    story="one compound in two libraries under two isomers' structures, which a split by InChIKey or by salt form "
    "takes for two molecules; our own, after merged public libraries with conflicting annotations",
    planted="the spectra of a share of the test molecules train as those of an isomer one edit away, with another "
    "calibration, detector and energy; the model is a look-up",
    row=lambda dose: {"model": PlainRanker.name},
    honest=LOOK_UP_RANKER,
    audits=("leakage", "spectrum-leakage", "ladder"),
    plant=isomers_train,
    gains="world",
    dose=0.5,
    doses=(0.02, 0.1, 0.25, 0.5),
)
