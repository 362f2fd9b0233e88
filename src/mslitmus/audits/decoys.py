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
    """One row a query: inchikey14, best and second score, right (of 0 … 1), decoy_first, reals and decoys in its pool
    (the truth is no chance competitor and counts as neither)."""
    task = evidence.require_task("retrieval")
    rows = evidence.folds(key.split)["test"].select("identifier", "inchikey14")
    pools = task.pools.pools.select(molecule="molecule", candidate="candidate", made_up=is_decoy())  # type: ignore[attr-defined]
    competitors = pools.filter(pl.col("candidate") != pl.col("molecule"))
    sizes = competitors.group_by("molecule").agg(decoys=pl.col("made_up").sum(), reals=(~pl.col("made_up")).sum())
    keyed = evidence.predictions(key).join(rows, on="identifier", how="inner")
    keyed = keyed.join(
        pools,
        left_on=["inchikey14", "candidate"],
        right_on=["molecule", "candidate"],
        how="left",
        maintain_order="left",
    )
    first = pl.col("score") == pl.col("score").max()
    found = keyed.group_by("identifier", maintain_order=True).agg(
        pl.col("inchikey14").first(),
        best=pl.col("score").max(),
        second=pl.col("score").top_k(2).min(),
        right=(first & (pl.col("candidate") == pl.col("inchikey14"))).sum() / first.sum(),
        decoy_first=(first & pl.col("made_up").fill_null(False)).sum() * 2 > first.sum(),
    )
    return found.join(sizes, left_on="inchikey14", right_on="molecule", how="left").with_columns(
        pl.col("decoys", "reals").fill_null(0)
    )


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
