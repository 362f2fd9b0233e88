"""gin: graph isomorphism network with bond features (GINE).

Source: Xu et al., ICLR 2019 (GIN); Hu et al., ICLR 2020 (bond features in the message, here PyTorch Geometric's
`GINEConv`): h_v ← MLP((1 + ε) h_v + Σ_u relu(h_u + e_uv)).
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from ....chem.graph import BOND_FIELDS
from ..layers import CodeEmbedding
from .graphs import GINEConv, GraphOptions, MessagePassing


class GINOptions(GraphOptions):
    """Options of the gin encoder."""


class GINEncoder(MessagePassing):
    """Molecule graphs → graph vector and atom states. Each layer embeds the bonds anew."""

    Options = GINOptions

    def __init__(self, options: GINOptions) -> None:
        super().__init__(options)
        inner, depth = options.width, range(options.layers)
        self.bonds = nn.ModuleList(CodeEmbedding(tuple(BOND_FIELDS.values()), inner) for _ in depth)
        self.layers = nn.ModuleList(
            GINEConv(nn.Sequential(nn.Linear(inner, 2 * inner), nn.ReLU(), nn.Linear(2 * inner, inner)), train_eps=True)
            for _ in depth
        )

    def step(self, number: int, state: Tensor, molecules: Mapping[str, Tensor]) -> Tensor:
        bonds = self.bonds[number](molecules["bonds"])
        out: Tensor = self.layers[number](state, molecules["edges"], bonds)
        return out
