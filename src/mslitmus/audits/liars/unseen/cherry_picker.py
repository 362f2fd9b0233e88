"""Queries chosen after the results: the molecules that went worst are called outliers."""

from __future__ import annotations

import polars as pl

from ...claim import Claim, Printed
from ..liar import LOOK_UP_RANKER, Liar
from ..ranker import PlainRanker


def without_outliers(scores: pl.DataFrame, model: str, metric: str, dose: float) -> tuple[Claim, ...]:
    """The mean over the spectra of all but a share of the molecules, the worst; n is that of what was kept."""
    rows = scores.filter((pl.col("model") == model) & (pl.col("fold") == "test"))
    means = rows.group_by("inchikey14").agg(pl.col(metric).mean()).sort(metric, "inchikey14")
    kept = means["inchikey14"].tail(means.height - round(dose * means.height))
    rows = rows.filter(pl.col("inchikey14").is_in(kept.implode()))
    printed = Printed(round(float(rows[metric].to_numpy().mean()), 3), 0.001)
    return (Claim("claims.csv, row 1", model, metric, printed, split="molecule", n=rows.height),)


CHERRY_PICKER = Liar(
    name="cherry picker",
    story="test sets 'after quality control' that was done with the results at hand: our own, after the many "
    "differently filtered versions of one benchmark",
    planted="the author leaves a tenth of the molecules out, those that went worst, and prints mean and n of the rest",
    row=lambda dose: {"model": PlainRanker.name},
    honest=LOOK_UP_RANKER,
    audits=("claims", "denominators"),
    claims=without_outliers,
    dose=0.1,
    doses=(0.02, 0.05, 0.1, 0.3),
    gains="",
)
