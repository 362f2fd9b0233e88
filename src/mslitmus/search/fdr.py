"""False discovery rates of library hits: estimated by decoys or by second places, and the true ones beside them.

Target–decoy competition (Elias & Gygi, Nature Methods 2007, 4, 207): every query keeps the better of its best library
spectrum and its best decoy. Among those of at least a score t, the decoys that were kept estimate the wrong library
hits: FDR(t) = (decoys + 1) / targets. A tie goes to the decoy.

Second rank (as Matsuda, Mass Spectrometry 2024, 13, A0155, for compound search): the scores of the second molecule
stand for those of wrong first ones: FDR(t) = second places / first places of at least t.

The q-value of a hit is the smallest estimated FDR at which it is accepted.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..metrics.intervals import codes
from ..metrics.rates import molecule_weights

Array = NDArray[np.float64]
LEVELS = (0.01, 0.05, 0.1, 0.2)
_RATES = ("estimated", "true", "low", "high", "true_molecule")


def competed(target: Array, decoy: Array) -> Array:
    """q-value of every query's best target by competition, (n,); NaN where the decoy is at least as good.

    Args:
        target, decoy: best score of each query among library spectra and among decoys; 0 or less: none.
    """
    won, lost = target > np.maximum(decoy, 0.0), (decoy >= target) & (decoy > 0)
    return _monotone(target, won, np.where(won, 0.0, np.nan), decoy[lost], 1.0)


def second_ranked(first: Array, second: Array) -> Array:
    """q-value of every query's first molecule from the scores of the second, (n,); NaN where there is no first."""
    there = first > 0
    return _monotone(first, there, np.where(there, 0.0, np.nan), second[second > 0], 0.0)


def expected(probability: Array, weight: Array | None = None) -> Array:
    """q-value of every hit from its probability of being right: the mean error of all that are at least so sure.

    NaN where the probability is. `weight` (n,): what each counts; None: all alike.
    """
    known = np.flatnonzero(np.isfinite(probability))
    q = np.full(probability.size, np.nan)
    order = known[np.argsort(-probability[known], kind="stable")]
    mass = np.ones(order.size) if weight is None else weight[order]
    running = np.cumsum(mass * (1 - probability[order])) / np.cumsum(mass)
    q[order] = np.minimum.accumulate(running[::-1])[::-1]
    return _tied(probability, q)


def _monotone(score: Array, accepted: NDArray[np.bool_], q: Array, null: Array, extra: float) -> Array:
    """(null scores ≥ t + extra) / (accepted scores ≥ t), then the minimum over all lower t."""
    where = np.flatnonzero(accepted)
    values = np.sort(score[where])
    thresholds = np.unique(values)
    above = values.size - np.searchsorted(values, thresholds)
    false = np.sort(null)
    beyond = false.size - np.searchsorted(false, thresholds)
    rate = np.minimum(1.0, (beyond + extra) / np.maximum(above, 1))
    lowest = np.minimum.accumulate(rate)  # thresholds ascend: a lower one accepts more
    q[where] = lowest[np.searchsorted(thresholds, score[where])]
    return q


def _tied(value: Array, q: Array) -> Array:
    """Equal values share the largest q among them."""
    table = pl.DataFrame({"value": value, "q": q})
    return table.select(pl.col("q").max().over("value")).to_series().to_numpy()


def against_truth(
    q: Array, right: NDArray[np.bool_], molecules: NDArray[np.str_], levels: Sequence[float] = LEVELS, seed: int = 0
) -> pl.DataFrame:
    """What accepting q ≤ level gives: level, accepted, share (of all), estimated, true, low, high, true_molecule.

    Args:
        q: NaN is never accepted; right: whether the hit is; molecules: of the queries.

    `estimated` is the largest accepted q. `low`, `high`: 95 % interval of the true rate by bootstrap over molecules.
    In `true_molecule` the spectra of a molecule weigh one together. All four are null where nothing is accepted.
    """
    rows, weight = [], molecule_weights(molecules)[1]
    for level in levels:
        taken = np.nan_to_num(q, nan=np.inf) <= level
        row: dict[str, float | int | None] = {"level": level, "accepted": int(taken.sum())}
        row |= {"share": float(taken.mean()), **dict.fromkeys(_RATES)}
        if taken.any():
            row["estimated"], row["true"] = float(q[taken].max()), float(1 - right[taken].mean())
            row["low"], row["high"] = _interval(taken, right, molecules, seed)
            row["true_molecule"] = float(np.average(~right[taken], weights=weight[taken]))
        rows.append(row)
    kinds = {"level": pl.Float64, "accepted": pl.Int64}
    return pl.DataFrame(rows, schema=kinds | dict.fromkeys(("share", *_RATES), pl.Float64))


def _interval(
    taken: NDArray[np.bool_], right: NDArray[np.bool_], molecules: NDArray[np.str_], seed: int, resamples: int = 500
) -> tuple[float, float]:
    code = codes(molecules)
    n = int(code.max()) + 1
    wrong = np.bincount(code, (taken & ~right).astype(np.float64), minlength=n)
    count = np.bincount(code, taken.astype(np.float64), minlength=n)
    rng = np.random.default_rng(seed)
    rates = []
    for _ in range(resamples):
        drawn = rng.integers(0, n, n)
        total = count[drawn].sum()
        if total > 0:
            rates.append(wrong[drawn].sum() / total)
    low, high = np.quantile(rates, (0.025, 0.975))
    return float(low), float(high)
