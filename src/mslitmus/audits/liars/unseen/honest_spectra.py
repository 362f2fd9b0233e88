"""Honest predictors of spectra: neighbours blended, and a handful of rules about losses."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl

from ....models import MODELS
from ....models.controls.control import Control
from ....models.protocol import FitContext, FitReport, Kind
from ....provenance import write_json
from ....schemas import PREDICTED_SPECTRA, conform

_RADII = (1, 2, 3)  # of the fingerprints that choose a neighbour
#: Loss → Da, pattern in the SMILES of those molecules that can lose it.
_LOSSES: dict[str, tuple[float, str]] = {
    "H2O": (18.010565, r"O"),
    "NH3": (17.026549, r"N"),
    "CO": (27.994915, r"=O|o"),
    "CO2": (43.989829, r"C\(=O\)O|OC\(=O\)|O=C\(O|O=C\(\["),
    "HCl": (35.976678, r"Cl"),
    "CH3": (15.023475, r"OC|CO|CN|NC"),
}
_NEAR = 0.01  # Da
_ENERGY = 10.0  # eV a bin


class BlendedNeighbours(Control):
    """The mean of the spectra that three look-ups by molecule copy, with fingerprints of radius 1, 2 and 3."""

    task = "spectrum-prediction"
    kind: Kind = "trained"
    name = "blended-neighbours"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.members: list[Any] = [MODELS["nearest-molecule"](radius=radius, precursor="replace") for radius in _RADII]

    def fit(self, train: pl.DataFrame, val: pl.DataFrame, context: FitContext) -> FitReport:
        for member in self.members:
            member.fit(train, val, context)
        return FitReport(0.0, len(self.members), "the training set is the model")

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame:
        """PREDICTED_SPECTRA, one row a query, in the order asked."""
        peaks = pl.concat([member.predict(queries).explode("mzs", "intensities") for member in self.members])
        merged = peaks.drop_nulls().group_by("identifier", mz=pl.col("mzs").round(3)).agg(pl.col("intensities").sum())
        merged = merged.sort("identifier", "mz").group_by("identifier", maintain_order=True)
        lists = merged.agg(mzs="mz", intensities=pl.col("intensities") / pl.col("intensities").max())
        rows = queries.select("identifier").join(lists, on="identifier", how="left", maintain_order="left")
        return conform(rows, PREDICTED_SPECTRA)

    def parameters(self) -> int:
        return len(self.members)

    def save(self, folder: Path) -> None:
        super().save(folder)
        for number, member in enumerate(self.members):
            member.save(folder / str(number))

    @classmethod
    def load(cls, folder: Path) -> Self:
        model = super().load(folder)
        model.members = [MODELS["nearest-molecule"].load(folder / str(number)) for number in range(len(_RADII))]
        return model


class LossRules(Control):
    """The precursor and six losses, each as strong as in training at this energy, if the structure can lose it."""

    task = "spectrum-prediction"
    kind: Kind = "trained"
    name = "loss-rules"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.heights: dict[str, float] = {}

    def fit(self, train: pl.DataFrame, val: pl.DataFrame, context: FitContext) -> FitReport:
        sums: dict[str, list[float]] = {}
        columns = ("smiles", "precursor_mz", "collision_energy", "mzs", "intensities")
        for smiles, precursor, energy, mzs, heights in train.select(columns).iter_rows():
            mz, height = np.array(mzs, float), np.array(heights, float)
            for loss in _possible(smiles):
                away = _LOSSES[loss][0] if loss else 0.0
                near = np.abs(mz - precursor + away) <= _NEAR
                sums.setdefault(_key(loss, energy), []).append(float(height[near].sum()))
        self.heights = {key: round(sum(found) / len(found), 5) for key, found in sorted(sums.items())}
        return FitReport(0.0, len(self.heights), "counted")

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame:
        """PREDICTED_SPECTRA, one row a query, in the order asked."""
        mzs, intensities = [], []
        for smiles, precursor, energy in queries.select("smiles", "precursor_mz", "collision_energy").iter_rows():
            peaks = {precursor - (_LOSSES[loss][0] if loss else 0.0): loss for loss in _possible(smiles)}
            peaks = {mz: loss for mz, loss in peaks.items() if mz > 0}
            mzs.append(sorted(peaks))
            intensities.append([max(self.heights.get(_key(peaks[mz], energy), 0.01), 1e-4) for mz in sorted(peaks)])
        lists = (
            pl.Series("mzs", mzs, pl.List(pl.Float64)),
            pl.Series("intensities", intensities, pl.List(pl.Float32)),
        )
        return conform(queries.select("identifier").with_columns(*lists), PREDICTED_SPECTRA)

    def parameters(self) -> int:
        return len(self.heights)

    def save(self, folder: Path) -> None:
        super().save(folder)
        write_json(folder / "heights.json", self.heights)

    @classmethod
    def load(cls, folder: Path) -> Self:
        model = super().load(folder)
        model.heights = json.loads((folder / "heights.json").read_text(encoding="utf-8"))
        return model


def _possible(smiles: str) -> list[str]:
    """The precursor itself (""), and the losses that the structure offers."""
    return ["", *(loss for loss, (_, pattern) in _LOSSES.items() if re.search(pattern, smiles))]


def _key(loss: str, energy: float | None) -> str:
    return f"{loss} {'?' if energy is None else int(energy // _ENERGY)}"
