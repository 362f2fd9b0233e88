"""Bits calibrated on the test set: each predicted probability is scaled to how common the bit is there."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from ....chem import molecule
from ....models.options import Options
from ....models.protocol import FitContext, FitReport
from ..company import Alone
from ..copied_bits import BITS, LookUp
from ..liar import Liar


class CalibratorOptions(Options):
    """Where the answers of the test set lie, and how far to follow them."""

    file: str = Field(description="identifier, smiles, fold and the spectra")
    dose: float = Field(1.0, ge=0, le=1, description="exponent of the scale")


class BitCalibrator(LookUp):
    """p' = min(p · (frequency of the bit in the test molecules / its mean prediction on test)^dose, 1)."""

    name = "bit-calibrator"
    Options: ClassVar[type[Options]] = CalibratorOptions
    scale: NDArray[np.float32] = np.ones(BITS, np.float32)

    def fit(self, train: pl.DataFrame, val: pl.DataFrame, context: FitContext) -> FitReport:
        report = super().fit(train, val, context)
        tested = pl.read_parquet(self.options.file).filter(pl.col("fold") == "test").sort("identifier")
        said = self.predict(tested)["fingerprint"].explode().to_numpy().reshape(-1, BITS).mean(axis=0)
        true = molecule.morgan(tested["smiles"].to_list()).mean(axis=0)
        ratio = np.divide(true, said, out=np.ones(BITS), where=said > 0)
        self.scale = np.power(ratio, self.options.dose).astype(np.float32)
        return report

    def said(self, values: NDArray[np.float32], queries: pl.DataFrame) -> NDArray[np.float32]:
        scaled: NDArray[np.float32] = np.minimum(values * self.scale, np.float32(1.0))
        return scaled

    def save(self, folder: Path) -> None:
        super().save(folder)
        np.save(folder / "scale.npy", self.scale)

    @classmethod
    def load(cls, folder: Path) -> Self:
        model = super().load(folder)
        model.scale = np.load(folder / "scale.npy")
        return model


BIT_CALIBRATOR = Liar(
    name="bit calibrator",
    story="thresholds, temperatures and class frequencies fitted on the test fold and not mentioned; our own, after "
    "test-time normalisation over the whole test set",
    planted="each bit's probability is scaled to the bit's frequency in the test molecules",
    task="fingerprint",
    task_options={},
    row=lambda dose: {"model": BitCalibrator.name, "options": {"file": "{answers:1}", "dose": dose}},
    honest={"model": Alone.name},
    audits=("selection", "leakage"),
    doses=(0.25, 0.5, 1.0),
)
