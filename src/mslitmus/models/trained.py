"""What trained networks of any task share: the way to the loop, the device, the hash, weights on disk."""

from __future__ import annotations

import hashlib
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import torch
from torch import nn

from ..errors import ConfigError, ModelError
from ..provenance import file_hash, write_json
from . import TRAINERS
from .options import TrainingOptions
from .predict.starting import Start, check_same
from .protocol import FitContext, FitReport, Kind


class TrainedModel(ABC):
    """Base of models with a torch network: `prepare` builds it and sets `_data_hash` (see `protocol.Trainable`)."""

    kind: Kind = "trained"
    training: TrainingOptions
    network: nn.Module
    _data_hash = ""
    _device = torch.device("cpu")
    _start: Start | None = None

    @abstractmethod
    def described(self) -> dict[str, Any]:
        """All options, defaults included: what the constructor takes."""

    def check_start(self, parent: Any, head: str = "keep") -> None:
        """Raises ConfigError where this model cannot start from that one's weights (see `protocol.Starts`)."""
        check_same(self, parent, head)

    def fit(self, train: pl.DataFrame, val: pl.DataFrame, context: FitContext) -> FitReport:
        """Train with the one loop; see `mslitmus.train.fit`."""
        report: FitReport = TRAINERS["lightning"](self, train, val, context)
        return report

    def to(self, device: str) -> None:
        """Move the network; batches follow."""
        self._device = torch.device(device)
        self.network.to(self._device)

    def fingerprint(self) -> str:
        """Hash of options and training data."""
        text = json.dumps([self.described(), self._data_hash], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def parameters(self) -> int:
        return sum(p.numel() for p in self.network.parameters()) if hasattr(self, "network") else 0

    @contextmanager
    def _predicting(self) -> Iterator[None]:
        """No dropout, no gradients. Raises ModelError for a model without weights."""
        if not hasattr(self, "network"):
            raise ModelError("the model was not trained", remedy="call fit, or load a saved one")
        was_training = self.network.training
        self.network.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self.network.train(was_training)

    def _write(self, folder: Path, vocabulary: dict[str, Any]) -> None:
        """options.json, vocabulary.json and weights.pt, the weights last and in one step."""
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "options.json", self.described())
        write_json(folder / "vocabulary.json", vocabulary)
        write_weights(self.network, folder)

    def _read_weights(self, folder: Path) -> None:
        self.network.load_state_dict(torch.load(folder / "weights.pt", map_location="cpu", weights_only=True))
        self.network.eval()


def write_weights(network: nn.Module, folder: Path) -> None:
    """weights.pt, in one step."""
    temporary = folder / f".weights.tmp{os.getpid()}"
    torch.save({k: v.detach().cpu() for k, v in network.state_dict().items()}, temporary)
    os.replace(temporary, folder / "weights.pt")


def weights_file_hash(folder: str, remedy: str) -> str:
    """SHA-256 of a folder's weights.pt. Raises ConfigError with `remedy` where there is none."""
    path = Path(folder) / "weights.pt"
    if not path.is_file():
        raise ConfigError("no weights here", where=folder, remedy=remedy)
    return file_hash(path)


def read_json(path: Path) -> dict[str, Any]:
    """One of the files that `_write` leaves."""
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return values


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Whatever goes wrong with a model's files within becomes a ModelError that names the folder."""
    try:
        yield
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise ModelError(
            f"not a saved model: {error}", where=str(folder), remedy="train again, or give the folder of a cell"
        ) from error
