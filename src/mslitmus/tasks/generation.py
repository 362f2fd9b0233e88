"""Task `generation`: measured spectrum (and the formula) → structures, best first, with no list of candidates."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from ..metrics.structure import score
from ..schemas import PREDICTED_STRUCTURES
from .from_spectrum import FromSpectrum
from .measured import FormulaKnown
from .protocol import conformed, refuse

#: Structures of a query that are looked at; more may be handed in.
SHOWN = 5


class Generation(FromSpectrum):
    """Write the structure. `formula`: whether queries name the molecular formula."""

    name = "generation"
    predictions = PREDICTED_STRUCTURES
    metric_family = "structure"
    headline = "mol-tanimoto@10"
    controls: tuple[str, ...] = ("random-structure", "nearest-structure")
    default_metrics: tuple[str, ...] = (
        "mol-tanimoto@10",
        "mol-tanimoto@1",
        "mol-hit@1",
        "mol-hit@10",
        "mol-valid@10",
        "mol-formula@10",
    )

    def __init__(self, formula: FormulaKnown = "given") -> None:
        super().__init__(formula)

    def truth(self, frame: pl.DataFrame) -> pl.DataFrame:
        return frame.select("identifier", "inchikey14", "smiles", "formula")

    def check(self, predictions: pl.DataFrame, queries: pl.DataFrame) -> pl.DataFrame:
        """Known identifiers, scores that are numbers, a structure once a query. Raises PredictionError naming rows.

        A SMILES that does not parse passes: it counts as wrong. A row without SMILES says "no confident structure".
        """
        table = conformed(predictions, self.predictions, queries)
        named = table.filter(pl.col("smiles").is_not_null())
        bad = ~pl.col("score").is_finite().fill_null(False)
        refuse(named.filter(bad), "with a score that is missing, NaN or infinite", "give finite scores")
        twice = named.filter(named.select("identifier", "smiles").is_duplicated())
        refuse(twice, "that give a structure twice", "keep one row a structure")
        return table

    def score(
        self, predictions: pl.DataFrame, truth: pl.DataFrame, metrics: Sequence[str], missing: str = "raise"
    ) -> pl.DataFrame:
        return score(predictions, truth, metrics, missing)

    def shown(self, predictions: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
        """The best structures of each query."""
        asked = predictions.join(rows.select("identifier"), on="identifier", how="semi", maintain_order="left")
        asked = asked.filter(pl.col("smiles").is_not_null()).sort("score", descending=True, maintain_order=True)
        best = asked.group_by("identifier", maintain_order=True).agg(
            candidates=pl.col("smiles").head(SHOWN), candidate_scores=pl.col("score").head(SHOWN)
        )
        return rows.select("identifier").join(best, on="identifier", how="left", maintain_order="left")
