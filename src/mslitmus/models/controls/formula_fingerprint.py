"""formula-fingerprint: the mean fingerprint of the training molecules whose formula is nearest. No peak is read.

Where queries name the formula, the distance of two molecules is Σ |difference of the counts| over all elements,
hydrogen included. Where it is hidden, it is the difference of the neutral mass (Da), the query's from precursor m/z and
adduct. All training molecules as near as the k-th nearest are averaged, each once, so ties need no order. A query
without a readable adduct gets the mean of all training molecules.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from ...chem import molecule
from ...chem.formula import parse_adduct, parse_formula
from ...errors import ChemistryError, ModelError
from ...provenance import write_parquet
from ..options import Options
from ..protocol import FitContext, FitReport
from .control import Control
from .mean_fingerprint import as_fingerprints

_NUDGE = 1e-6  # Da: masses of one formula differ by rounding


class FormulaFingerprintOptions(Options):
    """Options of formula-fingerprint."""

    neighbours: int = Field(10, ge=1, description="k; all that tie with the k-th are averaged too")


class FormulaFingerprint(Control):
    """k nearest training molecules by formula, or by mass where the formula is hidden."""

    task = "fingerprint"
    name = "formula-fingerprint"
    Options = FormulaFingerprintOptions
    _library: pl.DataFrame | None = None

    def fit(self, train: pl.DataFrame, val: pl.DataFrame, context: FitContext) -> FitReport:
        started = time.perf_counter()
        known = train.filter(pl.col("smiles").is_not_null()).select("inchikey14", "smiles")
        known = known.sort("inchikey14", "smiles").unique("inchikey14", keep="first", maintain_order=True)
        formulas = molecule.formulas(known["smiles"].to_list())
        known = known.with_columns(formula=pl.Series(formulas, dtype=pl.String))
        known = known.filter(pl.Series([_counts(text) is not None for text in formulas], dtype=pl.Boolean))
        if known.is_empty():
            raise ModelError("no training spectrum has a structure", remedy="check the split and the dataset's SMILES")
        self._set_library(known)
        return FitReport(time.perf_counter() - started, stopped="the training set is the model")

    def _set_library(self, known: pl.DataFrame) -> None:
        self._library = known
        parsed = [parse_formula(text) for text in known["formula"]]
        self._elements = sorted({element for formula in parsed for element, _ in formula.counts})
        self._counted = np.array([self._vector(dict(f.counts))[0] for f in parsed], np.int64)
        self._masses = np.array([formula.mass for formula in parsed])
        self._bits = molecule.morgan(known["smiles"].to_list())

    def _vector(self, counts: dict[str, int]) -> tuple[list[int], int]:
        """Counts of the elements of the library, and the number of atoms of others."""
        return [counts.get(e, 0) for e in self._elements], sum(n for e, n in counts.items() if e not in self._elements)

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame:
        """PREDICTED_FINGERPRINTS, one row a query, in the order asked."""
        if self._library is None:
            raise self.not_fitted()
        given = queries["formula"] if "formula" in queries.columns else pl.repeat(None, queries.height, eager=True)
        asked = [
            (formula, None, None) if formula and _counts(formula) is not None else (None, precursor, adduct)
            for formula, precursor, adduct in zip(given, queries["precursor_mz"], queries["adduct"], strict=True)
        ]
        distinct = {key: number for number, key in enumerate(dict.fromkeys(asked))}
        means = np.zeros((len(distinct), self._bits.shape[1]), np.float32)
        for key, number in distinct.items():
            means[number] = self._bits[self._near(*key)].mean(axis=0)
        return as_fingerprints(queries["identifier"], means[[distinct[key] for key in asked]])

    def _near(self, formula: str | None, precursor_mz: float | None, adduct: str | None) -> NDArray[np.bool_]:
        """Which training molecules are averaged for such a query."""
        counts = _counts(formula) if formula else None
        if counts is not None:
            vector, others = self._vector(counts)
            apart = np.abs(self._counted - np.array(vector)).sum(axis=1) + float(others)
        else:
            mass = _neutral_mass(precursor_mz, adduct)
            if mass is None:
                return np.ones(len(self._masses), np.bool_)
            apart = np.abs(self._masses - mass)
        k = min(self.options.neighbours, len(apart)) - 1
        nearest: NDArray[np.bool_] = apart <= np.partition(apart, k)[k] + _NUDGE
        return nearest

    def save(self, folder: Path) -> None:
        if self._library is None:
            raise self.not_fitted()
        super().save(folder)
        write_parquet(folder / "library.parquet", self._library)

    @classmethod
    def load(cls, folder: Path) -> Self:
        model = super().load(folder)
        model._set_library(pl.read_parquet(folder / "library.parquet"))
        return model


def _counts(formula: str) -> dict[str, int] | None:
    """Element counts, None of what is no formula or holds an element without a mass here."""
    try:
        return dict(parse_formula(formula).counts)
    except ChemistryError:
        return None


def _neutral_mass(precursor_mz: float | None, adduct: str | None) -> float | None:
    if precursor_mz is None or adduct is None:
        return None
    try:
        return parse_adduct(adduct).neutral_mass(precursor_mz)
    except ChemistryError:
        return None
