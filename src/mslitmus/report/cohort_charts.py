"""Charts of a cohort as inline SVG: the map of the samples, observed against predicted, a family's distribution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from .numbers import tick_text, ticks

Array = NDArray[np.float64]
#: Colours of classes in the template's style sheet, and of all that come after.
PALETTE, OTHER = 8, "var(--stem)"
_WIDE, _TALL, _EDGE = 380.0, 330.0, 16.0
_SQUARE = '<rect x="{x:.1f}" y="{y:.1f}" width="8" height="8" transform="translate(-4 -4)"{more}>{tip}</rect>'
_TRIANGLE = '<path d="M0,-5 L5,4 L-5,4 Z" transform="translate({x:.1f} {y:.1f})"{more}>{tip}</path>'
_CIRCLE = '<circle cx="{x:.1f}" cy="{y:.1f}" r="4.2"{more}>{tip}</circle>'
_SHAPES = {"sample": _CIRCLE, "blank": _SQUARE, "pool": _TRIANGLE, "qc": _TRIANGLE}


def class_colours(names: Sequence[str]) -> dict[str, str]:
    """Class → CSS colour."""
    return {name: f"var(--c{k})" if k < PALETTE else OTHER for k, name in enumerate(names)}


def shade(share: float) -> str:
    """Of a number, 0 (lowest) to 1."""
    return f"color-mix(in oklab, var(--high) {100 * min(max(share, 0.0), 1.0):.0f}%, var(--low))"


def sample_map(
    x: Array, y: Array, roles: Sequence[str], tips: Sequence[str], fills: Sequence[Sequence[str]], label: str
) -> Markup:
    """Samples as circles, blanks as squares, pools and controls as triangles.

    Args:
        fills: per sample one CSS colour for each way to colour; the first is shown, a script changes to the others.
    """

    def scaled(v: Array, size: float) -> Array:
        spread = float(np.ptp(v)) or 1.0
        return np.asarray(_EDGE + (v - v.min()) / spread * (size - 2 * _EDGE))

    px, py = scaled(x, _WIDE), _TALL - scaled(y, _TALL)
    parts = [f'<rect class="frame" x="1" y="1" width="{_WIDE - 2}" height="{_TALL - 2}" rx="6"/>']
    order = sorted(range(len(x)), key=lambda k: roles[k] == "sample")
    for k in order:
        css = "spot" if roles[k] == "sample" else "spot hollow"
        more = f' class="{css}" style="--f:{fills[k][0]}" data-f="{escape("|".join(fills[k]))}"'
        tip = f"<title>{escape(tips[k])}</title>"
        parts.append(_SHAPES.get(roles[k], _CIRCLE).format(x=px[k], y=py[k], more=more, tip=tip))
    return _figure(_WIDE, _TALL, label, parts)


def observed_predicted(truth: Array, predicted: Array, tips: Sequence[str], label: str) -> Markup:
    """Predicted over observed with the line of equality, one scale on both axes."""
    both = np.concatenate([truth, predicted])
    low, high = float(both.min()), float(both.max())
    room = 0.04 * ((high - low) or 1.0)
    low, high = low - room, high + room
    left, right, top, bottom = 48.0, 328.0, 14.0, 262.0

    def at(a: float, b: float) -> tuple[float, float]:
        share = [(v - low) / (high - low) for v in (a, b)]
        return left + share[0] * (right - left), bottom - share[1] * (bottom - top)

    parts = []
    step = ticks(high - low)[1] if len(ticks(high - low)) > 1 else 1.0
    for value in np.arange(np.ceil(low / step) * step, high + 1e-9, step):
        x, y = at(float(value), float(value))
        parts.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{tick_text(float(value) + 0.0)}</text>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{tick_text(float(value) + 0.0)}</text>')
    (x0, y0), (x1, y1) = at(low, low), at(high, high)
    parts.append(f'<line class="equal" x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}"/>')
    parts.append(f'<line class="base" x1="{left}" x2="{right}" y1="{bottom}" y2="{bottom}"/>')
    for a, b, tip in zip(truth, predicted, tips, strict=True):
        x, y = at(float(a), float(b))
        parts.append(f'<circle class="mine" cx="{x:.1f}" cy="{y:.1f}" r="3.6"><title>{escape(tip)}</title></circle>')
    parts.append(f'<text x="{(left + right) / 2}" y="{bottom + 36}" text-anchor="middle">observed</text>')
    middle = (top + bottom) / 2
    parts.append(f'<text transform="translate(11 {middle}) rotate(-90)" text-anchor="middle">predicted</text>')
    return _figure(340, 304, label, parts)


def strip(groups: Mapping[str, Array], colours: Mapping[str, str], tips: Mapping[str, Sequence[str]]) -> Markup:
    """log₂ abundance a class: a dot a sample, a line at the median. Samples that have nothing lie at 0."""
    left, right, row = 112.0, 460.0, 26.0
    high = max((float(v.max()) for v in groups.values() if v.size), default=1.0) or 1.0
    tall = row * len(groups) + 40
    parts = _ruler(0.0, high, left, right, 4.0, row * len(groups) + 6)
    for k, (name, values) in enumerate(groups.items()):
        y = 4 + row * (k + 0.5)
        parts.append(f'<text x="{left - 8}" y="{y + 4.5}" text-anchor="end">{escape(_short(name))}</text>')
        shift = _jitter(len(values)) * row * 0.3
        for value, by, tip in zip(values, shift, tips[name], strict=True):
            x = left + value / high * (right - left)
            style = f'style="--f:{colours[name]}"'
            parts.append(f'<circle class="spot small" cx="{x:.1f}" cy="{y + by:.1f}" r="3.1" {style}>'
                         f"<title>{escape(tip)}</title></circle>")  # fmt: skip
        if values.size:
            x = left + float(np.median(values)) / high * (right - left)
            parts.append(f'<line class="median" x1="{x:.1f}" x2="{x:.1f}" y1="{y - 11}" y2="{y + 11}"/>')
    parts.append(f'<text x="{(left + right) / 2}" y="{tall - 3}" text-anchor="middle">log₂ abundance</text>')
    return _figure(480, tall, "Distribution of the family over the groups", parts)


def against_number(target: Array, values: Array, tips: Sequence[str], name: str) -> Markup:
    """log₂ abundance over a target of numbers."""
    left, right, top, bottom = 48.0, 460.0, 8.0, 120.0
    low, high, most = float(target.min()), float(target.max()), float(values.max()) or 1.0
    parts = _ruler(low, high, left, right, top, bottom)
    for value in (0.0, most):
        y = bottom - value / most * (bottom - top - 6)
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.2g}</text>')
    for a, b, tip in zip(target, values, tips, strict=True):
        x = left + (a - low) / ((high - low) or 1.0) * (right - left)
        y = bottom - b / most * (bottom - top - 6)
        parts.append(f'<circle class="mine" cx="{x:.1f}" cy="{y:.1f}" r="3.2"><title>{escape(tip)}</title></circle>')
    parts.append(
        f'<text x="{(left + right) / 2}" y="{bottom + 36}" text-anchor="middle">{escape(_short(name, 40))}</text>'
    )
    return _figure(480, 160, f"log₂ abundance over {name}", parts)


def _ruler(low: float, high: float, left: float, right: float, top: float, bottom: float) -> list[str]:
    steps = ticks((high - low) or 1.0)
    step = steps[1] if len(steps) > 1 else 1.0
    parts = []
    for value in np.arange(np.ceil(low / step - 1e-9) * step, high + 1e-9, step):
        x = left + (float(value) - low) / ((high - low) or 1.0) * (right - left)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{tick_text(float(value) + 0.0)}</text>')
    return parts


def _jitter(n: int) -> Array:
    """−1 to 1, the same every time (golden ratio sequence)."""
    return np.asarray((np.arange(n) * 0.6180339887 % 1) * 2 - 1)


def _short(text: str, most: int = 15) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _figure(width: float, height: float, label: str, parts: Sequence[str]) -> Markup:
    text = escape(label)
    return Markup(
        f'<svg class="chart" viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{text}">{"".join(parts)}</svg>'
    )
