"""Lines over pool size as inline SVG: sizes on a log2 axis, the lines that matter named at their ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import log2

from markupsafe import Markup

from .numbers import count, nice_limit, score, tick_text, ticks

LEFT, RIGHT, TOP, BOTTOM = 44.0, 408.0, 26.0, 268.0  # the plot area, in SVG units
WIDTH, HEIGHT = 620, 316
APART, LETTERS = 16.0, 27  # vertical room of a name, letters that fit beside the plot


@dataclass(frozen=True)
class Line:
    """`points` are (x, value), x a size in a chart of sizes; `css` is trained, control, oracle or chance; unnamed lines
    show a tooltip only."""

    name: str
    points: tuple[tuple[float, float], ...]
    css: str
    named: bool


def size_chart(lines: Sequence[Line], *, label: str, title: str) -> Markup:
    """The chart; controls lie under trained models. A line of one point is a dot."""
    sizes = sorted({size for line in lines for size, _ in line.points})
    values = [value for line in lines for _, value in line.points]
    if not sizes:
        return Markup("")
    first, last = log2(sizes[0]), log2(sizes[-1])
    top = min(1.0, nice_limit(max(values))) if max(values) <= 1 else nice_limit(max(values))

    def at(size: float, value: float) -> tuple[float, float]:
        share = (log2(size) - first) / (last - first) if last > first else 0.5
        return LEFT + share * (RIGHT - LEFT), BOTTOM - value / top * (BOTTOM - TOP)

    parts = [f'<text class="strong" x="{LEFT}" y="14">{escape(title)}</text>']
    for value in ticks(top):
        y = at(sizes[0], value)[1]
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 7}" y="{y + 4.5:.1f}" text-anchor="end">{tick_text(value)}</text>')
    parts += _sizes(sizes, [at(size, 0)[0] for size in sizes])
    order = {"control": 0, "chance": 1, "oracle": 2, "trained": 3}
    drawn = sorted((line for line in lines if line.points), key=lambda line: (order.get(line.css, 0), line.named))
    for line in drawn:
        parts += _drawn(line, [at(*point) for point in line.points])
    parts += names_beside([(line, at(*line.points[-1])[1]) for line in drawn if line.named])
    text = escape(label)
    return Markup(
        f'<svg class="chart sizes" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{text}">{"".join(parts)}</svg>'
    )


def _sizes(sizes: Sequence[float], xs: Sequence[float]) -> list[str]:
    """Tick labels; one that would touch the largest size's, or the one before, is left out."""
    parts = [f'<line class="base" x1="{LEFT}" x2="{RIGHT}" y1="{BOTTOM}" y2="{BOTTOM}"/>']
    right = LEFT - 100
    for size, x in zip(sizes, xs, strict=True):
        parts.append(f'<line class="tick" x1="{x:.1f}" x2="{x:.1f}" y1="{BOTTOM}" y2="{BOTTOM + 5}"/>')
        if x - right >= 30 and (size == sizes[-1] or xs[-1] - x >= 30):
            parts.append(f'<text x="{x:.1f}" y="{BOTTOM + 20}" text-anchor="middle">{count(size)}</text>')
            right = x
    foot = "candidates in a pool, at most"
    parts.append(f'<text x="{(LEFT + RIGHT) / 2}" y="{BOTTOM + 40}" text-anchor="middle">{foot}</text>')
    return parts


def _drawn(line: Line, places: Sequence[tuple[float, float]]) -> list[str]:
    """The line with its tooltip, and a dot with its value at every size for a trained model."""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    size, value = line.points[-1]
    tip = escape(f"{line.name}: {score(value)} at {count(size)}")
    css = f"{line.css}{' named' if line.named else ''}"
    parts = [f'<polyline class="size-line {css}" points="{path}"><title>{tip}</title></polyline>']
    if line.css == "trained" or len(places) == 1:
        parts += [
            f'<circle class="size-dot {line.css}" cx="{x:.1f}" cy="{y:.1f}" r="3.5">'
            f"<title>{escape(line.name)}: {score(v)} at {count(n)}</title></circle>"
            for (x, y), (n, v) in zip(places, line.points, strict=True)
        ]
    return parts


def names_beside(ends: Sequence[tuple[Line, float]]) -> list[str]:
    """Names beside the ends of their lines, pushed apart where they would cover each other, with a leader."""
    ordered = sorted(ends, key=lambda end: end[1])
    placed: list[float] = []
    for _, y in ordered:
        placed.append(max(y, placed[-1] + APART) if placed else max(y, TOP))
    over = placed[-1] - BOTTOM if placed else 0.0
    if over > 0:  # push back up from the axis
        limit = BOTTOM
        for i in range(len(placed) - 1, -1, -1):
            placed[i] = min(placed[i], limit)
            limit = placed[i] - APART
    parts = []
    for (line, y), shown in zip(ordered, placed, strict=True):
        name = line.name if len(line.name) <= LETTERS else f"{line.name[: LETTERS - 1]}…"
        css = "strong" if line.css == "trained" else line.css
        parts.append(
            f'<path class="leader" d="M{RIGHT + 3:.1f},{y:.1f} L{RIGHT + 14:.1f},{shown:.1f}"/>'
            f'<text class="{css}" x="{RIGHT + 18:.1f}" y="{shown + 4.5:.1f}">'
            f"{escape(name)}</text>"
        )
    return parts
