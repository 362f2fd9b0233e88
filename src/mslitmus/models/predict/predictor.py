"""NeuralPredictor: any encoder × conditioning × any head, by name.

    molecule → encoder → graph vector ┐
    adduct, instrument, energy, m/z → conditioning ┴→ trunk → head → peaks

Each distinct molecule of a batch is encoded once however many of its spectra the batch holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
import pyarrow as pa
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from ...errors import ConfigError, ModelError
from ...provenance import table_hash
from ...schemas import PEAK_ORIGINS, PREDICTED_SPECTRA, conform
from .. import ENCODERS, HEADS
from ..options import Options, TrainingOptions, parse_options
from ..protocol import FitContext
from ..trained import TrainedModel, read_json, reading
from .batching import EpochBatches, SpectrumTable, epoch_rows, tensors, training_peaks
from .conditioning import CONDITIONS, Conditioning, ConditionVocabulary, FiLMTrunk, JoinedOptions, check_conditions
from .encoders.pretrained import load_pretrained, weights_hash
from .features import FeatureStore
from .layers import ResidualBlock
from .parts import Batch, check_pair
from .starting import Start

_CHUNK = 1024  # spectra predicted at a time
_ORIGINS = ("formula", "atoms", "shift")  # columns that a head's `origins` may give


class TrunkOptions(Options):
    """Options of what lies between encoder and head."""

    width: int = Field(256, ge=8, le=8192)
    layers: int = Field(1, ge=0, le=20, description="residual blocks")
    dropout: float = Field(0.2, ge=0, lt=1)


class NeuralOptions(Options):
    """Options of `neural`. `encoder` and `head` are a name, or a mapping with `name` and that part's options."""

    encoder: str | dict[str, Any] = "fingerprint"
    head: str | dict[str, Any] = "binned"
    conditioning: tuple[str, ...] = CONDITIONS
    conditions: dict[str, Any] = Field(default_factory=dict)
    trunk: dict[str, Any] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)


class Network(nn.Module):
    """Batch → the head's output."""

    def __init__(self, encoder: Any, conditioning: Conditioning, trunk: TrunkOptions, head: Any, how: str) -> None:
        super().__init__()
        self.encoder, self.conditioning, self.head = encoder, conditioning, head
        self.film = how == "film" and conditioning.width > 0  # nothing to condition on: the plain trunk
        self.enter = nn.Linear(encoder.width + (0 if self.film else conditioning.width), trunk.width)
        blocks = (ResidualBlock(trunk.width, trunk.dropout) for _ in range(0 if self.film else trunk.layers))
        self.trunk = (
            FiLMTrunk(trunk.width, trunk.layers, trunk.dropout, conditioning.width)
            if self.film
            else nn.Sequential(*blocks, nn.LayerNorm(trunk.width))
        )

    def forward(self, batch: Batch) -> Tensor:
        encoded = self.encoder(batch.molecules)
        conditions = self.conditioning(batch.conditions, batch.size)
        known = [] if encoded.graph is None else [encoded.graph[batch.index]]
        known += [conditions[:, :0]] if self.film else [conditions]
        entered = torch.relu(self.enter(torch.cat(known, dim=1)))
        hidden = self.trunk(entered, conditions) if self.film else self.trunk(entered)
        output: Tensor = self.head(hidden, encoded, batch)
        return output


class NeuralPredictor(TrainedModel):
    """A trained spectrum predictor. The constructor refuses unknown names, options and impossible pairs."""

    task = "spectrum-prediction"
    name = "neural"

    def __init__(self, **options: Any) -> None:
        where = f"model {self.name!r}"
        self.options = parse_options(NeuralOptions, options, where=where)
        self._encoder, self.encoder_options = _part("encoder", ENCODERS, self.options.encoder)
        self._head, self.head_options = _part("head", HEADS, self.options.head)
        check_pair(self._encoder, self._head)
        self._conditioning = check_conditions(self.options.conditioning)
        self.condition_options = parse_options(JoinedOptions, self.options.conditions, where="conditions")
        self.trunk = parse_options(TrunkOptions, self.options.trunk, where="trunk")
        self.training = parse_options(TrainingOptions, self.options.training, where="training")
        self.network: Network
        self._table: SpectrumTable | None = None

    # -- training ----------------------------------------------------------------------------------------------------

    def prepare(self, train: pl.DataFrame, context: FitContext) -> None:
        """Fix vocabularies on the training fold, build the network, hold the training set as flat arrays."""
        train = train.filter(pl.col("smiles").is_not_null() & (pl.col("mzs").list.len() > 0))
        if train.is_empty():
            raise ModelError(
                "no training spectrum has a structure and peaks", remedy="check the split and the dataset's SMILES"
            )
        stores = self._stores(context)
        peaks = training_peaks(train, stores[1])
        conditions, start = ConditionVocabulary.of(train), self._start
        keep = start is not None and start.keep_head
        bins = self.bins if keep else HEADS[self._head].vocabulary(self.head_options, peaks)
        self._build(conditions if start is None else start.vocabulary(conditions), bins, stores)
        load_pretrained(self.network.encoder, self._encoder, self.encoder_options)
        if start is not None:
            start.fill(self.network)
        targets = self.network.head.targets(peaks)
        self._table = SpectrumTable.of(train, self.store, self.conditions, targets, self.head_store)
        for store in filter(None, stores):
            store.flush()
        self._data_hash = table_hash(train, ["identifier", "smiles", "precursor_mz", "mzs", "intensities"])
        self._data_hash += weights_hash(self.encoder_options) + ("" if start is None else start.hash)

    def start_from(self, folder: Path, head: str = "keep") -> None:
        """Vocabulary and weights of a saved model: this one answers as that one until it is trained on."""
        parent = type(self).load(folder)
        start = Start.of(parent.network, parent.conditions, folder, head)
        if start.keep_head:
            self._build(parent.conditions, parent.bins, (parent.store, parent.head_store))
            start.fill(self.network)
        self._start = start

    @classmethod
    def inputs(cls, options: Mapping[str, Any]) -> dict[str, str]:
        """Hash of pretrained weights, which decide the predictions as options do: part of a cell's identity."""
        encoder = options.get("encoder")
        found = weights_hash(encoder) if isinstance(encoder, Mapping) else ""
        return {"encoder.weights": found} if found else {}

    def _stores(self, context: FitContext | None) -> tuple[FeatureStore, FeatureStore | None]:
        """What the encoder and what the head want to see of molecules."""
        folder = None if context is None else context.cache or context.folder / "features"
        how: dict[str, Any] = {} if context is None else {"processes": context.threads, "progress": context.progress}
        own = HEADS[self._head].featuriser(self.head_options)
        encoder = FeatureStore(ENCODERS[self._encoder].featuriser(self.encoder_options), folder, **how)
        return encoder, None if own is None else FeatureStore(own, folder, **how)

    def _build(
        self,
        conditions: ConditionVocabulary,
        bins: dict[str, NDArray[Any]],
        stores: tuple[FeatureStore, FeatureStore | None],
    ) -> None:
        self.conditions, self.bins, (self.store, self.head_store) = conditions, bins, stores
        encoder = ENCODERS[self._encoder](self.encoder_options)
        conditioning = Conditioning(self._conditioning, self.condition_options, conditions)
        atoms = {"atom_width": _atom_width(encoder, self.store)} if "atoms" in HEADS[self._head].needs else {}
        head = HEADS[self._head](self.head_options, self.trunk.width, bins, **atoms)
        self.network = Network(encoder, conditioning, self.trunk, head, self.condition_options.how)

    def train_batches(self, order_seed: int) -> EpochBatches:
        """One epoch, shuffled by this seed."""
        if self._table is None:
            raise ModelError("nothing prepared to train on", remedy="call fit")
        rows = epoch_rows(self._table.molecule, self.training.batch_size, self.training.per_molecule, order_seed)
        return EpochBatches(self._table, rows, self._device)

    def loss(self, batch: Batch) -> Tensor:
        """Scalar loss of one batch."""
        loss: Tensor = self.network.head.loss(self.network(batch), batch)
        return loss

    def described(self) -> dict[str, Any]:
        """All options, defaults included."""
        return {
            "encoder": {"name": self._encoder, **self.encoder_options.model_dump()},
            "head": {"name": self._head, **self.head_options.model_dump()},
            "conditioning": list(self.options.conditioning),
            "conditions": self.condition_options.model_dump(),
            "trunk": self.trunk.model_dump(),
            "training": self.training.model_dump(),
        }

    # -- prediction --------------------------------------------------------------------------------------------------

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame:
        """PREDICTED_SPECTRA, one row a query, in the order asked. Streams in chunks sorted by molecule."""
        order = queries.with_row_index("asked").sort("smiles", "identifier", maintain_order=True)
        with self._predicting():
            parts = [self._predict_chunk(order.slice(start, _CHUNK)) for start in range(0, order.height, _CHUNK)]
        if not parts:
            return conform(queries.select("identifier", mzs=pl.lit(None), intensities=pl.lit(None)), PREDICTED_SPECTRA)
        return conform(pl.concat(parts).sort("asked"), PREDICTED_SPECTRA)

    def _predict_chunk(self, queries: pl.DataFrame) -> pl.DataFrame:
        table = SpectrumTable.of(queries, self.store, self.conditions, heads=self.head_store)
        batch = table.batch(np.arange(queries.height), self._device)
        row, mz, intensity = (t.cpu().numpy() for t in self.network.head.peaks(self.network(batch), batch))
        order = np.lexsort((mz, row))
        offsets = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=queries.height))]).astype(np.int64)
        columns = {"mzs": mz[order].astype(np.float64), "intensities": intensity[order].astype(np.float32)}
        lists = [pl.Series(n, pa.LargeListArray.from_arrays(offsets, pa.array(v))) for n, v in columns.items()]
        return queries.select("asked", "identifier").with_columns(lists)

    def explain(self, queries: pl.DataFrame) -> pl.DataFrame:
        """PEAK_ORIGINS: predicted peaks in the order asked, by m/z, with formula and atoms where they are known."""
        order = queries.with_row_index("asked").sort("smiles", "identifier", maintain_order=True)
        with self._predicting():
            parts = [self._explain_chunk(order.slice(start, _CHUNK)) for start in range(0, order.height, _CHUNK)]
        if not parts:
            return pl.DataFrame(schema=dict(PEAK_ORIGINS))
        return conform(pl.concat(parts).sort("asked", "mz", maintain_order=True), PEAK_ORIGINS)

    def _explain_chunk(self, queries: pl.DataFrame) -> pl.DataFrame:
        table = SpectrumTable.of(queries, self.store, self.conditions, heads=self.head_store)
        batch = table.batch(np.arange(queries.height), self._device)
        head = self.network.head
        output = self.network(batch)
        row, mz, intensity = (t.cpu().numpy() for t in head.peaks(output, batch))
        said = head.origins(output, batch) if hasattr(head, "origins") else {}
        columns = {name: pl.Series(said.get(name, [None] * len(row)), dtype=PEAK_ORIGINS[name]) for name in _ORIGINS}
        peaks = pl.DataFrame({"mz": mz.astype(np.float64), "intensity": intensity.astype(np.float32), **columns})
        asked: pl.DataFrame = queries.select("asked", "identifier")[row.tolist()]
        return pl.concat([asked, peaks], how="horizontal")

    # -- files -------------------------------------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """bins.npz, options.json, vocabulary.json and weights.pt."""
        folder.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, Any] = dict(self.bins)
        np.savez(folder / "bins.npz", **arrays)
        self._write(folder, {"adducts": list(self.conditions.adducts)})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """A saved model. Raises ModelError if a file is missing or does not fit."""
        with reading(folder):
            model = cls(**read_json(folder / "options.json"))
            adducts = tuple(read_json(folder / "vocabulary.json")["adducts"])
            with np.load(folder / "bins.npz", allow_pickle=False) as stored:
                bins = {name: stored[name] for name in stored.files}
            model._build(ConditionVocabulary(adducts), bins, model._stores(None))
            model._read_weights(folder)
        return model


def _atom_width(encoder: Any, store: FeatureStore) -> int:
    """Width of the encoder's atom states, seen on ethane."""
    features = store.featuriser.collate(store.featuriser.compute(["CC"]))
    encoder.eval()
    with torch.no_grad():
        width = int(encoder(tensors(features, "cpu")).atoms.shape[1])
    encoder.train()
    return width


def _part(kind: str, registry: Any, value: str | Mapping[str, Any]) -> tuple[str, Any]:
    """Name and parsed options of an encoder or head."""
    if isinstance(value, str):
        name, options = value, {}
    else:
        options = dict(value)
        name = options.pop("name", None)
        if not isinstance(name, str):
            raise ConfigError(f"{kind} has no name", remedy=f"write {kind}: {{name: {next(iter(registry))}, …}}")
    return name, parse_options(registry[name].Options, options, where=f"{kind} {name!r}")
