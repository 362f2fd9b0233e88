"""Task `spectrum-prediction`: molecule, adduct, energy and instrument → peaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import polars as pl

from ..metrics.ceiling import replicate_ceiling
from ..metrics.spectrum import score
from ..schemas import PREDICTED_SPECTRA
from .protocol import Bounds, Folds, Plain, conformed, refuse


class SpectrumPrediction(Plain):
    """Predict the MS/MS spectrum of a known structure under stated conditions."""

    name = "spectrum-prediction"
    visible: tuple[str, ...] = (
        "identifier",
        "smiles",
        "inchikey14",
        "formula",
        "adduct",
        "charge",
        "ion_mode",
        "precursor_mz",
        "instrument_type",
        "fragmentation",
        "collision_energy",
        "collision_energy_kind",
    )
    target: tuple[str, ...] = ("mzs", "intensities")
    predictions = PREDICTED_SPECTRA
    metric_family = "spectrum"
    headline = "cosine@0.1Da"
    controls: tuple[str, ...] = ("precursor-only", "nearest-molecule")
    default_metrics: tuple[str, ...] = (
        "cosine@0.1Da",
        "cosine@0.1Da:no-precursor",
        "cosine-sqrt@0.1Da",
        "cosine@1Da",
        "cosine@0.01Da",
        "cosine@10ppm",
        "jss@0.1Da",
        "entropy@0.1Da",
        "predicted-entropy",
    )

    def eligible(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Rows with a structure, an adduct, and at least one peak."""
        has_all = pl.all_horizontal(pl.col(c).is_not_null() for c in ("smiles", "inchikey14", "adduct", "precursor_mz"))
        return frame.filter(has_all & (pl.col("mzs").list.len() > 0))

    def record(self) -> dict[str, Any]:
        return {"name": self.name}

    def queries(self, frame: pl.DataFrame) -> pl.DataFrame:
        return frame.select(self.visible)

    def truth(self, frame: pl.DataFrame) -> pl.DataFrame:
        return frame.select("identifier", "inchikey14", "precursor_mz", "charge", *self.target)

    def training_view(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Visible columns and target: what a model may learn from."""
        return frame.select(*self.visible, *self.target)

    def check(self, predictions: pl.DataFrame, queries: pl.DataFrame) -> pl.DataFrame:
        """Predictions conformed to PREDICTED_SPECTRA: unique known identifiers, lists of equal length, finite values
        (m/z > 0, intensity ≥ 0), m/z ascending. Raises PredictionError naming up to five rows."""
        table = conformed(predictions, self.predictions, queries)
        refuse(table.filter(pl.col("identifier").is_duplicated()), "predicted more than once", "keep one row a query")
        bad = pl.any_horizontal(
            pl.col("mzs").is_null() | pl.col("intensities").is_null(),
            pl.col("mzs").list.len() != pl.col("intensities").list.len(),
            pl.col("mzs").list.eval(~(pl.element().is_finite() & (pl.element() > 0))).list.any(),
            pl.col("intensities").list.eval(~(pl.element().is_finite() & (pl.element() >= 0))).list.any(),
        )
        remedy = "lists of equal length, m/z finite and > 0, intensities finite and ≥ 0"
        refuse(table.filter(bad), "not a spectrum (NaN, negative, or lists of unequal length)", remedy)
        unsorted = pl.col("mzs").list.diff(null_behavior="drop").list.min() < 0
        if table.select(unsorted.any()).item():
            refuse(table.filter(unsorted), "m/z not ascending", "sort each predicted spectrum by m/z")
        return table

    def score(
        self, predictions: pl.DataFrame, truth: pl.DataFrame, metrics: Sequence[str], missing: str = "raise"
    ) -> pl.DataFrame:
        return score(predictions, truth, metrics, missing)

    def shown(self, predictions: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
        return predictions.rename({"mzs": "predicted_mzs", "intensities": "predicted_intensities"})

    def bounds(self, folds: Folds, metrics: Sequence[str]) -> Bounds:
        """The replicate ceiling: no model can be expected to beat a repetition of the experiment."""
        found = replicate_ceiling(pl.concat(list(folds.values())), folds["test"]["identifier"].to_list(), metrics)
        return {metric: asdict(ceiling) for metric, ceiling in found.items() if ceiling is not None}
