"""precursor-only: all intensity at the precursor m/z. The floor that knows no chemistry at all."""

from __future__ import annotations

import polars as pl

from ...schemas import PREDICTED_SPECTRA, conform
from ..controls.control import Control


class PrecursorOnly(Control):
    """One peak of intensity 1 at each query's precursor m/z."""

    task = "spectrum-prediction"
    name = "precursor-only"

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame:
        """PREDICTED_SPECTRA, one row a query."""
        rows = queries.select(
            "identifier",
            pl.concat_list(pl.col("precursor_mz")).alias("mzs"),
            pl.concat_list(pl.lit(1.0)).alias("intensities"),
        )
        return conform(rows, PREDICTED_SPECTRA)
