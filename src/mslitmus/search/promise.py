"""What a threshold can promise: how many accepted answers of the calibration stand behind it, and what they bound.

A threshold is the best of many, so that where a wanted rate is hardly to be had, one that is found may be luck. The
upper bound of Clopper & Pearson (Biometrika 1934, 26, 404) says how much is wrong at most, with 95 % confidence, among
answers as sure as this: of n accepted molecules with k wrong ones the 95 % quantile of Beta(k + 1, n − k). It holds for
a threshold that was fixed beforehand; for the best of many it is still a little too good.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

Array = NDArray[np.float64]
SURE = 0.95


@dataclass(frozen=True)
class Promise:
    """What stands behind a threshold for `rate`.

    Attributes:
        accepted, wrong: molecules of the calibration that are as sure, and the wrong ones among them. A molecule's
            answers weigh one together, so both may be fractions.
        sure_from: the smallest probability from which on the bound itself is at most `rate`; None where there is none.
    """

    rate: float
    accepted: float
    wrong: float
    sure_from: float | None = None

    @property
    def bound(self) -> float:
        """The share of wrong answers is no larger, with 95 % confidence; 1 where nothing is accepted."""
        return upper(self.accepted, self.wrong)

    @property
    def few(self) -> bool:
        """Whether so few could not show the rate even with none of them wrong: the threshold may be luck."""
        return self.accepted < needed(self.rate)

    def told(self) -> str:
        """One sentence."""
        behind = f"{self.accepted:.0f} molecules of the calibration are so sure, {self.wrong:.1f} of them wrong"
        line = f"{behind}: with {SURE:.0%} confidence at most {self.bound:.1%}"
        if self.few:
            line += f", too few to promise {self.rate:.0%} ({needed(self.rate):,} with none wrong could)"
        if self.sure_from is None:
            return f"{line}; no probability promises {self.rate:.0%}"
        return f"{line}; {self.rate:.0%} is promised from {self.sure_from:.3f} on"


def upper(accepted: float, wrong: float) -> float:
    """One-sided Clopper–Pearson bound of the share of wrong ones."""
    if accepted <= 0 or wrong >= accepted:
        return 1.0
    return float(beta.ppf(SURE, wrong + 1, accepted - wrong))


def needed(rate: float) -> int:
    """Accepted molecules that show a rate where none of them is wrong."""
    return int(np.ceil(np.log(1 - SURE) / np.log1p(-rate)))


def behind(knots: Array, p: Array, right: Array, weight: Array) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Weight of the answers with p at or above each knot, and of the wrong ones among them, (knots,) each."""
    order = np.argsort(p, kind="stable")
    at = np.searchsorted(p[order], knots, side="left")
    sums = []
    for mass in (weight, weight * (1 - right)):
        from_top = np.append(np.cumsum(mass[order][::-1])[::-1], 0.0)
        sums.append(tuple(from_top[at].tolist()))
    return sums[0], sums[1]
