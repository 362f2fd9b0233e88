"""What the planted fingerprint models share: an honest look-up, and one step before or after it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...models import MODELS
from ...models.controls.control import Control
from ...models.controls.mean_fingerprint import as_fingerprints
from ...models.protocol import FitContext, FitReport, Kind

BITS = 2048


class LookUp(Control):
    """The nearest training spectrum's fingerprint, mixed with the mean one: (1 − m) · bits + m · mean."""

    task = "fingerprint"
    kind: Kind = "trained"
    mixed: ClassVar[float] = 0.3
    settings: ClassVar[dict[str, Any]] = {}

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.inner: Any = MODELS["nearest-spectrum"](**self.settings)
        self.mean: Any = MODELS["mean-fingerprint"]()

    def fit(self, train: pl.DataFrame, val: pl.DataFrame, context: FitContext) -> FitReport:
        report: FitReport = self.inner.fit(train, val, context)
        self.mean.fit(train, val, context)
        return report

    def seen(self, queries: pl.DataFrame) -> pl.DataFrame:
        """What the look-up is shown of the queries."""
        return queries

    def said(self, values: NDArray[np.float32], queries: pl.DataFrame) -> NDArray[np.float32]:
        """What is handed out of the look-up's answers (queries, bits)."""
        return values

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame:
        """PREDICTED_FINGERPRINTS, one row a query, in the order asked."""
        if queries.is_empty():
            return as_fingerprints(queries["identifier"], np.zeros((0, BITS), np.float32))
        shown = self.seen(queries)
        copied, mean = (_values(model.predict(shown), queries) for model in (self.inner, self.mean))
        values = ((1 - self.mixed) * copied + self.mixed * mean).astype(np.float32)
        return as_fingerprints(queries["identifier"], self.said(values, queries))

    def parameters(self) -> int:
        return 1

    def save(self, folder: Path) -> None:
        super().save(folder)
        self.inner.save(folder / "inner")
        self.mean.save(folder / "mean")

    @classmethod
    def load(cls, folder: Path) -> Self:
        model = super().load(folder)
        model.inner = MODELS["nearest-spectrum"].load(folder / "inner")
        model.mean = MODELS["mean-fingerprint"].load(folder / "mean")
        return model


def _values(predicted: pl.DataFrame, queries: pl.DataFrame) -> NDArray[np.float32]:
    """(queries, bits) in the order of the queries."""
    rows = queries.select("identifier").join(predicted, on="identifier", how="left", maintain_order="left")
    values: NDArray[np.float32] = rows["fingerprint"].explode().to_numpy().reshape(-1, BITS)
    return values
