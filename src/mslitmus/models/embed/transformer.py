"""Peak transformer: peaks and precursor as tokens → a unit vector (DreaMS, Bushuiev et al., Nat. Biotechnol. 2025).

    precursor: Fourier(m/z), conditions ┐
    peaks:     Fourier(m/z), Fourier(precursor − m/z), intensity ┴→ pre-norm blocks → precursor token → unit vector

Fourier features are the sines and cosines of 2π·m/z/λ at wavelengths λ from 0.001 to 1000 Da, spaced evenly on a log
scale; the phase is taken in 64 bits, since 1000 Da are a million of the shortest waves. Nothing says in what order the
peaks come, so their order cannot matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from ..fourier import Fourier
from ..options import Options
from ..predict.batching import tensor, tensors
from ..predict.conditioning import Conditioning
from .packing import Block, groups
from .peaks import PeakTable

#: Width, layers, heads of the named sizes; 0.6, 1.1, 2.1, 10 and 100 million parameters.
SIZES = {
    "tiny": (128, 2, 4),
    "mini": (160, 3, 5),
    "small": (192, 4, 6),
    "medium": (320, 8, 10),
    "large": (768, 14, 12),
}
_INTENSITIES = 3  # x, √x and whether it is the precursor's token


class TransformerOptions(Options):
    """Options of the peak transformer."""

    size: Literal["tiny", "mini", "small", "medium", "large"] = "small"
    waves: int = Field(64, ge=4, le=1024, description="wavelengths of the Fourier features")
    shortest: float = Field(1e-3, gt=0, description="wavelength, Da")
    longest: float = Field(1e3, gt=0, description="wavelength, Da")
    losses: bool = Field(True, description="each peak also tells its neutral loss")
    out: int = Field(256, ge=8, le=4096, description="length of the embedding")
    dropout: float = Field(0.1, ge=0, lt=1)


@dataclass(frozen=True)
class Tokens:
    """A batch: each spectrum's precursor token, then its peaks, end to end.

    Attributes:
        mzs: (tokens,) Da in 64 bits. losses: (tokens,) precursor − m/z.
        intensities: (tokens, 3). first: (n,) where each spectrum begins. hidden: (tokens,) whether m/z and loss are
            replaced by a learned state (masked-peak pretraining), or None.
        lengths: (n,) tokens of each spectrum. conditions: (n, …).
    """

    mzs: Tensor
    losses: Tensor
    intensities: Tensor
    first: Tensor
    hidden: Tensor | None
    lengths: np.ndarray
    conditions: dict[str, Tensor]


def tokens(table: PeakTable, device: torch.device | str, hidden: np.ndarray | None = None) -> Tokens:
    """The tokens of all spectra of a table. hidden: (peaks,) marks what pretraining masks."""
    lengths = table.lengths + 1
    first = np.cumsum(lengths) - lengths
    total = int(lengths.sum())
    peak = np.ones(total, bool)
    peak[first] = False
    mzs = np.empty(total)
    mzs[first], mzs[peak] = table.precursor_mz, table.mzs
    losses = np.repeat(table.precursor_mz, lengths) - mzs
    intensities = np.zeros((total, _INTENSITIES), np.float32)
    intensities[first, 2] = 1.0
    intensities[peak, 0], intensities[peak, 1] = table.intensities, np.sqrt(table.intensities)
    masked = None
    if hidden is not None:
        flags = np.zeros(total, bool)
        flags[peak] = hidden
        masked = tensor(flags, device)
    at, lost, heights, begins = (tensor(values, device) for values in (mzs, losses, intensities, first))
    return Tokens(at, lost, heights, begins, masked, lengths, tensors(table.conditions, device))


class PeakTransformer(nn.Module):
    """Tokens → token states (`states`) and unit vectors (`forward`)."""

    def __init__(self, options: TransformerOptions, conditioning: Conditioning) -> None:
        super().__init__()
        width, layers, heads = SIZES[options.size]
        self.options, self.width, self.out_width = options, width, options.out
        self.fourier = Fourier(options.waves, options.shortest, options.longest)
        waves = self.fourier.width * (1 + options.losses)
        self.enter = nn.Sequential(nn.Linear(waves + _INTENSITIES, width), nn.GELU(), nn.Linear(width, width))
        self.conditioning = conditioning
        self.condition = nn.Linear(conditioning.width, width) if conditioning.width else None
        self.unknown = nn.Parameter(0.02 * torch.randn(waves))  # stands for a masked m/z and its loss
        self.blocks = nn.ModuleList(Block(width, heads, options.dropout) for _ in range(layers))
        self.last = nn.LayerNorm(width)
        self.out = nn.Linear(width, options.out)

    def states(self, batch: Tokens) -> Tensor:
        """(tokens, width) after the last block."""
        waves = self.fourier(batch.mzs)
        if self.options.losses:
            waves = torch.cat([waves, self.fourier(batch.losses)], dim=1)
        if batch.hidden is not None:
            waves = torch.where(batch.hidden.unsqueeze(1), self.unknown, waves)
        x = self.enter(torch.cat([waves, batch.intensities], dim=1))
        if self.condition is not None:
            known = self.condition(self.conditioning(batch.conditions, len(batch.first)))
            x = x.index_add(0, batch.first, known)
        packed = groups(batch.lengths, x.device)
        for block in self.blocks:
            x = block(x, packed)
        out: Tensor = self.last(x)
        return out

    def forward(self, batch: Tokens) -> Tensor:
        """(n, out) unit vectors."""
        return functional.normalize(self.out(self.states(batch).index_select(0, batch.first)), dim=1)
