"""fingerprint: Morgan bits through a residual multilayer perceptron.

Source: the molecule side of NEIMS (Wei et al., ACS Cent. Sci. 2019), whose residual blocks are kept as an option.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from ....chem import molecule
from ...options import Options
from ..features import Array, Ragged
from ..layers import ResidualBlock
from ..parts import Encoded, Provides


@dataclass(frozen=True)
class MorganFeaturiser:
    """Morgan bits, packed eight to a byte."""

    radius: int
    bits: int

    @property
    def key(self) -> str:
        return f"morgan-r{self.radius}-b{self.bits}"

    def compute(self, smiles: Sequence[str]) -> Ragged:
        packed = np.packbits(molecule.morgan(smiles, self.radius, self.bits), axis=1)
        return Ragged({"bits": packed}, {"bits": np.arange(len(smiles) + 1)})

    def collate(self, features: Ragged) -> dict[str, Array]:
        """bits: (molecules, bits) of 0/1, float32."""
        return {"bits": np.unpackbits(features.arrays["bits"], axis=1, count=self.bits).astype(np.float32)}


class FingerprintOptions(Options):
    """Options of the fingerprint encoder."""

    radius: int = Field(2, ge=0, le=6)
    bits: int = Field(2048, ge=64, le=16384)
    width: int = Field(512, ge=8, le=8192, description="of the graph vector and the blocks")
    layers: int = Field(1, ge=0, le=20, description="residual blocks")
    dropout: float = Field(0.3, ge=0, lt=1)


class FingerprintEncoder(nn.Module):
    """(molecules, bits) → graph vector (molecules, width). Gives no atom states."""

    provides: ClassVar[frozenset[Provides]] = frozenset({"graph"})
    Options = FingerprintOptions

    def __init__(self, options: FingerprintOptions) -> None:
        super().__init__()
        self.width = options.width
        self.enter = nn.Linear(options.bits, options.width)
        self.blocks = nn.Sequential(*(ResidualBlock(options.width, options.dropout) for _ in range(options.layers)))

    @classmethod
    def featuriser(cls, options: Any) -> MorganFeaturiser:
        return MorganFeaturiser(options.radius, options.bits)

    def forward(self, molecules: Mapping[str, Tensor]) -> Encoded:
        hidden: Tensor = self.blocks(torch.relu(self.enter(molecules["bits"])))
        return Encoded(graph=hidden)
