"""fingerprint-transformer: peaks as sub-formulae → transformer → Morgan fingerprint.

    precursor formula, peaks with sub-formula and neutral loss → tokens ┐
    adduct, ion mode, instrument, energy → conditioning ┴→ attention that sees difference formulae → 256 … 2048 logits

`formula` says where the precursor's formula comes from: `given` by the task, `predicted` from precursor and peaks
(`formula_guess`; training spectra have their own or guessed ones), or `absent`: m/z instead of formulae everywhere.

Source: MIST (Goldman et al., Nat. Mach. Intell. 2023, doi 10.1038/s42256-023-00708-3). Here without its simulated
fragments and its contrastive retrieval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from ...errors import ConfigError
from ...provenance import table_hash
from ...tasks.measured import MEASURED, with_structure
from ..formula_guess import FormulaPrior, GuessOptions, guess, guess_apart
from ..options import Options, TrainingOptions, parse_options
from ..predict.batching import epoch_rows, like_length
from ..predict.conditioning import Conditioning, ConditioningOptions, ConditionVocabulary, check_conditions
from ..protocol import FitContext
from ..trained import read_json, reading
from .base import TRAINING, FingerprintModel, FingerprintOptions
from .formula_network import FormulaNetwork, NetworkOptions, fold
from .formula_tokens import PeakOptions, TokenTable, tokens
from .losses import LOSSES

_TRAINING: Mapping[str, Any] = {**TRAINING, "batch_size": 64, "learning_rate": 1e-3, "weight_decay": 0.05}
_BUCKET = 30  # batches whose spectra are sorted by length together
_AT_ONCE = 256  # spectra of like length predicted together


class TransformerOptions(FingerprintOptions):
    """Options of `fingerprint-transformer`."""

    formula: Literal["given", "predicted", "absent"] = Field("given", description="where the precursor's comes from")
    guess: dict[str, Any] = Field(default_factory=dict, description="of `formula: predicted`")
    teach: Literal["own", "guessed"] = Field("own", description="formulae of training spectra with `predicted`")
    peaks: dict[str, Any] = Field(default_factory=dict)
    network: dict[str, Any] = Field(default_factory=dict)


class FingerprintTransformer(FingerprintModel):
    """A trained fingerprint predictor. The constructor refuses unknown options."""

    name = "fingerprint-transformer"
    chunk = 20_000

    def __init__(self, **options: Any) -> None:
        where = f"model {self.name!r}"
        self.options = parse_options(TransformerOptions, options, where=where)
        self.peaks = parse_options(PeakOptions, self.options.peaks, where="peaks")
        self.sizes = parse_options(NetworkOptions, self.options.network, where="network")
        self.guessing = parse_options(GuessOptions, self.options.guess, where="guess")
        if self.sizes.width % self.sizes.heads:
            what = f"width {self.sizes.width} does not divide by {self.sizes.heads} heads"
            raise ConfigError(what, where=where, remedy="set network.width to a multiple of network.heads")
        if self.options.teach == "guessed" and self.options.formula != "predicted":
            what = f"teach: guessed, with formula: {self.options.formula}"
            raise ConfigError(what, where=where, remedy="formula: predicted, or leave teach out")
        if self.sizes.lowest & (self.sizes.lowest - 1):
            raise ConfigError(f"lowest: {self.sizes.lowest}", where=where, remedy="a power of two: 256, 512, …")
        self.condition_options = parse_options(ConditioningOptions, self.options.conditions, where="conditions")
        self.training = parse_options(TrainingOptions, {**_TRAINING, **self.options.training}, where="training")
        self._chosen = check_conditions(self.options.conditioning)
        self.shown = (*MEASURED, "formula") if self.options.formula == "given" else MEASURED
        self.prior = FormulaPrior.of(())
        self._taught: float | None = None
        self._last: tuple[str, TokenTable] | None = None

    def described(self) -> dict[str, Any]:
        """All options, defaults included."""
        parts: dict[str, Options] = {"guess": self.guessing, "peaks": self.peaks, "network": self.sizes}
        parts |= {"conditions": self.condition_options, "training": self.training}
        return {**self.options.model_dump(mode="json"), **{name: part.model_dump() for name, part in parts.items()}}

    def check_task(self, task: Any) -> None:
        """Raises ConfigError where formulae are to be given and the task's queries do not name theirs."""
        if self.options.formula == "given" and "formula" not in task.visible:
            raise self._no_formula(f"which the task {task.name!r} hides")

    def _no_formula(self, why: str) -> ConfigError:
        return ConfigError(
            f"formula 'given' needs the formula of the queries, {why}",
            where=f"model {self.name!r}",
            remedy="options: {formula: predicted} or {formula: absent}, or task_options: {formula: given}",
        )

    # -- training ----------------------------------------------------------------------------------------------------

    def _build(self, vocabulary: ConditionVocabulary) -> None:
        super()._build(vocabulary)
        self._last = None  # a table is encoded by the vocabulary

    def _network(self, conditioning: Conditioning) -> nn.Module:
        return FormulaNetwork(conditioning, self.sizes, self.options.formula != "absent")

    def prepare(self, train: pl.DataFrame, context: FitContext) -> None:
        """As every predictor of fingerprints; what formulae molecules have is learned too. Raises ModelError."""
        self.prior = FormulaPrior.of(with_structure(train)["formula"].to_list())
        super().prepare(train, context)

    def start_from(self, folder: Path, head: str = "keep") -> None:
        """Vocabulary, formulae and weights of a saved model."""
        super().start_from(folder, head)
        self.prior = type(self).load(folder).prior

    def queries(self, val: pl.DataFrame) -> pl.DataFrame:
        """Spectra without their structures; how often their formula is predicted right goes into `notes`."""
        queries = super().queries(val)
        self.notes: dict[str, Any] = {"formula": self.options.formula}
        if self.options.formula == "predicted" and queries.height:
            truth = with_structure(val)["formula"]
            right = (guess(queries, self.prior, self.guessing) == truth).fill_null(False).to_numpy()
            self.notes["formula_accuracy_on_validation"] = round(float(right.mean()), 4)
        if self._taught is not None:
            self.notes["formula_accuracy_in_training"] = self._taught
        return queries

    def _tabulate(self, frame: pl.DataFrame, molecule: NDArray[np.int64], packed: NDArray[np.uint8]) -> TokenTable:
        conditions = self.vocabulary.encode(frame)
        return tokens(frame, self._formulas(frame, len(packed) > 0), self.peaks, conditions, molecule, packed)

    def _formulas(self, frame: pl.DataFrame, training: bool) -> pl.Series | None:
        """Formula of each row's molecule, None where the model reads none."""
        if self.options.formula == "absent":
            return None
        if self.options.formula == "predicted" and not training:
            return guess(frame, self.prior, self.guessing)
        if "formula" not in frame.columns:
            raise self._no_formula("which these do not name")
        if self.options.teach == "guessed":
            found = guess_apart(frame, self.guessing)
            self._taught = round(float((found == frame["formula"]).fill_null(False).to_numpy().mean()), 4)
            return found
        return frame["formula"]

    def _epoch(self, table: Any, order_seed: int) -> Sequence[NDArray[np.int64]]:
        """Batches of spectra of like length: those of some dozen batches, sorted by length, are dealt anew."""
        options = self.training
        rows = epoch_rows(table.molecule, options.batch_size, options.per_molecule, order_seed, self.options.at_most)
        return like_length(rows, table.lengths, order_seed, _BUCKET)

    def loss(self, batch: Any) -> Tensor:
        """Of the whole fingerprint, and `folded` times the mean of the lower resolutions'."""
        each = LOSSES[self.options.loss]
        *lower, last = self.network.resolutions(batch)  # type: ignore[operator]
        loss = each(last, batch.bits).mean()
        if lower and self.sizes.folded:
            folded = [each(logits, fold(batch.bits, logits.shape[1])).mean() for logits in lower]
            loss = loss + self.sizes.folded * torch.stack(folded).mean()
        return loss

    # -- prediction --------------------------------------------------------------------------------------------------

    def _queries_table(self, queries: pl.DataFrame) -> TokenTable:
        """The table of these queries; the last one is kept, since validation asks for the same each time."""
        columns = [name for name in self.shown if name in queries.columns]
        key = table_hash(queries, columns)
        if self._last is None or self._last[0] != key:
            self._last = key, super()._queries_table(queries)
        return self._last[1]

    def _logits(self, table: TokenTable, queries: pl.DataFrame) -> Tensor:
        """(n, 2048), asked in blocks of spectra of like length: who shares a block changes rounding at most."""
        by_name = np.argsort(queries["identifier"].to_numpy().astype(str), kind="stable")
        order = by_name[np.argsort(table.lengths[by_name], kind="stable")]
        parts = [
            self.network(table.batch(order[start : start + _AT_ONCE], self._device))
            for start in range(0, len(order), _AT_ONCE)
        ]
        back = torch.from_numpy(np.argsort(order)).to(self._device)
        return torch.cat(parts)[back]

    # -- files -------------------------------------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """options.json, vocabulary.json and weights.pt."""
        self._write(folder, {"adducts": list(self.vocabulary.adducts), "formulas": list(self.prior.formulas)})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """A saved model. Raises ModelError if a file is missing or does not fit."""
        model = super().load(folder)
        with reading(folder):
            model.prior = FormulaPrior.of(read_json(folder / "vocabulary.json")["formulas"])
        return model
