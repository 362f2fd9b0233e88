"""How two spectra are compared in a library search, and the peaks with the weights that the fast kernels add up.

Every score has its slow reference in `spectra.similarity`:

| score | reference | peaks matched |
|---|---|---|
| `cosine` | `cosine_exact` | by m/z, best one-to-one assignment (matchms `CosineHungarian`) |
| `cosine-greedy` | `cosine_greedy` | by m/z, highest product first (matchms `CosineGreedy`) |
| `modified-cosine` | `modified_cosine` | by m/z or by loss, best assignment |
| `neutral-loss` | `neutral_loss` | by loss, best assignment |
| `entropy`, `entropy-unweighted` | `entropy` | by m/z, close peaks merged before |
| `hybrid` | `hybrid` | by m/z, what is left by loss, close peaks merged before |
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError, unknown_name
from ._centroid import centroid_flat
from ._pair_kernels import COSINE, ENTROPY, GREEDY
from .flat import Flat
from .peaks import PRECURSOR_BELOW
from .similarity import LOW_ENTROPY
from .tolerance import Tolerance, spelt

#: Score: (measure of the kernels, whether peaks may also match by loss).
SCORES = {
    "cosine": (COSINE, False),
    "cosine-greedy": (GREEDY, False),
    "modified-cosine": (COSINE, True),
    "neutral-loss": (COSINE, False),
    "entropy": (ENTROPY, False),
    "entropy-unweighted": (ENTROPY, False),
    "hybrid": (ENTROPY, True),
}
#: Scores that read the same weights, under the name of one of them.
_SAME_WEIGHTS = {"cosine-greedy": "cosine", "modified-cosine": "cosine", "hybrid": "entropy"}
_LN4 = 2 * np.log(2.0)
_MOST_POWER = 10.0
_TALL = 1e15  # intensities beyond this, or its inverse, would leave the range of a float64 once weighed


class Weighted(NamedTuple):
    """n spectra end to end: position (m/z, or loss), weight, share of the spectrum's intensity, offsets (n + 1)."""

    mzs: NDArray[np.float64]
    weights: NDArray[np.float64]
    shares: NDArray[np.float32]
    offsets: NDArray[np.int64]


@dataclass(frozen=True)
class Scoring:
    """How two spectra are compared.

    Args:
        score: a name of `SCORES`.
        tolerance: of fragment m/z, e.g. `"0.01Da"`, `"10ppm"`.
        intensity_power, mz_power: peaks weigh mzᵃ xᵇ in the cosines (b = 0.5: "sqrt"); entropy has its own weights.
    """

    score: str = "cosine"
    tolerance: str = "0.01Da"
    intensity_power: float = 1.0
    mz_power: float = 0.0

    def __post_init__(self) -> None:
        if self.score not in SCORES:
            raise unknown_name("score", self.score, SCORES)
        Tolerance.of(self.tolerance)
        for name in ("intensity_power", "mz_power"):
            if not 0 <= (power := getattr(self, name)) <= _MOST_POWER:  # NaN, too
                raise ConfigError(f"{name}={power}", remedy=f"from 0 to {_MOST_POWER:g}")
        if self.measure == ENTROPY and (self.intensity_power, self.mz_power) != (1.0, 0.0):
            raise ConfigError("entropy weights intensities by itself", remedy="leave intensity_power=1, mz_power=0")

    @property
    def measure(self) -> int:
        return SCORES[self.score][0]

    @property
    def shifted(self) -> bool:
        """Whether peaks may also match by loss."""
        return SCORES[self.score][1]

    @property
    def weighing(self) -> Scoring:
        """The scoring whose weights, and so whose index, this one shares; cosines weigh whatever the tolerance."""
        name = _SAME_WEIGHTS.get(self.score, self.score)
        return replace(self, score=name, tolerance=spelt(self.tolerance) if self.measure == ENTROPY else "0Da")

    def told(self) -> str:
        """In the words of the command line: `--score cosine --intensity-power 0.5 --tolerance 0.01Da`."""
        powers = (("intensity-power", self.intensity_power, 1), ("mz-power", self.mz_power, 0))
        more = "".join(f" --{name} {value:g}" for name, value, usual in powers if value != usual)
        return f"--score {self.score}{more} --tolerance {spelt(self.tolerance)}"

    def weigh(self, spectra: Flat, precursor: NDArray[np.float64]) -> Weighted:
        """The peaks and what the kernels add up; centroided first for entropy, as losses for `neutral-loss`.

        Args:
            precursor: (n,) Da, NaN where unknown; read by `neutral-loss` only.
        """
        spectra = spectra._replace(intensities=_moderate(spectra))
        if self.measure == ENTROPY:
            limit = Tolerance.of(self.tolerance)
            spectra = Flat(*centroid_flat(*spectra, limit.da, limit.relative))
            shares = _shares(spectra)
            weights = shares if self.score == "entropy-unweighted" else _entropy_weights(shares, spectra.offsets)
            return Weighted(spectra.mzs, weights / _LN4, shares.astype(np.float32), spectra.offsets)
        weights = _power(spectra.intensities, self.intensity_power)
        if self.mz_power:
            weights = weights * spectra.mzs**self.mz_power
        made = Weighted(spectra.mzs, weights, _shares(spectra).astype(np.float32), spectra.offsets)
        if self.score == "neutral-loss":
            made = _losses(made, precursor)
        norms = np.sqrt(_sums(made.weights * made.weights, made.offsets))
        norms[norms == 0] = 1
        return made._replace(weights=made.weights / _spread(norms, made.offsets))

    def bounds(self, weights: NDArray[np.float64]) -> NDArray[np.float32]:
        """Weights whose products add up to no less than the score; for entropy √p.

        (a + b) ln(a + b) − a ln a − b ln b ≤ 2 ln 2 · √(ab), with equality at a = b, so the entropy similarity of p and
        q is at most Σ √(pq) (the Bhattacharyya coefficient).
        """
        return (np.sqrt(weights * _LN4) if self.measure == ENTROPY else weights).astype(np.float32)


def _moderate(spectra: Flat) -> NDArray[np.float64]:
    """Intensities as float64, relative to the base peak where some are so high or low that weighing would overflow."""
    heights = spectra.intensities.astype(np.float64, copy=False)
    if not heights.size or (heights.max() < _TALL and heights.min() > 1 / _TALL):
        return heights
    full = np.flatnonzero(np.diff(spectra.offsets))
    base = np.maximum.reduceat(heights, spectra.offsets[full])
    relative: NDArray[np.float64] = heights / np.repeat(base, np.diff(spectra.offsets)[full])
    return np.maximum(relative, 1 / _TALL, out=relative)


def _power(values: NDArray[np.float64], power: float) -> NDArray[np.float64]:
    if power == 1:
        return values
    return np.sqrt(values) if power == 0.5 else values**power


def _losses(weighted: Weighted, precursor: NDArray[np.float64]) -> Weighted:
    """`peaks.neutral_losses` of every spectrum: positions become precursor − m/z, ascending; none of an unknown one."""
    row = np.repeat(np.arange(precursor.size), np.diff(weighted.offsets))
    loss = precursor[row] - weighted.mzs
    keep = np.flatnonzero(loss >= PRECURSOR_BELOW)
    order = keep[np.lexsort((loss[keep], row[keep]))]
    offsets = np.concatenate(([0], np.cumsum(np.bincount(row[keep], minlength=precursor.size)))).astype(np.int64)
    return Weighted(loss[order], weighted.weights[order], weighted.shares[order], offsets)


def _sums(values: NDArray[np.float64], offsets: NDArray[np.int64]) -> NDArray[np.float64]:
    row = np.repeat(np.arange(offsets.size - 1), np.diff(offsets))
    return np.bincount(row, weights=values, minlength=offsets.size - 1).astype(np.float64)


def _spread(per_spectrum: NDArray[Any], offsets: NDArray[np.int64]) -> NDArray[Any]:
    return np.repeat(per_spectrum, np.diff(offsets))


def _shares(spectra: Flat) -> NDArray[np.float64]:
    """Intensities scaled to sum 1 in each spectrum."""
    return np.asarray(spectra.intensities / _spread(_sums(spectra.intensities, spectra.offsets), spectra.offsets))


def _entropy_weights(p: NDArray[np.float64], offsets: NDArray[np.int64]) -> NDArray[np.float64]:
    """`p`, intensities of sum 1, after `similarity.entropy_weight`, again of sum 1."""
    entropy = np.maximum(0.0, -_sums(p * np.log(p), offsets))
    power = np.where(entropy < LOW_ENTROPY, (1 + entropy) / 4, 1.0)
    weights = p ** _spread(power, offsets)
    scaled: NDArray[np.float64] = weights / _spread(_sums(weights, offsets), offsets)
    return scaled
