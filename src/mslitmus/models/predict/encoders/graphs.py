"""What message-passing encoders share: the scaffold around their layers, the readout, the door to PyTorch Geometric.

atom codes → embedding → layers: h ← h + dropout(relu(norm(layer(h)))) → readout
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ....chem.graph import ATOM_FIELDS
from ..graph_features import GraphFeaturiser
from ..layers import CodeEmbedding
from ..parts import Encoded, Provides
from .pretrained import PretrainedOptions

with warnings.catch_warnings():  # PyTorch Geometric scripts classes while it is imported, which torch 2.9+ deprecates
    warnings.simplefilter("ignore")
    from torch_geometric.nn import GATv2Conv, GCNConv, GINEConv

How = Literal["sum", "mean", "both"]


class GraphOptions(PretrainedOptions):
    """Options of every message-passing encoder."""

    layers: int = Field(4, ge=1, le=20)
    width: int = Field(128, ge=8, le=4096, description="of the atom states")
    dropout: float = Field(0.1, ge=0, lt=1)
    readout: How = Field("both", description="of atom states to the graph vector: sum, mean, or both side by side")


class Readout(nn.Module):
    """Atom states (n, width) → graph vectors (molecules, self.width). `both` joins the mean and a scaled sum."""

    def __init__(self, how: How, width: int) -> None:
        super().__init__()
        self.how, self.width = how, width * (2 if how == "both" else 1)

    def forward(self, state: Tensor, owner: Tensor, molecules: int) -> Tensor:
        total = state.new_zeros(molecules, state.shape[1]).index_add(0, owner, state)
        if self.how == "sum":
            return total
        count = torch.bincount(owner, minlength=molecules).clamp(min=1).unsqueeze(1)
        mean = total / count
        return mean if self.how == "mean" else torch.cat([mean, total / 20.0], dim=1)  # a molecule has about 20


class MessagePassing(nn.Module, ABC):
    """The scaffold. A kind of encoder makes `layers` and says what each one is given (`step`)."""

    provides: ClassVar[frozenset[Provides]] = frozenset({"graph", "atoms"})
    layers: nn.ModuleList

    def __init__(self, options: GraphOptions) -> None:
        super().__init__()
        self.atoms = CodeEmbedding(tuple(ATOM_FIELDS.values()), options.width)
        self.norms = nn.ModuleList(nn.LayerNorm(options.width) for _ in range(options.layers))
        self.dropout = nn.Dropout(options.dropout)
        self.readout = Readout(options.readout, options.width)
        self.width = self.readout.width

    @classmethod
    def featuriser(cls, options: Any) -> GraphFeaturiser:
        return GraphFeaturiser()

    @abstractmethod
    def step(self, number: int, state: Tensor, molecules: Mapping[str, Tensor]) -> Tensor:
        """What layer `number` makes of the atom states: (n, width) → (n, width)."""

    def forward(self, molecules: Mapping[str, Tensor]) -> Encoded:
        state = self.atoms(molecules["atoms"])
        for number, norm in enumerate(self.norms):
            state = state + self.dropout(torch.relu(norm(self.step(number, state, molecules))))
        owner = molecules["owner"]
        return Encoded(self.readout(state, owner, int(molecules["molecules"])), state, owner)


__all__ = ["GATv2Conv", "GCNConv", "GINEConv", "GraphFeaturiser", "GraphOptions", "MessagePassing", "Readout"]
