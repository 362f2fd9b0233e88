"""Losses of predicted fingerprints: logits and true bits (n, bits) → (n,) loss of each row."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cosine_similarity

_FOCUS = 2.0  # exponent of the focal loss, as in its paper


def cross_entropy(logits: Tensor, bits: Tensor) -> Tensor:
    """Binary cross-entropy, summed over the bits; its optimum is the calibrated probability."""
    return binary_cross_entropy_with_logits(logits, bits, reduction="none").sum(dim=1)


def focal(logits: Tensor, bits: Tensor) -> Tensor:
    """Cross-entropy of each bit weighted by (1 − p of the truth)²: easy bits count less (Lin et al., ICCV 2017)."""
    each = binary_cross_entropy_with_logits(logits, bits, reduction="none")
    wrong = -torch.expm1(-each)
    return (wrong**_FOCUS * each).sum(dim=1)


def tanimoto(logits: Tensor, bits: Tensor) -> Tensor:
    """1 − Σpy / (Σp + Σy − Σpy): the soft Tanimoto similarity. Depends on no threshold, but does not calibrate."""
    p = torch.sigmoid(logits)
    shared = (p * bits).sum(dim=1)
    return 1 - shared / (p.sum(dim=1) + bits.sum(dim=1) - shared).clamp_min(1e-6)


def cosine(logits: Tensor, bits: Tensor) -> Tensor:
    """1 − cosine of probabilities and bits, as MIST trains (Goldman et al., Nat. Mach. Intell. 2023)."""
    return 1 - cosine_similarity(torch.sigmoid(logits), bits, dim=1)


LOSSES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross-entropy": cross_entropy,
    "focal": focal,
    "tanimoto": tanimoto,
    "cosine": cosine,
}
