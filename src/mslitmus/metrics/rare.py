"""Intervals of averages between 0 and 1 where nearly all clusters score 0, or nearly all 1.

A bootstrap can only redraw what it saw: 0 hits of 30 molecules give it [0, 0], and with a handful of hits its ends miss
the truth far more often than the level says. There the exact binomial interval takes over.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

Array = NDArray[np.float64]
#: Clusters that differ from all the others. From here on the bootstrap covers by itself (docs/statistics.md).
FEW = 10
_ROUNDING = 1e-9


def few_differ(numerators: Array, denominators: Array) -> NDArray[np.bool_]:
    """Columns (m,) where more than half of the clusters average exactly 0, or 1, and fewer than `FEW` anything else.

    numerators (C, m), denominators (C,) as in `intervals.Ratio`. Columns with a value outside of 0 to 1 never count;
    nor do constants in between, which are no rarity but a scorer that cannot tell (1/64 of a hit, say).
    """
    means = numerators / denominators[:, None]
    inside = ((means >= -_ROUNDING) & (means <= 1 + _ROUNDING)).all(axis=0)
    differ = np.minimum((means > _ROUNDING).sum(axis=0), (means < 1 - _ROUNDING).sum(axis=0))
    result: NDArray[np.bool_] = inside & (differ < FEW) & (2 * differ < denominators.size)
    return result


def exact_interval(mean: Array, denominators: Array, level: float) -> tuple[Array, Array]:
    """Ends (each (m,)) of the Clopper–Pearson interval of averages in [0, 1] over clusters of these sizes (C,).

    Clopper & Pearson, Biometrika 1934, 26, 404, with x = n·mean, which need not be whole, and n the effective number of
    clusters, (Σ D)² / Σ D²: C if all are of one size (Kish, Survey Sampling, 1965). The effective n in place of the
    sample size is Korn & Graubard's (Survey Methodology 1998, 24, 193); theirs is estimated from the data, which say
    nothing about likeness within clusters if nearly all values are equal, so here a cluster counts as one answer. Of
    all variables in [0, 1] with one mean the 0/1 variable varies most: for fractions the interval is wide.
    """
    n = float(denominators.sum() ** 2 / (denominators**2).sum())
    x = np.clip(mean, 0.0, 1.0) * n
    tail = (1 - level) / 2
    low = np.where(x <= _ROUNDING, 0.0, betaincinv(np.maximum(x, _ROUNDING), n - x + 1, tail))
    high = np.where(n - x <= _ROUNDING, 1.0, betaincinv(x + 1, np.maximum(n - x, _ROUNDING), 1 - tail))
    return low, high


def widen(
    ends: tuple[Array, Array],
    mean: Array,
    numerators: Array,
    denominators: Array,
    level: float,
    unit_range: NDArray[np.bool_],
) -> tuple[Array, Array]:
    """Bootstrap ends (each (m,)), as far as the exact ones where `unit_range` (m,) holds and few clusters differ."""
    few = unit_range & few_differ(numerators, denominators)
    if denominators.size < 2 or not few.any():
        return ends
    low, high = exact_interval(mean, denominators, level)
    return np.where(few, np.minimum(ends[0], low), ends[0]), np.where(few, np.maximum(ends[1], high), ends[1])
