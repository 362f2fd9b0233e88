"""A score over the levels of a condition as inline SVG: a line a level, one model with its interval, the rest dots."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

from .numbers import count, interval, score, tick_text, usable
from .plot import Axis

LEFT, RIGHT, TOP, STEP = 128.0, 352.0, 34.0, 21.0
WIDTH, LETTERS = 400, 18


@dataclass(frozen=True)
class LevelRow:
    """One level: the leading model with its interval, the trivial one to beat, the rest."""

    name: str
    queries: int | None
    lead: tuple[float | None, float | None, float | None]  # mean, low, high
    trivial: float | None
    others: tuple[tuple[str, float], ...]


def level_chart(rows: Sequence[LevelRow], axis: Axis, *, title: str, lead: str, trivial: str | None) -> Markup:
    """The chart; the numbers at the right are queries."""
    bottom = TOP + STEP * len(rows)

    def x(value: float) -> float:
        share = (value - axis.low) / (axis.high - axis.low) if axis.high > axis.low else 0.5
        return LEFT + min(max(share, 0.0), 1.0) * (RIGHT - LEFT)

    parts = [f'<text class="strong" x="0" y="14">by {escape(title)}</text>']
    for tick in axis.ticks:
        parts.append(f'<line class="grid" x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{TOP - 8}" y2="{bottom:.1f}"/>')
        parts.append(f'<text x="{x(tick):.1f}" y="{bottom + 15:.1f}" text-anchor="middle">{tick_text(tick)}</text>')
    for k, row in enumerate(rows):
        y = TOP + STEP * (k + 0.5)
        name = row.name if len(row.name) <= LETTERS else f"{row.name[: LETTERS - 1]}…"
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4.5:.1f}" text-anchor="end">{escape(name)}</text>')
        parts.append(f'<text class="count" x="{WIDTH}" y="{y + 4.5:.1f}" text-anchor="end">{count(row.queries)}</text>')
        for model, value in row.others:
            tip = f"<title>{escape(model)}, {escape(row.name)}: {score(value)}</title>"
            parts.append(f'<circle class="also" cx="{x(value):.1f}" cy="{y:.1f}" r="2.6">{tip}</circle>')
        parts += _lead(row, x, y, lead)
        if usable(row.trivial) and row.trivial is not None:
            at, tip = x(row.trivial), f"<title>{escape(trivial or '')}: {score(row.trivial)}</title>"
            span = f'x1="{at:.1f}" x2="{at:.1f}" y1="{y - 8:.1f}" y2="{y + 8:.1f}"'
            parts.append(f'<line class="level-trivial" {span}>{tip}</line>')
    text = escape(f"Score of {lead} by {title}")
    box = f"0 0 {WIDTH} {bottom + 22:.0f}"
    return Markup(f'<svg class="chart levels" viewBox="{box}" role="img" aria-label="{text}">{"".join(parts)}</svg>')


def _lead(row: LevelRow, x: Callable[[float], float], y: float, lead: str) -> list[str]:
    mean, low, high = row.lead
    if mean is None or not usable(mean):
        return []
    tip = f"<title>{escape(lead)}, {escape(row.name)}: {score(mean)} {interval(low, high)}</title>"
    dot = f'<circle class="dot trained" cx="{x(mean):.1f}" cy="{y:.1f}" r="4">{tip}</circle>'
    if low is None or high is None:
        return [dot]
    return [f'<line class="whisker trained" x1="{x(low):.1f}" x2="{x(high):.1f}" y1="{y:.1f}" y2="{y:.1f}"/>', dot]
