"""Structures for spectra from files: a generator of a run, the formula where it is not told, and how far to trust it.

The score of a first answer says little by itself. The validation queries of the generator's run say what it was worth:
the mean Tanimoto similarity of first answers to the truth, as a non-decreasing function of their score (pool adjacent
violators). Below the least expected similarity (or score) a query counts as without a confident structure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from ..chem.molecule import formulas, inchikey14
from ..errors import ConfigError, DataError, RunError
from ..metrics.rates import Isotonic
from ..metrics.spectrum import score as score_spectra
from ..models.formula_guess import FormulaPrior, GuessOptions, scored_guess
from ..schemas import Schema, conform
from .chosen_model import Chosen, choose
from .folder import read_table
from .predicting import Predictor

TASK, FIRST, AGREES = "generation", "mol-tanimoto@1", "cosine@0.1Da"
GENERATED: Schema = {
    "identifier": pl.String(),  # of the query
    "rank": pl.Int32(),  # from 1; null where no structure was found
    "smiles": pl.String(),
    "inchikey14": pl.String(),
    "score": pl.Float64(),  # of the model; comparable between queries by the next column only
    "expected_similarity": pl.Float64(),  # Tanimoto to the truth that first answers of this score had on validation
    "confident": pl.Boolean(),  # null where there is nothing to judge by
    "repredicted": pl.Float64(),  # cosine of the query and the spectrum predicted for this structure; of rank 1
    "formula": pl.String(),  # that the structure was asked to have
    "formula_from": pl.String(),  # told, inferred
    "formula_lead": pl.Float64(),  # of the best inferred one: score before the next best formula
    "precursor_mz": pl.Float64(),
    "adduct": pl.String(),
}
_ADDUCTS = {"positive": "[M+H]+", "negative": "[M-H]-"}
_FEWEST = 10  # validation queries that a calibration needs


@dataclass(frozen=True)
class Trust:
    """When an answer counts as confident: by its score, or by what such scores were worth on validation."""

    curve: Isotonic | None = None
    expected: float = 0.5
    least_score: float | None = None
    queries: int = 0

    @property
    def told(self) -> str:
        if self.least_score is not None:
            return f"score {self.least_score:g} or more, as given"
        if self.curve is None:
            return "nothing to judge by: no validation answers beside the model; --min-score sets a limit"
        return f"expected similarity {self.expected:g} or more, calibrated on {self.queries:,} validation queries"

    def of(self, score: float | None) -> tuple[float | None, bool | None]:
        """(expected similarity, confident) of the first answer."""
        if score is None:
            return None, False
        value = None if self.curve is None else float(self.curve(np.array([score]))[0])
        if self.least_score is not None:
            return value, score >= self.least_score
        return value, None if value is None else value >= self.expected


def trust_of(chosen: Chosen, expected: float, least_score: float | None) -> Trust:
    """From the validation answers of the chosen model's cell, where it has them."""
    if chosen.cell is None or not (chosen.cell / "scores.parquet").is_file():
        return Trust(None, expected, least_score)
    scores = read_table(chosen.cell / "scores.parquet").filter(pl.col("fold") == "val")
    if FIRST not in scores.columns:
        return Trust(None, expected, least_score)
    answers = read_table(chosen.cell / "predictions.parquet").filter(pl.col("smiles").is_not_null())
    first = answers.group_by("identifier").agg(first=pl.col("score").max())
    rows = scores.join(first, on="identifier", how="inner", maintain_order="left").drop_nulls(FIRST)
    if rows.height < _FEWEST:
        return Trust(None, expected, least_score)
    each = (1 / pl.len().over("inchikey14")).alias("weight")  # every molecule weighs one
    x, y = (rows[name].to_numpy().astype(np.float64) for name in ("first", FIRST))
    return Trust(Isotonic(x, y, rows.select(each)["weight"].to_numpy()), expected, least_score, rows.height)


@dataclass(frozen=True)
class QueryFormulae:
    """Where formulae come from: a table of identifier and formula, the record, and else a guess.

    Args:
        prior: from the generator's training molecules; None where it keeps none.
        listed: identifier → formula.
        always: guess even where the record tells one.
        options: of the guess.
    """

    prior: FormulaPrior | None
    listed: Mapping[str, str] | None = None
    always: bool = False
    options: GuessOptions = field(default_factory=lambda: GuessOptions.model_validate({}))

    def add(self, frame: pl.DataFrame) -> pl.DataFrame:
        """`frame` with `formula`, `formula_from`, `formula_lead`. Raises ConfigError where a guess cannot be made."""
        stated = frame["formula"] if not self.always else pl.Series("formula", [None] * frame.height, dtype=pl.String)
        if self.listed is not None:
            stated = pl.Series("formula", [self.listed.get(name) for name in frame["identifier"]], dtype=pl.String)
        open_ = stated.is_null()
        if open_.any() and self.prior is None:
            remedy = "state them in the records or with --formula TABLE, or give a model that keeps training formulae"
            raise ConfigError(
                f"{int(open_.sum())} queries without a formula", where=str(frame["identifier"][0]), remedy=remedy
            )
        found = (
            scored_guess(frame, self.prior, self.options)
            if self.prior is not None and open_.any()
            else pl.DataFrame({"formula": stated, "formula_lead": pl.Series([None] * frame.height, dtype=pl.Float64)})
        )
        origin = pl.when(pl.lit(open_)).then(pl.lit("inferred")).otherwise(pl.lit("told"))
        formula = pl.when(pl.lit(open_)).then(pl.lit(found["formula"])).otherwise(pl.lit(stated))
        lead = pl.when(pl.lit(open_)).then(pl.lit(found["formula_lead"]))
        return frame.with_columns(
            formula=formula,
            formula_from=pl.when(formula.is_not_null()).then(origin),
            formula_lead=lead,
        )


def listed_formulae(path: Path) -> dict[str, str]:
    """A TSV or CSV with the columns identifier and formula. Raises DataError."""
    try:
        table = pl.read_csv(path, separator="\t" if path.suffix.lower() in (".tsv", ".txt") else ",")
        rows = table.select(pl.col("identifier", "formula").cast(pl.String)).drop_nulls()
    except (OSError, pl.exceptions.PolarsError) as error:
        remedy = "a TSV or CSV with the columns identifier and formula; or --formula record, --formula inferred"
        raise DataError(f"no table of formulae: {error}", where=str(path), remedy=remedy) from error
    return dict(rows.iter_rows())


@dataclass
class Generating:
    """A generator that answers frames of queries, with its trust, formulae and (or not) a predictor of spectra."""

    model: Any
    chosen: Chosen
    trust: Trust
    formulae: QueryFormulae | None
    predictor: Predictor | None = None
    top: int = 10
    answered: int = 0
    confident: int = 0
    asked: int = 0

    @property
    def mixed(self) -> bool:
        """Whether it has members that answer with any formula."""
        return hasattr(self.model, "members")

    @property
    def guesses(self) -> bool:
        """Whether the model chooses the formulae that are not told."""
        return getattr(getattr(self.model, "options", None), "formula", None) == "predicted"

    def answer(self, frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """(queries as they were asked, GENERATED rows best first). A query that cannot be asked has one empty row."""
        queries = _with_adducts(frame)
        if self.formulae is not None:
            queries = self.formulae.add(queries)
        else:
            nothing = {"formula_from": pl.lit(None, pl.String), "formula_lead": pl.lit(None, pl.Float64)}
            queries = queries.with_columns(formula=pl.lit(None, pl.String), **nothing)
        able = queries.filter(pl.col("precursor_mz").is_finite() & (pl.col("mzs").list.len() > 0))
        if self.guesses:  # the model's own, more than one of a query perhaps
            able = able.with_columns(pl.when(pl.col("formula_from") == "told").then("formula"))
        found = self.model.predict(able if self.formulae is not None else able.drop("formula"))
        found = found.filter(pl.col("smiles").is_not_null()).with_columns(
            rank=pl.int_range(1, pl.len() + 1).over("identifier").cast(pl.Int32)
        )
        about = ["formula", "formula_from", "formula_lead", "precursor_mz", "adduct"]
        rows = queries.select("identifier", *about).join(
            found.filter(pl.col("rank") <= self.top), on="identifier", how="left", maintain_order="left_right"
        )
        if self.guesses or self.mixed:
            own = _own_formulae(rows)  # the lead is the best guess's, not that of the others
            asked = pl.col("formula") == own
            origin = pl.when(asked).then("formula_from") if self.mixed else pl.col("formula_from")
            rows = rows.with_columns(own, formula_lead=pl.when(asked).then("formula_lead"), formula_from=origin)
        rows = self._judged(rows)
        rows = rows.with_columns(pl.col("smiles").map_elements(inchikey14, pl.String).alias("inchikey14"))
        first = rows.filter(pl.col("rank") == 1)
        agrees = self._repredicted(queries, first)
        rows = rows.join(agrees.select("identifier", "repredicted"), on="identifier", how="left", maintain_order="left")
        rows = rows.with_columns(repredicted=pl.when(pl.col("rank") == 1).then("repredicted"))
        self.asked += queries.height
        self.answered += first.height
        self.confident += int(first["confident"].fill_null(False).sum())
        spectra = agrees.select("identifier", "predicted_mzs", "predicted_intensities")
        return queries.join(spectra, on="identifier", how="left", maintain_order="left"), conform(rows, GENERATED)

    def _judged(self, rows: pl.DataFrame) -> pl.DataFrame:
        first = rows.group_by("identifier", maintain_order=True).agg(best=pl.col("score").max())
        judged = [self.trust.of(best) for best in first["best"].to_list()]
        columns = {
            "expected_similarity": pl.Series([value for value, _ in judged], dtype=pl.Float64),
            "confident": pl.Series([sure for _, sure in judged], dtype=pl.Boolean),
        }
        told = first.select("identifier").with_columns(**columns)
        rows = rows.join(told, on="identifier", how="left", maintain_order="left")
        return rows.with_columns(expected_similarity=pl.when(pl.col("rank") == 1).then("expected_similarity"))

    def _repredicted(self, queries: pl.DataFrame, first: pl.DataFrame) -> pl.DataFrame:
        """Predicted spectra of first answers and their cosine to the query; no row where none is predicted."""
        lists = {"predicted_mzs": pl.List(pl.Float64), "predicted_intensities": pl.List(pl.Float32)}
        nothing = pl.DataFrame(schema={"identifier": pl.String, "repredicted": pl.Float64, **lists})
        if self.predictor is None or first.is_empty():
            return nothing
        structure = first.select("identifier", "smiles", "inchikey14")
        asked = queries.drop("smiles", "inchikey14").join(
            structure, on="identifier", how="inner", maintain_order="left"
        )
        asked = asked.drop("retention_time", strict=False).with_row_index("asked")
        frame, _ = self.predictor.answer(asked)
        if frame.is_empty():
            return nothing
        named = frame.select("identifier", "mzs", "intensities")
        truth = named.select("identifier").join(
            queries.select("identifier", "mzs", "intensities"), on="identifier", how="left", maintain_order="left"
        )
        scored = score_spectra(named, truth, [AGREES])
        return named.select("identifier", predicted_mzs="mzs", predicted_intensities="intensities").with_columns(
            repredicted=scored[AGREES]
        )


def _own_formulae(rows: pl.DataFrame) -> pl.Series:
    """Of each structure; where there is none, that which stands there."""
    distinct = rows["smiles"].drop_nulls().unique().to_list()
    known = dict(zip(distinct, formulas(distinct), strict=True))
    own = [known.get(smiles, named) for smiles, named in rows.select("smiles", "formula").iter_rows()]
    return pl.Series("formula", own, dtype=pl.String)


def _with_adducts(frame: pl.DataFrame) -> pl.DataFrame:
    """Of spectra that state none: [M+H]+ or [M-H]- by their ion mode, positive where that is unknown too."""
    mode = pl.col("ion_mode").fill_null("positive")
    return frame.with_columns(adduct=pl.col("adduct").fill_null(mode.replace_strict(_ADDUCTS)))


def open_generating(
    folder: Path,
    row: str | None,
    formula: str,
    trusting: tuple[float, float | None],
    predictor: Path | None,
    top: int,
) -> Generating:
    """Everything that is needed, loaded. `formula`: `record`, `inferred`, or a table's path; `top`: structures a query,
    at most as many as the model has beams. Raises as its parts do."""
    chosen = choose(folder, row, task=TASK)
    model = chosen.load()
    if getattr(model, "formulas", None) is None:
        raise RunError(
            "this model writes no structures of its own", where=chosen.label, remedy="give a trained generator"
        )
    if hasattr(model.options, "beams"):  # a blend has as many places as it has learned
        model.options = model.options.model_copy(update={"structures": max(top, model.options.structures)})
    formulae = None
    if model.options.formula not in ("absent", "hidden"):
        listed = None if formula in ("record", "inferred") else listed_formulae(Path(formula))
        prior = FormulaPrior.of(model.formulas) if model.formulas else None
        formulae = QueryFormulae(prior, listed, formula == "inferred", model.formulae.options)
        model.formulae.believes = True
    predicts = None
    if predictor is not None:
        by = choose(predictor)
        predicts = Predictor(by.load(), by)
    return Generating(model, chosen, trust_of(chosen, *trusting), formulae, predicts, top)


class Tsv:
    """GENERATED as tab-separated text; an unknown value is an empty field."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        stream.write(("\t".join(GENERATED) + "\n").encode())

    def write(self, queries: pl.DataFrame, hits: pl.DataFrame) -> None:
        rounded = hits.with_columns(pl.col(pl.Float64).round(6))
        self._stream.write(rounded.write_csv(separator="\t", include_header=False, quote_style="never").encode())

    def close(self) -> None:
        """Nothing is held back."""


class Parquet:
    """One row group a batch."""

    def __init__(self, stream: BinaryIO) -> None:
        arrow = pl.DataFrame(schema=dict(GENERATED)).to_arrow(compat_level=pl.CompatLevel.oldest()).schema
        self._writer = pq.ParquetWriter(stream, arrow, compression="zstd")

    def write(self, queries: pl.DataFrame, hits: pl.DataFrame) -> None:
        self._writer.write_table(hits.to_arrow(compat_level=pl.CompatLevel.oldest()))

    def close(self) -> None:
        self._writer.close()
