"""Packed attention: the tokens of all spectra lie end to end, and only attention sees them by spectrum.

Linear layers, norms and activations work on the packed tokens, so padding costs them nothing. For attention the spectra
are taken in groups of like length, each padded to its own longest. Padded places are masked as keys and never read as
queries: what stands in them cannot matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

_GROUP = 64  # spectra padded together


@dataclass(frozen=True)
class Group:
    """s spectra padded to `length` tokens.

    Attributes:
        place: (s · length,) packed token in each padded place; 0 where there is none.
        held: (s · length,) whether there is one.
        token: (tokens of the group,) packed token; `slot`: its padded place.
        spectra, length: the padded shape.
    """

    place: Tensor
    held: Tensor
    token: Tensor
    slot: Tensor
    spectra: int
    length: int


def groups(lengths: NDArray[np.int64], device: torch.device, size: int = _GROUP) -> list[Group]:
    """lengths: (n,) tokens of each spectrum, which lie end to end in this order."""
    starts = np.cumsum(lengths) - lengths
    order = np.argsort(lengths, kind="stable")
    return [_group(starts[part], lengths[part], device) for part in np.split(order, range(size, len(order), size))]


def _group(starts: NDArray[np.int64], lengths: NDArray[np.int64], device: torch.device) -> Group:
    longest = int(lengths.max())
    within = np.arange(longest)
    held = within < lengths[:, None]
    place = np.where(held, starts[:, None] + within, 0)
    slot = np.flatnonzero(held)
    arrays = (place.ravel(), held.ravel(), place.ravel()[slot], slot)
    tensors = [torch.from_numpy(np.ascontiguousarray(values)).to(device) for values in arrays]
    return Group(tensors[0], tensors[1], tensors[2], tensors[3], len(lengths), longest)


class _Pad(torch.autograd.Function):
    """(tokens, d) → (s · length, d), zeros where no token is. Its gradient is `_Unpad`'s value: a plain gather."""

    @staticmethod
    def forward(ctx: Any, tokens: Tensor, group: Group) -> Tensor:
        ctx.group, ctx.size = group, tokens.shape[0]
        return tokens.index_select(0, group.place) * group.held.unsqueeze(1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        out = gradient.new_zeros(ctx.size, gradient.shape[1])
        out[ctx.group.token] = gradient.index_select(0, ctx.group.slot)
        return out, None


class Attention(nn.Module):
    """Multi-head self-attention within each spectrum: (tokens, width) → (tokens, width)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.enter = nn.Linear(width, 3 * width)
        self.leave = nn.Linear(width, width)

    def forward(self, x: Tensor, groups: list[Group]) -> Tensor:
        mixed = self.enter(x)
        parts = [self._attend(_Pad.apply(mixed, group), group) for group in groups]
        back = torch.argsort(torch.cat([group.token for group in groups]))
        out: Tensor = self.leave(torch.cat(parts).index_select(0, back))
        return out

    def _attend(self, padded: Tensor, group: Group) -> Tensor:
        s, n, width = group.spectra, group.length, padded.shape[1] // 3
        q, k, v = padded.view(s, n, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        shown = group.held.view(s, 1, 1, n)
        mask = None if bool(shown.all()) else shown
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        flat: Tensor = mixed.transpose(1, 2).reshape(s * n, width)
        return flat.index_select(0, group.slot)


class Block(nn.Module):
    """Pre-norm block: x + attention(norm x), then x + W₂ gelu(W₁ norm x); (tokens, width) → (tokens, width)."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.before = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.inner = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(4 * width, width),
        )

    def forward(self, x: Tensor, groups: list[Group]) -> Tensor:
        x = x + self.attention(self.before(x), groups)
        out: Tensor = x + self.inner(x)
        return out
