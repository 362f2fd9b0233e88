"""Score rankings of candidate molecules: one value a query and metric, never fewer rows than queries.

Ties are shared in closed form, without noise. With g candidates strictly above the truth and t tied with it (itself
included), the mean over all orders of the tied is

    hit@k = clip((k − g)/t, 0, 1)      E[rank] = g + (t + 1)/2      E[1/rank] = (H(g + t) − H(g))/t

with H the harmonic numbers, so that a constant scorer earns exactly chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .missing import MISSING, check_choice, check_truth
from .molecule import mces_pairs, tanimoto_pairs
from .names import parse_as
from .pools import ABSENT, Pools, explode, lay_out
from .ranking_names import BY_PLACE, OF_STRUCTURE, RankingMetric

Array = NDArray[np.float64]
#: `mces@1` averages over at most this many candidates tied at the top, the first in hash order.
MCES_TIES = 20


@dataclass(frozen=True)
class Standing:
    """Where the truth of each of n queries stands; every array (n,).

    above: candidates strictly above it; tied: those that score the same, itself included; size: of the pool, the truth
    counted; failed: no score at all, or no truth in the pool (the other columns then mean nothing).
    """

    above: NDArray[np.int64]
    tied: NDArray[np.int64]
    size: NDArray[np.int64]
    failed: NDArray[np.bool_]


def score(
    predictions: pl.DataFrame,
    truth: pl.DataFrame,
    names: Sequence[str],
    missing: str = "raise",
    absent: str = "raise",
    cache: Path | None = None,
) -> pl.DataFrame:
    """Score rankings; the order of rows and of candidates is irrelevant, and so is a candidate listed twice.

    Args:
        predictions: schema PREDICTED_SCORES (identifier, candidate, score), a higher score ranks higher.
        truth: identifier, inchikey14, candidates (list of InChIKey-14); for `tanimoto@1` and `mces@1` also smiles and
            candidate_smiles (parallel to candidates).
        names: metric names, see `metrics.ranking_names`.
        missing: `"raise"` refuses queries and candidates without a finite score. With `"fail"` a query without any
            fails (`Metric.worst`), a truth without one ranks last, a decoy without one ranks above the truth.
        absent: `"raise"` refuses a pool that lacks the truth. With `"fail"`, the truth-absent arm, such a query fails
            every metric of the truth's place; what the top candidate looks like and `absence-auc` stay defined.
        cache: file that keeps MCES distances between calls (`chem.distance.mces_many`).

    Returns:
        One row a query in the order of `truth`: `identifier`, `predicted` (has any finite score), one f64 column a
        metric. A query that failed has `rank` one behind its whole pool.

    Raises:
        PredictionError, DataError, SchemaError as `pools.lay_out`; ConfigError for a bad metric name or choice.
    """
    check_choice("missing", missing, MISSING)
    check_choice("absent", absent, ABSENT)
    metrics = {name: parse_as(RankingMetric, name) for name in names}
    wanted = {m.measure for m in metrics.values()}
    if wanted & OF_STRUCTURE:
        check_truth(truth, ("identifier", "inchikey14", "candidates", "smiles", "candidate_smiles"))
    pools = lay_out(predictions, truth, missing, absent)
    standing = stand(pools)
    shared = {
        measure: like_truth(pools, truth, measure, cache) if measure in OF_STRUCTURE else absence_auc(pools)
        for measure in wanted - BY_PLACE
    }
    values = {
        name: by_place(standing, m) if m.measure in BY_PLACE else shared[m.measure] for name, m in metrics.items()
    }
    predicted = pools.count(np.isfinite(pools.scores)) > 0
    return pl.DataFrame({"identifier": truth.get_column("identifier"), "predicted": predicted, **values})


def stand(pools: Pools) -> Standing:
    """The place of every truth. A truth without a score stands last, behind all; a decoy without one above it."""
    everything = np.ones(pools.query.size, dtype=bool)
    size = pools.count(everything)
    present = pools.count(pools.is_truth) > 0
    own = np.full(pools.n, np.nan)
    own[pools.query[pools.is_truth]] = pools.scores[pools.is_truth]
    finite, decoy, reference = np.isfinite(pools.scores), ~pools.is_truth, own[pools.query]
    above = pools.count(decoy & (~finite | (pools.scores > reference)))
    tied = pools.count(decoy & (pools.scores == reference)) + 1
    lost = present & np.isnan(own)
    failed = ~present | (pools.count(finite) == 0)
    return Standing(np.where(lost, size - 1, above), np.where(lost, 1, tied), size + ~present, failed)


def by_place(standing: Standing, metric: RankingMetric) -> Array:
    """A metric of the truth's place alone, shape (n,); with `optimistic` the truth stands first of the tied."""
    g, n = standing.above.astype(np.float64), standing.size.astype(np.float64)
    t = np.ones_like(g) if metric.optimistic else standing.tied.astype(np.float64)
    rank = g + (t + 1) / 2
    if metric.measure == "rank":
        return np.where(standing.failed, n + 1, rank)
    if metric.measure == "normalised-rank":
        value = np.where(n > 1, (rank - 1) / np.maximum(n - 1, 1), 0.0)
    elif metric.measure == "mrr":
        whole = standing.above if metric.optimistic else standing.above + standing.tied - 1
        harmonic = np.concatenate(([0.0], np.cumsum(1.0 / np.arange(1, int(whole.max(initial=0)) + 2))))
        value = np.where(t == 1, 1 / (g + 1), (harmonic[whole + 1] - harmonic[standing.above]) / t)
    else:
        k = (standing.size + 99) // 100 if metric.k is None else np.full(g.size, metric.k)
        value = np.clip((k - g) / t, 0.0, 1.0)
    return np.where(standing.failed, float(metric.worst or 0.0), value)


def absence_auc(pools: Pools) -> Array:
    """P(top score of a query with its truth > top score of another query without its truth), ties half. Shape (n,).

    The mean over queries is the area under the ROC curve of the top score as a sign that the truth is there at all, so
    scores must mean the same in every pool. Where some pools lack their truth, these are compared with all the others,
    each query from its own side. Where none does, the arm without truth is made from the same predictions, by taking
    the truth out of each pool. That is fair to a scorer that looks at one candidate at a time; one that normalises
    each pool has seen the truth that was taken out and is flattered: give it pools that lack the truth.

    A decoy without a score counts as infinitely high in the arm without truth and not at all in the other, so dropping
    scores can only lower the value. With nothing to compare with it is chance, 0.5; without any score 0.
    """
    finite, decoy = np.isfinite(pools.scores), ~pools.is_truth
    present, has_decoys = pools.count(pools.is_truth) > 0, pools.count(decoy) > 0
    top = pools.top(finite)
    without = np.where(pools.count(decoy & ~finite) > 0, np.inf, pools.top(decoy & finite))
    made = bool(present.all())
    wins, rivals = _beaten(without[has_decoys & (made | ~present)], top)
    if made:  # a query is not compared with itself
        wins = wins - np.where(has_decoys, (top > without) + 0.5 * (top == without), 0.0)
        rivals = rivals - has_decoys
    else:
        losses, others = _beaten(top[present], without)
        wins, rivals = np.where(present, wins, others - losses), np.where(present, rivals, others)
    share = np.divide(wins, rivals, out=np.full(pools.n, 0.5), where=rivals > 0)
    return np.where(pools.count(finite) > 0, share, 0.0)


def _beaten(others: Array, values: Array) -> tuple[Array, NDArray[np.int64]]:
    """How many of `others` each value exceeds, equal ones half; and how many there are. Both (n,)."""
    ordered = np.sort(others)
    wins = (np.searchsorted(ordered, values, side="left") + np.searchsorted(ordered, values, side="right")) / 2
    return wins, np.full(values.shape, ordered.size)


def like_truth(pools: Pools, truth: pl.DataFrame, measure: str, cache: Path | None = None) -> Array:
    """Likeness of the top candidate's structure to the truth, shape (n,): mean over those tied at the top.

    `tanimoto@1` is the mean over all tied, `mces@1` over at most `MCES_TIES` of them, the first by the hash of their
    InChIKey-14. A query with a decoy that has no score fails (it stands above all that have one). The truth itself,
    known by its InChIKey-14, is 1 or at distance 0 however it is spelled.
    """
    finite = np.isfinite(pools.scores)
    stands = (pools.count(finite) > 0) & (pools.count(~pools.is_truth & ~finite) == 0)
    tied = np.flatnonzero(finite & (pools.scores == pools.top(finite)[pools.query]) & stands[pools.query])
    rows = _spelled(pools, truth, tied).with_columns(
        truth.get_column("smiles").gather(pools.query[tied]).alias("smiles"), pl.Series("hit", pools.is_truth[tied])
    )
    if measure == "mces@1":
        rows = _first_by_hash(rows)
    hit = rows.get_column("hit").to_numpy()
    true, top = (rows.get_column(side).filter(pl.Series(~hit)).to_list() for side in ("smiles", "candidate_smiles"))
    metric = RankingMetric(measure)
    values = np.full(rows.height, metric.best)
    values[~hit] = mces_pairs(true, top, cache=cache).value if measure == "mces@1" else tanimoto_pairs(true, top)
    query = rows.get_column("query").to_numpy()
    order = np.lexsort((values, query))  # summed in an order of the values: that of the candidates cannot show
    count = np.bincount(query, minlength=pools.n)
    total = np.bincount(query[order], weights=values[order], minlength=pools.n)
    likeness: Array = np.divide(total, count, out=np.full(pools.n, metric.worst), where=count > 0)
    return likeness


def _spelled(pools: Pools, truth: pl.DataFrame, chosen: NDArray[np.int64]) -> pl.DataFrame:
    """query, candidates, candidate_smiles of the chosen entries; of several spellings the first in the alphabet."""
    every = explode(truth, "candidate_smiles")
    rows = every[pools.entry[chosen]]
    if every.height == pools.query.size:
        return rows
    keys = ["query", "candidates"]
    spelled = every.join(rows, on=keys, how="semi").group_by(keys).agg(pl.col("candidate_smiles").min())
    return rows.select(keys).join(spelled, on=keys, how="left", maintain_order="left")


def _first_by_hash(rows: pl.DataFrame) -> pl.DataFrame:
    """At most `MCES_TIES` rows a query."""
    crowded = rows.filter(pl.len().over("query") > MCES_TIES)
    if crowded.is_empty():
        return rows
    names = crowded.get_column("candidates").unique()
    lots = pl.DataFrame({"candidates": names, "lot": [blake2b(n.encode(), digest_size=8).digest() for n in names]})
    kept = (
        crowded.join(lots, on="candidates").sort("query", "lot").group_by("query", maintain_order=True).head(MCES_TIES)
    )
    return pl.concat([rows.filter(pl.len().over("query") <= MCES_TIES), kept.select(rows.columns)])
