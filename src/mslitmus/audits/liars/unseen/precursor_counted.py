"""Two columns swapped: the cosine with the precursor is printed in the column of that without it."""

from __future__ import annotations

import polars as pl

from ...claim import Claim, Printed
from ..liar import Liar
from .copied import COPIED

_COLUMNS = ("cosine@0.1Da", "cosine@0.1Da:no-precursor")


def with_precursor(scores: pl.DataFrame, model: str, metric: str, dose: float) -> tuple[Claim, ...]:
    """The larger of both metrics' means, under the other's name."""
    rows = scores.filter((pl.col("model") == model) & (pl.col("fold") == "test"))
    means = {name: float(rows[name].to_numpy().mean()) for name in _COLUMNS}
    smaller, larger = sorted(means, key=lambda name: means[name])
    printed = Printed(round(means[larger], 3), 0.001)
    return (Claim("claims.csv, row 1", model, smaller, printed, split="molecule", n=rows.height),)


PRECURSOR_COUNTED = Liar(
    name="metric swapper",
    story="comparisons across papers that keep or remove the precursor peak without saying so; a surviving precursor "
    "flatters everyone (design, section 5; Nguyen et al.)",
    planted="the author prints the larger of the cosines with and without the precursor as the other one",
    task="spectrum-prediction",
    task_options={},
    row=lambda dose: {"model": "nearest-molecule", "options": {"precursor": "replace"}},
    honest=COPIED,
    audits=("claims",),
    claims=with_precursor,
    gains="",
)
