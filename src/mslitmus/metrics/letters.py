"""Which models cannot be told apart: letters beside a leaderboard, from any table of pairs with a p."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from string import ascii_letters

import polars as pl

from ..errors import SchemaError
from ..schemas import Schema, conform
from .tables import direction

#: One row a (split, metric, model), best first.
LETTERS: Schema = {
    "split": pl.String(),
    "metric": pl.String(),
    "model": pl.String(),
    "lead": pl.Float64(),  # mean difference to all models of the table, itself included
    "letters": pl.String(),  # two models that share one cannot be told apart
}


def compact_letters(pairs: pl.DataFrame, p: str = "p_holm", alpha: float = 0.05) -> pl.DataFrame:
    """Compact letter display of all pairs, in schema LETTERS: two models differ (p < alpha) if they share no letter.

    Args:
        pairs: from `compare` (p `"p_holm"`) or `compare_over_seeds` (p `"p_tukey"`); a null p shows no difference.

    Insert and absorb (Piepho, J. Comput. Graph. Stat. 2004, 13, 456). The letter `a` goes to the best model. Sharing a
    letter is no proof of equality: it says that these data do not tell the two apart.
    """
    needed = ("split", "metric", "model_a", "model_b", "difference", p)
    if absent := [name for name in needed if name not in pairs.columns]:
        raise SchemaError(f"columns absent: {', '.join(absent)}", where="pairs", remedy="give a table of `compare`")
    rows: list[dict[str, object]] = []
    for (split, metric), part in pairs.group_by("split", "metric", maintain_order=True):
        lead: dict[str, float] = {}
        apart = []
        for a, b, difference, value in part.select("model_a", "model_b", "difference", p).iter_rows():
            lead[a] = lead.get(a, 0.0) + (difference or 0.0)
            lead[b] = lead.get(b, 0.0) - (difference or 0.0)
            if value is not None and value < alpha:
                apart.append((a, b))
        way = -1 if direction(str(metric)) < 0 else 1
        order = sorted(lead, key=lambda model: (-way * lead[model], model))
        groups = _groups(order, apart)
        for model in order:
            shown = "".join(letter(k) for k, group in enumerate(groups) if model in group)
            head = {"split": split, "metric": metric, "model": model}
            rows.append(head | {"lead": lead[model] / len(order), "letters": shown})
    return conform(pl.DataFrame(rows, schema=dict(LETTERS)), LETTERS)


def letter(place: int) -> str:
    """a … z, A … Z, then with primes: a′ …"""
    return ascii_letters[place % len(ascii_letters)] + "′" * (place // len(ascii_letters))


def _groups(models: Sequence[str], apart: Iterable[tuple[str, str]]) -> list[frozenset[str]]:
    """The largest sets without a pair that is `apart`, in order of their best members. `models` are best first."""
    groups = {frozenset(models)}
    for a, b in apart:
        split = {group for group in groups if a in group and b in group}
        parts = (groups - split) | {group - {out} for group in split for out in (a, b)}
        groups = {group for group in parts if not any(group < other for other in parts)}
    place = {model: k for k, model in enumerate(models)}
    return sorted(groups, key=lambda group: sorted(place[model] for model in group))
