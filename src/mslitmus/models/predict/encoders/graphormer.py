"""graphormer: a transformer over all atoms of a molecule, told how they are joined by biases of its attention.

Source: Ying et al., NeurIPS 2021 (equations 5–7), in the form (pre-normalised blocks, inner layer as wide as the
state) that MassFormer takes for tandem spectra (Young, Röst, Wang, Nature Machine Intelligence 2024):

- centrality: embeddings of in- and out-degree are added to the atom's (equal numbers here, two tables as published);
- distance: each head adds a learned number for the shortest-path distance of two atoms, with codes of their own for
  "farther than the cap" and "no path" (the ions of a salt);
- edges: each head adds the mean over the shortest path of a learned number for each kind of bond;
- readout: a virtual token, one more of the molecule, whose distance to and from every atom is a learned number too.

Departures: a bond counts the same wherever on the path it lies (published: weights by position), and atoms with several
shortest paths take the mean over them (published: the first found), so that the numbering of atoms makes no difference.

Tokens of all molecules lie one after the other, without padding; only the attention, a few per cent of the work, is
dense: molecules sorted by size into a few blocks, in each of which the largest is little larger than the smallest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor, nn
from torch.nn import functional

from ....chem.graph import ATOM_FIELDS
from ....chem.paths import SHARE_STEPS, SHARES, UNREACHABLE
from ..graph_features import PathFeaturiser
from ..layers import CodeEmbedding
from ..parts import Encoded, Provides
from .pretrained import PretrainedOptions

#: Layers, width, heads: `slim`, `small` and `base` are those of the paper.
SIZES = {"slim": (12, 80, 8), "small": (6, 512, 32), "base": (12, 768, 32)}
_DEGREE = list(ATOM_FIELDS).index("degree")


class GraphormerOptions(PretrainedOptions):
    """Options of the graphormer encoder."""

    size: Literal["slim", "small", "base"] = Field("slim", description="layers × width × heads as published")
    layers: int | None = Field(None, ge=1, le=48, description="instead of the size's")
    width: int | None = Field(None, ge=8, le=4096, description="instead of the size's")
    heads: int | None = Field(None, ge=1, le=128, validate_default=True, description="instead of the size's")
    feed_forward: float = Field(1.0, gt=0, le=8, description="width of a block's inner layer, in widths")
    dropout: float = Field(0.1, ge=0, lt=1)
    attention_dropout: float = Field(0.1, ge=0, lt=1)
    max_distance: int = Field(20, ge=1, le=250, description="bonds; longer paths share a code")

    @field_validator("heads")
    @classmethod
    def _divide(cls, heads: int | None, info: ValidationInfo) -> int | None:
        _, width, usual = SIZES[info.data.get("size", "slim")]
        width = info.data.get("width") or width
        if width % (heads or usual):
            raise ValueError(f"{heads or usual} heads do not divide the width {width}")
        return heads

    @property
    def shape(self) -> tuple[int, int, int]:
        """(layers, width, heads)."""
        layers, width, heads = SIZES[self.size]
        return self.layers or layers, self.width or width, self.heads or heads


@dataclass(frozen=True)
class Block:
    """Molecules of like size, laid out for dense attention: k molecules, L tokens of the largest of them.

    Attributes:
        tokens: (k, L) number of each token among all tokens; 0 in the padding.
        padding: (k, L) true where there is no token.
        places: (tokens of these molecules,) their places in the flattened (k, L).
        bias: (k, heads, L, L) added to the attention from row to column; -inf in columns of padding.
    """

    tokens: Tensor
    padding: Tensor
    places: Tensor
    bias: Tensor


def like_sizes(sizes: Sequence[int]) -> list[list[int]]:
    """Numbers of the molecules in blocks by ascending size; the largest of a block has at most 1.3 n + 3 atoms, where
    its smallest has n. No block is empty."""
    blocks: list[list[int]] = []
    limit = -1.0
    for number in sorted(range(len(sizes)), key=lambda k: sizes[k]):
        if sizes[number] > limit:
            blocks.append([])
            limit = 1.3 * sizes[number] + 3
        blocks[-1].append(number)
    return blocks


class GraphormerEncoder(nn.Module):
    """Molecules with their shortest paths → graph vector (the readout token's state) and atom states."""

    provides: ClassVar[frozenset[Provides]] = frozenset({"graph", "atoms"})
    Options = GraphormerOptions

    def __init__(self, options: GraphormerOptions) -> None:
        super().__init__()
        layers, self.width, heads = options.shape
        self.atoms = CodeEmbedding(tuple(ATOM_FIELDS.values()), self.width)
        self.in_degree = nn.Embedding(ATOM_FIELDS["degree"], self.width)
        self.out_degree = nn.Embedding(ATOM_FIELDS["degree"], self.width)
        self.readout = nn.Parameter(torch.zeros(self.width))
        self.biases = PairBias(options.max_distance, heads)
        self.dropout = nn.Dropout(options.dropout)
        self.layers = nn.ModuleList(
            Layer(
                self.width, heads, round(options.feed_forward * self.width), options.dropout, options.attention_dropout
            )
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(self.width)
        self.apply(lambda part: _start(part, layers))
        nn.init.normal_(self.readout, std=0.02)

    @classmethod
    def featuriser(cls, options: Any) -> PathFeaturiser:
        return PathFeaturiser()

    def forward(self, molecules: Mapping[str, Tensor]) -> Encoded:
        codes, sizes, owner = molecules["atoms"], molecules["sizes"], molecules["owner"]
        degree = codes[:, _DEGREE]
        atoms = self.atoms(codes) + self.in_degree(degree) + self.out_degree(degree)
        # Each molecule's readout token comes before its atoms.
        first = torch.cumsum(sizes + 1, 0) - (sizes + 1)
        place = torch.arange(len(codes), device=codes.device) + owner + 1
        blocks = [
            self._block(torch.tensor(k, device=codes.device), molecules, first) for k in like_sizes(sizes.tolist())
        ]
        state = atoms.new_zeros(len(codes) + len(sizes), self.width)
        state = state.index_add(0, place, atoms).index_add(0, first, self.readout.expand(len(sizes), -1))
        state = self.dropout(state)
        for layer in self.layers:
            state = layer(state, blocks)
        state = self.norm(state)
        return Encoded(state.index_select(0, first), state.index_select(0, place), owner)

    def _block(self, chosen: Tensor, molecules: Mapping[str, Tensor], first: Tensor) -> Block:
        """`chosen`: (k,) molecules of like size; `first`: (molecules,) the first token of each."""
        sizes = molecules["sizes"][chosen]
        n = int(sizes.max())
        number = torch.arange(n + 1, device=chosen.device)
        padding = number > sizes.unsqueeze(1)
        tokens = (first[chosen].unsqueeze(1) + number).masked_fill(padding, 0)
        bias = self.biases(molecules, chosen, n, padding)
        return Block(tokens, padding, torch.nonzero(~padding.flatten()).squeeze(1), bias)


def _start(part: nn.Module, layers: int) -> None:
    """Small random weights, as published: linear layers smaller the more of them there are."""
    if isinstance(part, nn.Embedding | nn.Linear):
        nn.init.normal_(part.weight, std=0.02 if isinstance(part, nn.Embedding) else 0.02 / layers**0.5)
    if isinstance(part, nn.Linear) and part.bias is not None:
        nn.init.zeros_(part.bias)


class PairBias(nn.Module):
    """What each head adds to the attention of two tokens for their distance and the bonds between them."""

    def __init__(self, max_distance: int, heads: int) -> None:
        super().__init__()
        self.max_distance = max_distance
        self.distance = nn.Embedding(max_distance + 3, heads)  # 0 … cap, farther, no path
        self.bonds = nn.Linear(len(SHARES), heads, bias=False)
        self.virtual = nn.Parameter(torch.zeros(heads))

    def forward(self, molecules: Mapping[str, Tensor], chosen: Tensor, n: int, padding: Tensor) -> Tensor:
        """(k, heads, n + 1, n + 1) of k chosen molecules with at most n atoms; the readout token is the first."""
        number = torch.arange(n, device=chosen.device)
        high, low = torch.maximum(number[:, None], number), torch.minimum(number[:, None], number)
        pair = molecules["pairs"][chosen][:, None, None] + high * (high + 1) // 2 + low
        absent = padding[:, 1:, None] | padding[:, None, 1:]
        pair = pair.masked_fill(absent, 0).flatten()
        code = molecules["distances"][pair].long()
        capped = code.clamp(max=self.max_distance + 1)
        code = torch.where(code == UNREACHABLE, self.max_distance + 2, capped)
        shares = molecules["shares"][pair].to(self.bonds.weight.dtype) / SHARE_STEPS
        atoms = (self.distance(code) + self.bonds(shares)).view(len(chosen), n, n, -1).permute(0, 3, 1, 2)
        row = self.virtual.view(1, -1, 1, 1).expand(len(chosen), -1, 1, n + 1)
        both = torch.cat([row, torch.cat([row[..., 1:].transpose(2, 3), atoms], dim=3)], dim=2)
        return both.masked_fill(padding[:, None, None, :], float("-inf"))


class Layer(nn.Module):
    """x + attention(norm(x)), then x + W₂ gelu(W₁ norm(x)): tokens (t, width) → (t, width)."""

    def __init__(self, width: int, heads: int, inner: int, dropout: float, attention_dropout: float) -> None:
        super().__init__()
        self.heads, self.attention_dropout = heads, attention_dropout
        self.before_attention, self.before_inner = nn.LayerNorm(width), nn.LayerNorm(width)
        self.project, self.join = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.inner = nn.Sequential(nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, blocks: Sequence[Block]) -> Tensor:
        projected = self.project(self.before_attention(x))
        mixed = torch.zeros_like(x)
        for block in blocks:
            tokens = block.tokens.flatten()[block.places]
            mixed = mixed.index_add(0, tokens, self._attend(projected, block))
        x = x + self.dropout(self.join(mixed))
        out: Tensor = x + self.dropout(self.inner(self.before_inner(x)))
        return out

    def _attend(self, projected: Tensor, block: Block) -> Tensor:
        """What the tokens of this block take from each other: (tokens of the block, width)."""
        k, length = block.tokens.shape
        laid = projected.index_select(0, block.tokens.flatten()).view(k, length, 3, self.heads, -1)
        query, key, value = laid.permute(2, 0, 3, 1, 4)
        score = query @ key.transpose(2, 3) / query.shape[-1] ** 0.5 + block.bias
        weight = functional.dropout(torch.softmax(score, dim=3), self.attention_dropout, self.training)
        mixed = (weight @ value).transpose(1, 2).reshape(k * length, -1)
        return mixed.index_select(0, block.places)
