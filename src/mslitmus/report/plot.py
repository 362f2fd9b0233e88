"""Charts as inline SVG, drawn here: nothing to download, sharp in print, coloured by the page's style sheet.

Dot-and-whisker marks sit in table cells and use per-cent coordinates, so that they stretch with the column while
strokes and text keep their size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

from .numbers import score, tick_text, ticks, usable

_CAP = 'transform="translate(-.8 -8)"'
_INNER = '<svg aria-hidden="true" x="{at}" y="50%" overflow="visible">{path}</svg>'  # pixels around a place in per cent
_CROSS = '<path class="answered" d="M-4,-4 L4,4 M-4,4 L4,-4"/>'
_DIAMOND = '<path class="dot control" d="M0,-5.5 L5.5,0 L0,5.5 L-5.5,0 Z"/>'
_MEAN = {
    "trained": '<circle class="dot trained" cx="{at}" cy="50%" r="4"/>',
    "control": '<rect class="dot control" x="{at}" y="50%" width="7" height="7" transform="translate(-3.5 -3.5)"/>',
    "oracle": _INNER.replace("{path}", _DIAMOND),
}
INSET = 3.0  # per cent of the cell kept free on either side, so that no mark is cut off


@dataclass(frozen=True)
class Axis:
    """A linear axis from `low` to `high` across a table cell."""

    low: float
    high: float

    def at(self, value: float) -> str:
        """Horizontal position, per cent of the cell; values beyond the axis stick to its ends."""
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return f"{INSET + (100 - 2 * INSET) * min(max(share, 0.0), 1.0):.2f}%"

    @property
    def ticks(self) -> list[float]:
        return [self.low + step for step in ticks(self.high - self.low)]


@dataclass(frozen=True)
class Mark:
    """A vertical reference line: `css` is its class (`bound`, `trivial`), `label` its tooltip."""

    value: float
    css: str
    label: str


def axis_header(axis: Axis) -> Markup:
    """Tick labels, for the header cell above a column of `dot` cells."""
    labels = "".join(
        f'<text x="{axis.at(t)}" y="14" text-anchor="middle">{escape(tick_text(t))}</text>' for t in axis.ticks
    )
    return Markup(f'<svg class="axis" width="100%" height="18" aria-hidden="true">{labels}</svg>')


def dot(
    axis: Axis,
    mean: float | None,
    low: float | None,
    high: float | None,
    *,
    label: str,
    shape: str = "trained",
    marks: Sequence[Mark] = (),
    seeds: Sequence[float] = (),
) -> Markup:
    """One row of a forest plot; seeds are small ticks, a mark `answered` is a cross.

    `shape`: a `trained` model is a filled circle, a `control` an open square, the `oracle` an open diamond.
    """
    parts = [f'<line class="grid" x1="{axis.at(t)}" x2="{axis.at(t)}" y1="0" y2="100%"/>' for t in axis.ticks]
    for mark in marks:
        at = axis.at(mark.value)
        parts.append(
            _INNER.format(at=at, path=_CROSS)
            if mark.css == "answered"
            else f'<line class="{mark.css}" x1="{at}" x2="{at}" y1="0" y2="100%"/>'
        )
    css = "trained" if shape == "trained" else "control"
    if usable(low) and usable(high) and low is not None and high is not None:
        ends = (axis.at(low), axis.at(high))
        parts.append(f'<line class="whisker {css}" x1="{ends[0]}" x2="{ends[1]}" y1="50%" y2="50%"/>')
        # caps taller than the dot keep an interval narrower than the dot visible
        parts += [f'<rect class="cap {css}" x="{x}" y="50%" width="1.6" height="16" {_CAP}/>' for x in ends]
    if len(seeds) > 1:
        parts += [f'<circle class="seed" cx="{axis.at(s)}" cy="50%" r="2" transform="translate(0 13)"/>' for s in seeds]
    if usable(mean) and mean is not None:
        at = axis.at(mean)
        parts.append(_MEAN[shape].format(at=at))
    text = escape(label)
    return Markup(f'<svg class="forest" role="img" aria-label="{text}"><title>{text}</title>{"".join(parts)}</svg>')


def histogram(
    edges: Sequence[float], counts: Sequence[float], *, label: str, limit: float, median: float | None = None
) -> Markup:
    """Bars over 0–1 (Tanimoto), heights as share of all up to `limit`; `median` as a labelled line. 320 × 170 units."""
    left, right, top, bottom = 40.0, 310.0, 22.0, 132.0
    total = sum(counts) or 1.0
    shares = [c / total for c in counts]
    parts = []
    for value in (0.0, 0.25, 0.5, 0.75, 1.0):
        x = left + value * (right - left)
        parts.append(f'<text x="{x:.1f}" y="{bottom + 15}" text-anchor="middle">{tick_text(value)}</text>')
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom + 3}"/>')
    for low, high, share, n in zip(edges[:-1], edges[1:], shares, counts, strict=True):
        x, wide, tall = (
            left + low * (right - left),
            (high - low) * (right - left),
            (bottom - top) * share / (limit or 1.0),
        )
        parts.append(
            f'<rect class="bar" x="{x + 0.5:.1f}" y="{bottom - tall:.1f}" width="{max(wide - 1, 0.5):.1f}" '
            f'height="{tall:.1f}"><title>{low:g}–{high:g}: {n:,.0f} ({share * 100:.1f} %)</title></rect>'
        )
    parts.append(f'<line class="base" x1="{left}" x2="{right}" y1="{bottom}" y2="{bottom}"/>')
    parts.append(f'<text x="{left - 5}" y="{top + 5}" text-anchor="end">{limit * 100:.0f} %</text>')
    parts.append(f'<text x="{left - 5}" y="{bottom + 1}" text-anchor="end">0</text>')
    foot = "Tanimoto to nearest train molecule"
    parts.append(f'<text x="{(left + right) / 2}" y="{bottom + 32}" text-anchor="middle">{foot}</text>')
    if median is not None and usable(median):
        x = left + median * (right - left)
        anchor = "end" if median > 0.6 else "start"
        parts.append(f'<line class="trivial" x1="{x:.1f}" x2="{x:.1f}" y1="{top - 6}" y2="{bottom}"/>')
        parts.append(
            f'<text class="strong" x="{x + (-5 if anchor == "end" else 5):.1f}" y="{top - 8}" '
            f'text-anchor="{anchor}">median {score(median, 2)}</text>'
        )
    return _figure(320, 170, label, parts)


def curve(
    points: Sequence[tuple[float, float]], *, label: str, title: str, best: float | None = None, css: str = "trained"
) -> Markup:
    """A line over epochs, its own vertical range, the chosen epoch ringed. 340 × 184 units."""
    left, right, top, bottom = 48.0, 328.0, 26.0, 140.0
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    x0, x1, y0, y1 = min(xs), max(max(xs), min(xs) + 1), min(ys), max(ys)
    if y1 - y0 < 1e-12:
        y0, y1 = y0 - 0.5 * (abs(y0) or 1), y1 + 0.5 * (abs(y1) or 1)

    def at(x: float, y: float) -> tuple[float, float]:
        return left + (x - x0) / (x1 - x0) * (right - left), bottom - (y - y0) / (y1 - y0) * (bottom - top)

    digits = 3 if y1 - y0 < 1 else 2 if y1 - y0 < 10 else 0
    fit = f' textLength="{right - 4:g}" lengthAdjust="spacingAndGlyphs"' if len(title) > 46 else ""  # else it is cut
    parts = [f'<text class="strong" x="{0 if len(title) > 38 else left:g}" y="14"{fit}>{escape(title)}</text>']
    for value in (y0, (y0 + y1) / 2, y1):
        y = at(x0, value)[1]
        parts.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{score(value, digits)}</text>')
    parts += [
        f'<text x="{at(value, y0)[0]:.1f}" y="{bottom + 20}" text-anchor="middle">{value:g}</text>'
        for value in dict.fromkeys((x0, float(round((x0 + x1) / 2)), x1))
    ]
    parts.append(f'<text x="{(left + right) / 2}" y="{bottom + 37}" text-anchor="middle">epoch</text>')
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*p) for p in points))
    parts.append(f'<polyline class="curve {css}" points="{path}"/>')
    for x, y in points:
        cx, cy = at(x, y)
        ring = best is not None and x == best
        tip = f"epoch {x:g}: {y:.4g}{' (chosen)' if ring else ''}"
        parts.append(
            f'<circle class="{"chosen" if ring else "point"}" cx="{cx:.1f}" cy="{cy:.1f}" r="{6 if ring else 2.5}">'
            f"<title>{tip}</title></circle>"
        )
    return _figure(340, 184, label, parts)


def _figure(width: int, height: int, label: str, parts: Sequence[str]) -> Markup:
    text = escape(label)
    return Markup(
        f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" aria-label="{text}">{"".join(parts)}</svg>'
    )
