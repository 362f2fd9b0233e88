"""Rounding in one's own favour: always up, and a digit early."""

from __future__ import annotations

from math import floor

import polars as pl

from ...claim import Claim, Printed
from ..liar import Liar
from .copied import COPIED


def rounded_up(scores: pl.DataFrame, model: str, metric: str, dose: float) -> tuple[Claim, ...]:
    """The mean to two decimals, the next hundredth above the right one: too high by 0.005 to 0.015."""
    rows = scores.filter((pl.col("model") == model) & (pl.col("fold") == "test"))
    value = float(rows[metric].to_numpy().mean())
    right = floor(100 * value + 0.5)
    return (
        Claim("claims.csv, row 1", model, metric, Printed((right + 1) / 100, 0.01), split="molecule", n=rows.height),
    )


ROUNDED_UP = Liar(
    name="upward rounder",
    story="numbers that are impossible for their n and rounding: GRIM (Brown & Heathers 2017, "
    "doi 10.1177/1948550616673876)",
    planted="the author prints two decimals, one hundredth above the correctly rounded mean",
    task="spectrum-prediction",
    task_options={},
    row=lambda dose: {"model": "nearest-molecule", "options": {"precursor": "replace"}},
    honest=COPIED,
    audits=("claims",),
    claims=rounded_up,
    gains="",
)
