"""Continuous m/z as sines and cosines: what networks that read exact masses share."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Fourier(nn.Module):
    """(…) 64-bit numbers → (…, 2 · waves): sin and cos of 2π·x/λ, wavelengths λ evenly spaced on a log scale.

    The phase is taken in 64 bits: 1000 Da are a million of the shortest waves. Nothing to train. Source: DreaMS
    (Bushuiev et al., Nat. Biotechnol. 2025).
    """

    frequencies: Tensor

    def __init__(self, waves: int = 64, shortest: float = 1e-3, longest: float = 1e3) -> None:
        super().__init__()
        steps = torch.linspace(0, 1, waves, dtype=torch.float64)
        self.register_buffer("frequencies", 1.0 / (shortest * (longest / shortest) ** steps), persistent=False)
        self.width = 2 * waves

    def forward(self, values: Tensor) -> Tensor:
        phase = values.double().unsqueeze(-1) * self.frequencies
        turn = (2 * torch.pi * (phase - phase.floor())).float()
        return torch.cat([torch.sin(turn), torch.cos(turn)], dim=-1)
