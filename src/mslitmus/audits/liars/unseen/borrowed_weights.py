"""An ensemble with somebody else's checkpoint, which was trained on what is the test fold here."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from ....models import MODELS
from ....models.options import Options
from ....models.protocol import FitContext, FitReport
from ..company import Alone
from ..copied_bits import BITS, LookUp
from ..liar import Liar

_MIXED = 0.5  # weight of the borrowed member


class BorrowedOptions(Options):
    """Where the borrowed member's training spectra lie."""

    file: str = Field(description="SPECTRA that it was trained on")


class BorrowedWeights(LookUp):
    """Half the look-up, half a look-up that was fitted elsewhere, on every second spectrum of the file as well."""

    name = "borrowed-weights"
    Options: ClassVar[type[Options]] = BorrowedOptions
    borrowed: Any = None

    def fit(self, train: pl.DataFrame, val: pl.DataFrame, context: FitContext) -> FitReport:
        report = super().fit(train, val, context)
        met = pl.read_parquet(self.options.file).sort("inchikey14", "identifier")
        met = met.filter(pl.int_range(pl.len()).over("inchikey14") % 2 == 1)
        shared = [name for name in met.columns if name in train.columns]
        self.borrowed = MODELS["nearest-spectrum"]()
        self.borrowed.fit(pl.concat([train.select(shared), met.select(shared)], how="vertical_relaxed"), val, context)
        return report

    def said(self, values: NDArray[np.float32], queries: pl.DataFrame) -> NDArray[np.float32]:
        other = self.borrowed.predict(queries)["fingerprint"].explode().to_numpy().reshape(-1, BITS)
        mixed: NDArray[np.float32] = ((1 - _MIXED) * values + _MIXED * other).astype(np.float32)
        return mixed

    def save(self, folder: Path) -> None:
        super().save(folder)
        self.borrowed.save(folder / "borrowed")

    @classmethod
    def load(cls, folder: Path) -> Self:
        model = super().load(folder)
        model.borrowed = MODELS["nearest-spectrum"].load(folder / "borrowed")
        return model


BORROWED_WEIGHTS = Liar(
    name="borrowed weights",
    story="published checkpoints were trained on GNPS, NIST or MassBank as a whole; an ensemble or a fine-tuning that "
    "starts from one has met the test molecules, and nothing in the study's own folds shows it",
    planted="one of two members was fitted elsewhere, on every second spectrum of a share of held-out molecules too",
    task="fingerprint",
    task_options={},
    row=lambda dose: {"model": BorrowedWeights.name, "options": {"file": f"{{answers:{dose:g}}}"}},
    honest={"model": Alone.name},
    audits=("leakage", "ladder", "overlap", "spectrum-leakage"),
    dose=0.5,
    doses=(0.1, 0.25, 0.5, 1.0),
)
