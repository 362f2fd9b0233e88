"""Task `fingerprint`: measured spectrum → Morgan fingerprint (radius 2, 2,048 bits) of the molecule."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from ..metrics.fingerprint import score
from ..schemas import PREDICTED_FINGERPRINTS
from .from_spectrum import FromSpectrum
from .measured import FormulaKnown
from .protocol import conformed, refuse

BITS = 2048


class Fingerprint(FromSpectrum):
    """Predict the probability of each fingerprint bit. `formula`: whether queries name the molecular formula."""

    name = "fingerprint"
    predictions = PREDICTED_FINGERPRINTS
    metric_family = "fingerprint"
    headline = "fp-tanimoto@0.5"
    controls: tuple[str, ...] = ("mean-fingerprint", "formula-fingerprint", "nearest-spectrum")
    default_metrics: tuple[str, ...] = ("fp-tanimoto@0.5", "fp-tanimoto-soft", "fp-cosine")

    def __init__(self, formula: FormulaKnown = "hidden") -> None:
        super().__init__(formula)

    def truth(self, frame: pl.DataFrame) -> pl.DataFrame:
        return frame.select("identifier", "inchikey14", "smiles")

    def check(self, predictions: pl.DataFrame, queries: pl.DataFrame) -> pl.DataFrame:
        """Unique known identifiers, 2,048 finite values from 0 to 1 each. Raises PredictionError naming rows."""
        table = conformed(predictions, self.predictions, queries)
        refuse(table.filter(pl.col("identifier").is_duplicated()), "predicted more than once", "keep one row a query")
        bits = pl.col("fingerprint")
        short = bits.is_null() | (bits.list.len() != BITS)
        refuse(table.filter(short), f"without {BITS:,} values", f"one probability for each of {BITS:,} Morgan bits")
        outside = ~bits.list.eval((pl.element() >= 0) & (pl.element() <= 1)).list.all()
        refuse(table.filter(outside.fill_null(True)), "with values outside 0 to 1, or NaN", "give probabilities")
        return table

    def score(
        self, predictions: pl.DataFrame, truth: pl.DataFrame, metrics: Sequence[str], missing: str = "raise"
    ) -> pl.DataFrame:
        return score(predictions, truth, metrics, missing)

    def shown(self, predictions: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
        return predictions.select("identifier")
