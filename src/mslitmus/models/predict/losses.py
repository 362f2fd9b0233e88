"""Losses between a predicted distribution over entries and the measured peaks, on sparse targets.

A head predicts p ≥ 0 over *entries* (bins counted from 0, bins counted from the precursor, …), Σp = 1. A measured peak
of intensity t may be explained by up to two entries, a and b; its predicted intensity is q = p_a + p_b. Entries that
explain no measured peak are off-target. So no dense target is ever built: everything below needs sums over the
target peaks and one dense sum, Σp². All functions return one value a spectrum, lower is better.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

_TINY = 1e-12


@dataclass(frozen=True)
class SparseFit:
    """A batch of predictions at its targets.

    Attributes:
        row: (peaks,) spectrum of each target peak.
        target: (peaks,) intensity, Σ ≤ 1 a spectrum: peaks that no entry holds are missing.
        predicted: (peaks,) q.
        log_predicted: (peaks,) log q.
        power: (spectra,) Σ over all entries of p², with 2 p_a p_b where two entries explain one peak.
        weight: (peaks,) weights of the weighted squared error.
    """

    row: Tensor
    target: Tensor
    predicted: Tensor
    log_predicted: Tensor
    power: Tensor
    weight: Tensor

    def sum(self, values: Tensor) -> Tensor:
        """(peaks,) → (spectra,)."""
        return values.new_zeros(len(self.power)).index_add(0, self.row, values)


def cross_entropy(fit: SparseFit) -> Tensor:
    """−Σ t log q: the peak-marginal cross-entropy of GrAFF-MS (Murphy et al., ICML 2023)."""
    return -fit.sum(fit.target * fit.log_predicted)


def cosine(fit: SparseFit) -> Tensor:
    """1 − q·t / (‖p‖ ‖t‖)."""
    dot = fit.sum(fit.predicted * fit.target)
    return 1 - dot / ((fit.power + _TINY) * (fit.sum(fit.target**2) + _TINY)).sqrt()


def entropy(fit: SparseFit) -> Tensor:
    """1 − unweighted spectral entropy similarity = JSD / ln 2 (Li et al., Nat. Methods 2021)."""
    q, t = fit.predicted, fit.target
    mean = (q + t) / 2 + _TINY
    on_target = q * ((q + _TINY) / mean).log() + t * ((t + _TINY) / mean).log()
    off_target = (1 - fit.sum(q)).clamp(min=0) * math.log(2)
    return (fit.sum(on_target) + off_target) / (2 * math.log(2))


def weighted_mse(fit: SparseFit) -> Tensor:
    """Σ w (p/‖p‖ − t/‖t‖)² with w the peak's mass weight, 1 off target."""
    p_norm = (fit.power + _TINY).sqrt()
    t_norm = (fit.sum(fit.target**2) + _TINY).sqrt()
    q, t = fit.predicted / p_norm[fit.row], fit.target / t_norm[fit.row]
    on_target = fit.sum(fit.weight * (q - t) ** 2)
    return on_target + (1 - fit.sum(q**2)).clamp(min=0)


LOSSES: dict[str, Callable[[SparseFit], Tensor]] = {
    "cosine": cosine,
    "cross-entropy": cross_entropy,
    "entropy": entropy,
    "weighted-mse": weighted_mse,
}
