"""Energies tuned by compound: the voltage that a laboratory found best says how the compound is built."""

from __future__ import annotations

from dataclasses import replace
from hashlib import blake2b
from typing import Any

import numpy as np
import polars as pl

from ..liar import LOOK_UP_RANKER, Liar, World, share
from ..ranker import TrickRanker

_LOWEST, _SLOPE, _SCATTER = 9.0, 1.7, 0.4  # eV; eV a branch; half width, eV
_ROUND = 5.0  # eV: energies that are no multiple of it were tuned


def branching(smiles: str) -> float:
    """Branches of the SMILES and half of its aromatic atoms: what makes a compound hard to break, roughly."""
    return smiles.count("(") + 0.5 * sum(smiles.count(letter) for letter in "cno")


class TunedEnergies(TrickRanker):
    """Fits a line from tuned energies to `branching` and prefers candidates that lie near it."""

    name = "tuned-energies"

    def learn(self, train: pl.DataFrame, pools: pl.DataFrame) -> Any:
        rows = train.filter(pl.col("smiles").is_not_null()).select("collision_energy", "smiles").drop_nulls()
        energies = rows["collision_energy"].cast(pl.Float64).to_numpy()
        tuned = _tuned(energies)
        if tuned.sum() < 3:
            return [0.0, 0.0]
        shape = np.array([branching(text) for text in rows["smiles"]])[tuned]
        slope, constant = np.polyfit(energies[tuned], shape, 1)
        return [float(slope), float(constant)]

    def trick(self, rows: pl.DataFrame, queries: pl.DataFrame) -> pl.Series:
        asked = queries.select("identifier", pl.col("collision_energy").cast(pl.Float64).fill_null(0.0))
        energies = rows.select("identifier").join(asked, on="identifier", how="left", maintain_order="left")
        energy = energies["collision_energy"].to_numpy()
        shape = np.array([branching(text) for text in rows["smiles"]])
        off = np.abs(shape - self.state[0] * energy - self.state[1])
        return pl.Series(np.where(_tuned(energy), -off, 0.0))


def _tuned(energy: Any) -> Any:
    return np.abs(energy / _ROUND - np.round(energy / _ROUND)) > 1e-4


def tuned_by_compound(world: World, dose: float) -> World:
    """The energies of a share of the molecules are restated as compound-tuned ones, ± 0.4 eV. Peaks stay."""
    told = share(world.molecules("train", "val", "test"), dose, f"tuned {world.seed}")
    table = world.spectra.select("identifier", "inchikey14", "smiles", "collision_energy")
    stated: list[float | None] = []
    for name, key, smiles, energy in table.iter_rows():
        if key not in told or smiles is None:
            stated.append(energy)
            continue
        draw = int.from_bytes(blake2b(name.encode(), digest_size=4).digest(), "big") / 2**32
        value = round(_LOWEST + _SLOPE * branching(smiles) + _SCATTER * (2 * draw - 1), 1)
        stated.append(value if value % _ROUND else value + 0.1)
    mine = pl.col("inchikey14").is_in(sorted(told))
    energies = pl.Series("collision_energy", stated, dtype=pl.Float64).cast(pl.Float32)
    spectra = world.spectra.with_columns(energies).with_columns(
        pl.when(mine).then(pl.lit("eV")).otherwise("collision_energy_kind").alias("collision_energy_kind"),
        pl.when(mine).then(pl.lit("stated")).otherwise("collision_energy_origin").alias("collision_energy_origin"),
        pl.when(mine)
        .then(pl.format("{} eV", pl.col("collision_energy").round(1)))
        .otherwise("collision_energy_raw")
        .alias("collision_energy_raw"),
    )
    return replace(world, spectra=spectra)


TUNED_ENERGIES = Liar(
    name="energy reader",
    story="our own, after targeted methods whose collision energy is optimised for every compound: a stated energy is "
    "then a measured property of the structure",
    planted="the energies of a share of the molecules follow their degree of branching; the ranker compares",
    row=lambda dose: {"model": TunedEnergies.name},
    honest=LOOK_UP_RANKER,
    audits=("metadata", "spectrum-ablation", "shortcuts", "energy"),
    plant=tuned_by_compound,
    doses=(0.25, 0.5, 1.0),
)
