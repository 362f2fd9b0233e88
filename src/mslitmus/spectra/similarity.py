"""The slow, plain reference of every spectral similarity: one pair of spectra at a time.

Two steps. *Align*: turn two spectra into pairs (x, y, mz), one row a matched or unmatched peak, 0 where a side has
none; either on bins or by one-to-one matching within ppm. *Measure*: a formula on those rows. The fast kernels of
`mslitmus.metrics.kernels` compute the same numbers and are tested against these.

The scores of library search (`spectra.library`) come last: `cosine_exact`, `cosine_greedy`, `modified_cosine`,
`neutral_loss`, `entropy` and `hybrid`.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from .peaks import Array, Peaks, bin_peaks, clean, neutral_losses
from .tolerance import Tolerance

Aligned = tuple[Array, Array, Array]

#: Spectra with less entropy than this (nats) are re-weighted by `entropy_weight` (Li et al. 2021).
LOW_ENTROPY = 3.0


def align_binned(a: tuple[Array, Array], b: tuple[Array, Array], width: float, max_mz: float = np.inf) -> Aligned:
    """Aligned intensities on the union of occupied bins; mz is the bin's centre. Shapes (k,), (k,), (k,)."""
    side_a, side_b = (dict(zip(*map(np.ndarray.tolist, bin_peaks(*s, width, max_mz)), strict=True)) for s in (a, b))
    mzs = sorted(side_a.keys() | side_b.keys())
    x = np.array([side_a.get(m, 0.0) for m in mzs])
    y = np.array([side_b.get(m, 0.0) for m in mzs])
    return x, y, np.array(mzs)


def within(mz_a: float, mz_b: float, ppm: float) -> bool:
    """|a − b| ≤ ppm · 10⁻⁶ · (a + b) / 2, symmetric in its arguments."""
    return abs(mz_a - mz_b) <= ppm * 1e-6 * (mz_a + mz_b) / 2


def align_ppm(a: tuple[Array, Array], b: tuple[Array, Array], ppm: float, max_mz: float = np.inf) -> Aligned:
    """One-to-one greedy matching within `ppm`, highest intensity product first.

    Ties go to the smaller |Δm/z|, then the lower m/z, so the result does not depend on peak order or on which
    spectrum comes first. A matched row carries the mean m/z of its two peaks. The order of matching is that of the
    plain intensities (each relative to its own spectrum, which changes no order) whatever measure follows.
    """
    (ma, ia), (mb, ib) = clean(*a), clean(*b)
    ia, ib, ma, mb = ia[ma < max_mz], ib[mb < max_mz], ma[ma < max_mz], mb[mb < max_mz]
    pairs = [
        (-ia[i] * ib[j], abs(ma[i] - mb[j]), ma[i] + mb[j], i, j)
        for i in range(ma.size)
        for j in range(mb.size)
        if within(ma[i], mb[j], ppm)
    ]
    taken_a, taken_b, rows = set(), set(), []
    for _, _, total, i, j in sorted(pairs):
        if i not in taken_a and j not in taken_b:
            taken_a.add(i)
            taken_b.add(j)
            rows.append((ia[i], ib[j], total / 2))
    rows += [(ia[i], 0.0, ma[i]) for i in range(ma.size) if i not in taken_a]
    rows += [(0.0, ib[j], mb[j]) for j in range(mb.size) if j not in taken_b]
    table = np.array(rows, dtype=np.float64).reshape(-1, 3)
    return table[:, 0], table[:, 1], table[:, 2]


def cosine(x: Array, y: Array, mz: Array, intensity_power: float = 1.0, mz_power: float = 0.0) -> float:
    """Σ uv / √(Σu² Σv²) with u = mzᵃ xᵇ, v = mzᵃ yᵇ (a: `mz_power`, b: `intensity_power`). 0 where a side is empty."""
    u, v = mz**mz_power * x**intensity_power, mz**mz_power * y**intensity_power
    norm = np.sqrt((u * u).sum() * (v * v).sum())
    return float(min(1.0, (u * v).sum() / norm)) if norm > 0 else 0.0


def spectral_entropy(intensities: Array) -> float:
    """S = −Σ p ln p (nats) of the intensities scaled to sum 1; 0 of an empty spectrum."""
    positive = intensities[intensities > 0]
    if not positive.size:
        return 0.0
    p = positive / positive.sum()
    return float(max(0.0, -(p * np.log(p)).sum()))


def entropy_weight(intensities: Array) -> Array:
    """Li & Fiehn's weighting: where S < 3, intensities to the power (1 + S) / 4; lifts small peaks of poor spectra."""
    entropy = spectral_entropy(intensities)
    return intensities if entropy >= LOW_ENTROPY else np.where(intensities > 0, intensities, 0) ** ((1 + entropy) / 4)


def jss(x: Array, y: Array) -> float:
    """Jensen–Shannon similarity, 1 − JSD(p, q) / ln 2 with p, q scaled to sum 1. 0 where a side is empty."""
    if x.sum() <= 0 or y.sum() <= 0:
        return 0.0
    p, q = x / x.sum(), y / y.sum()
    divergence = spectral_entropy((p + q) / 2) - (spectral_entropy(p) + spectral_entropy(q)) / 2
    return float(np.clip(1 - divergence / np.log(2), 0.0, 1.0))


def entropy_similarity(x: Array, y: Array, weighted: bool = True) -> float:
    """Spectral entropy similarity, 1 − (2 S(½p + ½q) − S(p) − S(q)) / ln 4 (Li et al. 2021, Nature Methods 18:1524).

    Unweighted it equals `jss`. Weighted, each side passes through `entropy_weight` first. 0 where a side is empty.
    """
    if weighted:
        x, y = entropy_weight(x), entropy_weight(y)
    return jss(x, y)


def cosine_exact(
    a: Peaks, b: Peaks, tolerance: str | float | Tolerance, intensity_power: float = 1.0, mz_power: float = 0.0
) -> float:
    """Cosine under the best one-to-one assignment of peaks within the tolerance (Da, or e.g. `"10ppm"`).

    Peaks are weighted u = mzᵃ xᵇ and scaled to Σu² = 1; the score is the largest Σ u_i v_j over all assignments of
    peaks of `a` to peaks of `b`. No peaks are merged. 0 where a side is empty.
    """
    return modified_cosine(a, b, None, None, tolerance, intensity_power, mz_power)


def cosine_greedy(
    a: Peaks, b: Peaks, tolerance: str | float | Tolerance, intensity_power: float = 1.0, mz_power: float = 0.0
) -> float:
    """`cosine_exact` with pairs accepted by descending product, as `CosineGreedy` of matchms does.

    Of equal products (to ten decimals) the later peak of `a` comes first, then the later of `b`.
    """
    limit = Tolerance.of(tolerance)
    (ma, u), (mb, v) = (_unit(*clean(*side), intensity_power, mz_power) for side in (a, b))
    pairs = [(round(float(u[i] * v[j]), 10), i, j) for i, j in np.argwhere(limit.within(ma[:, None], mb[None, :]))]
    free_a, free_b, score = set(range(ma.size)), set(range(mb.size)), 0.0
    for _, i, j in sorted(pairs, reverse=True):
        if i in free_a and j in free_b:
            free_a.remove(i)
            free_b.remove(j)
            score += float(u[i] * v[j])
    return min(1.0, score)


def _unit(mzs: Array, intensities: Array, intensity_power: float, mz_power: float) -> Peaks:
    weights = mzs**mz_power * intensities**intensity_power
    return mzs, weights / np.sqrt((weights * weights).sum()) if weights.size else weights


def modified_cosine(
    a: Peaks,
    b: Peaks,
    precursor_a: float | None,
    precursor_b: float | None,
    tolerance: str | float | Tolerance,
    intensity_power: float = 1.0,
    mz_power: float = 0.0,
) -> float:
    """`cosine_exact` in which a peak may also match one shifted by the difference of the precursors (Da).

    That is peaks of equal loss (Watrous et al. 2012, PNAS 109:E1743). The tolerance in ppm refers to the m/z in `a`'s
    frame. Without a precursor on either side it is the plain cosine.
    """
    limit = Tolerance.of(tolerance)
    (ma, ia), (mb, ib) = clean(*a), clean(*b)
    if not ma.size or not mb.size:
        return 0.0
    u, v = ma**mz_power * ia**intensity_power, mb**mz_power * ib**intensity_power
    u, v = u / np.sqrt((u * u).sum()), v / np.sqrt((v * v).sum())
    allowed = limit.within(ma[:, None], mb[None, :])
    if precursor_a is not None and precursor_b is not None:
        allowed |= limit.within(ma[:, None], mb[None, :] + (precursor_a - precursor_b))
    gain = np.where(allowed, np.outer(u, v), 0.0)
    return float(min(1.0, gain[linear_sum_assignment(gain, maximize=True)].sum()))


def neutral_loss(
    a: Peaks,
    b: Peaks,
    precursor_a: float | None,
    precursor_b: float | None,
    tolerance: str | float | Tolerance,
    intensity_power: float = 1.0,
    mz_power: float = 0.0,
) -> float:
    """Cosine of the loss spectra (`peaks.neutral_losses`: precursor − m/z of at least 0.5 Da), best assignment.

    Peaks are weighted by their own m/z and intensity; a tolerance in ppm is one of the loss. 0 without a precursor on
    either side.
    """
    if precursor_a is None or precursor_b is None:
        return 0.0
    sides = []
    for side, precursor in ((a, precursor_a), (b, precursor_b)):
        mzs, intensities = clean(*side)
        sides.append(neutral_losses(mzs, mzs**mz_power * intensities**intensity_power, precursor))
    return cosine_exact(sides[0], sides[1], tolerance)


def centroid(mzs: Array, intensities: Array, tolerance: str | float | Tolerance) -> Peaks:
    """Peaks merged until all lie more than twice the tolerance apart, so that none can match two of another spectrum.

    From the most intense peak down (ties: the lower m/z first), each absorbs what is left within twice the tolerance
    (that of the higher m/z of the two, if in ppm); the merged peak has the summed intensity and the
    intensity-weighted mean m/z. Repeated until nothing merges. This is the centroiding of `ms_entropy`.
    """
    limit = Tolerance.of(tolerance)
    mzs, intensities = clean(mzs, intensities)
    while mzs.size > 1 and np.any(np.diff(mzs) <= 2 * (limit.da + limit.relative * mzs[1:])):
        free = np.ones(mzs.size, dtype=bool)
        merged: list[tuple[float, float]] = []
        for top in np.argsort(-intensities, kind="stable"):
            if free[top]:
                near = np.abs(mzs - mzs[top]) <= 2 * (limit.da + limit.relative * np.maximum(mzs, mzs[top]))
                group = free & near
                free &= ~group
                total = intensities[group].sum()
                merged.append((float((mzs[group] * intensities[group]).sum() / total), float(total)))
        mzs, intensities = np.array(sorted(merged)).T
    return mzs, intensities


def entropy(a: Peaks, b: Peaks, tolerance: str | float | Tolerance, weighted: bool = True) -> float:
    """Spectral entropy similarity (`entropy_similarity`) of the centroided spectra (`centroid`).

    After centroiding a peak has at most one partner within the tolerance, so nothing is left to assign.
    """
    return hybrid(a, b, None, None, tolerance, weighted)


def hybrid(
    a: Peaks,
    b: Peaks,
    precursor_a: float | None,
    precursor_b: float | None,
    tolerance: str | float | Tolerance,
    weighted: bool = True,
) -> float:
    """`entropy` in which peaks that agree with none by m/z may match by loss (Li & Fiehn 2023, Nature Methods 20:1475).

    Matches by m/z come first; what is left of both sides matches where the peaks of `b`, moved by the difference of the
    precursors (Da), agree: from the lowest peak of `b` up, each with its lowest free partner. Without a precursor on
    either side it is `entropy`.
    """
    limit = Tolerance.of(tolerance)
    (ma, ia), (mb, ib) = centroid(*a, limit), centroid(*b, limit)
    shifts = [0.0] if precursor_a is None or precursor_b is None else [0.0, precursor_a - precursor_b]
    partner: dict[int, int] = {}  # of `b`'s peaks
    for shift in shifts:
        for j in range(mb.size):
            free = [i for i in range(ma.size) if i not in partner.values() and limit.within(ma[i], mb[j] + shift)]
            if free and j not in partner:
                partner[j] = free[0]
    pairs = np.array([(i, j) for j, i in partner.items()], np.int64).reshape(-1, 2)
    lone_a, lone_b = np.setdiff1d(np.arange(ma.size), pairs[:, 0]), np.setdiff1d(np.arange(mb.size), pairs[:, 1])
    x = np.concatenate([ia[pairs[:, 0]], ia[lone_a], np.zeros(lone_b.size)])
    y = np.concatenate([ib[pairs[:, 1]], np.zeros(lone_a.size), ib[lone_b]])
    return entropy_similarity(x, y, weighted)
