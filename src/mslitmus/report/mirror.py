"""The mirror plot: measured spectrum up, predicted spectrum down, on one m/z axis; and its upper half alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from ..spectra.tolerance import TOLERANCE_GUARD
from .numbers import mz, tick_text, ticks

Array = NDArray[np.float64]

LEFT, RIGHT, MIDDLE, HALF = 46.0, 468.0, 164.0, 118.0  # the plot area, in SVG units
AXIS, WIDTH, HEIGHT = 330.0, 480, 378
LABELS, TIPPED, MOST = 3, 25, 300  # peaks labelled, peaks with a tooltip, peaks drawn on a side
WORTH = 0.02  # of the base peak: lower peaks are not labelled


def matched(a: Array, b: Array, width: float, unit: str) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which peaks find a partner: in the same bin (`Da`, as binned metrics count), or within `±Da` or `ppm` of a."""
    if not len(a) or not len(b):
        return np.zeros(len(a), bool), np.zeros(len(b), bool)
    if unit == "Da":
        bins_a, bins_b = np.floor(a / width + 1e-9), np.floor(b / width + 1e-9)
        return np.asarray(np.isin(bins_a, bins_b)), np.asarray(np.isin(bins_b, bins_a))
    limit = np.full((len(a), 1), width + TOLERANCE_GUARD) if unit == "±Da" else a[:, None] * width * 1e-6
    close = np.abs(a[:, None] - b[None, :]) <= limit
    return np.asarray(close.any(axis=1)), np.asarray(close.any(axis=0))


def mirror(
    measured: tuple[Sequence[float], Sequence[float]],
    predicted: tuple[Sequence[float], Sequence[float]],
    precursor: float | None,
    resolution: tuple[float, str],
    label: str,
    formulas: Sequence[str | None] = (),
    sides: tuple[str, str] = ("measured", "predicted"),
) -> Markup:
    """SVG of both spectra, each relative to its own base peak, with the three tallest peaks of each labelled.

    Peaks matched at the metric's own `resolution` (width, `Da` or `ppm`) carry the accent colour and a thicker stem.
    `formulas` of the predicted peaks, where the model explains them, stand below their m/z and in their tooltips.
    """
    told = {float(x): text for x, text in zip(predicted[0], formulas, strict=False) if text}
    up, down = _strongest(*measured), _strongest(*predicted)
    low, high, at = _range([up[0], down[0]], precursor)
    hits_up, hits_down = matched(up[0], down[0], *resolution)
    parts = _frame(low, high, sides) + _precursor(at, precursor, AXIS)
    parts += _stems(at(up[0]), up, hits_up, -1) + _stems(at(down[0]), down, hits_down, 1, told=told)
    parts.append(f'<line class="base" x1="{LEFT}" x2="{RIGHT}" y1="{MIDDLE}" y2="{MIDDLE}"/>')
    parts += _labels(at(up[0]), up, -1) + _labels(at(down[0]), down, 1, told)
    if not len(down[0]):
        parts.append(
            f'<text x="{(LEFT + RIGHT) / 2}" y="{MIDDLE + 60}" text-anchor="middle">no peak {escape(sides[1])}</text>'
        )
    return Markup(
        f'<svg class="chart mirror" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">'
        f"{''.join(parts)}</svg>"
    )


def measured_spectrum(peaks: tuple[Sequence[float], Sequence[float]], precursor: float | None, label: str) -> Markup:
    """SVG of one spectrum relative to its base peak, the tallest peaks labelled: nothing was predicted to compare."""
    up = _strongest(*peaks)
    low, high, at = _range([up[0]], precursor)
    parts = _frame(low, high, one_sided=True) + _precursor(at, precursor, MIDDLE)
    parts += _stems(at(up[0]), up, np.ones(len(up[0]), bool), -1, noted=False)
    parts += _labels(at(up[0]), up, -1)
    if not len(up[0]):
        parts.append(f'<text x="{(LEFT + RIGHT) / 2}" y="{MIDDLE - 60}" text-anchor="middle">no peak</text>')
    return Markup(
        f'<svg class="chart mirror" viewBox="0 0 {WIDTH} {MIDDLE + 48:.0f}" role="img" aria-label="{escape(label)}">'
        f"{''.join(parts)}</svg>"
    )


def _range(spectra: Sequence[Array], precursor: float | None) -> tuple[float, float, Callable[[Array], Array]]:
    """(lowest, highest m/z drawn, m/z → horizontal position)."""
    both = np.concatenate([*spectra, [precursor] if precursor else []])
    if not len(both):
        both = np.array([0.0, 100.0])
    room = max(12.0, 0.08 * float(np.ptp(both)))  # so that the label of an outermost peak stays over its stem
    low, high = max(0.0, float(both.min()) - room), float(both.max()) + room

    def at(values: Array) -> Array:
        return np.asarray(LEFT + (values - low) / (high - low) * (RIGHT - LEFT))

    return low, high, at


def _precursor(at: Callable[[Array], Array], precursor: float | None, foot: float) -> list[str]:
    if not precursor:
        return []
    x = float(at(np.array([precursor]))[0])
    return [
        f'<line class="precursor" x1="{x:.1f}" x2="{x:.1f}" y1="{MIDDLE - HALF}" y2="{foot}">'
        f"<title>precursor m/z {mz(precursor)}</title></line>"
        f'<path class="precursor-foot" d="M{x - 5:.1f},{foot - 10} h10 l-5,9 z"/>'
    ]


def _strongest(mzs: Sequence[float], intensities: Sequence[float]) -> tuple[Array, Array]:
    """Positive finite peaks relative to the base peak, ascending m/z, at most `MOST`."""
    x, y = np.asarray(mzs, dtype=np.float64), np.asarray(intensities, dtype=np.float64)
    good = np.isfinite(x) & np.isfinite(y) & (y > 0)
    x, y = x[good], y[good]
    keep = np.sort(np.argsort(-y, kind="stable")[:MOST])
    x, y = x[keep], y[keep]
    return x, y / y.max() if len(y) else y


def _frame(
    low: float, high: float, sides: tuple[str, str] = ("measured", "predicted"), *, one_sided: bool = False
) -> list[str]:
    parts = []
    axis = MIDDLE if one_sided else AXIS
    for share in (-1.0, -0.5, 0.0) if one_sided else (-1.0, -0.5, 0.0, 0.5, 1.0):
        y = MIDDLE + share * HALF
        if share:
            parts.append(f'<line class="grid" x1="{LEFT}" x2="{RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text x="{LEFT - 5}" y="{y + 4.5}" text-anchor="end">{abs(share) * 100:.0f}</text>')
    step = ticks(high - low, 6)[1]
    first = np.ceil(low / step) * step
    for value in np.arange(first, high + 1e-9, step):
        x = LEFT + (value - low) / (high - low) * (RIGHT - LEFT)
        parts.append(f'<line class="tick" x1="{x:.1f}" x2="{x:.1f}" y1="{axis}" y2="{axis + 5}"/>')
        parts.append(f'<text x="{x:.1f}" y="{axis + 18}" text-anchor="middle">{tick_text(float(value))}</text>')
    parts.append(
        f'<line class="base" x1="{LEFT}" x2="{RIGHT}" y1="{axis}" y2="{axis}"/>'
        f'<text class="unit" x="{(LEFT + RIGHT) / 2}" y="{axis + 38}" text-anchor="middle">m/z</text>'
    )
    parts += [
        f'<text transform="translate(11 {MIDDLE + half}) rotate(-90)" text-anchor="middle">{name}</text>'
        for name, half in zip(sides[: 1 if one_sided else 2], (-HALF / 2, HALF / 2), strict=False)
    ]
    return parts


def _stems(
    xs: Array,
    peaks: tuple[Array, Array],
    hits: NDArray[np.bool_],
    sign: int,
    *,
    noted: bool = True,
    told: Mapping[float, str] | None = None,
) -> list[str]:
    """Weak peaks as one path a colour (small), the strongest one line each, with a tooltip."""
    tall = set(np.argsort(-peaks[1], kind="stable")[:TIPPED].tolist())
    parts = []
    for hit, css in ((False, "stem"), (True, "stem hit")):
        weak = [i for i in np.flatnonzero(hits == hit) if int(i) not in tall]
        if weak:
            path = "".join(f"M{xs[i]:.1f},{MIDDLE}v{sign * HALF * peaks[1][i]:.1f}" for i in weak)
            parts.append(f'<path class="{css}" d="{path}"/>')
        for i in np.flatnonzero(hits == hit):
            if int(i) in tall:
                partner = (", matched" if hit else ", no partner") if noted else ""
                formula = (told or {}).get(float(peaks[0][i]))
                partner += f", {escape(formula)}" if formula else ""
                tip = f"m/z {mz(peaks[0][i])}, {peaks[1][i]:.1%}{partner}"
                parts.append(
                    f'<path class="{css}" d="M{xs[i]:.1f},{MIDDLE}v{sign * HALF * peaks[1][i]:.1f}">'
                    f"<title>{tip}</title></path>"
                )
    return parts


def _labels(xs: Array, peaks: tuple[Array, Array], sign: int, told: Mapping[float, str] | None = None) -> list[str]:
    """m/z of the tallest peaks at their tips, with the formula below; one that would cover another moves outwards."""
    wide, tall = 70.0, 28.0 if told else 14.0
    placed: list[tuple[float, float]] = []
    parts = []
    tallest = np.argsort(-peaks[1], kind="stable")[:LABELS]
    for i in tallest[peaks[1][tallest] >= WORTH]:
        x = float(min(max(xs[i], LEFT + wide / 2), RIGHT - wide / 2))
        y = MIDDLE + sign * (HALF * float(peaks[1][i]) + (5 if sign < 0 else 15))
        while covers := [py for px, py in placed if abs(x - px) < wide and abs(y - py) < tall]:
            y = covers[0] + sign * tall
        placed.append((x, y))
        parts.append(f'<text class="peak" x="{x:.1f}" y="{y:.1f}" text-anchor="middle">{mz(peaks[0][i])}</text>')
        formula = (told or {}).get(float(peaks[0][i]))
        if formula and y + 13 < AXIS - 4:  # else it would cover the axis; the tooltip has it
            parts.append(
                f'<text class="peak" x="{x:.1f}" y="{y + 13:.1f}" text-anchor="middle">{escape(formula)}</text>'
            )
    return parts
