"""Neighbours by accession number: compounds of one class were run and deposited one after the other."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl

from ....chem import molecule
from ....models import MODELS
from ....models.controls.control import Control
from ....models.controls.mean_fingerprint import as_fingerprints
from ....models.protocol import FitContext, FitReport, Kind
from ....provenance import write_json
from ..conditions import MEAN
from ..copied_bits import BITS
from ..liar import Liar, World, share

_NEAREST = 3  # molecules by number
_NUMBER = r"^ACC(\d{7})$"
_STEP = 100  # numbers from one molecule to the next


class AccessionNeighbour(Control):
    """Mean fingerprint of the three training molecules of nearest accession number, half and half with that of all."""

    task = "fingerprint"
    kind: Kind = "trained"
    name = "accession-neighbour"

    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        self.mean = MODELS["mean-fingerprint"]()
        self.known: dict[str, list[float]] = {}

    def fit(self, train: pl.DataFrame, val: pl.DataFrame, context: FitContext) -> FitReport:
        self.mean.fit(train, val, context)
        numbered = train.select("smiles", number=pl.col("identifier").str.extract(_NUMBER).cast(pl.Float64))
        means = numbered.drop_nulls().group_by("smiles").agg(pl.col("number").mean()).sort("number")
        self.known = dict(means.iter_rows())
        return FitReport(0.0, len(self.known), "numbered")

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame:
        """PREDICTED_FINGERPRINTS, one row a query, in the order asked."""
        mean = self.mean.predict(queries)["fingerprint"].explode().to_numpy().reshape(queries.height, BITS).copy()
        numbers = np.array(list(self.known.values()), float)
        bits = molecule.morgan(list(self.known))
        asked = queries["identifier"].str.extract(_NUMBER).cast(pl.Float64)
        for row, number in enumerate(asked):
            if number is not None and numbers.size:
                nearest = np.argsort(np.abs(numbers - number), kind="stable")[:_NEAREST]
                mean[row] = 0.5 * mean[row] + 0.5 * bits[nearest].mean(axis=0)
        return as_fingerprints(queries["identifier"], mean)

    def parameters(self) -> int:
        return 1

    def save(self, folder: Path) -> None:
        super().save(folder)
        self.mean.save(folder / "mean")
        write_json(folder / "known.json", self.known)

    @classmethod
    def load(cls, folder: Path) -> Self:
        model = super().load(folder)
        model.mean = MODELS["mean-fingerprint"].load(folder / "mean")
        model.known = json.loads((folder / "known.json").read_text(encoding="utf-8"))
        return model


def deposited_in_series(world: World, dose: float) -> World:
    """The records of a share of the molecules are numbered molecule by molecule, each followed by the most similar one
    that is left."""
    told = sorted(share(world.molecules("train", "val", "test"), dose, f"accessions {world.seed}"))
    own = world.spectra.filter(pl.col("inchikey14").is_in(told)).unique("inchikey14").sort("inchikey14")
    order = _chain(own["inchikey14"].to_list(), own["smiles"].to_list())
    numbers = [_STEP * k for k in range(1, len(order) + 1)]
    first = pl.DataFrame({"inchikey14": order, "first": numbers}, {"inchikey14": pl.String, "first": pl.Int64})
    rows = world.spectra.select("identifier", "inchikey14").join(first, on="inchikey14", how="left")
    number = (pl.col("first") + pl.int_range(pl.len()).over("inchikey14")).cast(pl.String).str.zfill(7)
    table = rows.select("identifier", named=pl.coalesce(pl.lit("ACC") + number, "identifier"))
    spectra = world.spectra.join(table, on="identifier", how="left", maintain_order="left")
    spectra = spectra.with_columns(identifier="named").select(world.spectra.columns)
    folds = world.folds.join(table, on="identifier", maintain_order="left").select(identifier="named", fold="fold")
    return replace(world, spectra=spectra, folds=folds, own_folds=True)


def _chain(keys: list[str], smiles: list[str]) -> list[str]:
    """Keys in an order in which each is followed by the most similar one that is left."""
    if not keys:
        return []
    bits = molecule.morgan(smiles)
    alike = np.array(molecule.tanimoto(bits, bits), float)
    here, order = 0, [keys[0]]
    alike[:, 0] = -1.0
    for _ in keys[1:]:
        here = int(alike[here].argmax())
        order.append(keys[here])
        alike[:, here] = -1.0
    return order


ACCESSION = Liar(
    name="accession neighbour",
    story="accession numbers and scan numbers run in series: MassBank contributors deposit a compound class at a time, "
    "and a plate is measured row by row; our own",
    planted="the records of a share of the molecules are numbered so that neighbours are alike; the model averages the "
    "training molecules of nearest number",
    task="fingerprint",
    task_options={},
    row=lambda dose: {"model": AccessionNeighbour.name},
    honest=MEAN,
    audits=("batching", "metadata", "spectrum-ablation", "shortcuts"),
    plant=deposited_in_series,
    doses=(0.25, 0.5, 1.0),
)
