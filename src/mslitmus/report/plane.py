"""Lines over two linear axes, and two histograms back to back, as inline SVG."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

from markupsafe import Markup

from .lines import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Line, names_beside
from .numbers import percent, tick_text, ticks

Place = Callable[[float, float], tuple[float, float]]


def plane_chart(
    lines: Sequence[Line],
    *,
    label: str,
    title: str,
    foot: str,
    right: float = 1.0,
    top: float = 1.0,
    diagonal: str = "",
    dots: bool = False,
) -> Markup:
    """Lines from 0 to `right` and 0 to `top`, each named at its end.

    Args:
        diagonal: what y = x means, drawn dashed; empty: not drawn.
        dots: mark every point.
    Points beyond an axis stick to its end.
    """

    def at(x: float, y: float) -> tuple[float, float]:
        return (
            LEFT + min(max(x / right, 0.0), 1.0) * (RIGHT - LEFT),
            BOTTOM - min(max(y / top, 0.0), 1.0) * (BOTTOM - TOP),
        )

    parts = [f'<text class="strong" x="{LEFT}" y="14">{escape(title)}</text>', *_axes(right, top, foot, at)]
    if diagonal:
        end = min(right, top)
        (x1, y1), (x2, y2) = at(0, 0), at(end, end)
        ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
        parts.append(f'<line class="size-line chance" {ends}><title>{escape(diagonal)}</title></line>')
    drawn = [line for line in lines if line.points]
    for line in drawn:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*point) for point in line.points))
        css = f"{line.css}{' named' if line.named else ''}"
        tip = escape(line.name)
        parts.append(f'<polyline class="size-line {css}" points="{path}"><title>{tip}</title></polyline>')
        if dots or len(line.points) == 1:
            for point in line.points:
                x, y = at(*point)
                told = f"{tip}: {percent(point[0])}, {percent(point[1])}"
                circle = f'<circle class="size-dot {line.css}" cx="{x:.1f}" cy="{y:.1f}" r="3.5">'
                parts.append(f"{circle}<title>{told}</title></circle>")
    parts += names_beside([(line, at(*line.points[-1])[1]) for line in drawn if line.named])
    return _svg(parts, label)


def two_sided(
    right: Sequence[tuple[float, float]],
    wrong: Sequence[tuple[float, float]],
    *,
    width: float,
    label: str,
    title: str,
    foot: str,
) -> Markup:
    """Histograms over 0 to 1 of (lower edge, weight): right answers upwards, wrong ones downwards, in one scale."""
    total = sum(weight for _, weight in (*right, *wrong)) or 1.0
    tallest = [max((weight for _, weight in side), default=0.0) for side in (right, wrong)]
    scale = (BOTTOM - TOP) / (sum(tallest) or 1.0)
    axis = TOP + tallest[0] * scale
    parts = [f'<text class="strong" x="{LEFT}" y="14">{escape(title)}</text>']
    for value in (0.0, 0.25, 0.5, 0.75, 1.0):
        x = LEFT + value * (RIGHT - LEFT)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{BOTTOM}"/>')
        parts.append(f'<text x="{x:.1f}" y="{BOTTOM + 20}" text-anchor="middle">{tick_text(value)}</text>')
    for name, css, side in (("right", "bar", right), ("wrong", "bar wrong", wrong)):
        for low, weight in side:
            x, wide, tall = LEFT + low * (RIGHT - LEFT), width * (RIGHT - LEFT), weight * scale
            y = axis - tall if name == "right" else axis
            box = f'x="{x + 0.5:.1f}" y="{y:.1f}" width="{max(wide - 1, 0.5):.1f}" height="{tall:.1f}"'
            told = f"{low:g}–{low + width:g}: {percent(weight / total)} of all answers, {name}"
            parts.append(f'<rect class="{css}" {box}><title>{told}</title></rect>')
    parts.append(f'<line class="base" x1="{LEFT}" x2="{RIGHT}" y1="{axis:.1f}" y2="{axis:.1f}"/>')
    for name, css, y in (("right", "strong", TOP + 12), ("wrong", "oracle", BOTTOM - 4)):
        parts.append(f'<text class="{css}" x="{RIGHT + 18}" y="{y:.1f}">{name}</text>')
    parts.append(f'<text x="{(LEFT + RIGHT) / 2}" y="{BOTTOM + 40}" text-anchor="middle">{escape(foot)}</text>')
    return _svg(parts, label)


def _axes(right: float, top: float, foot: str, at: Place) -> list[str]:
    parts = []
    for value in ticks(top):
        y = at(0, value)[1]
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 7}" y="{y + 4.5:.1f}" text-anchor="end">{tick_text(value)}</text>')
    for value in ticks(right):
        x = at(value, 0)[0]
        parts.append(f'<line class="tick" x1="{x:.1f}" x2="{x:.1f}" y1="{BOTTOM}" y2="{BOTTOM + 5}"/>')
        parts.append(f'<text x="{x:.1f}" y="{BOTTOM + 20}" text-anchor="middle">{tick_text(value)}</text>')
    parts.append(f'<line class="base" x1="{LEFT}" x2="{RIGHT}" y1="{BOTTOM}" y2="{BOTTOM}"/>')
    parts.append(f'<text x="{(LEFT + RIGHT) / 2}" y="{BOTTOM + 40}" text-anchor="middle">{escape(foot)}</text>')
    return parts


def _svg(parts: Sequence[str], label: str) -> Markup:
    text = escape(label)
    return Markup(
        f'<svg class="chart sizes" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{text}">{"".join(parts)}</svg>'
    )
