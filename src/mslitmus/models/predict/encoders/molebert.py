"""molebert: the graph isomorphism network of Mole-BERT, from random weights or pretrained ones.

Source: Xia et al., "Mole-BERT: Rethinking pre-training graph neural networks for molecules", ICLR 2023; the network is
that of Hu et al., "Strategies for pre-training graph neural networks", ICLR 2020:

    h_v ← relu(norm(MLP(Σ_{u ∈ N(v) ∪ {v}} h_u + e_uv))),   no relu after the last layer,

the graph vector is the mean of the atoms. Input are all atom and bond codes of `chem.graph`, not element and bond type
alone; `mslitmus pretrain molebert` trains it, and published weights fit (`weights`, see `pretrained`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from ....chem.graph import ATOM_FIELDS, BOND_FIELDS
from ..layers import CodeEmbedding
from ..parts import Encoded, Provides
from .graphs import GraphFeaturiser
from .pretrained import PretrainedOptions

_BOND_SIZES = tuple(BOND_FIELDS.values())


class MoleBERTOptions(PretrainedOptions):
    """Options of the molebert encoder."""

    layers: int = Field(5, ge=1, le=20)
    width: int = Field(300, ge=8, le=4096)
    dropout: float = Field(0.1, ge=0, lt=1)


class AtomNorm(nn.BatchNorm1d):
    """Batch normalisation over atoms. Frozen (no gradient wanted), or asked about a single atom, it takes the running
    statistics: otherwise a frozen encoder would go on drifting."""

    def forward(self, state: Tensor) -> Tensor:
        learns = self.training and self.weight.requires_grad and len(state) > 1
        mean, var = self.running_mean, self.running_var
        return functional.batch_norm(state, mean, var, self.weight, self.bias, learns, self.momentum, self.eps)


class MoleBERTLayer(nn.Module):
    """One round of messages: (atoms, width) → (atoms, width).

    Messages are sums, so the bonds of an atom enter as counts: `bonds` (atoms, combinations of bond codes) times one
    vector a combination, which is exact and spares an embedding of every edge.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.bonds = CodeEmbedding(_BOND_SIZES, width)
        self.loop = nn.Embedding(1, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))
        self.norm = AtomNorm(width)
        for table in (*self.bonds.tables, self.loop):
            nn.init.xavier_uniform_(table.weight)

    def forward(self, state: Tensor, edges: Tensor, bonds: Tensor) -> Tensor:
        vectors = self.bonds(combinations(state.device))
        around = (
            torch.index_add(state, 0, edges[1], state.index_select(0, edges[0])) + bonds @ vectors + self.loop.weight
        )
        out: Tensor = self.norm(self.mlp(around))
        return out


class MoleBERTEncoder(nn.Module):
    """Molecule graphs → graph vector (mean of the atoms) and atom states."""

    provides: ClassVar[frozenset[Provides]] = frozenset({"graph", "atoms"})
    Options = MoleBERTOptions

    def __init__(self, options: MoleBERTOptions) -> None:
        super().__init__()
        self.width = options.width
        self.atoms = CodeEmbedding(tuple(ATOM_FIELDS.values()), options.width)
        for table in self.atoms.tables:
            nn.init.xavier_uniform_(table.weight)
        self.layers = nn.ModuleList(MoleBERTLayer(options.width) for _ in range(options.layers))
        self.dropout = nn.Dropout(options.dropout)

    @classmethod
    def featuriser(cls, options: Any) -> GraphFeaturiser:
        return GraphFeaturiser()

    def forward(self, molecules: Mapping[str, Tensor]) -> Encoded:
        edges, owner = molecules["edges"], molecules["owner"]
        state = self.atoms(molecules["atoms"])
        bonds = bond_counts(edges, molecules["bonds"], len(state)).to(state.dtype)
        for number, layer in enumerate(self.layers, start=1):
            state = layer(state, edges, bonds)
            state = self.dropout(torch.relu(state) if number < len(self.layers) else state)
        number_of = int(molecules["molecules"])
        total = state.new_zeros(number_of, state.shape[1]).index_add(0, owner, state)
        count = torch.bincount(owner, minlength=number_of).clamp(min=1).unsqueeze(1)
        return Encoded(total / count, state, owner)


def combinations(device: torch.device) -> Tensor:
    """Every combination of bond codes, (combinations, fields), in the order of `bond_counts`."""
    return torch.cartesian_prod(*(torch.arange(size, device=device) for size in _BOND_SIZES))


def bond_counts(edges: Tensor, codes: Tensor, atoms: int) -> Tensor:
    """How many bonds of each combination of codes an atom has: edges (2, 2m), codes (2m, fields) → (atoms, n)."""
    number, total = torch.zeros_like(codes[:, 0]), 1
    for column, size in enumerate(_BOND_SIZES):
        number, total = number * size + codes[:, column], total * size
    flat = torch.bincount(edges[1] * total + number, minlength=atoms * total)
    return flat.reshape(atoms, total)
