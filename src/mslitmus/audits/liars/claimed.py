"""Authors, not models: an interval that n forbids, a p value from the wrong unit, a denominator that is not theirs."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np
import polars as pl
from scipy import stats

from ..claim import Claim, Printed
from .liar import LOOK_UP_RANKER, Liar
from .ranker import PlainRanker

_ROW = {"model": PlainRanker.name}
_RIVAL = "nearest-spectrum"


def _tested(scores: pl.DataFrame, model: str) -> pl.DataFrame:
    return scores.filter((pl.col("model") == model) & (pl.col("fold") == "test")).sort("identifier")


def narrow_interval(scores: pl.DataFrame, model: str, metric: str, dose: float) -> tuple[Claim, ...]:
    """The right mean with an interval `1 − 0.95 dose` times as wide as that of the molecules, which it names."""
    rows = _tested(scores, model).group_by("inchikey14").agg(pl.col(metric).mean())
    value, spread = float(rows[metric].mean()), float(rows[metric].std())  # type: ignore[arg-type]
    half = (1 - 0.95 * dose) * 1.96 * spread / sqrt(rows.height)
    low, high = (Printed(round(value + side * half, 4), 0.0001) for side in (-1, 1))
    claim = Claim(
        "claims.csv, row 1", model, metric, Printed(round(value, 4), 0.0001), split="molecule",
        average="molecule", low=low, high=high,
        n=rows.height, unit="molecule",
    )  # fmt: skip
    return (claim,)


def over_thresholds(scores: pl.DataFrame, model: str, metric: str, dose: float) -> tuple[Claim, ...]:
    """p of a paired t test over 20 thresholds of the metric: the difference of two curves, taken as 20 experiments."""
    here, there = (_tested(scores, name)[metric].to_numpy() for name in (model, _RIVAL))
    cuts = np.linspace(0.025, 0.975, 20)
    curves = [(side[None, :] >= cuts[:, None]).mean(axis=1) for side in (here, there)]
    p = float(stats.ttest_rel(*curves).pvalue)
    return (_better(model, metric, float(here.mean()), p if np.isfinite(p) else 1.0, "threshold"),)


def over_spectra(scores: pl.DataFrame, model: str, metric: str, dose: float) -> tuple[Claim, ...]:
    """p of a paired t test over all spectra, each molecule counted as often as it was measured."""
    here, there = (_tested(scores, name)[metric].to_numpy() for name in (model, _RIVAL))
    p = float(stats.ttest_rel(here, there).pvalue)
    return (_better(model, metric, float(here.mean()), p if np.isfinite(p) else 1.0, "spectrum"),)


def _better(model: str, metric: str, value: float, p: float, unit: str) -> Claim:
    printed = Printed(round(value, 3), 0.001)
    extra: dict[str, Any] = {"split": "molecule", "better_than": _RIVAL, "p": p, "unit": unit}
    return Claim("claims.csv, row 1", model, metric, printed, **extra)


NARROW = Liar(
    name="narrow interval",
    story="is the claimed interval possible for the claimed n (issue, point 1)",
    planted="the author prints an interval over molecules that is up to 20 times too narrow",
    row=lambda dose: _ROW,
    honest=LOOK_UP_RANKER,
    audits=("claims",),
    claims=narrow_interval,
    doses=(0.25, 0.5, 1.0),
    gains="",
)
THRESHOLDS = Liar(
    name="threshold tester",
    story="a test over thresholds where molecules are the unit (issue, point 1)",
    planted="the author tests 20 points of two curves against each other as if each were an experiment",
    row=lambda dose: _ROW,
    honest=LOOK_UP_RANKER,
    audits=("pseudo-replication", "claims"),
    claims=over_thresholds,
    gains="",
)
SPECTRA = Liar(
    name="spectrum tester",
    story="a test over spectra where molecules are the unit (issue, point 1)",
    planted="the author's paired test counts every spectrum of a molecule as independent",
    row=lambda dose: _ROW,
    honest=LOOK_UP_RANKER,
    audits=("pseudo-replication", "claims"),
    claims=over_spectra,
    gains="",
)
