"""gat: graph attention network with bond features (GATv2).

Source: Veličković et al., ICLR 2018; Brody, Alon, Yahav, ICLR 2022 (GATv2, PyTorch Geometric's `GATv2Conv`):
α_uv ∝ exp(aᵀ leaky-relu(W_s h_u + W_t h_v + W_e e_uv)), h_v ← Σ_u α_uv W_s h_u over the neighbours and the atom itself,
whose own "bond" is the mean of its bonds. Heads share the width.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor, nn

from ....chem.graph import BOND_FIELDS
from ..layers import CodeEmbedding
from .graphs import GATv2Conv, GraphOptions, MessagePassing


class GATOptions(GraphOptions):
    """Options of the gat encoder."""

    heads: int = Field(4, ge=1, le=64, validate_default=True, description="of attention; they share the width")

    @field_validator("heads")
    @classmethod
    def _divide(cls, heads: int, info: ValidationInfo) -> int:
        if info.data.get("width", heads) % heads:
            raise ValueError(f"must divide the width {info.data['width']}")
        return heads


class GATEncoder(MessagePassing):
    """Molecule graphs → graph vector and atom states. Bonds are embedded once, and weighted by each layer."""

    Options = GATOptions

    def __init__(self, options: GATOptions) -> None:
        super().__init__(options)
        inner, heads = options.width, options.heads
        self.bonds = CodeEmbedding(tuple(BOND_FIELDS.values()), inner)
        self.layers = nn.ModuleList(
            GATv2Conv(inner, inner // heads, heads=heads, edge_dim=inner) for _ in range(options.layers)
        )

    def step(self, number: int, state: Tensor, molecules: Mapping[str, Tensor]) -> Tensor:
        out: Tensor = self.layers[number](state, molecules["edges"], self.bonds(molecules["bonds"]))
        return out
