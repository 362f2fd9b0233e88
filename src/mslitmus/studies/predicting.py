"""Questions in, predicted spectra out: in chunks, so that a list of any length takes the memory of one chunk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import polars as pl

from ..errors import ChemistryError, ConfigError, ModelError, MslitmusError
from ..models.predict.asking import Defaults, Question, queries
from ..schemas import SPECTRA, conform
from .chosen_model import Chosen
from .trusted import Trusted, unknown_trust

CHUNK = 2048
FLAG = "predicted"
#: Of each peak where the model explains them: formula of the ion, atom numbers in `smiles`, hydrogens gained or lost.
ORIGINS = ("peak_formulas", "peak_atoms", "peak_shifts")


@dataclass(frozen=True)
class Answer:
    """Of one chunk.

    Attributes:
        frame: SPECTRA columns, then the expected similarity's, then ORIGINS where explained; the order asked.
        problems: why the other rows of the chunk have no spectrum; each names its row.
        asked: rows of the chunk.
    """

    frame: pl.DataFrame
    problems: list[MslitmusError]
    asked: int


@dataclass(frozen=True)
class Predictor:
    """A loaded model with its trust. `explain` asks it for the origin of each peak.

    Raises ConfigError where the model cannot explain its peaks.
    """

    model: Any
    chosen: Chosen
    trust: Trusted | None = None
    explain: bool = False
    source: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "source", f"predicted by {self.chosen.label}")
        if self.explain and not explains(self.model):
            remedy = "train a predictor with the head fragment or formula, or leave out --explain"
            raise ConfigError("this model does not explain its peaks", where=self.chosen.label, remedy=remedy)
        for name in ("store", "head_store"):  # what a stream has asked once it does not ask again
            if (store := getattr(self.model, name, None)) is not None:
                store.limit = 0

    @property
    def adducts(self) -> tuple[str, ...] | None:
        """Adducts that the model learned; None for a model that keeps no list of them."""
        conditions = getattr(self.model, "conditions", None)
        return getattr(conditions, "adducts", None)

    def answer(self, asked: pl.DataFrame) -> tuple[pl.DataFrame, list[tuple[int, MslitmusError]]]:
        """Spectra of QUERIES rows (or rows of SPECTRA with `asked`), and (asked, why) of rows that have none.

        A molecule that the model's own chemistry refuses costs itself alone, not its chunk.
        """
        if asked.is_empty():
            return self._table(asked, _no_peaks(asked)), []
        named = asked.with_columns(identifier=pl.col("asked").cast(pl.String)).drop("asked")
        try:
            peaks = self._peaks(named)
        except (ChemistryError, ModelError) as error:
            if asked.height == 1:
                return self._table(asked.clear(), _no_peaks(asked.clear())), [(asked["asked"][0], error)]
            half = asked.height // 2
            parts = [self.answer(part) for part in (asked[:half], asked[half:])]
            return pl.concat([frame for frame, _ in parts], how="diagonal"), [
                one for _, found in parts for one in found
            ]
        empty = peaks["mzs"].list.len().fill_null(0) == 0
        lost = ModelError("the model predicts no peak", remedy="check adduct and energy, or ask another model")
        return self._table(asked.filter(~empty), peaks.filter(~empty)), [
            (number, lost) for number in asked.filter(empty)["asked"].to_list()
        ]

    def _peaks(self, named: pl.DataFrame) -> pl.DataFrame:
        """mzs, intensities (and ORIGINS) of each row, in order."""
        if not self.explain:
            predicted = self.model.predict(named)
        else:
            each = self.model.explain(named).sort("identifier", "mz", maintain_order=True)
            absent = [name for name in ("formula", "atoms", "shift") if name not in each.columns]
            each = each.with_columns(pl.lit(None).alias(name) for name in absent)
            predicted = each.group_by("identifier", maintain_order=True).agg(
                mzs=pl.col("mz"),
                intensities=pl.col("intensity"),
                peak_formulas=pl.col("formula").cast(pl.String),
                peak_atoms=pl.col("atoms").cast(pl.List(pl.UInt16)),
                peak_shifts=pl.col("shift").cast(pl.Int8),
            )
        return named.select("identifier").join(predicted, on="identifier", how="left", maintain_order="left")

    def _table(self, asked: pl.DataFrame, peaks: pl.DataFrame) -> pl.DataFrame:
        extra = [peaks[name] for name in ORIGINS if name in peaks.columns]
        columns = {
            "ms_level": pl.lit(2),
            "source": pl.lit(self.source),
            "flags": pl.lit([FLAG], dtype=pl.List(pl.String)),
        }
        frame = asked.with_columns(peaks["mzs"], _relative(peaks["intensities"]), **columns)
        known = (
            unknown_trust(asked.height)
            if self.trust is None or asked.is_empty()
            else self.trust.columns(asked, peaks.select("mzs", "intensities", pl.col("identifier")))
        )
        return conform(frame, SPECTRA).hstack([*known, *extra])


def explains(model: Any) -> bool:
    """Whether it knows where its peaks come from: heads of one model class differ in that."""
    head = getattr(getattr(model, "network", None), "head", None)
    return hasattr(model, "explain") and (head is None or hasattr(head, "origins"))


def stream(
    predictor: Predictor, questions: Iterable[Question], defaults: Defaults, chunk: int = CHUNK
) -> Iterator[Answer]:
    """Answers chunk by chunk. Raises ConfigError for defaults that can be read in no row; bad rows raise nothing."""
    defaults.check()
    rest, first = iter(questions), 0
    while part := list(islice(rest, chunk)):
        yield _chunk(predictor, part, defaults, first)
        first += len(part)


def _chunk(predictor: Predictor, part: Sequence[Question], defaults: Defaults, first: int) -> Answer:
    asked, problems = queries(part, defaults, first)
    frame, refused = predictor.answer(asked)
    for number, error in refused:
        where = part[number - first].where
        problems.append(type(error)(error.message, where=where, remedy=error.remedy))
    return Answer(frame, problems, len(part))


def _no_peaks(asked: pl.DataFrame) -> pl.DataFrame:
    lists = {"mzs": pl.List(pl.Float64), "intensities": pl.List(pl.Float32)}
    nothing = [pl.Series(name, [None] * asked.height, dtype=dtype) for name, dtype in lists.items()]
    return asked.select("identifier").with_columns(nothing)


def _relative(intensities: pl.Series) -> pl.Series:
    """Base peak 1, as the schema asks."""
    column = pl.col("intensities").list
    return intensities.to_frame("intensities").select(column.eval(pl.element() / pl.element().max())).to_series()
