"""Embedding MLP: binned peaks and losses → a unit vector, the small baseline (MS2DeepScore, Huber et al. 2021).

The input is sparse: bins of 0.1 Da of the peaks and of the neutral losses, square roots of intensities, as
`fingerprint.binning` makes them. An embedding bag adds up the occupied bins' vectors, so that the cost is that of the
peaks, not that of the bins.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from ..fingerprint.binning import BinningOptions, SparseRows, dimension
from ..options import Options
from ..predict.batching import tensor
from ..predict.conditioning import Conditioning
from ..predict.layers import ResidualBlock


class EmbeddingMLPOptions(Options):
    """Options of the embedding MLP."""

    bin_width: float = Field(0.1, ge=0.01, le=10, description="Da")
    max_mz: float = Field(1000.0, gt=0, le=10_000, description="Da; peaks and losses above are not seen")
    losses: bool = Field(True, description="neutral losses beside the peaks")
    width: int = Field(256, ge=8, le=8192)
    layers: int = Field(2, ge=0, le=20, description="residual blocks")
    out: int = Field(256, ge=8, le=4096, description="length of the embedding")
    dropout: float = Field(0.2, ge=0, lt=1)
    hide: float = Field(0.2, ge=0, lt=1, description="probability of hiding an occupied bin in training")

    def bins(self) -> BinningOptions:
        return BinningOptions.model_validate({"width": self.bin_width, "max_mz": self.max_mz, "losses": self.losses})


@dataclass(frozen=True)
class Bins:
    """A batch: occupied bins of all spectra end to end, where each spectrum's begin, and its conditions."""

    index: Tensor
    value: Tensor
    first: Tensor
    conditions: dict[str, Tensor]


def bins(rows: SparseRows, conditions: dict[str, Tensor], device: torch.device | str) -> Bins:
    return Bins(tensor(rows.index, device), tensor(rows.value, device), tensor(rows.offsets[:-1], device), conditions)


class EmbeddingMLP(nn.Module):
    """Bins → (n, out) unit vectors."""

    def __init__(self, options: EmbeddingMLPOptions, conditioning: Conditioning) -> None:
        super().__init__()
        width = options.width
        self.options, self.out_width = options, options.out
        self.enter = nn.EmbeddingBag(dimension(options.bins()), width, mode="sum")
        nn.init.normal_(self.enter.weight, std=width**-0.5)
        self.conditioning = conditioning
        self.condition = nn.Linear(conditioning.width, width) if conditioning.width else None
        self.blocks = nn.Sequential(
            nn.ReLU(),
            nn.Dropout(options.dropout),
            *(ResidualBlock(width, options.dropout) for _ in range(options.layers)),
            nn.LayerNorm(width),
        )
        self.out = nn.Linear(width, options.out)

    def forward(self, batch: Bins) -> Tensor:
        value = functional.dropout(batch.value, self.options.hide, self.training)
        x = self.enter(batch.index, batch.first, per_sample_weights=value)
        if self.condition is not None:
            x = x + self.condition(self.conditioning(batch.conditions, len(batch.first)))
        return functional.normalize(self.out(self.blocks(x)), dim=1)
