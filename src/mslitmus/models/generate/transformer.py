"""Encoder–decoder: peaks + formula (or a fingerprint + formula) → SMILES tokens, and a fingerprint beside.

    conditions, precursor ┐
    peaks (two tokenisers)│→ pre-norm encoder → states → cross-attention of a causal pre-norm decoder → next token
    formula tokens        │                   └ mean → linear → fingerprint bits
    fingerprint, if known ┘

Feed-forward layers are gated (SiLU). The paper (arXiv 2510.23746) takes 6 + 6 layers of width 1024 with 8 heads, BART
of `transformers`. That one is post-norm and not gated, and its `generate` does not tell a logits processor which beam a
row came from, so the state of the formula constraint could not follow its beam; hence a decoder of our own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from ..fourier import Fourier
from ..options import Options
from ..predict.conditioning import Conditioning
from .smiles_tokens import PAD, FormulaTokens, SmilesTokens

#: Width, encoder layers, decoder layers, heads; about 1.2, 5, 17, 60 and 160 million parameters.
SIZES = {
    "tiny": (96, 2, 3, 4),
    "mini": (192, 3, 4, 6),
    "small": (320, 4, 5, 8),
    "medium": (640, 5, 5, 8),
    "paper": (1024, 6, 6, 8),
}
_ROOM = 16  # places that the keys of what is written grow by
MOST_TOKENS = 320
#: The paper's text: m/z to 0.1 Da, intensity in hundredths of the base peak.
MZ_STEPS, INTENSITY_STEPS, MOST_PEAKS = 20_000, 101, 256


class GeneratorOptions(Options):
    """Options of the network."""

    size: Literal["tiny", "mini", "small", "medium", "paper"] = "small"
    peaks: Literal["fourier", "text"] = Field("fourier", description="continuous features, or the paper's text tokens")
    bits: int = Field(128, ge=16, le=4096, multiple_of=8, description="of the fingerprint head (Morgan radius 2)")
    waves: int = Field(64, ge=4, le=512, description="wavelengths of the Fourier features")
    dropout: float = Field(0.1, ge=0, lt=1)


@dataclass(frozen=True)
class Inputs:
    """A batch for the encoder, padded.

    Attributes:
        mzs: (n, peaks) Da in 64 bits, 0 where padded. losses: (n, peaks) precursor − m/z. intensities: (n, peaks).
        present: (n, peaks) bool. formula: (n, elements) numbers of `FormulaTokens`, 0 where padded.
        conditions: (n, …) arrays of `ConditionVocabulary.encode`.
        known: (n, bits) a fingerprint that is told, and (n,) `told`; not told it is a learned state.
    """

    mzs: Tensor
    losses: Tensor
    intensities: Tensor
    present: Tensor
    formula: Tensor
    conditions: Mapping[str, Tensor]
    known: Tensor
    told: Tensor


class Attention(nn.Module):
    """Multi-head attention: (n, a, width) over (n, b, width).

    Its weights are not dropped, and it is computed in 32 bits: only so has a CPU a fast kernel for it, backwards too.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.pair = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def keys(self, over: Tensor) -> tuple[Tensor, Tensor]:
        """(n, heads, b, width / heads) keys and values."""
        key, value = self.pair(over).chunk(2, dim=-1)
        return self._split(key), self._split(value)

    def forward(
        self, x: Tensor, keys: tuple[Tensor, Tensor], mask: Tensor | None = None, causal: bool = False
    ) -> Tensor:
        """mask: (n, 1, 1 or a, b), true where it may look."""
        query = self._split(self.query(x))
        with torch.autocast(x.device.type, enabled=False):
            key, value = (part.float() for part in keys)
            found = functional.scaled_dot_product_attention(query.float(), key, value, attn_mask=mask, is_causal=causal)
        out: Tensor = self.out(found.transpose(1, 2).flatten(2))
        return out

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class Gated(nn.Module):
    """Gated feed-forward: W₃ (silu(W₁ x) · W₂ x), 8/3 as wide inside (Shazeer 2020)."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        inner = -(-8 * width // 3 // 8) * 8
        self.enter, self.out, self.drop = nn.Linear(width, 2 * inner), nn.Linear(inner, width), nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.enter(x).chunk(2, dim=-1)
        out: Tensor = self.out(self.drop(functional.silu(gate) * value))
        return out


class EncoderBlock(nn.Module):
    """Pre-norm self-attention and gated feed-forward."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.attention, self.forward_ = Attention(width, heads), Gated(width, dropout)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        y = self.norms[0](x)
        x = x + self.drop(self.attention(y, self.attention.keys(y), mask))
        out: Tensor = x + self.drop(self.forward_(self.norms[1](x)))
        return out


class DecoderBlock(nn.Module):
    """Pre-norm causal self-attention, cross-attention and gated feed-forward."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.attention, self.across = Attention(width, heads), Attention(width, heads)
        self.forward_, self.drop = Gated(width, dropout), nn.Dropout(dropout)

    def forward(self, x: Tensor, memory: tuple[Tensor, Tensor], mask: Tensor) -> Tensor:
        """x: (n, t, width), all places of a string at once; each sees those before it."""
        y = self.norms[0](x)
        x = x + self.drop(self.attention(y, self.attention.keys(y), causal=x.shape[1] > 1))
        x = x + self.drop(self.across(self.norms[1](x), memory, mask))
        out: Tensor = x + self.drop(self.forward_(self.norms[2](x)))
        return out

    def step(self, x: Tensor, memory: tuple[Tensor, Tensor], mask: Tensor, past: Past) -> Tensor:
        """x: (queries × beams, 1, width), the next place of each string. The beams of a query look at its memory
        together, (queries, …), so that it lies in memory once."""
        y = self.norms[0](x)
        x = x + self.attention(y, past.grown(self.attention.keys(y)))
        together = self.norms[1](x).reshape(len(mask), -1, x.shape[2])
        x = x + self.across(together, memory, mask).reshape(x.shape)
        out: Tensor = x + self.forward_(self.norms[2](x))
        return out


class Past:
    """Keys and values of what was written, (rows, heads, places, width / heads) each, with room for more places."""

    def __init__(self) -> None:
        self.length = 0
        self._pair: tuple[Tensor, ...] = ()

    def grown(self, last: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """With those of one more place: views of what is kept."""
        if not self._pair or self.length == self._pair[0].shape[2]:
            rows, heads, _, width = last[0].shape
            wider = tuple(one.new_empty(rows, heads, self.length + _ROOM, width) for one in last)
            for new, old in zip(wider, self._pair, strict=False):
                new[:, :, : self.length] = old
            self._pair = wider
        for kept, one in zip(self._pair, last, strict=True):
            kept[:, :, self.length] = one[:, :, 0]
        self.length += 1
        key, value = (kept[:, :, : self.length] for kept in self._pair)
        return key, value

    def take(self, rows: Tensor) -> None:
        """Reorder, or leave out."""
        self._pair = tuple(kept.index_select(0, rows) for kept in self._pair)


@dataclass
class Cache:
    """What decoding keeps, one entry a layer: keys and values of the encoder (queries, …), and of what was written
    (queries × beams, …)."""

    memory: list[tuple[Tensor, Tensor]]
    mask: Tensor
    past: list[Past]

    def take(self, rows: Tensor, queries: Tensor | None = None) -> None:
        """Reorder beams among those of their query; with `queries`, keep these alone, of which `rows` are the beams."""
        for past in self.past:
            past.take(rows)
        if queries is not None:
            self.memory = [(key.index_select(0, queries), value.index_select(0, queries)) for key, value in self.memory]
            self.mask = self.mask.index_select(0, queries)


class Generator(nn.Module):
    """Inputs → encoder states, fingerprint logits, token logits."""

    def __init__(self, options: GeneratorOptions, conditioning: Conditioning) -> None:
        super().__init__()
        width, encoders, decoders, heads = SIZES[options.size]
        self.options, self.width, drop = options, width, options.dropout
        self.conditioning = conditioning
        self.condition = nn.Linear(conditioning.width, width) if conditioning.width else None
        self.start = nn.Parameter(0.02 * torch.randn(width))
        if options.peaks == "fourier":
            self.fourier = Fourier(options.waves)
            self.enter = nn.Sequential(nn.Linear(2 * self.fourier.width + 2, width), nn.GELU(), nn.Linear(width, width))
        else:
            self.mz_text, self.intensity_text = nn.Embedding(MZ_STEPS, width), nn.Embedding(INTENSITY_STEPS, width)
            self.text_places = nn.Embedding(2 * MOST_PEAKS, width)
        self.formula = nn.Embedding(len(FormulaTokens()), width, padding_idx=PAD)
        self.known, self.untold = nn.Linear(options.bits, width), nn.Parameter(0.02 * torch.randn(width))
        self.encoder = nn.ModuleList(EncoderBlock(width, heads, drop) for _ in range(encoders))
        self.encoded = nn.LayerNorm(width)
        self.fingerprint = nn.Linear(width, options.bits)
        self.tokens = nn.Embedding(len(SmilesTokens()), width, padding_idx=PAD)
        self.places = nn.Embedding(MOST_TOKENS, width)
        self.decoder = nn.ModuleList(DecoderBlock(width, heads, drop) for _ in range(decoders))
        self.decoded = nn.LayerNorm(width)
        for table in (self.formula, self.tokens, self.places):
            nn.init.normal_(table.weight, std=0.02)

    def encode(self, batch: Inputs) -> tuple[Tensor, Tensor, Tensor]:
        """(n, tokens, width) states, (n, tokens) bool of what is no padding, (n, bits) logits of the fingerprint."""
        n = len(batch.told)
        first = self.start.expand(n, -1)
        if self.condition is not None:
            first = first + self.condition(self.conditioning(batch.conditions, n))
        known = torch.where(batch.told.unsqueeze(1), self.known(batch.known), self.untold)
        peaks, present = self._peaks(batch)
        x = torch.cat([first.unsqueeze(1), known.unsqueeze(1), peaks, self.formula(batch.formula)], dim=1)
        always = torch.ones(n, 2, dtype=torch.bool, device=x.device)
        there = torch.cat([always, present, batch.formula != PAD], dim=1)
        mask = there[:, None, None, :]
        for block in self.encoder:
            x = block(x, mask)
        states = self.encoded(x)
        share = there.unsqueeze(-1).float()
        return states, there, self.fingerprint((states * share).sum(1) / share.sum(1))

    def _peaks(self, batch: Inputs) -> tuple[Tensor, Tensor]:
        if self.options.peaks == "fourier":
            heights = torch.stack([batch.intensities, batch.intensities.sqrt()], dim=-1)
            waves = [self.fourier(batch.mzs), self.fourier(batch.losses), heights]
            return self.enter(torch.cat(waves, dim=-1)), batch.present
        mz = self.mz_text((batch.mzs * 10).round().long().clamp(0, MZ_STEPS - 1))
        height = self.intensity_text((batch.intensities * 100).round().long().clamp(0, INTENSITY_STEPS - 1))
        text = torch.stack([mz, height], dim=2).flatten(1, 2)
        places = self.text_places(torch.arange(text.shape[1], device=text.device))
        return text + places, batch.present.repeat_interleave(2, dim=1)

    def forward(self, batch: Inputs, written: Tensor) -> tuple[Tensor, Tensor]:
        """written: (n, t) tokens from `begin` on → (n, t, vocabulary) logits of the next token, (n, bits) logits."""
        states, there, bits = self.encode(batch)
        x = self.tokens(written) + self.places(torch.arange(written.shape[1], device=written.device))
        mask = there[:, None, None, :]
        for block in self.decoder:
            x = block(x, block.across.keys(states), mask)
        return self.decoded(x) @ self.tokens.weight.T, bits

    def cache(self, states: Tensor, there: Tensor) -> Cache:
        """Ready to decode strings, equally many for each query; rows of one query lie together."""
        memory = [block.across.keys(states) for block in self.decoder]
        return Cache(memory, there[:, None, None, :], [Past() for _ in self.decoder])

    def step(self, last: Tensor, place: int, cache: Cache) -> Tensor:
        """last: (rows,) tokens just written at `place` → (rows, vocabulary) logits of the next; the cache grows."""
        x = (self.tokens(last) + self.places.weight[place]).unsqueeze(1)
        for block, memory, past in zip(self.decoder, cache.memory, cache.past, strict=True):
            x = block.step(x, memory, cache.mask, past)
        out: Tensor = self.decoded(x[:, 0]) @ self.tokens.weight.T
        return out
