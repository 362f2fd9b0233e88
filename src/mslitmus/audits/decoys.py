"""Is an error rate estimated by decoys the error rate? Both are known here, so the estimate can be judged.

Target–decoy competition (Elias & Gygi, Nature Methods 2007, 4, 207): among first places of at least a score t, those
held by made-up candidates, times real per made-up candidates, over those held by real ones, estimates the share of the
latter that is wrong. A second estimate needs no decoys: second places of at least t in place of the made-up ones.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..data.candidates.sets import is_decoy
from ..metrics.rates import Array, molecule_weights
from .evidence import CellKey, Evidence
from .finding import Finding
from .rankings import laid_scores, layout, share_of_best, tops

LEVELS = (0.01, 0.05, 0.1, 0.2)
#: Accepted molecules at which an estimate is judged at all.
LEAST = 20
RESAMPLES = 500


def decoy_findings(evidence: Evidence, key: CellKey) -> list[Finding]:
    """A note per estimate whose true error lies above it at some level; a pass where it does not. Rankings only."""
    if evidence.require_task().name != "retrieval":
        return []
    table = _first_places(evidence, key)
    findings = []
    if table["decoys"].mean() or 0.0:
        first_real = (~table["decoy_first"]).to_numpy()
        ratio = float(table["reals"].mean() or 0.0) / float(table["decoys"].mean() or 1.0)  # type: ignore[arg-type]
        findings += _judge(key, "decoys", table, first_real, table["decoy_first"].to_numpy() * ratio, "best")
    everyone = np.ones(table.height, dtype=bool)
    findings += _judge(key, "second places", table, everyone, np.ones(table.height), "second")
    return findings


def _first_places(evidence: Evidence, key: CellKey) -> pl.DataFrame:
    """One row an answered query: inchikey14, best and second score, right (of 0 … 1), decoy_first, reals and decoys in
    its pool (the truth is no chance competitor and counts as neither)."""
    laid, scores = layout(evidence, key.split), laid_scores(evidence, key)
    first = tops(laid, scores)
    made_up = laid.pools.select(is_decoy()).to_series().to_numpy()[laid.pool_row]
    is_truth = np.zeros(len(scores), bool)
    is_truth[laid.truth[laid.truth >= 0]] = True
    decoys, reals = (
        np.bincount(laid.query[mask], minlength=laid.queries) for mask in (made_up & ~is_truth, ~made_up & ~is_truth)
    )
    found = laid.rows.select(
        "inchikey14",
        best=pl.Series(first.best, nan_to_null=True),
        second=pl.Series(first.second),
        right=pl.Series(share_of_best(laid, scores, is_truth)),
        decoy_first=pl.Series(share_of_best(laid, scores, made_up) > 0.5),
        decoys=pl.Series(decoys),
        reals=pl.Series(reals),
    )
    return found.drop_nulls("best")


def _judge(
    key: CellKey, way: str, table: pl.DataFrame, accepted: NDArray[np.bool_], false: Array, scored: str
) -> list[Finding]:
    """Compare estimate and truth at each level. `false` (n,): how many false first places each query's `scored` score
    stands for."""
    code, weight = molecule_weights(table["inchikey14"].to_numpy())
    best, against = (table[name].to_numpy().astype(np.float64) for name in ("best", scored))
    right = table["right"].to_numpy()
    parts, above, reached = [], 0, 0
    for level in LEVELS:
        limit = _threshold(best, accepted, against, false, weight, level)
        kept = accepted & (best >= limit)
        molecules = np.unique(code[kept]).size
        if molecules < LEAST:
            parts.append(f"{level:.0%}: {molecules} molecules accepted, too few to judge")
            continue
        reached += 1
        error, low, high = _error(right[kept], code[kept], weight[kept])
        above += low > level
        parts.append(f"{level:.0%}: true error {error:.1%} ({low:.1%} to {high:.1%}, {molecules} molecules)")
    if not reached:
        return []
    evidence = f"estimated by {way} → found. {'; '.join(parts)}"
    if above:
        claim = f"the error rate of {key.model} on split {key.split} is higher than estimated by {way}"
        remedy = "report no false discovery rate by this estimate; calibrate on known spectra"
        return [Finding("calibration", "note", claim, table.height, evidence, remedy)]
    claim = f"the error rate of {key.model} on split {key.split} is at most what {way} estimate"
    return [Finding("calibration", "pass", claim, table.height, evidence, "nothing to do")]


def _threshold(
    best: Array, accepted: NDArray[np.bool_], against: Array, false: Array, weight: Array, level: float
) -> float:
    """The lowest score at which the estimated error rate is at most `level`; infinite where there is none."""
    limits = np.unique(best[accepted])
    kept = _above(best[accepted], weight[accepted], limits)
    wrong = _above(against, weight * false, limits)
    fits = wrong <= level * kept
    return float(limits[fits][0]) if fits.any() else float("inf")


def _above(scores: Array, weight: Array, limits: Array) -> Array:
    """Weight of the scores of at least each limit."""
    order = np.argsort(scores, kind="stable")
    total = np.concatenate([[0.0], np.cumsum(weight[order])])
    result: Array = total[-1] - total[np.searchsorted(scores[order], limits, side="left")]
    return result


def _error(right: Array, code: NDArray[np.int64], weight: Array) -> tuple[float, float, float]:
    """Share of wrong ones among the accepted, per molecule, with a 95 % interval by bootstrap over molecules."""
    names, own = np.unique(code, return_inverse=True)
    wrong, mass = np.bincount(own, weight * (1 - right)), np.bincount(own, weight)
    drawn = np.random.default_rng(0).integers(0, len(names), (RESAMPLES, len(names)))
    rates = wrong[drawn].sum(axis=1) / mass[drawn].sum(axis=1)
    low, high = np.quantile(rates, (0.025, 0.975))
    return float(wrong.sum() / mass.sum()), float(low), float(high)
