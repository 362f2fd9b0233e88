"""Score against cost as inline SVG: cost on a log axis, the front joined and named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

from markupsafe import Markup

from .numbers import magnitude, score

LEFT, RIGHT, TOP, BOTTOM = 46.0, 364.0, 30.0, 216.0
WIDTH, HEIGHT = 380, 262
#: Names of the front: letters that fit, and vertical room of one.
LETTERS, APART = 26, 14.0
#: Places on the log axis beside its lowest decade, where a cost of 0 stands.
GAP = 0.6


@dataclass(frozen=True)
class Point:
    name: str
    cost: float
    merit: float
    css: str  # trained or control
    front: bool
    tip: str


def cost_chart(points: Sequence[Point], *, label: str, title: str, foot: str, falling: bool = False) -> Markup:
    """Points with the front as a line of steps; better is up. `falling`: less of the score is better, so that it is
    drawn upside down. Empty without a point."""
    if not points:
        return Markup("")
    positive = [p.cost for p in points if p.cost > 0]
    low, high = (floor(log10(min(positive))), ceil(log10(max(positive)))) if positive else (0, 1)
    high = max(high, low + 1)
    start = low - GAP if any(p.cost <= 0 for p in points) else float(low)
    merits = [p.merit for p in points]
    margin = max((max(merits) - min(merits)) * 0.12, 0.005)
    bottom, top = min(merits) - margin, max(merits) + margin

    def at(p: Point) -> tuple[float, float]:
        place = log10(p.cost) if p.cost > 0 else start
        share = (p.merit - bottom) / (top - bottom)
        share = 1 - share if falling else share
        return LEFT + (place - start) / (high - start) * (RIGHT - LEFT), BOTTOM - share * (BOTTOM - TOP)

    parts = [f'<text class="strong" x="0" y="14">{escape(title)}</text>']
    parts += _axes(start, low, high, bottom, top, foot, falling=falling)
    front = sorted((p for p in points if p.front), key=lambda p: p.cost)
    path = ""
    for p in front:
        x, y = at(p)
        path += f"M{x:.1f},{y:.1f}" if not path else f" H{x:.1f} V{y:.1f}"
    parts.append(f'<path class="front" d="{path}"/>' if path else "")
    for p in sorted(points, key=lambda p: p.front):
        x, y = at(p)
        parts.append(_mark(p, x, y))
    parts += _names([(p.name, *at(p)) for p in front])
    text = escape(label)
    return Markup(
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{text}">{"".join(parts)}</svg>'
    )


def _mark(p: Point, x: float, y: float) -> str:
    tip = f"<title>{escape(p.tip)}</title>"
    faint = "" if p.front else " behind"
    if p.css == "trained":
        return f'<circle class="dot trained{faint}" cx="{x:.1f}" cy="{y:.1f}" r="4.5">{tip}</circle>'
    return f'<rect class="dot control{faint}" x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8">{tip}</rect>'


def _axes(start: float, low: int, high: int, bottom: float, top: float, foot: str, *, falling: bool) -> list[str]:
    parts = []
    for k in range(4):
        share = k / 3
        y = BOTTOM - share * (BOTTOM - TOP)
        value = top - share * (top - bottom) if falling else bottom + share * (top - bottom)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4.5:.1f}" text-anchor="end">{score(value, 2)}</text>')
    step = max(1, ceil((high - low) / 5))
    places = [(float(decade), magnitude_of(decade)) for decade in range(low, high + 1, step)]
    places += [(start, "0")] if start < low else []
    for place, text in places:
        x = LEFT + (place - start) / (high - start) * (RIGHT - LEFT)
        parts.append(f'<line class="tick" x1="{x:.1f}" x2="{x:.1f}" y1="{BOTTOM}" y2="{BOTTOM + 4}"/>')
        parts.append(f'<text x="{x:.1f}" y="{BOTTOM + 19}" text-anchor="middle">{text}</text>')
    parts.append(f'<line class="base" x1="{LEFT}" x2="{RIGHT}" y1="{BOTTOM}" y2="{BOTTOM}"/>')
    parts.append(f'<text x="{(LEFT + RIGHT) / 2}" y="{BOTTOM + 38}" text-anchor="middle">{escape(foot)}</text>')
    return parts


def magnitude_of(decade: int) -> str:
    """10^decade as it is read: 0.01, 1, 100 k."""
    return magnitude(10.0**decade) if decade >= 0 else f"{10.0**decade:g}"


def _names(places: Sequence[tuple[str, float, float]]) -> list[str]:
    """Names of the front beside its points, to the side where there is room, those that would touch left out."""
    parts: list[str] = []
    taken: list[float] = []
    for name, x, y in sorted(places, key=lambda place: place[2]):
        text = name if len(name) <= LETTERS else f"{name[: LETTERS - 1]}…"
        width = 6.6 * len(text)
        left = x - 10 - width >= LEFT
        at = y - 9 if y - 9 > TOP else y + 17
        if any(abs(at - other) < APART for other in taken):
            continue
        taken.append(at)
        anchor, place = ("end", x - 2) if left else ("start", min(x + 2, RIGHT - width))
        parts.append(
            f'<text class="strong halo" x="{place:.1f}" y="{at:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
        )
    return parts
