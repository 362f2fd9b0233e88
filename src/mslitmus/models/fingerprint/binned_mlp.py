"""BinnedMLP: binned spectrum → multilayer perceptron → Morgan fingerprint. The first learned rung above the neighbour.

    peaks, losses, precursor in bins → embedding bag ┐
    adduct, ion mode, instrument, energy → conditioning ┴→ residual blocks → 2048 logits

Source: the feed-forward baseline of MIST (Goldman et al., Nat. Mach. Intell. 2023) and the fingerprint network of
MassSpecGym (Bushuiev et al., NeurIPS 2024), here with neutral losses and conditions beside the peaks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import dropout

from ..options import Options, TrainingOptions, parse_options
from ..predict.batching import tensor, tensors
from ..predict.conditioning import Conditioning, ConditioningOptions, check_conditions
from ..predict.layers import ResidualBlock
from .base import BITS, TRAINING, FingerprintModel, FingerprintOptions, unpacked
from .binning import BinningOptions, SparseRows, binned, dimension


class MLPOptions(Options):
    """Options of the perceptron."""

    width: int = Field(512, ge=8, le=8192)
    layers: int = Field(1, ge=0, le=20, description="residual blocks")
    dropout: float = Field(0.3, ge=0, lt=1)
    hide: float = Field(0.2, ge=0, lt=1, description="probability of hiding an occupied bin in training")


class BinnedMLPOptions(FingerprintOptions):
    """Options of `binned-mlp`."""

    bins: dict[str, Any] = Field(default_factory=dict)
    mlp: dict[str, Any] = Field(default_factory=dict)


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
        return FingerprintBatch(
            tensor(taken.index, device),
            tensor(taken.value, device),
            tensor(taken.offsets[:-1], device),
            tensors({name: values[rows] for name, values in self.conditions.items()}, device),
            tensor(unpacked(self.packed, self.molecule[rows]), device),
        )


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

    def start_from(self, packed: NDArray[np.uint8]) -> None:
        """Bits (molecules, 256) of the training molecules: their frequencies are the first prediction."""
        frequency = (np.unpackbits(packed, axis=1).sum(axis=0, dtype=np.int64) + 0.5) / (len(packed) + 1)
        with torch.no_grad():
            self.out.bias.copy_(torch.logit(torch.from_numpy(frequency)))

    def forward(self, batch: FingerprintBatch) -> Tensor:
        value = dropout(batch.value, self.options.hide, self.training)
        spectrum = self.enter(batch.index, batch.offsets, per_sample_weights=value)
        known = self.condition(self.conditioning(batch.conditions, len(batch.offsets)))
        logits: Tensor = self.out(self.blocks(spectrum + known))
        return logits


class BinnedMLP(FingerprintModel):
    """A trained fingerprint predictor. The constructor refuses unknown options."""

    name = "binned-mlp"

    def __init__(self, **options: Any) -> None:
        self.options = parse_options(BinnedMLPOptions, options, where=f"model {self.name!r}")
        self.bins = parse_options(BinningOptions, self.options.bins, where="bins")
        self.mlp = parse_options(MLPOptions, self.options.mlp, where="mlp")
        self.condition_options = parse_options(ConditioningOptions, self.options.conditions, where="conditions")
        self.training = parse_options(TrainingOptions, {**TRAINING, **self.options.training}, where="training")
        self._chosen = check_conditions(self.options.conditioning)

    def described(self) -> dict[str, Any]:
        """All options, defaults included."""
        parts = {"bins": self.bins, "mlp": self.mlp, "conditions": self.condition_options, "training": self.training}
        return {**self.options.model_dump(mode="json"), **{name: part.model_dump() for name, part in parts.items()}}

    def _network(self, conditioning: Conditioning) -> nn.Module:
        return BinnedNetwork(dimension(self.bins), conditioning, self.mlp)

    def _tabulate(
        self, frame: pl.DataFrame, molecule: NDArray[np.int64], packed: NDArray[np.uint8]
    ) -> FingerprintTable:
        return FingerprintTable(binned(frame, self.bins), self.vocabulary.encode(frame), molecule, packed)
