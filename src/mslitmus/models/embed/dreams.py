"""The published DreaMS networks from their checkpoints: a small reimplementation that gives the same numbers.

Source: Bushuiev et al., "Self-supervised learning of molecular representations from millions of tandem mass spectra
using DreaMS", Nat. Biotechnol. 2025; key names and order of operations as in pluskal-lab/DreaMS (`models/dreams`).

    peak = relu(W (m/z / 1000, intensity)), wave = relu-MLP(cos, sin of 2π·m/z·b), token = (peak, wave)
    blocks: x + attention(norm x), x + W₂ relu(W₁ norm x); the first token, the precursor (intensity 1.1), is the vector

Two things of the original matter for equal numbers. Attention adds Σ(waveᵢ) − Σ(waveⱼ), the difference of the summed
wave features. And padded places are masked as queries, not as keys: every real peak also attends to the padding, so a
spectrum must be padded to the length that the network was trained with (60 peaks, 100 for the embedding network).

A checkpoint is read without running anything that it names: see `read_checkpoint`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn
from torch.nn import functional

from ...errors import ModelError
from ..predict.conditioning import ConditionVocabulary
from .dreams_file import Published, read_checkpoint, settings_of
from .embedder import Vectors
from .peaks import PeakTable, filled

_BATCH = 32
_MASKED = -1e9
#: Parts of a checkpoint that serve its training alone.
_TRAINING_ONLY = ("ff_out.", "ff_out_intens.", "ro_out.", "mz_masking_loss.")
_TWICE = "fourier_enc.Fourier frequencies"  # the same numbers as fourier_enc.b
_PROBLEM = "not a checkpoint of DreaMS"
_REMEDY = "give ssl_model.ckpt or embedding_model.ckpt of the published models"


class _Attention(nn.Module):
    def __init__(self, width: int, bias: bool) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(4 * width, width))
        if bias:
            self.biases = nn.Parameter(torch.zeros(4 * width))

    def forward(self, x: Tensor, padding: Tensor, apart: Tensor | None, heads: int) -> Tensor:
        n, tokens, width = x.shape
        bias = getattr(self, "biases", None)
        split = (None, None) if bias is None else (bias[: 3 * width], bias[3 * width :])
        mixed = functional.linear(x, self.weights[: 3 * width], split[0])
        q, k, v = (part.view(n, tokens, heads, -1).transpose(1, 2) for part in mixed.chunk(3, dim=-1))
        weight = q @ k.transpose(-2, -1) * (width // heads) ** -0.5
        if apart is not None:
            weight = weight + apart.unsqueeze(1)
        weight = weight.masked_fill(padding[:, None, :, None], _MASKED)
        out = (weight.softmax(-1) @ v).transpose(1, 2).reshape(n, tokens, width)
        return functional.linear(out, self.weights[3 * width :], split[1])


class _Forward(nn.Module):
    def __init__(self, width: int, bias: bool) -> None:
        super().__init__()
        self.in_proj, self.out_proj = nn.Linear(width, 4 * width, bias=bias), nn.Linear(4 * width, width, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out_proj(functional.relu(self.in_proj(x)))
        return out


class _Scale(nn.Module):
    """ScaleNorm: x · scale / |x|."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: Tensor) -> Tensor:
        return x * (self.scale / torch.norm(x, dim=-1, keepdim=True).clamp(min=1e-5))


class _Encoder(nn.Module):
    def __init__(self, width: int, settings: Published) -> None:
        super().__init__()
        layers = settings.layers
        self.atts = nn.ModuleList(_Attention(width, settings.biases) for _ in range(layers))
        self.ffs = nn.ModuleList(_Forward(width, settings.biases) for _ in range(layers))
        norms = 2 * layers + settings.pre_norm
        self.scales = nn.ModuleList(_Scale() if settings.scale_norm else nn.LayerNorm(width) for _ in range(norms))


class _Stack(nn.Module):
    """Linear layers with ReLU after each, named `ff.0`, `ff.3`, … as in the original, where dropout lies between."""

    def __init__(self, shapes: Mapping[int, torch.Size], bias: bool) -> None:
        super().__init__()
        self.ff = nn.ModuleDict({str(k): nn.Linear(s[1], s[0], bias=bias) for k, s in sorted(shapes.items())})

    def forward(self, x: Tensor) -> Tensor:
        for linear in self.ff.values():
            x = functional.relu(linear(x))
        return x


class _Waves(nn.Module):
    def __init__(self, count: int) -> None:
        super().__init__()
        self.b = nn.Parameter(torch.zeros(1, count))

    def forward(self, mzs: Tensor) -> Tensor:
        turn = 2 * torch.pi * mzs @ self.b  # 32 bits, as the network was trained: the fastest waves are noise
        return torch.cat((torch.cos(turn), torch.sin(turn)), dim=-1)


class Dreams(nn.Module):
    """(n, tokens, 2) padded spectra of m/z and intensity → (n, width)."""

    def __init__(self, weights: Mapping[str, Tensor], settings: Published) -> None:
        super().__init__()
        self.settings = settings
        self.fourier_enc = _Waves(weights["fourier_enc.b"].shape[1])
        self.ff_fourier, self.ff_peak = (_stack(weights, name) for name in ("ff_fourier", "ff_peak"))
        self.width = weights["transformer_encoder.atts.0.weights"].shape[1]
        self.transformer_encoder = _Encoder(self.width, settings)
        self.head = nn.Linear(self.width, self.width) if "head.weight" in weights else None

    def forward(self, spectra: Tensor) -> Tensor:
        mzs, padding = spectra[..., :1], spectra[..., 0] == 0
        scale = spectra.new_tensor([self.settings.max_mz, 1.0])
        wave = self.ff_fourier(self.fourier_enc(mzs))
        x = torch.cat([self.ff_peak(spectra / scale), wave], dim=-1)
        total = wave.sum(-1)
        apart = total.unsqueeze(2) - total.unsqueeze(1) if self.settings.differences else None
        encoder = self.transformer_encoder
        for k, (attention, forward) in enumerate(zip(encoder.atts, encoder.ffs, strict=True)):
            first, second = encoder.scales[2 * k], encoder.scales[2 * k + 1]
            if self.settings.pre_norm:
                x = x + attention(first(x), padding, apart, self.settings.heads)
                x = x + forward(second(x))
            else:
                x = first(x + attention(x, padding, apart, self.settings.heads))
                x = second(x + forward(x))
        if self.settings.pre_norm:
            x = encoder.scales[-1](x)
        out: Tensor = x[:, 0]
        return out if self.head is None else self.head(out)


@dataclass(frozen=True)
class DreamsEmbedder:
    """The network as an `Embedder`: the most intense peaks, padded to a fixed length, the precursor first."""

    network: Dreams
    peaks: int
    device: str = "cpu"

    @property
    def width(self) -> int:
        return int(self.network.width)

    def embed(self, frame: pl.DataFrame) -> Vectors:
        """(n, width) unit vectors. A spectrum without a precursor m/z has 0 in its place, as padding has."""
        out = np.zeros((frame.height, self.width), np.float32)
        for start in range(0, frame.height, _BATCH):
            padded = torch.from_numpy(self._padded(frame[start : start + _BATCH])).to(self.device)
            with torch.no_grad():
                found = functional.normalize(self.network(padded), dim=1)
            out[start : start + _BATCH] = found.cpu().numpy()
        return out

    def _padded(self, frame: pl.DataFrame) -> np.ndarray:
        table = PeakTable.of(filled(frame), ConditionVocabulary(()), self.peaks)
        padded = np.zeros((len(table), self.peaks + 1, 2), np.float32)
        padded[:, 0, 0], padded[:, 0, 1] = table.precursor_mz, self.network.settings.precursor_intensity
        row = np.repeat(np.arange(len(table)), table.lengths)
        place = 1 + np.arange(row.size) - table.offsets[row]
        padded[row, place, 0], padded[row, place, 1] = table.mzs, table.intensities
        return padded


def load_dreams(path: Path, peaks: int | None = None, device: str = "cpu") -> DreamsEmbedder:
    """The embedder of a published checkpoint: `embedding_model.ckpt` (with its head) or `ssl_model.ckpt`.

    Args:
        peaks: padded length; None takes 100 for a network with a head and 60 for one without, as published.

    Raises ModelError where the file is no such checkpoint; keys that are absent or unknown are named.
    """
    weights, told = read_checkpoint(path)
    inside = {name.removeprefix("backbone."): value for name, value in weights.items()}
    inside = {n: v for n, v in inside.items() if not n.startswith(_TRAINING_ONLY) and n != _TWICE}
    for name in (
        "fourier_enc.b",
        "transformer_encoder.atts.0.weights",
        "ff_peak.ff.0.weight",
        "ff_fourier.ff.0.weight",
    ):
        if name not in inside:
            raise ModelError(f"{_PROBLEM}: {name!r} is absent", where=str(path), remedy=_REMEDY)
    settings = settings_of(inside, told, path)
    network = Dreams(inside, settings)
    try:
        wrong = network.load_state_dict(inside, strict=False)
    except RuntimeError as error:
        raise ModelError(f"{_PROBLEM}: {error}", where=str(path), remedy=_REMEDY) from error
    for kind, names in (("absent", wrong.missing_keys), ("unknown", wrong.unexpected_keys)):
        if names:
            listed = ", ".join(map(repr, names[:5]))
            raise ModelError(f"{_PROBLEM}: {kind}: {listed}", where=str(path), remedy=_REMEDY)
    length = peaks or (60 if network.head is None else 100)
    return DreamsEmbedder(network.to(device).eval(), length, device)


def _stack(weights: Mapping[str, Tensor], name: str) -> _Stack:
    shapes = {
        int(key.split(".")[2]): value.shape
        for key, value in weights.items()
        if key.startswith(f"{name}.ff.") and key.endswith(".weight")
    }
    return _Stack(shapes, f"{name}.ff.0.bias" in weights)
