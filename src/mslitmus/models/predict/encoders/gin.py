"""gin: graph isomorphism network with bond features (GINE).

Source: Xu et al., ICLR 2019 (GIN); Hu et al., ICLR 2020 (bond features in the message, here PyTorch Geometric's
`GINEConv`): h_v ← MLP((1 + ε) h_v + Σ_u relu(h_u + e_uv)).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ....chem.graph import ATOM_FIELDS, BOND_FIELDS
from ..layers import CodeEmbedding
from ..parts import Encoded, Provides
from .graphs import GINEConv, GraphFeaturiser
from .pretrained import PretrainedOptions


class GINOptions(PretrainedOptions):
    """Options of the gin encoder."""

    layers: int = Field(4, ge=1, le=20)
    width: int = Field(128, ge=8, le=4096)
    dropout: float = Field(0.1, ge=0, lt=1)
    readout: Literal["sum", "mean", "both"] = "both"


class GINEncoder(nn.Module):
    """Molecule graphs → graph vector and atom states. `both` joins mean and scaled sum readouts."""

    provides: ClassVar[frozenset[Provides]] = frozenset({"graph", "atoms"})
    Options = GINOptions

    def __init__(self, options: GINOptions) -> None:
        super().__init__()
        inner = options.width
        self.readout, self.width = options.readout, inner * (2 if options.readout == "both" else 1)
        self.atoms = CodeEmbedding(tuple(ATOM_FIELDS.values()), inner)
        self.bonds = nn.ModuleList(CodeEmbedding(tuple(BOND_FIELDS.values()), inner) for _ in range(options.layers))
        self.layers = nn.ModuleList(
            GINEConv(nn.Sequential(nn.Linear(inner, 2 * inner), nn.ReLU(), nn.Linear(2 * inner, inner)), train_eps=True)
            for _ in range(options.layers)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(inner) for _ in range(options.layers))
        self.dropout = nn.Dropout(options.dropout)

    @classmethod
    def featuriser(cls, options: Any) -> GraphFeaturiser:
        return GraphFeaturiser()

    def forward(self, molecules: Mapping[str, Tensor]) -> Encoded:
        edges, codes, owner = molecules["edges"], molecules["bonds"], molecules["owner"]
        state = self.atoms(molecules["atoms"])
        for bond, layer, norm in zip(self.bonds, self.layers, self.norms, strict=True):
            state = state + self.dropout(torch.relu(norm(layer(state, edges, bond(codes)))))
        return Encoded(self._read(state, owner, int(molecules["molecules"])), state, owner)

    def _read(self, state: Tensor, owner: Tensor, molecules: int) -> Tensor:
        total = state.new_zeros(molecules, state.shape[1]).index_add(0, owner, state)
        if self.readout == "sum":
            return total
        count = torch.bincount(owner, minlength=molecules).clamp(min=1).unsqueeze(1)
        mean = total / count
        return mean if self.readout == "mean" else torch.cat([mean, total / 20.0], dim=1)  # a molecule has about 20
