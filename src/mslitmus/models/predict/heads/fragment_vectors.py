"""A vector for each fragment: what it holds, what it leaves behind, which bonds had to break, and how much that is.

Sums over the atoms of a fragment, of its rest and over the bonds between them (each seen from the inside) are
sums of rows that are made once an atom or a bond; nothing but the last two layers is computed fragment by fragment.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ....chem.graph import BOND_FIELDS
from ..layers import CodeEmbedding
from ..parts import Encoded
from .fragment_features import CODES, COLUMNS

_SIZE = COLUMNS.index("atoms")


class FragmentVectors(nn.Module):
    """Fragments of the batch's distinct molecules → vectors (F, width)."""

    def __init__(self, width: int, atom_width: int, dropout: float, environments: bool) -> None:
        super().__init__()
        k = width
        self.atom = nn.Linear(atom_width, 3 * k)
        self.ends = nn.Linear(atom_width, 2 * k)
        self.bond = CodeEmbedding(tuple(BOND_FIELDS.values()), k)
        self.numbers = nn.Linear(2 * len(COLUMNS) + 2, k)
        self.mix = nn.Sequential(nn.LayerNorm(k), nn.Linear(k, k), nn.ReLU(), nn.Linear(k, k))
        self.leave = nn.Linear(k, k)
        self.scale = nn.Parameter(torch.full((k,), 0.1))
        self.dropout = nn.Dropout(dropout)
        self.environment = nn.Embedding(CODES, 3 * k) if environments else None

    def forward(self, encoded: Encoded, parts: Mapping[str, Tensor]) -> Tensor:
        """parts: as `FragmentFeaturiser.collate` gives them."""
        assert encoded.atoms is not None  # `needs` says so
        assert encoded.owner is not None
        states, owner = encoded.atoms, parts["owner"]
        pieces = parts["pieces"].to(states.dtype)
        atoms = self.atom(states)
        if self.environment is not None:
            atoms = atoms + self.environment(parts["environments"]).sum(1)
        inner, outer, context = self.dropout(atoms).chunk(3, dim=1)
        size, whole = pieces[:, _SIZE].unsqueeze(1), parts["size"].to(pieces.dtype)[owner].unsqueeze(1)
        both = torch.cat([inner, outer], dim=1)
        held = nn.functional.embedding_bag(parts["members"], both, parts["member_start"], mode="sum")
        held, held_outer = held.chunk(2, dim=1)
        total = outer.new_zeros(len(parts["size"]), outer.shape[1]).index_add(0, encoded.owner, outer)
        left = (total.index_select(0, owner) - held_outer) / (whole - size).clamp(min=1)
        around = context.new_zeros(len(parts["size"]), context.shape[1]).index_add(0, encoded.owner, context)
        around = (around / parts["size"].to(pieces.dtype).unsqueeze(1)).index_select(0, owner)
        start, end = self.ends(states).chunk(2, dim=1)
        inside, outside = parts["ends"].unbind(1)
        bonds = start.index_select(0, inside) + end.index_select(0, outside) + self.bond(parts["bonds"])
        broken = nn.functional.embedding_bag(parts["crossings"], bonds.relu(), parts["crossing_start"], mode="sum")
        numbers = self.numbers(torch.cat([pieces / 4.0, (1 + pieces).log(), size / whole, whole / 30.0], dim=1))
        x = torch.relu(held / size.clamp(min=1) + self.scale * held + left + around + broken + numbers)
        x = x + self.mix(x)
        return self.leave(x)
