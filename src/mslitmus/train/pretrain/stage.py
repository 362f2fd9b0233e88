"""What both stages of pretraining share: molecules as a `Trainable`, so that the one training loop runs them.

A stage is shown tables of `identifier` and `smiles`. In validation it answers how much of what it was asked it got
right, per molecule, and `accuracy` is its score: it chooses the epoch that is kept.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from ...errors import ModelError
from ...models.options import TrainingOptions
from ...models.predict.batching import epoch_rows
from ...models.predict.features import FeatureStore, Ragged
from ...models.protocol import FitContext
from ...models.trained import TrainedModel
from ...provenance import table_hash

_CHUNK = 512  # molecules judged at a time


class PretrainTraining(TrainingOptions):
    """`training` of a stage: the loop's options with the choices of the Mole-BERT code (Adam at 0.001)."""

    epochs: int = Field(60, ge=1)
    batch_size: int = Field(256, ge=1, description="molecules")
    per_molecule: Literal[1] = 1
    learning_rate: float = Field(1e-3, gt=0)
    schedule: Literal["cosine", "plateau", "constant"] = "constant"
    warmup: float = Field(0.0, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)
    patience: int = Field(20, ge=1)
    val_limit: int = Field(2000, ge=1, description="held-out molecules judged each time")


class Stage(TrainedModel):
    """A stage as a `Trainable`. Subclasses build the network, make batches and judge them."""

    task = "pretraining"
    training: PretrainTraining

    def __init__(self, training: PretrainTraining, store: FeatureStore) -> None:
        self.training, self.store = training, store
        self._table: Ragged | None = None

    @abstractmethod
    def _build(self) -> None:
        """Set `network`."""

    @abstractmethod
    def batch(self, features: Ragged, rng: np.random.Generator) -> Any:
        """Tensors of these molecules on the stage's device."""

    @abstractmethod
    def judge(self, batch: Any) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(molecules,) right answers and (molecules,) questions."""

    def prepare(self, train: pl.DataFrame, context: FitContext) -> None:
        """Build the network and hold the molecules as flat arrays."""
        self._build()
        self._table = self.store.get(train["smiles"].to_list())
        self.store.flush()
        self._data_hash = table_hash(train, ["identifier", "smiles"])

    def train_batches(self, order_seed: int) -> Epoch:
        """One epoch: order and masks follow from the seed."""
        if self._table is None:
            raise ModelError("nothing prepared to train on", remedy="call fit")
        return Epoch(self, self._table, order_seed)

    def queries(self, val: pl.DataFrame) -> pl.DataFrame:
        return val.select("identifier", "smiles")

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame:
        """identifier, right, asked (i64): the same masks whenever the same molecules are asked about."""
        parts: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
        with self._predicting():
            for number, start in enumerate(range(0, queries.height, _CHUNK)):
                features = self.store.get(queries["smiles"][start : start + _CHUNK].to_list())
                parts.append(self.judge(self.batch(features, np.random.default_rng(number))))
        empty = np.zeros(0, np.int64)
        columns = [
            pl.Series(name, np.concatenate([empty, *(part[k] for part in parts)]), dtype=pl.Int64)
            for k, name in enumerate(("right", "asked"))
        ]
        return queries.select("identifier").with_columns(columns)

    def save(self, folder: Path) -> None:
        """options.json and weights.pt of the whole network."""
        self._write(folder, {})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """A stage is part of a pretraining, which `run.pretrain` continues."""
        raise ModelError("a stage is not loaded alone", where=str(folder), remedy="run the pretraining again")


class Epoch:
    """A sized iterable of the batches of one epoch."""

    def __init__(self, stage: Stage, table: Ragged, seed: int) -> None:
        self.stage, self.table = stage, table
        self.rows = epoch_rows(np.arange(len(table)), stage.training.batch_size, 1, seed)
        self.rng = np.random.default_rng([seed, 1])

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Any]:
        for rows in self.rows:
            yield self.stage.batch(self.table.take(rows), self.rng)


def accuracy(predictions: pl.DataFrame, truth: pl.DataFrame) -> float:
    """Right answers of all questions: the score of a stage."""
    right, asked = predictions.select("right", "asked").sum().row(0)
    return float(right) / float(asked)


def per_molecule(values: Tensor, owner: Tensor, molecules: int) -> NDArray[np.int64]:
    """(n,) counts of each atom or bond, summed over its molecule."""
    total = values.new_zeros(molecules).index_add(0, owner, values)
    counted: NDArray[np.int64] = total.cpu().numpy().astype(np.int64)
    return counted
