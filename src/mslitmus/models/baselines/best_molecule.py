"""best-molecule, the oracle: the fingerprint of the training molecule that is most similar to the truth.

It is shown the truth (`truth_smiles`), so no model that copies training molecules can pass it: the bound of the
neighbour ladder, not of the task. A molecule that is in training is its own neighbour. Ties of the Tanimoto
similarity (Morgan, radius 2, 2,048 bits) go to the lowest InChIKey-14, then the lowest SMILES.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl

from ...chem import molecule
from ...errors import ModelError, PredictionError
from ...provenance import write_parquet
from ..controls.control import Control
from ..controls.mean_fingerprint import as_fingerprints
from ..protocol import FitContext, FitReport, Kind

_BLOCK = 512  # true molecules a block: 512 × 15,000 similarities are 31 MB


class BestMolecule(Control):
    """Copies the training molecule nearest to the truth."""

    task = "fingerprint"
    kind: Kind = "oracle"
    name = "best-molecule"
    _molecules: pl.DataFrame | None = None

    def fit(self, train: pl.DataFrame, val: pl.DataFrame, context: FitContext) -> FitReport:
        started = time.perf_counter()
        known = train.filter(pl.col("smiles").is_not_null()).select("inchikey14", "smiles").unique()
        if known.is_empty():
            raise ModelError("no training spectrum has a structure", remedy="check the split and the dataset's SMILES")
        known = known.sort("inchikey14", "smiles", nulls_last=True)
        self._set_molecules(known.unique("smiles", keep="first", maintain_order=True))
        return FitReport(time.perf_counter() - started, stopped="the training set is the model")

    def _set_molecules(self, molecules: pl.DataFrame) -> None:
        self._molecules = molecules
        self._bits = molecule.morgan(molecules["smiles"].to_list())

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame:
        """PREDICTED_FINGERPRINTS, one row a query, in the order asked."""
        found = self.neighbours(queries)
        return as_fingerprints(found["identifier"], self._bits[found["_row"].to_numpy()].astype(np.float32))

    def neighbours(self, queries: pl.DataFrame) -> pl.DataFrame:
        """identifier, smiles and inchikey14 of the best training molecule, similarity (Tanimoto), in the order asked.

        Raises PredictionError where the queries do not bring `truth_smiles` in every row.
        """
        if self._molecules is None:
            raise self.not_fitted()
        if "truth_smiles" not in queries.columns or queries["truth_smiles"].null_count():
            raise PredictionError(
                "best-molecule needs the truth of every query", remedy="it is an oracle: score it through a study"
            )
        truths = queries.select("truth_smiles").unique(maintain_order=True)
        best, similarity = [], []
        for start in range(0, truths.height, _BLOCK):
            block = molecule.morgan(truths["truth_smiles"][start : start + _BLOCK].to_list())
            values = molecule.tanimoto(block, self._bits)
            best.append(values.argmax(axis=1))  # the first of equals: molecules are in documented order
            similarity.append(values.max(axis=1))
        row = np.concatenate([np.zeros(0, np.int64), *best])
        found = truths.with_columns(
            _row=pl.Series(row, dtype=pl.Int64),
            similarity=pl.Series(np.concatenate([np.zeros(0), *similarity]), dtype=pl.Float64),
            smiles=self._molecules["smiles"].gather(row),
            inchikey14=self._molecules["inchikey14"].gather(row),
        )
        asked = queries.select("identifier", "truth_smiles")
        found = asked.join(found, on="truth_smiles", how="left", maintain_order="left")
        return found.select("identifier", "smiles", "inchikey14", "similarity", "_row")

    def save(self, folder: Path) -> None:
        if self._molecules is None:
            raise self.not_fitted()
        super().save(folder)
        write_parquet(folder / "molecules.parquet", self._molecules)

    @classmethod
    def load(cls, folder: Path) -> Self:
        model = super().load(folder)
        model._set_molecules(pl.read_parquet(folder / "molecules.parquet"))
        return model
