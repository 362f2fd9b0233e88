"""mean-fingerprint: the mean Morgan fingerprint of the training molecules of the query's ion mode, for every query."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...chem import molecule
from ...errors import ModelError
from ...provenance import write_json
from ...schemas import PREDICTED_FINGERPRINTS, conform
from ..protocol import FitContext, FitReport
from .control import Control


def as_fingerprints(identifiers: pl.Series, values: NDArray[np.float32]) -> pl.DataFrame:
    """PREDICTED_FINGERPRINTS of probabilities, (queries, bits)."""
    return conform(pl.DataFrame({"identifier": identifiers, "fingerprint": values}), PREDICTED_FINGERPRINTS)


class MeanFingerprint(Control):
    """Each molecule counts once in each mode it was measured in; an unknown mode gets the mean of all molecules."""

    task = "fingerprint"
    name = "mean-fingerprint"
    _modes: list[str | None] | None = None
    _means: NDArray[np.float32]

    def fit(self, train: pl.DataFrame, val: pl.DataFrame, context: FitContext) -> FitReport:
        started = time.perf_counter()
        known = train.filter(pl.col("smiles").is_not_null()).unique(["inchikey14", "ion_mode"], keep="first")
        known = known.select("inchikey14", "ion_mode", "smiles").sort("inchikey14", "ion_mode", "smiles")
        if known.is_empty():
            raise ModelError("no training spectrum has a structure", remedy="check the split and the dataset's SMILES")
        once = known.unique("inchikey14", keep="first", maintain_order=True)
        parts = {None: once} | {mode: known.filter(ion_mode=mode) for mode in known["ion_mode"].drop_nulls().unique()}
        self._modes = sorted(parts, key=lambda mode: mode or "")
        means = [molecule.morgan(parts[mode]["smiles"].to_list()).mean(axis=0) for mode in self._modes]
        self._means = np.stack(means).astype(np.float32)
        return FitReport(time.perf_counter() - started, stopped="averaged", notes={"molecules": once.height})

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame:
        """PREDICTED_FINGERPRINTS, one row a query, in the order asked."""
        if self._modes is None:
            raise self.not_fitted()
        number = {mode: k for k, mode in enumerate(self._modes)}
        rows = np.array([number.get(mode, number[None]) for mode in queries["ion_mode"]], dtype=np.int64)
        return as_fingerprints(queries["identifier"], self._means[rows])

    def save(self, folder: Path) -> None:
        if self._modes is None:
            raise self.not_fitted()
        super().save(folder)
        write_json(folder / "modes.json", self._modes)
        np.save(folder / "means.npy", self._means)

    @classmethod
    def load(cls, folder: Path) -> Self:
        model = super().load(folder)
        model._modes = json.loads((folder / "modes.json").read_text(encoding="utf-8"))
        model._means = np.load(folder / "means.npy")
        return model
