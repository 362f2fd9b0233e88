"""BinnedMLP: binned spectrum → multilayer perceptron → Morgan fingerprint. The first learned rung above the neighbour.

    peaks, losses, precursor in bins → embedding bag ┐
    adduct, ion mode, instrument, energy → conditioning ┴→ residual blocks → 2048 logits

Source: the feed-forward baseline of MIST (Goldman et al., Nat. Mach. Intell. 2023) and the fingerprint network of
MassSpecGym (Bushuiev et al., NeurIPS 2024), here with neutral losses and conditions beside the peaks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import polars as pl
import pyarrow as pa
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import dropout

from ...errors import ModelError
from ...provenance import table_hash
from ...schemas import PREDICTED_FINGERPRINTS, conform
from ...tasks.measured import MEASURED, with_structure
from ..options import Options, TrainingOptions, parse_options
from ..predict.batching import epoch_rows, number_molecules, tensor, tensors
from ..predict.conditioning import Conditioning, ConditioningOptions, ConditionVocabulary, check_conditions
from ..predict.encoders.fingerprint import MorganFeaturiser
from ..predict.features import FeatureStore
from ..predict.layers import ResidualBlock
from ..predict.starting import Start
from ..protocol import FitContext
from ..trained import TrainedModel, read_json, reading
from .binning import BinningOptions, SparseRows, binned, dimension
from .decision import best_cut, recentre
from .losses import LOSSES

BITS = 2048
_MORGAN = MorganFeaturiser(radius=2, bits=BITS)
_CHUNK = 4096  # spectra predicted at a time
#: Predicting a fold takes seconds, and a sample of spectra misses the molecules that have few: score all of them.
_TRAINING: Mapping[str, Any] = {"epochs": 30, "evaluate_every": 3, "val_limit": 20_000}


class MLPOptions(Options):
    """Options of the perceptron."""

    width: int = Field(512, ge=8, le=8192)
    layers: int = Field(1, ge=0, le=20, description="residual blocks")
    dropout: float = Field(0.3, ge=0, lt=1)
    hide: float = Field(0.2, ge=0, lt=1, description="probability of hiding an occupied bin in training")


class BinnedMLPOptions(Options):
    """Options of `binned-mlp`."""

    bins: dict[str, Any] = Field(default_factory=dict)
    conditioning: tuple[str, ...] = ("adduct", "ion_mode", "instrument", "energy", "precursor_mz")
    conditions: dict[str, Any] = Field(default_factory=dict)
    mlp: dict[str, Any] = Field(default_factory=dict)
    loss: Literal["cross-entropy", "focal", "tanimoto", "cosine"] = "cosine"
    cut: Literal["tanimoto", "none"] = Field("tanimoto", description="what 0.5 means in a prediction")
    sharpness: float = Field(
        1.5, gt=0, le=100, description="logits are multiplied by it once they are moved to the cut"
    )
    at_most: int | None = Field(3, ge=1, description="spectra of one molecule in an epoch, drawn anew each time")
    training: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True)
class FingerprintBatch:
    """Spectra, sparse, and the bits to learn.

    Attributes:
        index, value: (entries,) occupied bins of all spectra, one spectrum after the other.
        offsets: (spectra,) where each spectrum's entries start.
        conditions: named condition arrays, (spectra, …).
        bits: (spectra, 2048) of 0/1; empty in prediction.
    """

    index: Tensor
    value: Tensor
    offsets: Tensor
    conditions: Mapping[str, Tensor]
    bits: Tensor


@dataclass(frozen=True)
class FingerprintTable:
    """All spectra of a fold. `packed` (molecules, 256) holds the bits of the distinct molecules, empty for queries."""

    spectra: SparseRows
    conditions: Mapping[str, NDArray[Any]]
    molecule: NDArray[np.int64]
    packed: NDArray[np.uint8]

    def batch(self, rows: NDArray[np.int64], device: torch.device) -> FingerprintBatch:
        """These spectra."""
        taken = self.spectra.take(rows)
        bits = np.zeros((0, BITS), np.float32)
        if len(self.packed):
            bits = np.unpackbits(self.packed[self.molecule[rows]], axis=1).astype(np.float32)
        return FingerprintBatch(
            tensor(taken.index, device),
            tensor(taken.value, device),
            tensor(taken.offsets[:-1], device),
            tensors({name: values[rows] for name, values in self.conditions.items()}, device),
            tensor(bits, device),
        )


class FingerprintBatches:
    """A sized iterable of the batches of one epoch."""

    def __init__(self, table: FingerprintTable, rows: Sequence[NDArray[np.int64]], device: torch.device) -> None:
        self.table, self.rows, self.device = table, rows, device

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[FingerprintBatch]:
        for rows in self.rows:
            yield self.table.batch(rows, self.device)


class BinnedNetwork(nn.Module):
    """Batch → logits (spectra, 2048). Before training every spectrum gets the bits' frequencies."""

    def __init__(self, bins: int, conditioning: Conditioning, options: MLPOptions) -> None:
        super().__init__()
        self.options, width = options, options.width
        self.enter = nn.EmbeddingBag(bins, width, mode="sum")
        nn.init.normal_(self.enter.weight, std=width**-0.5)
        self.conditioning = conditioning
        self.condition = nn.Linear(conditioning.width, width)
        self.blocks = nn.Sequential(
            nn.ReLU(),
            nn.Dropout(options.dropout),
            *(ResidualBlock(width, options.dropout) for _ in range(options.layers)),
            nn.LayerNorm(width),
            nn.Dropout(options.dropout),
        )
        self.out = nn.Linear(width, BITS)
        nn.init.zeros_(self.out.weight)

    def start_from(self, frequency: NDArray[np.float64]) -> None:
        """(2048,) share of the training molecules that set each bit, as the first prediction."""
        with torch.no_grad():
            self.out.bias.copy_(torch.logit(torch.from_numpy(frequency)))

    def forward(self, batch: FingerprintBatch) -> Tensor:
        value = dropout(batch.value, self.options.hide, self.training)
        spectrum = self.enter(batch.index, batch.offsets, per_sample_weights=value)
        known = self.condition(self.conditioning(batch.conditions, len(batch.offsets)))
        logits: Tensor = self.out(self.blocks(spectrum + known))
        return logits


class BinnedMLP(TrainedModel):
    """A trained fingerprint predictor. The constructor refuses unknown options."""

    task = "fingerprint"
    name = "binned-mlp"

    def __init__(self, **options: Any) -> None:
        self.options = parse_options(BinnedMLPOptions, options, where=f"model {self.name!r}")
        self.bins = parse_options(BinningOptions, self.options.bins, where="bins")
        self.mlp = parse_options(MLPOptions, self.options.mlp, where="mlp")
        self.condition_options = parse_options(ConditioningOptions, self.options.conditions, where="conditions")
        self.training = parse_options(TrainingOptions, {**_TRAINING, **self.options.training}, where="training")
        self._chosen = check_conditions(self.options.conditioning)
        self.network: BinnedNetwork
        self._table: FingerprintTable | None = None

    def described(self) -> dict[str, Any]:
        """All options, defaults included."""
        parts = {"bins": self.bins, "mlp": self.mlp, "conditions": self.condition_options, "training": self.training}
        return {**self.options.model_dump(mode="json"), **{name: part.model_dump() for name, part in parts.items()}}

    # -- training ----------------------------------------------------------------------------------------------------

    def prepare(self, train: pl.DataFrame, context: FitContext) -> None:
        """Fix the vocabulary of adducts, build the network, hold spectra and fingerprints ready.

        Raises ModelError if no training spectrum has a structure and peaks.
        """
        train = with_structure(train)
        if train.is_empty():
            raise ModelError(
                "no training spectrum has a structure and peaks", remedy="check the split and the dataset's SMILES"
            )
        smiles, molecule = number_molecules(train["smiles"].to_list())
        store = FeatureStore(_MORGAN, context.cache or context.folder / "features")
        packed = store.get(smiles).arrays["bits"]
        store.flush()
        vocabulary, start = ConditionVocabulary.of(train), self._start
        self._build(vocabulary if start is None else start.vocabulary(vocabulary))
        set_bits = np.unpackbits(packed, axis=1).sum(axis=0, dtype=np.int64)
        self.network.start_from((set_bits + 0.5) / (len(smiles) + 1))
        if start is not None:
            start.fill(self.network)
        self._table = self._tabulate(train, molecule, packed)
        self._data_hash = table_hash(train, ["identifier", "smiles", "precursor_mz", "mzs", "intensities"])
        self._data_hash += "" if start is None else start.hash

    def start_from(self, folder: Path, head: str = "keep") -> None:
        """Vocabulary and weights of a saved model: this one answers as that one until it is trained on."""
        parent = type(self).load(folder)
        self._build(parent.vocabulary)
        self._start = Start.of(parent.network, parent.vocabulary, folder, head)
        self._start.fill(self.network)

    def _build(self, vocabulary: ConditionVocabulary) -> None:
        self.vocabulary = vocabulary
        conditioning = Conditioning(self._chosen, self.condition_options, vocabulary)
        self.network = BinnedNetwork(dimension(self.bins), conditioning, self.mlp)

    def _tabulate(
        self, frame: pl.DataFrame, molecule: NDArray[np.int64], packed: NDArray[np.uint8]
    ) -> FingerprintTable:
        return FingerprintTable(binned(frame, self.bins), self.vocabulary.encode(frame), molecule, packed)

    def train_batches(self, order_seed: int) -> FingerprintBatches:
        """One epoch, drawn and shuffled by this seed."""
        if self._table is None:
            raise ModelError("nothing prepared to train on", remedy="call fit")
        options = self.training
        rows = epoch_rows(
            self._table.molecule, options.batch_size, options.per_molecule, order_seed, self.options.at_most
        )
        return FingerprintBatches(self._table, rows, self._device)

    def loss(self, batch: FingerprintBatch) -> Tensor:
        """Scalar loss of one batch."""
        return LOSSES[self.options.loss](self.network(batch), batch.bits).mean()

    def queries(self, val: pl.DataFrame) -> pl.DataFrame:
        """Spectra without their structures, of those rows whose structure is known to the scorer."""
        return with_structure(val).select(MEASURED)

    # -- prediction --------------------------------------------------------------------------------------------------

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame:
        """PREDICTED_FINGERPRINTS, one row a query, in the order asked; a query without peaks is answered too."""
        with self._predicting():
            starts = range(0, queries.height, _CHUNK)
            parts = [self.probabilities(queries.slice(start, _CHUNK)) for start in starts]
        p = np.concatenate([np.zeros((0, BITS), np.float32), *parts])
        offsets = pa.array(np.arange(len(p) + 1, dtype=np.int64) * BITS)
        lists = pl.Series("fingerprint", pa.LargeListArray.from_arrays(offsets, pa.array(p.ravel())))
        return conform(queries.select("identifier").with_columns(lists), PREDICTED_FINGERPRINTS)

    def probabilities(self, queries: pl.DataFrame) -> NDArray[np.float32]:
        """(n, 2048) as they are handed out: with `cut: tanimoto`, above 0.5 exactly where a bit is worth setting."""
        nothing = np.zeros((0, BITS // 8), np.uint8)
        table = self._tabulate(queries, np.zeros(queries.height, np.int64), nothing)
        logits = self.network(table.batch(np.arange(queries.height), self._device))
        if self.options.cut == "tanimoto":
            logits = self.options.sharpness * recentre(logits, best_cut(torch.sigmoid(logits)))
        values: NDArray[np.float32] = torch.sigmoid(logits).cpu().numpy()
        return values

    # -- files -------------------------------------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """options.json, vocabulary.json and weights.pt."""
        self._write(folder, {"adducts": list(self.vocabulary.adducts)})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """A saved model. Raises ModelError if a file is missing or does not fit."""
        with reading(folder):
            model = cls(**read_json(folder / "options.json"))
            model._build(ConditionVocabulary(tuple(read_json(folder / "vocabulary.json")["adducts"])))
            model._read_weights(folder)
        return model
