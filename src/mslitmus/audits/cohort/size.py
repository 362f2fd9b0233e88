"""Are there enough samples for what is claimed: the least p that so few permit, and the interval that they leave."""

from __future__ import annotations

from math import inf, lgamma, log, sqrt

import polars as pl
from scipy import stats

from ..finding import Finding
from .tables import CohortTables, Units

NAME = "size"
ALPHA = 0.05
FEW, FEW_NUMBERS = 10, 20  # independent samples of the smallest class, or of numbers: below it is a pilot
WIDE = 0.3


def size(tables: CohortTables) -> list[Finding]:
    """One finding a target and acquisition, and one for results with wide intervals."""
    judged = [_numbers(t, w, u) if u.numbers else _classes(t, w, u) for t, w, u in tables.questions() if u.n]
    return [*judged, *_wide(tables)]


def _classes(target: str, where: str, units: Units) -> Finding:
    sizes = units.sizes()
    least = min(sizes.values())
    arrangements = lgamma(units.n + 1) - sum(lgamma(k + 1) for k in sizes.values())
    smallest = 10 ** -min(arrangements / log(10), 300)
    half = wilson(0.8, units.n)
    told = ", ".join(f"{name} {n}" for name, n in sizes.items())
    told += f" independent samples ({units.runs} runs); smallest p of a permutation {smallest:.2g}; "
    told += f"an accuracy of .80 would be known to ± {half:.2f}"
    what = f"{target}{where}"
    if len(sizes) < 2 or smallest > ALPHA:
        claim = f"no result on {what} can be told from chance with so few samples"
        return Finding(NAME, "fatal", claim, units.n, told, "measure more subjects; replicates do not count")
    if least < FEW:
        claim = f"{what} rests on {least} independent samples in its smallest class"
        return Finding(NAME, "warning", claim, units.n, told, "call it a pilot; measure more subjects")
    return Finding(NAME, "pass", f"{what} has samples enough to be tested", units.n, told, "nothing to do")


def _numbers(target: str, where: str, units: Units) -> Finding:
    n, what = units.n, f"{target}{where}"
    least = least_correlation(n)
    told = f"{n} independent samples ({units.runs} runs) of {len(set(units.truth.tolist()))} values"
    told += f"; a correlation counts (p < .05) from {least:.2f} on" if least < 1 else ""
    if least >= 1:
        claim = f"no result on {what} can be told from chance with so few samples"
        return Finding(NAME, "fatal", claim, n, told, "measure more subjects; replicates do not count")
    if n < FEW_NUMBERS:
        claim = f"{what} rests on {n} independent samples"
        return Finding(NAME, "warning", claim, n, told, "call it a pilot; measure more subjects")
    return Finding(NAME, "pass", f"{what} has samples enough to be tested", n, told, "nothing to do")


def _wide(tables: CohortTables) -> list[Finding]:
    """Results of the questions whose intervals say little."""
    if tables.results is None:
        return []
    bounded = pl.col("metric").str.contains("(?i)f1|accuracy|auc")
    rows = tables.results.filter(bounded & (pl.col("seed") == "all") & (pl.col("high") - pl.col("low") > WIDE))
    rows = rows.filter(~pl.col("representation").str.contains("shuffled"))
    if rows.is_empty():
        return []
    shown = rows.select("target", "representation", "metric", "value", "low", "high").head(4).iter_rows()
    told = "; ".join(f"{t}, {r}: {m} {v:.2f} [{low:.2f}, {high:.2f}]" for t, r, m, v, low, high in shown)
    claim = f"{rows.height} results have intervals wider than {WIDE}: they do not rank representations"
    return [Finding(NAME, "warning", claim, rows.height, told, "report the interval, not the value")]


def wilson(share: float, n: int, z: float = 1.959964) -> float:
    """Half width of Wilson's 95 % interval."""
    return z * sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n) if n else inf


def least_correlation(n: int, alpha: float = ALPHA) -> float:
    """|r| from which on p < alpha, two-sided, n pairs; 1 where none is."""
    if n < 4:
        return 1.0
    t = float(stats.t.isf(alpha / 2, n - 2))
    return t / sqrt(n - 2 + t * t)
