"""Ranks over shares of the budget as inline SVG: one line a model, named at its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

LEFT, RIGHT, TOP, STEP = 34.0, 300.0, 40.0, 20.0
WIDTH, LETTERS = 560, 32
#: From so many models on only those are named and coloured that end on these first places.
MOST, LEADERS = 14, 8


@dataclass(frozen=True)
class Course:
    """`ranks` at each share, 1 the first."""

    name: str
    ranks: tuple[float, ...]
    tip: str
    moved: bool  # in the last quarter


def bump_chart(courses: Sequence[Course], shares: Sequence[str], *, label: str, title: str) -> Markup:
    """The chart; a named course that still moves in the last quarter is set in the warning colour."""
    if not courses or len(shares) < 2:
        return Markup("")
    height = TOP + STEP * (len(courses) - 1) + 30

    def x(k: int) -> float:
        return LEFT + k * (RIGHT - LEFT) / (len(shares) - 1)

    def y(rank: float) -> float:
        return TOP + (rank - 1) * STEP

    parts = [f'<text class="strong" x="0" y="14">{escape(title)}</text>']
    for k, share in enumerate(shares):
        parts.append(
            f'<line class="grid" x1="{x(k):.1f}" x2="{x(k):.1f}" y1="{TOP - 8}" y2="{y(len(courses)) + 6:.1f}"/>'
        )
        parts.append(f'<text x="{x(k):.1f}" y="{height - 4:.1f}" text-anchor="middle">{escape(share)}</text>')
    many = len(courses) > MOST
    for course in sorted(courses, key=lambda c: -c.ranks[-1]):
        named = not many or course.ranks[-1] <= LEADERS
        css = "other" if not named else "moved" if course.moved else "steady"
        path = " ".join(f"{x(k):.1f},{y(rank):.1f}" for k, rank in enumerate(course.ranks))
        tip = escape(course.tip)
        parts.append(f'<polyline class="bump {css}" points="{path}"><title>{tip}</title></polyline>')
        parts += [
            f'<circle class="bump-dot {css}" cx="{x(k):.1f}" cy="{y(rank):.1f}" r="3.2"><title>{tip}</title></circle>'
            for k, rank in enumerate(course.ranks)
        ]
        if named:
            name = course.name if len(course.name) <= LETTERS else f"{course.name[: LETTERS - 1]}…"
            parts.append(
                f'<text class="{"strong" if course.ranks[-1] == 1 else "control"}" x="{RIGHT + 12}" '
                f'y="{y(course.ranks[-1]) + 4.5:.1f}">{escape(name)}</text>'
            )
    for rank in range(1, len(courses) + 1):
        if not many or rank == 1 or rank % 5 == 0:
            parts.append(f'<text x="{LEFT - 12}" y="{y(rank) + 4.5:.1f}" text-anchor="end">{rank}</text>')
    text = escape(label)
    box = f"0 0 {WIDTH} {height:.0f}"
    return Markup(f'<svg class="chart bumps" viewBox="{box}" role="img" aria-label="{text}">{"".join(parts)}</svg>')
