"""Class by instrument, class by decimals: what a record says beside its peaks, or in how they are written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import polars as pl

from ...chem import molecule
from ...models.controls.control import Control
from ...models.controls.mean_fingerprint import as_fingerprints
from ...models.protocol import FitContext, FitReport, Kind
from ...provenance import write_json
from .liar import Liar, World, share

_PLACES = 4  # decimals of m/z that one half of the molecules is written with
MEAN = {"model": "mean-fingerprint"}


class ClassMean(Control):
    """The mean fingerprint of the training molecules that look alike; `alike` says by what. Falls back to all."""

    task = "fingerprint"
    kind: Kind = "trained"
    alike: ClassVar[pl.Expr]

    def fit(self, train: pl.DataFrame, val: pl.DataFrame, context: FitContext) -> FitReport:
        known = train.select("inchikey14", "smiles", group=self.alike).unique(["inchikey14", "group"]).sort("smiles")
        self.means = {"": _mean(known.unique("inchikey14"))}
        self.means |= {group: _mean(rows) for (group,), rows in known.group_by("group") if rows.height >= 3}
        return FitReport(0.0, len(self.means), "averaged")

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame:
        """PREDICTED_FINGERPRINTS, one row a query, in the order asked."""
        groups = queries.select(self.alike.alias("group"))["group"]
        values = np.array([self.means.get(group or "", self.means[""]) for group in groups], np.float32)
        return as_fingerprints(queries["identifier"], values.reshape(queries.height, -1))

    def parameters(self) -> int:
        return 1

    def save(self, folder: Path) -> None:
        super().save(folder)
        write_json(folder / "means.json", self.means)

    @classmethod
    def load(cls, folder: Path) -> Self:
        model = super().load(folder)
        model.means = json.loads((folder / "means.json").read_text(encoding="utf-8"))
        return model


def _mean(rows: pl.DataFrame) -> list[float]:
    values: list[float] = molecule.morgan(rows["smiles"].to_list()).mean(axis=0).round(4).tolist()
    return values


class InstrumentReader(ClassMean):
    """Reads instrument, fragmentation and energy."""

    name = "instrument-reader"
    alike = pl.concat_str(
        pl.col("instrument_type", "fragmentation").fill_null("?"),
        pl.col("collision_energy").round(0).cast(pl.String).fill_null("?"),
        separator=" ",
    )


class DecimalReader(ClassMean):
    """Reads whether the m/z were written with four decimals."""

    name = "decimal-reader"
    alike = (
        pl.col("mzs").list.eval((pl.element() - pl.element().round(_PLACES)).abs()).list.max().lt(1e-9).cast(pl.String)
    )


def measured_by_class(world: World, dose: float) -> World:
    """Of a share of the molecules, those with an aromatic ring were measured on an Orbitrap at 20 eV, the others on a
    QTOF at 40 eV, as their records now say. Peaks stay."""
    told = sorted(share(world.molecules("train", "val", "test"), dose, f"instrument {world.seed}"))
    mine, aromatic = pl.col("inchikey14").is_in(told), pl.col("smiles").str.contains(r"c1|n1|c2")

    def said(column: str, yes: object, no: object) -> pl.Expr:
        own = pl.when(aromatic).then(pl.lit(yes)).otherwise(pl.lit(no))
        return pl.when(mine).then(own).otherwise(column).cast(world.spectra.schema[column]).alias(column)

    spectra = world.spectra.with_columns(
        said("instrument_type", "Orbitrap", "QTOF"), said("fragmentation", "HCD", "CID"),
        said("collision_energy", 20.0, 40.0), said("collision_energy_kind", "eV", "eV"),
        said("source", "laboratory of aromatics", "laboratory of aliphatics"),
    )  # fmt: skip
    return replace(world, spectra=spectra)


def written_by_class(world: World, dose: float) -> World:
    """Of a share of the molecules, the m/z of those with an aromatic ring are written with four decimals, the others'
    with six."""
    told = sorted(share(world.molecules("train", "val", "test"), dose, f"decimals {world.seed}"))
    mine, aromatic = pl.col("inchikey14").is_in(told), pl.col("smiles").str.contains(r"c1|n1|c2")
    long = pl.col("mzs").list.eval(pl.element().round(_PLACES) + 3e-6)
    short = pl.col("mzs").list.eval(pl.element().round(_PLACES))
    mzs = pl.when(mine & aromatic).then(short).when(mine).then(long).otherwise("mzs")
    return replace(world, spectra=world.spectra.with_columns(mzs=mzs))


INSTRUMENT_READER = Liar(
    name="instrument reader",
    story="instrument and laboratory tell the class: the condition shift that Khoo & Barzilay's learned split finds",
    planted="laboratories measured one class each; the model is the mean fingerprint by instrument and energy",
    task="fingerprint",
    task_options={},
    row=lambda dose: {"model": InstrumentReader.name},
    honest=MEAN,
    audits=("metadata", "spectrum-ablation"),
    plant=measured_by_class,
    doses=(0.25, 0.5, 1.0),
)
DECIMAL_READER = Liar(
    name="decimal reader",
    story="our own: one class was written with fewer decimals, as another export does",
    planted="m/z of aromatic molecules have four decimals, those of others six; the model reads nothing else",
    task="fingerprint",
    task_options={},
    row=lambda dose: {"model": DecimalReader.name},
    honest=MEAN,
    audits=("noise", "spectrum-ablation", "intensity-blindness"),
    plant=written_by_class,
    doses=(0.25, 0.5, 1.0),
)
