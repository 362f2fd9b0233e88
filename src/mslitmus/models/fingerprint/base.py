"""What predictors of fingerprints share: preparing, epochs, the loss, the cut, tables of probabilities, files.

A predictor brings its network, and how spectra become a table that gives out batches. The network starts from the
frequencies of the bits among the training molecules.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self

import numpy as np
import polars as pl
import pyarrow as pa
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from ...errors import ModelError
from ...provenance import table_hash
from ...schemas import PREDICTED_FINGERPRINTS, conform
from ...tasks.measured import MEASURED, with_structure
from ..options import Options
from ..predict.batching import epoch_rows, number_molecules
from ..predict.conditioning import Conditioning, ConditioningOptions, ConditionVocabulary
from ..predict.encoders.fingerprint import MorganFeaturiser
from ..predict.features import FeatureStore
from ..predict.starting import Start
from ..protocol import FitContext
from ..trained import TrainedModel, read_json, reading
from .decision import best_cut, recentre
from .losses import LOSSES

BITS = 2048
_MORGAN = MorganFeaturiser(radius=2, bits=BITS)
#: Predicting a fold takes seconds, and a sample of spectra misses the molecules that have few: score all of them.
TRAINING: Mapping[str, Any] = {"epochs": 30, "evaluate_every": 3, "val_limit": 20_000}


class FingerprintOptions(Options):
    """Options of every predictor of fingerprints."""

    conditioning: tuple[str, ...] = ("adduct", "ion_mode", "instrument", "energy", "precursor_mz")
    conditions: dict[str, Any] = Field(default_factory=dict)
    loss: Literal["cross-entropy", "focal", "tanimoto", "cosine"] = "cosine"
    cut: Literal["tanimoto", "none"] = Field("tanimoto", description="what 0.5 means in a prediction")
    sharpness: float = Field(
        1.5, gt=0, le=100, description="logits are multiplied by it once they are moved to the cut"
    )
    at_most: int | None = Field(3, ge=1, description="spectra of one molecule in an epoch, drawn anew each time")
    training: dict[str, Any] = Field(default_factory=dict)


class Table(Protocol):
    """All spectra of a fold; `molecule` (n,) numbers their molecules."""

    @property
    def molecule(self) -> NDArray[np.int64]: ...

    def batch(self, rows: NDArray[np.int64], device: torch.device) -> Any:
        """These spectra as the network takes them, `bits` (n, 2048) among them (empty for queries)."""
        ...


class Network(Protocol):
    """Batch → logits (spectra, 2048)."""

    def start_from(self, packed: NDArray[np.uint8]) -> None:
        """Bits (molecules, 256) of the training molecules: their frequencies are the first prediction."""
        ...


def unpacked(packed: NDArray[np.uint8], molecule: NDArray[np.int64]) -> NDArray[np.float32]:
    """Bits (n, 2048) of these molecules, (0, 2048) where `packed` (molecules, 256) is empty."""
    if not len(packed):
        return np.zeros((0, BITS), np.float32)
    return np.unpackbits(packed[molecule], axis=1).astype(np.float32)


class FingerprintBatches:
    """A sized iterable of the batches of one epoch."""

    def __init__(self, table: Table, rows: Sequence[NDArray[np.int64]], device: torch.device) -> None:
        self.table, self.rows, self.device = table, rows, device

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Any]:
        for rows in self.rows:
            yield self.table.batch(rows, self.device)


class FingerprintModel(TrainedModel):
    """Base of trained fingerprint predictors. `options`, `training`, `condition_options` and `_chosen` are the
    subclass's, set by its constructor."""

    task = "fingerprint"
    name: ClassVar[str]
    #: Columns of what it is shown, of a spectrum without a structure.
    shown: tuple[str, ...] = MEASURED
    chunk: ClassVar[int] = 4096  # spectra predicted at a time
    options: Any
    condition_options: ConditioningOptions
    _chosen: Any
    _table: Table | None = None

    @abstractmethod
    def _network(self, conditioning: Conditioning) -> nn.Module:
        """The untrained network, a `Network`."""

    @abstractmethod
    def _tabulate(self, frame: pl.DataFrame, molecule: NDArray[np.int64], packed: NDArray[np.uint8]) -> Table:
        """`packed` (molecules, 256) holds the bits of the training molecules; it is empty for queries."""

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
        self.network.start_from(packed)  # type: ignore[operator]
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
        self.network = self._network(Conditioning(self._chosen, self.condition_options, vocabulary))

    def train_batches(self, order_seed: int) -> FingerprintBatches:
        """One epoch, drawn and shuffled by this seed."""
        if self._table is None:
            raise ModelError("nothing prepared to train on", remedy="call fit")
        return FingerprintBatches(self._table, self._epoch(self._table, order_seed), self._device)

    def _epoch(self, table: Any, order_seed: int) -> Sequence[NDArray[np.int64]]:
        """Row numbers of the batches of one epoch."""
        options = self.training
        return epoch_rows(table.molecule, options.batch_size, options.per_molecule, order_seed, self.options.at_most)

    def loss(self, batch: Any) -> Tensor:
        """Scalar loss of one batch."""
        return LOSSES[self.options.loss](self.network(batch), batch.bits).mean()

    def queries(self, val: pl.DataFrame) -> pl.DataFrame:
        """Spectra without their structures, of those rows whose structure is known to the scorer."""
        return with_structure(val).select(self.shown)

    # -- prediction --------------------------------------------------------------------------------------------------

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame:
        """PREDICTED_FINGERPRINTS, one row a query, in the order asked; a query without peaks is answered too."""
        with self._predicting():
            starts = range(0, queries.height, self.chunk)
            parts = [self.probabilities(queries.slice(start, self.chunk)) for start in starts]
        p = np.concatenate([np.zeros((0, BITS), np.float32), *parts])
        offsets = pa.array(np.arange(len(p) + 1, dtype=np.int64) * BITS)
        lists = pl.Series("fingerprint", pa.LargeListArray.from_arrays(offsets, pa.array(p.ravel())))
        return conform(queries.select("identifier").with_columns(lists), PREDICTED_FINGERPRINTS)

    def probabilities(self, queries: pl.DataFrame) -> NDArray[np.float32]:
        """(n, 2048) as they are handed out: with `cut: tanimoto`, above 0.5 exactly where a bit is worth setting."""
        logits = self._logits(self._queries_table(queries), queries)
        if self.options.cut == "tanimoto":
            logits = self.options.sharpness * recentre(logits, best_cut(torch.sigmoid(logits)))
        values: NDArray[np.float32] = torch.sigmoid(logits).cpu().numpy()
        return values

    def _queries_table(self, queries: pl.DataFrame) -> Any:
        return self._tabulate(queries, np.zeros(queries.height, np.int64), np.zeros((0, BITS // 8), np.uint8))

    def _logits(self, table: Any, queries: pl.DataFrame) -> Tensor:
        """(n, 2048) of a table of queries."""
        logits: Tensor = self.network(table.batch(np.arange(queries.height), self._device))
        return logits

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
