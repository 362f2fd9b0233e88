"""gcn: graph convolutional network, each bond weighted by its order.

Source: Kipf & Welling, ICLR 2017 (PyTorch Geometric's `GCNConv`): H ← D^-½ (A + I) D^-½ H W, where A holds 1 for every
bond or, with `bond_order`, its order (aromatic 1.5). What else there is to know of a bond a GCN does not see.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor, nn

from ....chem.graph import BOND_FIELDS
from .graphs import GCNConv, GraphOptions, MessagePassing

_ORDERS = (1.0, 1.0, 2.0, 3.0, 1.5)  # of the codes of BOND_FIELDS["order"]; "other" counts as single


class GCNOptions(GraphOptions):
    """Options of the gcn encoder."""

    bond_order: bool = Field(True, description="weight bonds by their order; else all alike")


class GCNEncoder(MessagePassing):
    """Molecule graphs → graph vector and atom states."""

    Options = GCNOptions
    orders: Tensor

    def __init__(self, options: GCNOptions) -> None:
        super().__init__(options)
        self.bond_order = options.bond_order
        self.layers = nn.ModuleList(GCNConv(options.width, options.width) for _ in range(options.layers))
        self.register_buffer("orders", torch.tensor(_ORDERS), persistent=False)

    def step(self, number: int, state: Tensor, molecules: Mapping[str, Tensor]) -> Tensor:
        codes = molecules["bonds"][:, list(BOND_FIELDS).index("order")]
        weight = self.orders[codes] if self.bond_order else None
        out: Tensor = self.layers[number](state, molecules["edges"], weight)
        return out
