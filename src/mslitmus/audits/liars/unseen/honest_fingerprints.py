"""Honest predictors of fingerprints: an ensemble, one that heeds the instrument, one that counts elements."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ....chem import molecule
from ....chem.formula import parse_formula
from ....errors import ConfigError
from ....models import MODELS
from ....models.controls.control import Control
from ....models.controls.mean_fingerprint import as_fingerprints
from ....models.protocol import FitContext, FitReport, Kind
from ....provenance import write_json
from ..copied_bits import BITS

_MEMBERS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("nearest-spectrum", {}),
    ("nearest-spectrum", {"score": "entropy"}),
    ("nearest-spectrum", {"score": "cosine", "intensity_power": 0.5}),
    ("mean-fingerprint", {}),
)
_WEIGHTS = ((0.7, 0.1, 0.1, 0.1), (0.4, 0.2, 0.1, 0.3), (0.2, 0.2, 0.2, 0.4), (0.1, 0.4, 0.1, 0.4))
_FEW = 20  # training spectra of an instrument type that are worth a library of their own
_ELEMENTS = ("C", "H", "N", "O", "S", "P", "F", "Cl", "Br", "I")
_RIDGE = 10.0


class Ensemble(Control):
    """A weighted mean of three look-ups and the mean fingerprint, all fitted on the training fold; the weights are the
    best of four on validation."""

    task = "fingerprint"
    kind: Kind = "trained"
    name = "look-up-ensemble"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.members: list[Any] = [MODELS[name](**settings) for name, settings in _MEMBERS]
        self.weights: tuple[float, ...] = _WEIGHTS[0]

    def fit(self, train: pl.DataFrame, val: pl.DataFrame, context: FitContext) -> FitReport:
        for member in self.members:
            member.fit(train, val, context)
        found = []
        for number, self.weights in enumerate(_WEIGHTS):
            found.append((round(context.score(self.predict(val), val), 9), -number))
        best, number = max(found)
        self.weights = _WEIGHTS[-number]
        return FitReport(0.0, len(self.weights), "fitted", best_score=best, notes={"weights": list(self.weights)})

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame:
        """PREDICTED_FINGERPRINTS, one row a query, in the order asked."""
        values = np.zeros((queries.height, BITS))
        for member, weight in zip(self.members, self.weights, strict=True):
            values += weight * _values(member.predict(queries), queries)
        return as_fingerprints(queries["identifier"], values.astype(np.float32))

    def parameters(self) -> int:
        return len(self.weights)

    def save(self, folder: Path) -> None:
        super().save(folder)
        write_json(folder / "weights.json", list(self.weights))
        for number, member in enumerate(self.members):
            member.save(folder / str(number))

    @classmethod
    def load(cls, folder: Path) -> Self:
        model = super().load(folder)
        model.weights = tuple(json.loads((folder / "weights.json").read_text(encoding="utf-8")))
        model.members = [MODELS[name].load(folder / str(number)) for number, (name, _) in enumerate(_MEMBERS)]
        return model


class InstrumentWise(Control):
    """A look-up among training spectra of the query's own instrument type, mixed with the mean fingerprint: spectra of
    one kind of instrument compare better. A type with few training spectra looks among all."""

    task = "fingerprint"
    kind: Kind = "trained"
    name = "instrument-wise"
    _mixed: ClassVar[float] = 0.3

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.parts: dict[str, Any] = {}
        self.mean: Any = MODELS["mean-fingerprint"]()

    def fit(self, train: pl.DataFrame, val: pl.DataFrame, context: FitContext) -> FitReport:
        self.mean.fit(train, val, context)
        sizes = train.group_by("instrument_type").len().drop_nulls().sort("instrument_type")
        for kind in ("", *sizes.filter(pl.col("len") >= _FEW)["instrument_type"]):
            self.parts[kind] = MODELS["nearest-spectrum"]()
            self.parts[kind].fit(train.filter(pl.col("instrument_type") == kind) if kind else train, val, context)
        return FitReport(0.0, len(self.parts), "the training set is the model")

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame:
        """PREDICTED_FINGERPRINTS, one row a query, in the order asked."""
        kinds = pl.when(pl.col("instrument_type").is_in(list(self.parts))).then("instrument_type").otherwise(pl.lit(""))
        parts = [
            self.parts[kind].predict(rows)
            for (kind,), rows in queries.group_by(kinds.fill_null("").alias("kind"), maintain_order=True)
        ]
        mean = self.mean.predict(queries)
        copied = _values(pl.concat(parts) if parts else mean, queries)
        values = (1 - self._mixed) * copied + self._mixed * _values(mean, queries)
        return as_fingerprints(queries["identifier"], values.astype(np.float32))

    def parameters(self) -> int:
        return len(self.parts)

    def save(self, folder: Path) -> None:
        super().save(folder)
        self.mean.save(folder / "mean")
        write_json(folder / "kinds.json", list(self.parts))
        for number, part in enumerate(self.parts.values()):
            part.save(folder / str(number))

    @classmethod
    def load(cls, folder: Path) -> Self:
        model = super().load(folder)
        model.mean = MODELS["mean-fingerprint"].load(folder / "mean")
        kinds = json.loads((folder / "kinds.json").read_text(encoding="utf-8"))
        model.parts = {kind: MODELS["nearest-spectrum"].load(folder / str(k)) for k, kind in enumerate(kinds)}
        return model


class ElementRegression(Control):
    """Ridge regression of every bit on element counts: weak, blind to peaks, and honest where the formula is given."""

    task = "fingerprint"
    kind: Kind = "trained"
    name = "element-regression"
    weights: NDArray[np.float64] | None = None

    def check_task(self, task: Any) -> None:
        """Raises ConfigError where the queries do not name their formula."""
        if "formula" not in task.visible:
            remedy = "task_options: {formula: given}"
            raise ConfigError("the formula is hidden", where=f"model {self.name!r}", remedy=remedy)

    def fit(self, train: pl.DataFrame, val: pl.DataFrame, context: FitContext) -> FitReport:
        known = train.select("inchikey14", "smiles", "formula").drop_nulls().unique("inchikey14").sort("inchikey14")
        x = _elements(known["formula"])
        y = molecule.morgan(known["smiles"].to_list()).astype(float)
        self.weights = np.linalg.solve(x.T @ x + _RIDGE * np.eye(x.shape[1]), x.T @ y)
        return FitReport(0.0, self.weights.size, "solved")

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame:
        """PREDICTED_FINGERPRINTS, one row a query, in the order asked."""
        if self.weights is None:
            raise self.not_fitted()
        values = np.clip(_elements(queries["formula"]) @ self.weights, 0.0, 1.0)
        return as_fingerprints(queries["identifier"], values.astype(np.float32))

    def parameters(self) -> int:
        return 0 if self.weights is None else int(self.weights.size)

    def save(self, folder: Path) -> None:
        if self.weights is None:
            raise self.not_fitted()
        super().save(folder)
        np.save(folder / "weights.npy", self.weights)

    @classmethod
    def load(cls, folder: Path) -> Self:
        model = super().load(folder)
        model.weights = np.load(folder / "weights.npy")
        return model


def _elements(formulas: pl.Series) -> NDArray[np.float64]:
    """(n, 11): counts over ten, and 1."""
    texts = formulas.unique().to_list()
    parsed = {text: parse_formula(text) for text in texts}
    rows = [[0.1 * parsed[text][element] for element in _ELEMENTS] + [1.0] for text in formulas]
    return np.array(rows, dtype=np.float64).reshape(formulas.len(), len(_ELEMENTS) + 1)


def _values(predicted: pl.DataFrame, queries: pl.DataFrame) -> NDArray[np.float64]:
    """(queries, bits) in the order of the queries."""
    rows = queries.select("identifier").join(predicted, on="identifier", how="left", maintain_order="left")
    return rows["fingerprint"].explode().to_numpy().reshape(queries.height, BITS).astype(np.float64)
