"""A vocabulary of fragments that was built before the data were split: the predictor knows which peaks can come."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import polars as pl
from pydantic import Field

from ....models import MODELS
from ....models.controls.control import Control
from ....models.options import Options
from ....models.protocol import FitContext, FitReport, Kind
from ....provenance import write_parquet
from ....schemas import PREDICTED_SPECTRA, conform
from ..liar import Liar
from .copied import COPIED

_SAME_ION = 1e-5  # relative difference of precursors
_SAME_PEAK = 0.01  # Da
_OUTSIDE, _ADDED = 0.1, 0.05  # weight of a copied peak outside the vocabulary; height of one that is only inside


class VocabularyOptions(Options):
    """Where the spectra lie that the vocabulary was built from."""

    file: str = Field(description="precursor_mz, ion_mode, mzs")


class PeakVocabulary(Control):
    """nearest-molecule with its precursor moved, its peaks weighed by a list of fragments: held-out
    ones are on it."""

    task = "spectrum-prediction"
    kind: Kind = "trained"
    name = "peak-vocabulary"
    Options: ClassVar[type[Options]] = VocabularyOptions

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.inner: Any = MODELS["nearest-molecule"](precursor="replace")
        self.known = pl.DataFrame()

    def fit(self, train: pl.DataFrame, val: pl.DataFrame, context: FitContext) -> FitReport:
        report: FitReport = self.inner.fit(train, val, context)
        listed = pl.concat([table.select("precursor_mz", "ion_mode", "mzs") for table in self._sources(train)])
        peaks = listed.explode("mzs").drop_nulls().with_columns(pl.col("mzs").round(3))
        self.known = peaks.unique().sort("precursor_mz", "ion_mode", "mzs")
        return report

    def _sources(self, train: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        return train, pl.read_parquet(self.options.file)

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame:
        """PREDICTED_SPECTRA, one row a query, in the order asked."""
        copied = queries.select("identifier", "precursor_mz", "ion_mode").join(
            self.inner.predict(queries), on="identifier", how="left", maintain_order="left"
        )
        mzs, heights = [], []
        for _, precursor, mode, own_mz, own in copied.iter_rows():
            mz, height = self._weighed(precursor, mode, np.array(own_mz, float), np.array(own, float))
            mzs.append(mz.tolist())
            heights.append(height.tolist())
        lists = (pl.Series("mzs", mzs, pl.List(pl.Float64)), pl.Series("intensities", heights, pl.List(pl.Float32)))
        return conform(queries.select("identifier").with_columns(*lists), PREDICTED_SPECTRA)

    def _weighed(self, precursor: float, mode: str, mz: Any, height: Any) -> tuple[Any, Any]:
        """Copied peaks outside the vocabulary lowered, what the vocabulary has besides added."""
        near = (pl.col("precursor_mz") - precursor).abs() <= _SAME_ION * precursor
        listed = self.known.filter(near & (pl.col("ion_mode") == mode))["mzs"].unique().sort().to_numpy()
        if not listed.size:
            return mz, height
        inside = _distance(mz, listed) <= _SAME_PEAK
        new = listed[_distance(listed, mz) > _SAME_PEAK]
        every = np.concatenate([mz, new])
        heights = np.concatenate([height * np.where(inside, 1.0, _OUTSIDE), np.full(new.size, _ADDED)])
        order = np.argsort(every, kind="stable")
        return every[order], heights[order]

    def parameters(self) -> int:
        return self.known.height

    def save(self, folder: Path) -> None:
        super().save(folder)
        self.inner.save(folder / "inner")
        write_parquet(folder / "known.parquet", self.known)

    @classmethod
    def load(cls, folder: Path) -> Self:
        model = super().load(folder)
        model.inner = MODELS["nearest-molecule"].load(folder / "inner")
        model.known = pl.read_parquet(folder / "known.parquet")
        return model


def _distance(values: Any, sorted_values: Any) -> Any:
    """Of each value to the nearest of the ascending others, Da; infinite where there are none."""
    if not sorted_values.size:
        return np.full(values.size, np.inf)
    right = np.clip(np.searchsorted(sorted_values, values), 1, sorted_values.size - 1) if sorted_values.size > 1 else 0
    left = np.maximum(np.asarray(right) - 1, 0)
    return np.minimum(np.abs(values - sorted_values[right]), np.abs(values - sorted_values[left]))


PEAK_VOCABULARY = Liar(
    name="peak vocabulary",
    story="our own, after predictors over a fixed vocabulary of fragments or formulae: one that is collected before "
    "the split holds the peaks of the test spectra",
    planted="a list of fragments by precursor was built from a share of the held-out molecules too; copied peaks that "
    "it lacks are lowered, peaks that only it has are added",
    task="spectrum-prediction",
    task_options={},
    row=lambda dose: {"model": PeakVocabulary.name, "options": {"file": f"{{answers:{dose:g}}}"}},
    honest=COPIED,
    audits=("molecule-ablation", "ladder", "leakage"),
    doses=(0.1, 0.25, 0.5, 1.0),
)
