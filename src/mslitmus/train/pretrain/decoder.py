"""Molecule-only pretraining of the generator: fingerprint and formula → SMILES. No spectrum is needed.

The decoder learns to write, and the encoder to pass on a fingerprint, before either sees a spectrum (as DiffMS, MADGEN
and most of the leaderboard do). The fingerprint can be made as imperfect as predicted ones are: set bits are forgotten,
bits that many molecules have are invented, some are flipped at random, and now and then the whole is withheld, so that
the formula alone is a known state too. The folder is a saved `spectrum-to-smiles`:

- `weights.pt`, `options.json`, `vocabulary.json`  what its option `weights: <folder>` starts from;
- `pretraining.json`, `molecules.parquet`, `decoder/`  record, molecules that took part, checkpoints: as in `run`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from ...chem.molecule import formulas, morgan
from ...data.candidates.lists import MoleculeList
from ...errors import ModelError
from ...models.generate.inputs import InputTable
from ...models.generate.smiles_tokens import PAD, SmilesTokens
from ...models.generate.spectrum_to_smiles import Lesson, SpectrumToSmiles
from ...models.options import Options, TrainingOptions, parse_options
from ...models.predict.batching import tensor
from ...models.predict.conditioning import ConditionVocabulary
from ...models.protocol import FitContext
from ...provenance import table_hash
from .. import fit
from .folder import Progress, Setting, alone_in, asked_of, begin, claim, finish
from .molecules import HeldOut, list_record
from .run import drawn_molecules, told
from .stage import accuracy

_CHUNK = 64
_STAGE = "decoder"
_NOISE = {"flip", "forget", "invent", "withhold", "validation"}


class DecoderOptions(Options):
    """Keys of a `--config` file."""

    model: dict[str, Any] = Field(default_factory=dict, description="options of spectrum-to-smiles")
    flip: float = Field(0.02, ge=0, lt=0.5, description="probability of flipping a bit of the fingerprint")
    forget: float = Field(0.0, ge=0, lt=1, description="largest share of a molecule's set bits that is left out")
    invent: float = Field(0.0, ge=0, le=2, description="most wrong bits that are told, per set bit")
    withhold: float = Field(0.1, ge=0, le=1, description="probability of withholding the whole fingerprint")
    training: dict[str, Any] = Field(default_factory=dict)
    validation: float = Field(0.05, gt=0, lt=1, description="share of the molecules that judges the epochs")


def misread(
    bits: NDArray[np.bool_], common: NDArray[np.float64], options: DecoderOptions, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """(n, bits) fingerprints → as a spectrum would tell them.

    How much is forgotten and how much invented is drawn for each molecule, from nothing to the most: predicted
    fingerprints of a test set differ as much. common: (bits,), how often a bit is set, relative to all set bits; an
    invented bit is drawn by it.
    """
    n = len(bits)
    forgotten = options.forget * rng.random((n, 1))
    invented = options.invent * rng.random((n, 1)) * bits.sum(axis=1, keepdims=True) * common
    chance = np.where(bits, forgotten, invented)
    return bits ^ (rng.random(bits.shape) < np.maximum(chance, options.flip))


class DecoderStage(SpectrumToSmiles):
    """`spectrum-to-smiles` on tables of `identifier` and `smiles`. Its score is the share of tokens foretold."""

    own_fit = False  # there are no spectra whose formulae and answers could be judged

    def __init__(self, options: DecoderOptions) -> None:
        training = {"epochs": 20, "batch_size": 128, "learning_rate": 5e-4, "val_limit": 1000, **options.training}
        super().__init__(**{**options.model, "fingerprint_weight": 0.0})
        self.training = parse_options(TrainingOptions, {"per_molecule": 1, **training}, where="training")
        self.pretraining = options

    def prepare(self, train: pl.DataFrame, context: FitContext) -> None:
        """Build the network without adducts, hold targets and fingerprints ready. Raises ModelError as the model."""
        self._build(ConditionVocabulary(()))
        self._targets, self._packed, table = self._read_molecules(train)
        if not self._targets:
            raise ModelError("no molecule of the list can be written", remedy="give another list of molecules")
        self._table, self._molecule = table, np.arange(len(self._targets))
        set_ = np.unpackbits(self._packed, axis=1, count=self.shape.bits).sum(axis=0, dtype=np.int64)
        self._common = set_ / max(1, set_.sum())
        self._data_hash = table_hash(train, ["identifier", "smiles"])

    def _read_molecules(self, frame: pl.DataFrame) -> tuple[list[str], NDArray[np.uint8], InputTable]:
        """Targets, fingerprints and inputs of those that can be written."""
        texts = [text for text in map(self._writable, frame["smiles"].to_list()) if text is not None]
        packed = np.packbits(morgan(texts, bits=self.shape.bits), axis=1)
        return texts, packed, InputTable.blank(formulas(texts), packed, self.vocabulary)

    def lesson(self, rows: NDArray[np.int64], seed: int) -> Lesson:
        """The batch, its fingerprints made imperfect."""
        batch, rng = super().lesson(rows, seed), np.random.default_rng([seed, 1])
        wrong = misread(batch.bits.cpu().numpy() > 0, self._common, self.pretraining, rng)
        told_ = tensor(rng.random(len(rows)) >= self.pretraining.withhold, batch.bits.device)
        known = tensor(wrong.astype(np.float32), batch.bits.device)
        return replace(batch, inputs=replace(batch.inputs, known=known, told=told_))

    def queries(self, val: pl.DataFrame) -> pl.DataFrame:
        keep = [self._writable(text) is not None for text in val["smiles"].to_list()]
        return val.select("identifier", "smiles").filter(pl.Series(keep, dtype=pl.Boolean))

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame:
        """identifier, right, asked (i64): tokens foretold, the true ones before them given."""
        right, asked = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        with self._predicting():
            for start in range(0, queries.height, _CHUNK):
                texts, _, table = self._read_molecules(queries.slice(start, _CHUNK))
                written = tensor(SmilesTokens().batch(texts), self._device)
                inputs = table.batch(np.arange(len(texts)), self.shape.bits, self._device)
                logits, _ = self.network(inputs, written[:, :-1])
                counts = written[:, 1:] != PAD
                hits = (logits.argmax(-1) == written[:, 1:]) & counts
                right.append(hits.sum(1).cpu().numpy())
                asked.append(counts.sum(1).cpu().numpy())
        return queries.select("identifier").with_columns(
            right=pl.Series(np.concatenate(right)), asked=pl.Series(np.concatenate(asked))
        )


def pretrain_decoder(
    lists: Sequence[MoleculeList],
    held_out: HeldOut,
    options: Mapping[str, Any],
    setting: Setting,
    progress: Progress = print,
) -> dict[str, Any]:
    """Exclude, train, save; returns the record that it wrote. Errors and resuming as `run.pretrain`."""
    with alone_in(setting, ("options.json", "vocabulary.json", "formulas.json"), (_STAGE,)):
        return _pretrain(lists, held_out, options, setting, progress)


def _pretrain(
    lists: Sequence[MoleculeList], held_out: HeldOut, options: Mapping[str, Any], setting: Setting, progress: Progress
) -> dict[str, Any]:
    chosen = parse_options(DecoderOptions, options, where="pretraining")
    stage = DecoderStage(chosen)
    described = {**stage.described(), **chosen.model_dump(include=_NOISE)}
    given = {"options": described, "lists": [list_record(each) for each in lists]}
    asked = asked_of("decoder", setting, held_out, **given)
    if done := claim(setting.folder, asked, progress):
        return done
    train, val, molecules = drawn_molecules(lists, held_out, setting, chosen.validation, progress)
    record = begin(setting.folder, asked, {**molecules, "stages": {}})
    context = setting.context(setting.folder / _STAGE, accuracy, progress)
    record["stages"][_STAGE] = told(fit(stage, train, val, context), train.height)
    stage.save(setting.folder)
    return finish(setting.folder, record)
