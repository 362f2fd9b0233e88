"""Controls of library search that read no peak: chance, the precursor m/z alone, and names alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import polars as pl

from ...provenance import write_parquet
from ...schemas import PREDICTED_SCORES, conform
from ..protocol import FitContext, FitReport
from .control import Control


def _rows(queries: pl.DataFrame, *columns: str) -> pl.DataFrame:
    """One row a candidate of a query, in the order asked."""
    lists = queries.select("identifier", *columns, candidate="candidates")
    return lists.filter(pl.col("candidate").list.len() > 0).explode("candidate")


class LibraryChance(Control):
    """One score for all. Ties are shared in closed form, so this is a candidate molecule drawn at random, exactly."""

    task = "library-search"
    name = "library-chance"

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame:
        """PREDICTED_SCORES of all candidates."""
        return conform(_rows(queries).with_columns(score=pl.lit(0.0)), PREDICTED_SCORES)


class LibraryAccession(Control):
    """Ranks by how near the candidate stands to the query in the library's list of names: what names give away.

    Names go by what stands before their last number, then by that number. It is shown what every model is shown, names
    that are hashes, and so draws a spectrum at random, which favours molecules of many spectra. Where it does better
    than that, names or order betray something.
    """

    task = "library-search"
    name = "library-accession"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._places: pl.DataFrame | None = None

    def fit(self, train: pl.DataFrame, val: pl.DataFrame, context: FitContext) -> FitReport:
        number = pl.col("name").str.extract(r"(\d+)\D*$").cast(pl.Float64, strict=False)
        before = pl.col("name").str.extract(r"^(.*?)\d+\D*$")
        names = pl.concat([train["identifier"], val["identifier"]]).unique().alias("name").to_frame()
        ordered = names.sort(before.fill_null(pl.col("name")), number, "name", nulls_last=True)
        self._places = ordered.with_columns(place=pl.int_range(pl.len()).cast(pl.Float64))
        return FitReport(seconds=0.0, stopped="the library's list of names is the model")

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame:
        """PREDICTED_SCORES of all candidates: minus the places between; 1e9 of them where the query is not listed."""
        if self._places is None:
            raise self.not_fitted()
        rows = _rows(queries)
        for column in ("identifier", "candidate"):
            places = self._places.rename({"name": column, "place": f"{column}_place"})
            rows = rows.join(places, on=column, how="left", maintain_order="left")
        apart = (pl.col("identifier_place") - pl.col("candidate_place")).abs()
        return conform(rows.with_columns(score=-apart.fill_null(1e9)), PREDICTED_SCORES)

    def save(self, folder: Path) -> None:
        if self._places is None:
            raise self.not_fitted()
        super().save(folder)
        write_parquet(folder / "places.parquet", self._places)

    @classmethod
    def load(cls, folder: Path) -> Self:
        model = super().load(folder)
        model._places = pl.read_parquet(folder / "places.parquet")
        return model


class LibraryPrecursor(Control):
    """Ranks by the difference of the precursor m/z, the smallest first: what mass and calibration give away.

    Records of one laboratory often state the computed m/z to the same last digit, which is no chemistry.
    """

    task = "library-search"
    name = "library-precursor"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._precursors: pl.DataFrame | None = None

    def fit(self, train: pl.DataFrame, val: pl.DataFrame, context: FitContext) -> FitReport:
        self._precursors = train.select(candidate="identifier", library_mz="precursor_mz")
        return FitReport(seconds=0.0, stopped="the library's precursors are the model")

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame:
        """PREDICTED_SCORES of all candidates: minus the difference in Da."""
        if self._precursors is None:
            raise self.not_fitted()
        rows = _rows(queries, "precursor_mz").join(self._precursors, on="candidate", how="left", maintain_order="left")
        apart = (pl.col("precursor_mz") - pl.col("library_mz")).abs().round(6)
        return conform(rows.with_columns(score=-apart.fill_null(1e6)), PREDICTED_SCORES)

    def save(self, folder: Path) -> None:
        if self._precursors is None:
            raise self.not_fitted()
        super().save(folder)
        write_parquet(folder / "precursors.parquet", self._precursors)

    @classmethod
    def load(cls, folder: Path) -> Self:
        model = super().load(folder)
        model._precursors = pl.read_parquet(folder / "precursors.parquet")
        return model
