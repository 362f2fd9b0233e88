"""Masked peaks: the transformer learns to tell the m/z of hidden peaks from the rest of the spectrum.

Source: DreaMS (Bushuiev et al., Nat. Biotechnol. 2025). Of each spectrum 30 % of the peaks are hidden, drawn in
proportion to their intensity; each keeps its intensity and loses its m/z (and its neutral loss). A linear layer tells
the bin of each (0.1 Da by default), by cross-entropy over all bins. In a share of the spectra all m/z, the precursor's
too, are shifted by one random mass, so that differences are learned and not only masses. DreaMS also orders pairs of
spectra by retention time; spectra of a library come from many columns and mostly state none, so that is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from ...errors import ModelError
from ...models.embed.embedder import Design, SpectrumEmbedder
from ...models.embed.peaks import READ, PeakTable, filled
from ...models.embed.transformer import Tokens, tokens
from ...models.options import Options, TrainingOptions
from ...models.predict.batching import epoch_rows, tensor
from ...models.predict.conditioning import ConditionVocabulary
from ...models.protocol import FitContext
from ...models.trained import TrainedModel
from ...provenance import table_hash
from .stage import per_molecule

_CHUNK = 256  # spectra judged at a time


class PeakTraining(TrainingOptions):
    """`training` of masked peaks: the loop's options."""

    epochs: int = Field(30, ge=1)
    batch_size: int = Field(128, ge=1, description="spectra")
    learning_rate: float = Field(5e-4, gt=0)
    val_limit: int = Field(2000, ge=1, description="held-out spectra judged each time")


class PeakMasking(Options):
    """What is hidden, and how it is asked for."""

    rate: float = Field(0.3, gt=0, lt=1, description="share of a spectrum's peaks that is hidden, one at least")
    bin_width: float = Field(0.1, ge=0.01, le=10, description="Da, of the classes; DreaMS: 0.05")
    max_mz: float = Field(1000.0, gt=0, description="Da; peaks above are never hidden")
    shift: float = Field(0.2, ge=0, le=1, description="share of the spectra that are shifted in training")
    largest_shift: float = Field(50.0, ge=0, description="Da")

    @property
    def classes(self) -> int:
        return int(np.ceil(self.max_mz / self.bin_width))


@dataclass(frozen=True)
class MaskedBatch:
    """Tokens with hidden m/z; of each hidden peak its token, its class and its spectrum, (hidden,) each."""

    inputs: Tokens
    token: Tensor
    answer: Tensor
    owner: Tensor
    size: int


class MaskedNetwork(nn.Module):
    """The transformer, and the layer that is thrown away afterwards."""

    def __init__(self, encoder: Any, classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.tell = nn.Linear(encoder.width, classes)

    def forward(self, batch: MaskedBatch) -> Tensor:
        """(hidden, classes) logits."""
        told: Tensor = self.tell(self.encoder.states(batch.inputs).index_select(0, batch.token))
        return told


class MaskedPeaks(TrainedModel):
    """Masked-peak pretraining as a `Trainable`. Its score is the share of hidden peaks whose bin is told right."""

    task = "pretraining"
    name = "masked-peaks"

    def __init__(self, design: Design, masking: PeakMasking, training: PeakTraining) -> None:
        self.design, self.masking, self.training = design, masking, training
        self.vocabulary: ConditionVocabulary
        self._table: PeakTable | None = None

    def described(self) -> dict[str, Any]:
        parts = {"masking": self.masking.model_dump(), "training": self.training.model_dump()}
        return {**self.design.described(), **parts}

    def prepare(self, train: pl.DataFrame, context: FitContext) -> None:
        """Fix the vocabulary of adducts, build the network, hold the spectra as flat arrays."""
        self.vocabulary = ConditionVocabulary.of(train)
        self.network: MaskedNetwork = MaskedNetwork(self.design.build(self.vocabulary), self.masking.classes)
        self._table = self._tabulate(train)
        self._data_hash = table_hash(train, ["identifier", "precursor_mz", "mzs", "intensities"])

    def train_batches(self, order_seed: int) -> MaskedEpoch:
        """One epoch: order, masks and shifts follow from the seed."""
        if self._table is None:
            raise ModelError("nothing prepared to train on", remedy="call fit")
        return MaskedEpoch(self, self._table, order_seed)

    def loss(self, batch: MaskedBatch) -> Tensor:
        """Cross-entropy of the hidden peaks' bins."""
        return functional.cross_entropy(self.network(batch), batch.answer)

    def queries(self, val: pl.DataFrame) -> pl.DataFrame:
        return filled(val).select(READ)

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame:
        """identifier, right, asked (i64): the same masks whenever the same spectra are asked about."""
        table = self._tabulate(queries)
        right, asked = np.zeros(len(table), np.int64), np.zeros(len(table), np.int64)
        with self._predicting():
            for number, start in enumerate(range(0, len(table), _CHUNK)):
                rows = np.arange(start, min(start + _CHUNK, len(table)))
                batch = self.batch(table.take(rows), np.random.default_rng(number), shift=False)
                if len(batch.answer):
                    told = self.network(batch).argmax(1)
                    right[rows] = per_molecule((told == batch.answer).long(), batch.owner, batch.size)
                    asked[rows] = per_molecule(torch.ones_like(batch.owner), batch.owner, batch.size)
        return queries.select("identifier").with_columns(right=pl.Series(right), asked=pl.Series(asked))

    def batch(self, table: PeakTable, rng: np.random.Generator, shift: bool) -> MaskedBatch:
        """These spectra with hidden peaks, shifted or as they are."""
        options, n = self.masking, len(table)
        if shift and options.shift:
            moved = (rng.random(n) < options.shift) * rng.uniform(0, options.largest_shift, n)
            mzs = table.mzs + np.repeat(moved, table.lengths)
            table = replace(table, mzs=mzs, precursor_mz=_moved(table.precursor_mz, moved))
        hidden = hide(table, options, rng)
        row = np.repeat(np.arange(n), table.lengths)
        at = np.flatnonzero(hidden)
        answer = np.floor(table.mzs[at] / options.bin_width).astype(np.int64)
        places = at + row[at] + 1  # each spectrum's precursor token comes first
        token, wanted, owner = (tensor(values, self._device) for values in (places, answer, row[at]))
        return MaskedBatch(tokens(table, self._device, hidden), token, wanted, owner, n)

    def commonest(self, frame: pl.DataFrame) -> float:
        """What a guess without a network gets: the commonest bin's share of the peaks, weighted by intensity."""
        table = self._tabulate(frame)
        inside = table.mzs < self.masking.max_mz
        bins = np.floor(table.mzs[inside] / self.masking.bin_width).astype(np.int64)
        counts = np.bincount(bins, table.intensities[inside])
        return float(counts.max() / counts.sum())

    def embedder(self) -> SpectrumEmbedder:
        """The transformer alone, as it is saved for others to start from."""
        return SpectrumEmbedder(self.design, self.vocabulary, self.network.encoder)

    def _tabulate(self, frame: pl.DataFrame) -> PeakTable:
        table = self.design.table(frame, self.vocabulary)
        assert isinstance(table, PeakTable)  # of a transformer
        return table

    def save(self, folder: Path) -> None:
        """options.json and weights.pt of the whole network."""
        self._write(folder, {"adducts": list(self.vocabulary.adducts)})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """It is part of a pretraining, which `peaks_run.pretrain_peaks` continues."""
        raise ModelError("masked peaks are not loaded alone", where=str(folder), remedy="run the pretraining again")


def _moved(precursor: NDArray[np.float64], by: NDArray[np.float64]) -> NDArray[np.float64]:
    """An unknown precursor, 0, stays unknown: a shift that stands in its place would tell itself."""
    return np.where(precursor > 0, precursor + by, 0.0)


class MaskedEpoch:
    """A sized iterable of the batches of one epoch."""

    def __init__(self, model: MaskedPeaks, table: PeakTable, seed: int) -> None:
        self.model, self.table = model, table
        self.rows = epoch_rows(np.arange(len(table)), model.training.batch_size, 1, seed)
        self.rng = np.random.default_rng([seed, 1])

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[MaskedBatch]:
        for rows in self.rows:
            yield self.model.batch(self.table.take(rows), self.rng, shift=True)


def hide(table: PeakTable, options: PeakMasking, rng: np.random.Generator) -> NDArray[np.bool_]:
    """(peaks,) which are hidden: `rate` of each spectrum's, one at least, drawn without replacement in proportion to
    intensity (the largest of log x + Gumbel noise). What lies beyond the classes is never hidden."""
    row = np.repeat(np.arange(len(table)), table.lengths)
    free = (table.mzs >= 0) & (table.mzs < options.max_mz)
    key = np.where(free, np.log(np.maximum(table.intensities, 1e-6)) + rng.gumbel(size=row.size), -np.inf)
    order = np.lexsort((-key, row))
    wanted = np.maximum(1, np.round(options.rate * table.lengths)).astype(np.int64)
    hidden = np.zeros(row.size, bool)
    hidden[order[np.arange(row.size) - table.offsets[row] < wanted[row]]] = True
    return hidden & free
