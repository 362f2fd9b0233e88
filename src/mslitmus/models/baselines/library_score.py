"""library-score: ranks the candidate spectra of a library by a classical score of peaks.

Every option may be a list. Then all combinations are tried on the validation queries, the reported metric decides, and
of equals the first is taken; the report of the fit holds them all. Nothing else is learned.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...errors import ConfigError, ModelError
from ...provenance import write_json, write_parquet
from ...schemas import PREDICTED_SCORES, conform
from ...search.pairs import Pairs, pairs_of, score_pairs
from ...spectra.library import Library, Scoring
from ...spectra.peaks import PRECURSOR_ABOVE, PRECURSOR_BELOW
from ..controls.control import Control
from ..options import Options
from ..protocol import FitContext, FitReport, Kind

_PEAKS = ("identifier", "mzs", "intensities", "precursor_mz")
_PRECURSOR = ("keep", "remove")
_KEPT_LIBRARIES = 2  # with and without the precursor's peaks: combinations take turns


class LibraryScoreOptions(Options):
    """Options of library-score; a list is chosen from on validation."""

    score: str | tuple[str, ...] = "entropy"
    tolerance: str | tuple[str, ...] = "0.02Da"
    intensity_power: float | tuple[float, ...] = 1.0
    mz_power: float | tuple[float, ...] = 0.0
    precursor: str | tuple[str, ...] = "keep"
    min_matched_peaks: int | tuple[int, ...] = 1
    min_intensity: float | tuple[float, ...] = 0.0


class LibraryScore(Control):
    """See the module."""

    task = "library-search"
    kind: Kind = "neighbour"
    name: ClassVar[str] = "library-score"
    Options: ClassVar[type[Options]] = LibraryScoreOptions

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.choices = _combinations(self.options.model_dump())
        for choice in self.choices:
            _scoring(choice)
            if choice["precursor"] not in _PRECURSOR:
                what = f"precursor {choice['precursor']!r}"
                raise ConfigError(what, where=f"model {self.name!r}", remedy=f"one of {', '.join(_PRECURSOR)}")
        self.chosen: dict[str, Any] = self.choices[0]
        self._spectra: pl.DataFrame | None = None
        self._threads: int | None = None
        self._libraries: dict[tuple[Any, ...], Library] = {}

    def fit(self, train: pl.DataFrame, val: pl.DataFrame, context: FitContext) -> FitReport:
        started = time.perf_counter()
        self.take(train, context)
        if len(self.choices) == 1:
            return FitReport(time.perf_counter() - started, stopped="the library is the model")
        asked = validation_queries(val, self.name, "name one value an option")
        tried, best = [], -np.inf
        for choice in self.choices:
            value = context.score(self.answers(asked, choice), asked)
            tried.append({**choice, "validation": value})
            context.progress(f"{self.name}: {told(choice)}: {value:.4f} on validation")
            if value > best:
                best, self.chosen = value, choice
        notes = {"chosen": self.chosen, "tried": tried, "validation_queries": asked.height}
        seconds = time.perf_counter() - started
        return FitReport(seconds, stopped=f"chosen: {told(self.chosen)}", best_score=best, notes=notes)

    def take(self, library: pl.DataFrame, context: FitContext) -> None:
        """Answer from these spectra, without choosing."""
        self._spectra, self._threads, self._libraries = library.select(_PEAKS), context.threads, {}

    def choose(self, choice: Mapping[str, Any]) -> None:
        """Answer by this one of `choices`."""
        self.chosen = dict(choice)

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame:
        """PREDICTED_SCORES of all candidates, in the order asked: 0 for a candidate that shares no peak."""
        return self.answers(queries, self.chosen)

    def answers(self, queries: pl.DataFrame, choice: Mapping[str, Any]) -> pl.DataFrame:
        """PREDICTED_SCORES by one of `choices`."""
        library = self._library(choice)
        pairs = pairs_of(library, queries)
        score, matched = score_pairs(library, prepared(queries, choice), _scoring(choice), pairs, self._threads)
        score = np.where(matched >= choice["min_matched_peaks"], score, 0.0)
        return scored(queries, library, pairs, score)

    def _library(self, choice: Mapping[str, Any]) -> Library:
        if self._spectra is None:
            raise self.not_fitted()
        key = (choice["precursor"], choice["min_intensity"])
        if key not in self._libraries:
            while len(self._libraries) >= _KEPT_LIBRARIES:
                del self._libraries[next(iter(self._libraries))]
            self._libraries[key] = Library.build(prepared(self._spectra, choice))
        return self._libraries[key]

    def save(self, folder: Path) -> None:
        if self._spectra is None:
            raise self.not_fitted()
        super().save(folder)
        write_json(folder / "chosen.json", self.chosen)
        write_parquet(folder / "library.parquet", self._spectra)

    @classmethod
    def load(cls, folder: Path) -> Self:
        model = super().load(folder)
        model.chosen = dict(json.loads((folder / "chosen.json").read_text(encoding="utf-8")))
        model._spectra = pl.read_parquet(folder / "library.parquet")
        return model


def validation_queries(val: pl.DataFrame, where: str, remedy: str = "take a larger fold val") -> pl.DataFrame:
    """The rows that have candidates. Raises ModelError where none has."""
    asked = val.filter(pl.col("candidates").list.len() > 0) if "candidates" in val.columns else val.head(0)
    if asked.is_empty():
        raise ModelError("no validation query to choose by", where=where, remedy=remedy)
    return asked


def scored(queries: pl.DataFrame, library: Library, pairs: Pairs, score: NDArray[np.float64]) -> pl.DataFrame:
    """PREDICTED_SCORES of the queries' candidates in the order asked; score: (m,) of the pairs."""
    found = pl.DataFrame(
        {
            "identifier": queries["identifier"].gather(pairs.query),
            "candidate": library.rows["identifier"].gather(pairs.row),
            "score": score,
        }
    )
    order = queries.select("identifier", candidate="candidates").filter(pl.col("candidate").list.len() > 0)
    rows = order.explode("candidate").join(found, on=["identifier", "candidate"], how="left", maintain_order="left")
    return conform(rows, PREDICTED_SCORES)


def _combinations(options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All combinations of the options' values, each once; scores by entropy have weights of their own."""
    values = [list(value) if isinstance(value, list | tuple) else [value] for value in options.values()]
    found: list[dict[str, Any]] = []
    for combination in product(*values):
        choice = dict(zip(options, combination, strict=True))
        if not _weighable(choice["score"]):
            choice |= {"intensity_power": 1.0, "mz_power": 0.0}
        if choice not in found:
            found.append(choice)
    return found


def _weighable(score: str) -> bool:
    return not (score.startswith("entropy") or score == "hybrid")


def _scoring(choice: Mapping[str, Any]) -> Scoring:
    return Scoring(choice["score"], choice["tolerance"], float(choice["intensity_power"]), float(choice["mz_power"]))


def told(choice: Mapping[str, Any]) -> str:
    """In words."""
    return ", ".join(f"{key} {value}" for key, value in choice.items())


def prepared(frame: pl.DataFrame, choice: Mapping[str, Any]) -> pl.DataFrame:
    """Spectra without the region of the precursor, and without peaks below a share of the base peak, where chosen."""
    if choice["precursor"] == "keep" and not choice["min_intensity"]:
        return frame
    peaks = frame.select("precursor_mz", "mzs", "intensities").with_row_index("_row")
    long = peaks.filter(pl.col("mzs").list.len() > 0).explode("mzs", "intensities")
    keep = pl.lit(True)
    if choice["precursor"] == "remove":
        offset = pl.col("mzs") - pl.col("precursor_mz")
        keep &= ~((offset >= -PRECURSOR_BELOW) & (offset <= PRECURSOR_ABOVE)).fill_null(False)
    keep &= pl.col("intensities") >= choice["min_intensity"] * pl.col("intensities").max().over("_row")
    kept = long.filter(keep).group_by("_row", maintain_order=True).agg("mzs", "intensities")
    rows = peaks.select("_row").join(kept, on="_row", how="left", maintain_order="left")
    columns = [pl.Series(n, rows[n]).fill_null(pl.Series([[]], dtype=rows.schema[n])) for n in ("mzs", "intensities")]
    return frame.with_columns(columns)
