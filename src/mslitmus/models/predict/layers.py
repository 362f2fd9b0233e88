"""Layers that several encoders and heads share."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """x + W₂ dropout(relu(W₁ norm(x))): (rows, width) → (rows, width). Pre-normalised, so depth needs no warm-up."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.inner(x)
        return out


class CodeEmbedding(nn.Module):
    """Sum of one embedding a field: codes (rows, fields) → (rows, width)."""

    def __init__(self, sizes: Sequence[int], width: int) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(size, width) for size in sizes)

    def forward(self, codes: Tensor) -> Tensor:
        columns = [table(codes[:, i]) for i, table in enumerate(self.tables)]
        total: Tensor = sum(columns[1:], start=columns[0])
        return total
