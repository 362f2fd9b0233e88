"""rank-by-spectra: a spectrum predictor as a ranker. Candidates are ranked by how well their predicted spectrum fits.

Each candidate of a query becomes a question to the inner model: its structure under the query's own adduct, energy,
instrument and precursor m/z. Equal questions (spectra recorded alike, of one pool) are asked once; blocks bound the
memory. The score is a spectrum similarity (`docs/metrics.md`) of prediction and measured spectrum. The default,
`cosine-sqrt@0.1Da`, takes the square root because a ranking lives from small peaks, and bins wide enough for models
that predict bins of 0.1 Da. `precursor: remove` leaves the precursor region out on both sides.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from ...chem import molecule
from ...errors import ConfigError, PredictionError
from ...metrics.names import parse_as
from ...metrics.spectrum import score_flat
from ...metrics.spectrum_names import NO_PRECURSOR, SpectrumMetric
from ...schemas import PREDICTED_SCORES, PREDICTED_SPECTRA, conform
from ...spectra.flat import Flat, flatten
from ..protocol import FitContext, FitReport
from .bridge import Bridge, BridgeOptions

#: What a candidate's spectrum is asked under: the query's own.
CONDITIONS = (
    "adduct", "charge", "ion_mode", "precursor_mz", "instrument_type", "fragmentation", "collision_energy",
    "collision_energy_kind",
)  # fmt: skip
_PAIRS = 20_000  # alignments at a time: 100 peaks a side are 64 MB


class RankBySpectraOptions(BridgeOptions):
    """Options of rank-by-spectra."""

    similarity: str = Field("cosine-sqrt@0.1Da", description="a spectrum metric that is a similarity")
    precursor: Literal["keep", "remove"] = "keep"
    block: int = Field(50_000, ge=1, description="candidates of queries handled at a time")


class RankBySpectra(Bridge):
    """Ranks candidates by the spectrum that the inner model predicts for each."""

    name = "rank-by-spectra"
    inner_task = "spectrum-prediction"
    inner_metric = "cosine@0.1Da"
    Options = RankBySpectraOptions

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.metric = similarity_metric(self.options.similarity, self.options.precursor)
        self._progress: Callable[[str], None] | None = None

    def fit(self, train: pl.DataFrame, val: pl.DataFrame, context: FitContext) -> FitReport:
        self._progress = context.progress
        return super().fit(train, val, context)

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame:
        """PREDICTED_SCORES of all candidates that the inner model answers, in the order asked.

        Progress goes to the context's `progress`, or to the one set by `report_to`.
        """
        asked = queries.filter(pl.col("candidates").list.len() > 0).with_row_index("query")
        total = int(asked["candidates"].list.len().sum())
        formulas = _formulas(asked["candidate_smiles"])
        parts, done, started = [pl.DataFrame(schema={"query": pl.UInt32, **PREDICTED_SCORES})], 0, time.perf_counter()
        for block in _blocks(asked, self.options.block):
            parts.append(self._ranked(block, formulas))
            done += int(block["candidates"].list.len().sum())
            self._say(done, total, time.perf_counter() - started)
        return conform(pl.concat(parts).sort("query", maintain_order=True), PREDICTED_SCORES)

    def report_to(self, progress: Callable[[str], None]) -> None:
        super().report_to(progress)
        self._progress = progress

    def _say(self, done: int, total: int, seconds: float) -> None:
        if self._progress is not None and total > self.options.block:
            rate = done / max(seconds, 1e-9)
            left = (total - done) / rate / 60
            self._progress(f"ranked {done:,} of {total:,} candidates, {rate:,.0f}/s, {left:.1f} min left")

    def _ranked(self, block: pl.DataFrame, formulas: pl.DataFrame) -> pl.DataFrame:
        """Scores of one block of queries: (query, identifier, candidate, score)."""
        block = block.with_row_index("row")
        pairs = block.select(
            "row", "query", "identifier", *CONDITIONS, inchikey14="candidates", smiles="candidate_smiles"
        )
        pairs = pairs.explode("inchikey14", "smiles")
        key = ["inchikey14", "smiles", *CONDITIONS]
        questions = pairs.select(key).unique(maintain_order=True).with_row_index("question")
        pairs = pairs.join(questions, on=key, how="left", nulls_equal=True, maintain_order="left")
        name = pl.format("candidate-{}", "question").alias("identifier")
        shown = questions.join(formulas, on="smiles", how="left", maintain_order="left").select(
            name, "smiles", "inchikey14", "formula", *CONDITIONS
        )
        predicted = conform(self.inner.predict(shown), PREDICTED_SPECTRA)
        predicted = shown.select("identifier").join(predicted, on="identifier", how="left", maintain_order="left")
        if predicted.height != shown.height:
            raise PredictionError(f"{self.options.of!r} predicts a molecule twice", remedy="one row a query")
        answered = predicted["mzs"].is_not_null().to_numpy()
        values = self._scores(block, pairs, flatten(predicted, PredictionError, "predictions"))
        scored = pairs.select("query", "identifier", candidate="inchikey14", score=pl.Series(values))
        return scored.filter(pl.Series(answered[pairs["question"].to_numpy()], dtype=pl.Boolean))

    def _scores(self, block: pl.DataFrame, pairs: pl.DataFrame, predicted: Flat) -> NDArray[np.float64]:
        """Similarity of every pair, (pairs,), some thousand alignments at a time."""
        recorded = flatten(block)
        question = pairs["question"].to_numpy().astype(np.int64)
        row = pairs["row"].to_numpy().astype(np.int64)
        precursor = pairs["precursor_mz"].to_numpy()
        metrics = {self.metric.name: self.metric}
        out = np.zeros(pairs.height)
        for start in range(0, pairs.height, _PAIRS):
            part = slice(start, start + _PAIRS)
            sides = take(predicted, question[part]), take(recorded, row[part])
            out[part] = score_flat(*sides, metrics, precursor[part])[self.metric.name]
        return out


def take(spectra: Flat, rows: NDArray[np.int64]) -> Flat:
    """The spectra of these numbers, in this order; a number may come more than once."""
    lengths = np.diff(spectra.offsets)[rows]
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    peak = np.arange(offsets[-1]) + np.repeat(spectra.offsets[rows] - offsets[:-1], lengths)
    return Flat(spectra.mzs[peak], spectra.intensities[peak], offsets)


def similarity_metric(name: str, precursor: str) -> SpectrumMetric:
    """The metric to rank by. Raises ConfigError for a name that is no similarity of spectra."""
    if precursor == "remove" and not name.endswith(NO_PRECURSOR):
        name += NO_PRECURSOR
    metric = parse_as(SpectrumMetric, name)
    if not metric.higher_is_better:
        raise ConfigError(
            f"{name!r} is no similarity", where="option 'similarity'", remedy="e.g. cosine-sqrt@0.1Da, entropy@10ppm"
        )
    return metric


def _formulas(lists: pl.Series) -> pl.DataFrame:
    """(smiles, formula) of every distinct candidate."""
    distinct = lists.explode().drop_nulls().unique().sort()
    return pl.DataFrame(
        {"smiles": distinct, "formula": pl.Series(molecule.formulas(distinct.to_list()), dtype=pl.String)}
    )


def _blocks(queries: pl.DataFrame, size: int) -> Iterator[pl.DataFrame]:
    """Queries in blocks of about `size` candidates; those with equal questions lie side by side."""
    pool = pl.col("candidate_smiles").list.join("\n").rank("dense")
    alike = queries.with_columns(pool=pool).sort("pool", *CONDITIONS, "query").drop("pool")
    before = alike["candidates"].list.len().cum_sum().to_numpy().astype(np.int64)
    first = 0
    while first < alike.height:
        reach = (before[first - 1] if first else 0) + size
        last = max(int(np.searchsorted(before, reach, side="right")), first + 1)
        yield alike.slice(first, last - first)
        first = last
