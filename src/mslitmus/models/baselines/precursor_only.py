"""precursor-only: all intensity at the precursor m/z. The floor that knows no chemistry at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import polars as pl

from ...provenance import write_json
from ...schemas import PREDICTED_SPECTRA, conform
from ..options import Options, parse_options
from ..protocol import FitContext, FitReport, Kind


class PrecursorOnlyOptions(Options):
    """None."""


class PrecursorOnly:
    """One peak of intensity 1 at each query's precursor m/z."""

    task = "spectrum-prediction"
    kind: Kind = "blind"

    def __init__(self, **options: Any) -> None:
        self.options = parse_options(PrecursorOnlyOptions, options, where="model 'precursor-only'")

    def fit(self, train: pl.DataFrame, val: pl.DataFrame, context: FitContext) -> FitReport:
        return FitReport(seconds=0.0)

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame:
        """PREDICTED_SPECTRA, one row a query."""
        rows = queries.select(
            "identifier",
            pl.concat_list(pl.col("precursor_mz")).alias("mzs"),
            pl.concat_list(pl.lit(1.0)).alias("intensities"),
        )
        return conform(rows, PREDICTED_SPECTRA)

    def parameters(self) -> int:
        return 0

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "options.json", self.options.model_dump())

    @classmethod
    def load(cls, folder: Path) -> Self:
        return cls()
