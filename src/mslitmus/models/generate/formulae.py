"""Which formula a query is read and written with: the one it names, those that its spectrum suggests, or none.

`predicted` chooses from precursor, adduct and peaks (`models.formula_guess`); training spectra have their own formula.
With `guesses` above one the beams are shared out among the best formulae, and an answer's score is its log-likelihood
plus the log of its formula's weight, the softmax of the guesses' scores. A masked network's guess sees no peaks either.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...chem.formula import parse_formula
from ...errors import ChemistryError, ModelError
from ..formula_guess import FormulaPrior, GuessOptions, best_guesses

Source = Literal["given", "predicted", "absent"]
_SCHEMA = {"formulae": pl.List(pl.String), "log_weights": pl.List(pl.Float64)}


class Formulae:
    """Adds formulae to queries.

    Args:
        source: where they come from.
        options: of a guess.
        guesses: formulae of a query at most.

    Attributes:
        known: of the training molecules: what a guess is made by.
        believes: whether a formula that a query names is taken for true though others are guessed: so for one's own
            spectra, and not in a study, where a row that predicts formulae predicts them all.
    """

    def __init__(self, source: Source, options: GuessOptions, guesses: int = 1) -> None:
        self.source, self.options, self.guesses = source, options, guesses
        self.known: tuple[str, ...] = ()
        self.believes = False
        self._prior: tuple[tuple[str, ...], FormulaPrior] | None = None

    @property
    def prior(self) -> FormulaPrior:
        """Of the formulae that are known now."""
        if self._prior is None or self._prior[0] != self.known:
            self._prior = self.known, FormulaPrior.of(self.known)
        return self._prior[1]

    def asked(self, queries: pl.DataFrame) -> pl.DataFrame:
        """`queries` with `formula`; guessed ones with the lists `formulae` and `log_weights` too, best first.

        Null, and empty, where nothing fits; null where what is given is no formula. Raises ModelError where formulae
        are to be given and are not.
        """
        if self.source == "absent":
            return queries.drop("formula", strict=False)
        if self.source == "given":
            if "formula" not in queries.columns:
                remedy = "formula: predicted, or absent, or a task that shows it"
                raise ModelError("the queries do not name their formula", remedy=remedy)
            return queries.with_columns(formula=_readable(queries["formula"]))
        found = best_guesses(queries, self.prior, self.options, self.guesses)
        weights = pl.Series(_log_softmax(found["scores"]), dtype=_SCHEMA["log_weights"])
        found = found.select("formulae", log_weights=weights)
        if self.believes and "formula" in queries.columns:
            told = _readable(queries["formula"])
            own = [[text] if text else guesses for text, guesses in zip(told, found["formulae"], strict=True)]
            sure = [[0.0] if text else each for text, each in zip(told, found["log_weights"], strict=True)]
            found = pl.DataFrame({"formulae": own, "log_weights": sure}, schema=_SCHEMA)
        return queries.with_columns(formula=found["formulae"].list.first(), **{n: found[n] for n in _SCHEMA})

    def spread(self, asked: pl.DataFrame) -> tuple[NDArray[np.int64], pl.DataFrame, NDArray[np.float64]]:
        """Of what `asked` gave, a row for each formula of each query: (m,) the query, the rows, (m,) log weights.

        A query without a formula keeps its one row.
        """
        if "formulae" not in asked.columns:
            return np.arange(asked.height), asked, np.zeros(asked.height)
        lists = asked.with_row_index("query").with_columns(
            pl.when(pl.col(name).list.len() > 0).then(name).otherwise(pl.lit([None])).alias(name) for name in _SCHEMA
        )
        rows = lists.drop("formula").explode(*_SCHEMA).rename({"formulae": "formula"})
        return (
            rows["query"].to_numpy().astype(np.int64),
            rows.drop("query", "log_weights"),
            rows["log_weights"].fill_null(0.0).to_numpy(),
        )

    def accuracy(self, queries: pl.DataFrame, truth: pl.Series) -> dict[str, Any]:
        """Notes: the source and, where formulae are guessed, how often the true one comes first and comes at all."""
        notes: dict[str, Any] = {"formula": self.source}
        if self.source == "predicted" and queries.height:
            found = best_guesses(queries, self.prior, self.options, self.guesses)["formulae"].to_list()
            true = truth.to_list()
            first = [bool(each) and each[0] == text for each, text in zip(found, true, strict=True)]
            notes["formula_accuracy_on_validation"] = round(float(np.mean(first)), 4)
            if self.guesses > 1:
                among = np.mean([text in each for each, text in zip(found, true, strict=True)])
                notes["formula_among_guesses_on_validation"] = round(float(among), 4)
            notes["formula_guessed_for"] = queries.height
        return notes


def _readable(formulae: pl.Series) -> pl.Series:
    """In the one spelling by which answers are compared (Hill's); null for what is no formula."""
    known = {text: _read(text) for text in formulae.drop_nulls().unique().to_list()}
    return formulae.cast(pl.String).replace_strict(known, default=None, return_dtype=pl.String)


def _read(text: str) -> str | None:
    try:
        return str(parse_formula(text))
    except ChemistryError:
        return None


def _log_softmax(scores: pl.Series) -> list[list[float]]:
    """Of each list; an empty one stays empty."""
    return [_one(each) if len(each) else [] for each in scores.to_list()]


def _one(scores: Sequence[float]) -> list[float]:
    values = np.asarray(scores, np.float64) - max(scores)
    found: list[float] = (values - np.log(np.exp(values).sum())).tolist()
    return found
