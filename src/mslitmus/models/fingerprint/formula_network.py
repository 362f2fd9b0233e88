"""The network of `fingerprint-transformer`: tokens → formula-aware attention → growing fingerprint.

Formulae enter as sines and cosines of their element counts. The difference of two formulae then enters attention
without being written out: cos ω(a − b) = cos ωa cos ωb + sin ωa sin ωb, so hidden units of the difference of all pairs
are one matrix product of the tokens' own features.

Source: MIST (Goldman et al., Nat. Mach. Intell. 2023, doi 10.1038/s42256-023-00708-3): sub-formula tokens, pairwise
differences in attention, the progressively unfolded fingerprint.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import dropout, gelu, softmax

from ..options import Options
from ..predict.conditioning import Conditioning
from .base import BITS
from .formula_tokens import ELEMENTS, SCALARS, TokenBatch

_LONG, _SHORT = (2, 3, 4, 8, 16, 32, 64, 128), (2, 4, 8, 16)  # periods of C, H, N, O; of all others, in atoms
_MASSES = 40  # frequencies of a m/z: periods from 0.02 to 2,000 Da
_FAR = -1e9


class NetworkOptions(Options):
    """Sizes and regularisation."""

    width: int = Field(128, ge=8, le=2048)
    layers: int = Field(4, ge=1, le=24)
    heads: int = Field(8, ge=1, le=64)
    pairs: int = Field(16, ge=0, le=256, description="hidden units of a difference formula; 0: plain attention")
    dropout: float = Field(0.1, ge=0, lt=1)
    hide: float = Field(0.2, ge=0, lt=1, description="probability of hiding a peak in training")
    lowest: int = Field(256, ge=16, le=BITS, description="bits of the first resolution; doubled up to 2,048")
    folded: float = Field(1.0, ge=0, le=10, description="weight of the mean loss of the lower resolutions")


def fold(bits: Tensor, to: int) -> Tensor:
    """(n, bits) → (n, to): bit i is any of i, i + to, i + 2 to, …, since a bit is its hash modulo the size."""
    return bits.reshape(len(bits), bits.shape[1] // to, to).amax(dim=1)


class CountFeatures(nn.Module):
    """Element counts → cosines and sines, no parameters: (…, elements) → two of (…, width)."""

    table: Tensor

    def __init__(self) -> None:
        super().__init__()
        waves = [(e, p) for e, name in enumerate(ELEMENTS) for p in (_LONG if name in "CHNO" else _SHORT)]
        self.width = len(waves)
        which, periods = torch.tensor([e for e, _ in waves]), torch.tensor([p for _, p in waves], dtype=torch.float64)
        self.register_buffer("which", which, persistent=False)
        angle = 2 * torch.pi * torch.arange(256, dtype=torch.float64).unsqueeze(1) / periods
        self.register_buffer("cosine", torch.cos(angle).float().T.contiguous(), persistent=False)
        self.register_buffer("sine", torch.sin(angle).float().T.contiguous(), persistent=False)
        self.register_buffer("wave", torch.arange(self.width), persistent=False)

    def forward(self, counts: Tensor) -> tuple[Tensor, Tensor]:
        each = counts[..., self.which]
        return self.cosine[self.wave, each], self.sine[self.wave, each]


class MassFeatures(nn.Module):
    """Da → cosines and sines of geometric periods (Fourier features), no parameters: (…,) → two of (…, 40)."""

    rate: Tensor

    def __init__(self) -> None:
        super().__init__()
        periods = torch.logspace(np.log10(0.02), np.log10(2000.0), _MASSES, dtype=torch.float64)
        self.register_buffer("rate", 2 * torch.pi / periods, persistent=False)
        self.width = _MASSES

    def forward(self, mass: Tensor) -> tuple[Tensor, Tensor]:
        angle = mass.unsqueeze(-1) * self.rate
        return torch.cos(angle).float(), torch.sin(angle).float()


class PairBias(nn.Module):
    """What attention adds for a pair of tokens: a perceptron of cos and sin of their difference.

    cosine, sine: (n, length, f), 0 where a token has no such features → (n, length, length, layers × heads), pair
    (i, j) being query and key.
    """

    def __init__(self, features: int, hidden: int, out: int) -> None:
        super().__init__()
        self.even = nn.Parameter(torch.randn(hidden, features) * (2 / features) ** 0.5)
        self.odd = nn.Parameter(torch.randn(hidden, features) * (2 / features) ** 0.5)
        self.shift = nn.Parameter(torch.zeros(hidden))
        self.out = nn.Linear(hidden, out)
        nn.init.zeros_(self.out.weight)

    def forward(self, cosine: Tensor, sine: Tensor) -> Tensor:
        n, length, features = cosine.shape
        c, s = cosine.unsqueeze(2), sine.unsqueeze(2)
        left = torch.cat([self.even * c + self.odd * s, self.even * s - self.odd * c], dim=-1)
        right = torch.cat([cosine, sine], dim=-1).transpose(1, 2)
        hidden = left.reshape(n, -1, 2 * features) @ right  # (n, length × hidden, length)
        hidden = hidden.reshape(n, length, -1, length).transpose(2, 3)
        out: Tensor = self.out(gelu(hidden + self.shift))
        return out


class Layer(nn.Module):
    """Pre-norm attention with a bias of pairs, then a perceptron."""

    def __init__(self, width: int, heads: int, rate: float) -> None:
        super().__init__()
        self.heads, self.rate = heads, rate
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.three, self.join = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.inner = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """x: (n, length, width); bias: (n, heads, length, length), far below 0 at keys that are padding."""
        n, length, width = x.shape
        three = self.three(self.before(x)).reshape(n, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = three.unbind(0)
        share = softmax(query @ key.transpose(2, 3) * key.shape[-1] ** -0.5 + bias, dim=-1)
        mixed = (share @ value).transpose(1, 2).reshape(n, length, width)
        x = x + dropout(self.join(mixed), self.rate, self.training)
        return x + dropout(self.inner(self.between(x)), self.rate, self.training)


class GrowingFingerprint(nn.Module):
    """(n, width) → logits at every resolution, the lowest first.

    Each resolution is the one before, unfolded (a bit for every bit that folds onto it), mixed by a gate with logits of
    its own (MIST, eq. of the progressive upsampling; here in logits).
    """

    def __init__(self, width: int, lowest: int) -> None:
        super().__init__()
        self.sizes = [lowest]
        while self.sizes[-1] < BITS:
            self.sizes.append(self.sizes[-1] * 2)
        self.own = nn.ModuleList(nn.Linear(width, size) for size in self.sizes)
        self.gate = nn.ModuleList(nn.Linear(width, size) for size in self.sizes[1:])
        for linear in (*self.own, *self.gate):
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)

    def start_from(self, frequencies: list[NDArray[np.float64]]) -> None:
        """Shares of the training molecules that set each bit, by resolution: the first answer at each."""
        before: Tensor | None = None
        with torch.no_grad():
            for linear, frequency in zip(self.own, frequencies, strict=True):
                wanted = torch.logit(torch.from_numpy(frequency), eps=1e-6).float()
                linear.bias.copy_(wanted if before is None else 2 * wanted - before.repeat(2))  # the gate stands at ½
                before = wanted

    def forward(self, x: Tensor) -> list[Tensor]:
        logits = [self.own[0](x)]
        for own, gate in zip(list(self.own)[1:], self.gate, strict=True):
            open_ = torch.sigmoid(gate(x))
            logits.append(open_ * logits[-1].repeat(1, 2) + (1 - open_) * own(x))
        return logits


class FormulaNetwork(nn.Module):
    """TokenBatch → logits (spectra, 2048); `resolutions` gives them at every resolution."""

    def __init__(self, conditioning: Conditioning, options: NetworkOptions, formulae: bool) -> None:
        super().__init__()
        self.options, self.formulae, width = options, formulae, options.width
        self.masses, self.conditioning = MassFeatures(), conditioning
        pairs = self.masses.width
        if formulae:
            self.counts = CountFeatures()
            self.formula = nn.Linear(4 * self.counts.width, width)
            pairs = self.counts.width
        self.mass = nn.Linear(4 * self.masses.width, width)
        self.scalar, self.kind = nn.Linear(SCALARS, width), nn.Embedding(4, width)
        self.condition = nn.Linear(conditioning.width, width)
        self.bias = PairBias(pairs, options.pairs, options.layers * options.heads) if options.pairs else None
        self.layers = nn.ModuleList(Layer(width, options.heads, options.dropout) for _ in range(options.layers))
        self.pool = nn.Sequential(
            nn.LayerNorm(2 * width), nn.Linear(2 * width, width), nn.GELU(), nn.Dropout(options.dropout)
        )
        self.head = GrowingFingerprint(width, options.lowest)

    def start_from(self, packed: NDArray[np.uint8]) -> None:
        """Bits (molecules, 256) of the training molecules: their frequencies are the first prediction."""
        bits = torch.from_numpy(np.unpackbits(packed, axis=1))
        shares = [fold(bits, size).sum(dim=0, dtype=torch.float64) for size in self.head.sizes]
        self.head.start_from([((share + 0.5) / (len(bits) + 1)).numpy() for share in shares])

    def forward(self, batch: TokenBatch) -> Tensor:
        return self.resolutions(batch)[-1]

    def resolutions(self, batch: TokenBatch) -> list[Tensor]:
        """Logits, (spectra, 256), …, (spectra, 2048)."""
        real = self._shown(batch.real)
        known = self.condition(self.conditioning(batch.conditions, len(real)))
        x, difference = self._tokens(batch)
        x = x + known.unsqueeze(1)
        n, length = real.shape
        bias = x.new_zeros(n, 1, 1, length).masked_fill(~real[:, None, None, :], _FAR)
        biases = [bias] * len(self.layers)
        if self.bias is not None:
            pairs = self.bias(*difference).permute(0, 3, 1, 2).reshape(n, len(self.layers), -1, length, length)
            biases = [bias + part for part in pairs.unbind(1)]
        for layer, added in zip(self.layers, biases, strict=True):
            x = layer(x, added)
        weight = real.float().unsqueeze(2)
        pooled = torch.cat([x[:, 0], (x * weight).sum(dim=1) / weight.sum(dim=1)], dim=1)
        resolutions: list[Tensor] = self.head(self.pool(pooled))
        return resolutions

    def _shown(self, real: Tensor) -> Tensor:
        """`real`, in training without some peaks; the precursor always stays."""
        if not (self.training and self.options.hide):
            return real
        kept = torch.rand(real.shape, device=real.device) >= self.options.hide
        kept[:, 0] = True
        return real & kept

    def _tokens(self, batch: TokenBatch) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """(n, length, width) tokens, and cosines and sines of what pairs differ in."""
        explained = batch.explained if self.formulae else torch.zeros_like(batch.explained)
        first = torch.zeros_like(explained)
        first[:, 0] = True
        x = self.scalar(batch.scalars) + self.kind(2 * first.long() + explained.long())
        mass, loss = self.masses(batch.mz), self.masses(batch.loss)
        if not self.formulae:
            return x + self.mass(torch.cat([*mass, *loss], dim=-1)), mass
        has = explained.unsqueeze(2).float()
        by_mass = self.mass(torch.cat([*mass, *loss], dim=-1)) * (1 - has)
        rest = ((batch.ion.unsqueeze(1) - batch.counts) * explained.unsqueeze(2)).clamp_min(0)
        cosine, sine = self.counts(batch.counts)
        by_formula = self.formula(torch.cat([cosine, sine, *self.counts(rest)], dim=-1)) * has
        return x + by_mass + by_formula, (cosine * has, sine * has)
