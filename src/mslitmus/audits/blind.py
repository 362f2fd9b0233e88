"""Rankings end to end, beside what a blind ranker could know of the same candidates: for the audit `shortcuts`.

Rows are candidates of queries, a query's together, in the order shown. Everything is compared within queries, by
ranks, and averaged over molecules.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numba
import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..chem.formula import parse_formula
from ..data.candidates.sets import CandidateSet
from ..errors import ChemistryError
from ..metrics.intervals import cluster_bootstrap, cluster_sums
from ..metrics.paired import sign_flip
from ..models.baselines.tiers import neutral_masses
from .candidates import counted
from .evidence import Evidence
from .rankings import Layout, laid_scores, layout
from .spelling import spelling
from .tells import Auc, pool_aucs

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
#: Rank differences below this are rounding.
_EPSILON = 1e-9
#: Stated precursors that were computed from the formula fit it to the last digit; measured ones seldom do.
_PPM = 0.5
#: `concordance`: molecules looked at, partners tried a candidate, candidates that a pair of pools must share.
_MOLECULES, _PARTNERS, _SHARED = 1000, 20, 4
#: Scores of a model that are looked at; of more, whole molecules are drawn. A million take half a minute.
MOST_SCORES = 1_000_000


@dataclass(frozen=True)
class Ranking:
    """Scores of the candidates of n queries.

    offsets (n + 1); truth (n,) and pool_row (rows,) are row numbers, of the ranking and of `pools`; molecules (n,) any
    labels; place (rows,) from 0; within (rows,): places in the layout of the whole fold; scores (rows,), a missing one
    below all others of its query.
    """

    rows: pl.DataFrame = field(repr=False)  # identifier, inchikey14, precursor_mz, adduct of every query
    pools: pl.DataFrame = field(repr=False)
    offsets: Integers
    truth: Integers
    pool_row: Integers
    molecules: Integers
    place: Integers
    within: Integers
    scores: Floats
    ranks: Floats

    @property
    def queries(self) -> int:
        return len(self.truth)

    def of(self, laid: Floats) -> Ranking:
        """The same queries under the scores of another cell, as `rankings.laid_scores` has them."""
        scores = laid[self.within]
        scores[~np.isfinite(scores)] = -np.inf
        return replace(self, scores=scores, ranks=_ranks(scores, self.offsets))

    def ranked(self, values: Floats) -> Floats:
        """Rank of each value within its query, ties at their mean, from −½ to ½."""
        return _ranks(values, self.offsets)

    def aucs(self, values: Floats | None = None) -> Floats:
        """AUC of each query, by these values or by the scores."""
        return pool_aucs(self.scores if values is None else values, self.offsets, self.truth)

    def correlation(self, other: Floats) -> tuple[Auc, float]:
        """Mean over molecules of the rank correlation within queries with other ranks (0 where either is constant), and
        its p, by flipping signs over molecules."""
        rho = _correlations(self.ranks, other, self.offsets)
        found = cluster_bootstrap(rho, self.molecules, resamples=1000, average="molecule")
        sums, counts = cluster_sums(rho[:, None], self.molecules)
        p = float(sign_flip(sums / counts[:, None], flips=1999)[0])
        return Auc(float(found.mean[0]), float(found.low[0]), float(found.high[0]), found.n_clusters), p

    def without(self, other: Floats) -> Floats:
        """Ranks of the scores less what is linear in other ranks: one slope for all queries."""
        size = float(other @ other)
        slope = float(other @ self.ranks) / size if size > 0 else 0.0
        left: Floats = np.round((self.ranks - slope * other) / _EPSILON) * _EPSILON
        return left

    def follows_wrong(self, other: Floats) -> tuple[Floats, Integers]:
        """Where the first choice of other ranks is wrong: how often the model chooses it too, chance taken out.

        (a − e)/(1 − e) of each such query (1: always, 0: as by chance), a the share of the model's first choices
        among the other's, e the share of all candidates; and the molecules of these queries.
        """
        found = np.asarray(_follows_wrong(self.ranks, other, self.offsets, self.truth))
        known = np.isfinite(found)
        return found[known], self.molecules[known]

    def hits(self, values: Floats | None = None) -> Floats:
        """hit@1 of each query, ties shared."""
        chosen = self.scores if values is None else values
        return np.asarray(_hits(np.ascontiguousarray(chosen, np.float64), self.offsets, self.truth))


def lay_rankings(evidence: Evidence, split: str) -> Ranking:
    """The test queries of a split whose pool holds the truth and another; at most `MOST_SCORES` rows, all scored 0."""
    laid = layout(evidence, split)
    queries, size = _drawn(laid), np.diff(laid.offsets)
    offsets = np.concatenate(([0], np.cumsum(size[queries]))).astype(np.int64)
    place = np.arange(offsets[-1]) - np.repeat(offsets[:-1], size[queries])
    starts = laid.offsets[queries]
    within = np.repeat(starts, size[queries]) + place
    known = evidence.folds(split)["test"].select("identifier", "precursor_mz", "adduct")
    rows = laid.rows[queries].join(known, on="identifier", how="left", maintain_order="left")
    codes = np.unique(rows["inchikey14"].to_numpy(), return_inverse=True)[1].astype(np.int64)
    truth = offsets[:-1] + laid.truth[queries] - starts
    nothing = np.zeros(offsets[-1])
    return Ranking(rows, laid.pools, offsets, truth, laid.pool_row[within], codes, place, within, nothing, nothing)


def _drawn(laid: Layout) -> Integers:
    """Queries that can be judged, of as many molecules, drawn with a fixed seed, as have `MOST_SCORES` candidates."""
    size = np.diff(laid.offsets)
    queries = np.flatnonzero((laid.truth >= 0) & (size > 1))
    if size[queries].sum() <= MOST_SCORES:
        return queries
    asked = laid.rows[queries].select("inchikey14", size=pl.Series(size[queries]), query=pl.Series(queries))
    order = asked["inchikey14"].unique().sort().sample(fraction=1.0, shuffle=True, seed=0)
    sizes = asked.group_by("inchikey14").agg(pl.col("size").sum())
    rows = pl.DataFrame({"inchikey14": order}).join(sizes, on="inchikey14", maintain_order="left")
    kept = rows.filter(pl.col("size").cum_sum() <= MOST_SCORES)
    return asked.join(kept, on="inchikey14", how="semi", maintain_order="left")["query"].to_numpy()


def blind_features(evidence: Evidence, split: str, base: Ranking, pools: CandidateSet) -> dict[str, Floats]:
    """Name → ranks (rows,) by what can be known of a candidate without a peak, and by the run's blind controls."""
    texts = base.pools["smiles"]
    of_pool: dict[str, Floats] = {
        "the length of the SMILES": texts.str.len_chars().cast(pl.Float64).to_numpy(),
        "stereo marks": texts.str.count_matches(r"[@/\\]").cast(pl.Float64).to_numpy(),
        "aromatic letters": texts.str.count_matches(r"[cnops]").cast(pl.Float64).to_numpy(),
        "bracket atoms": texts.str.count_matches(r"\[").cast(pl.Float64).to_numpy(),
    }
    if (written := _spelling(texts)) is not None:
        of_pool["spelling that is not canonical"] = written
    again = counted(base.pools, pools, evidence.folds(split)["train"])
    of_pool |= {name: again[name].to_numpy() for name in again.columns}
    found = {"the place in the pool": -base.place.astype(np.float64)}
    found |= {name: values[base.pool_row] for name, values in of_pool.items()}
    off = _mass_fit(base)
    found["the stated precursor mass"] = -off
    found[f"the stated precursor mass within {_PPM} ppm"] = (off <= _PPM * 1e-6 * _neutral(base)).astype(np.float64)
    for each in evidence.pretraining:
        listed = base.pools["candidate"].is_in(each.molecules["inchikey14"].drop_nulls().unique().implode())
        found[f"the list {each.name}"] = listed.cast(pl.Float64).to_numpy()[base.pool_row]
    for key in evidence.first_seeds("blind"):
        if key.split == split:
            evidence.progress(f"{split}: scores of the control {key.model}")
            found[f"the control {key.model}"] = base.of(laid_scores(evidence, key)).scores
    return {name: base.ranked(values) for name, values in found.items()}


def _spelling(texts: pl.Series) -> Floats | None:
    """Whether each text is not canonical; None where a thousand drawn all are (it costs 0.25 ms a text)."""
    distinct = texts.unique().sort()
    if not spelling(distinct.sample(min(1000, len(distinct)), seed=0).to_list())[:, 0].any():
        return None
    return spelling(texts.to_list())[:, 0]


def _mass_fit(base: Ranking) -> Floats:
    """|mass of the candidate − neutral mass of the query| (Da, to 1e-6); 0 where either is unknown."""
    formulas = base.pools["formula"]
    known = {text: _mass(text) for text in formulas.unique()}
    masses = formulas.replace_strict(known, return_dtype=pl.Float64).to_numpy()[base.pool_row]
    off = np.round(np.abs(masses - _neutral(base)), 6)
    return np.where(np.isfinite(off), off, 0.0)


def _neutral(base: Ranking) -> Floats:
    return np.repeat(neutral_masses(base.rows), np.diff(base.offsets))


def _mass(text: str) -> float:
    try:
        return parse_formula(text).mass
    except ChemistryError:
        return float("nan")


def same_for_all(model: Ranking) -> tuple[int, int]:
    """Molecules whose queries all have one ranking; molecules with several queries (and more than ties in them)."""
    size = np.diff(model.offsets)
    order = np.argsort(model.molecules, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(model.molecules[order]) > 0])
    same = several = 0
    for own in np.split(order, starts[1:]):
        first = model.ranks[model.offsets[own[0]] : model.offsets[own[0] + 1]]
        if len(own) > 1 and np.ptp(first) > 0 and (size[own] == size[own[0]]).all():
            several += 1
            same += all(
                np.abs(model.ranks[model.offsets[q] : model.offsets[q + 1]] - first).max() < _EPSILON for q in own[1:]
            )
    return same, several


def concordance(model: Ranking) -> Auc | None:
    """How often two candidates keep their order in the pool of another molecule that holds both; ties count half.

    One query a molecule, and of each molecule the one other pool that shares most candidates. None where fewer than 30
    molecules have one that shares four.
    """
    first = np.unique(model.molecules, return_index=True)[1]
    rows = np.concatenate([np.arange(model.offsets[q], model.offsets[q + 1]) for q in first])
    query = np.repeat(first, np.diff(model.offsets)[first])
    table = pl.DataFrame({"query": query, "rank": model.ranks[rows], "row": model.pool_row[rows]}).with_columns(
        candidate=model.pools["candidate"].gather(model.pool_row[rows])
    )
    table = table.filter(pl.len().over("candidate") > 1).select("query", "rank", "candidate")
    if table.is_empty():
        return None
    some = table["query"].unique().sort()
    some = some.sample(min(_MOLECULES, len(some)), seed=0)
    partners = table.sample(fraction=1.0, shuffle=True, seed=0).group_by("candidate").head(_PARTNERS)
    mine = table.filter(pl.col("query").is_in(some.implode()))
    met = mine.join(partners, on="candidate", suffix="_b").filter(pl.col("query") != pl.col("query_b"))
    best = met.group_by("query", "query_b").len().filter(pl.col("len") >= _SHARED)
    best = best.sort("len", "query_b", descending=[True, False]).unique("query", keep="first", maintain_order=True)
    shared = mine.join(best, on="query").join(
        table, left_on=["query_b", "candidate"], right_on=["query", "candidate"], suffix="_b"
    )
    shared = shared.sort("query", "candidate")
    sizes = shared.group_by("query", maintain_order=True).len()["len"].to_numpy()
    if len(sizes) < 30:
        return None
    offsets = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
    kept = _kept(shared["rank"].to_numpy().copy(), shared["rank_b"].to_numpy().copy(), offsets)
    found = cluster_bootstrap(kept, np.arange(len(kept)), resamples=1000, unit_range=np.array([True]))
    return Auc(float(found.mean[0]), float(found.low[0]), float(found.high[0]), found.n_clusters)


def by_formula(model: Ranking) -> tuple[Floats, Floats, Integers, Integers]:
    """AUC of the true formula against others, and of the truth against its isomers, each for the queries that have
    such candidates; then the molecules of both."""
    formula = model.pools["formula"].rank("dense").to_numpy().astype(np.int64)[model.pool_row]
    apart, within = _by_formula(model.scores, formula, model.offsets, model.truth)
    both = np.isfinite(apart), np.isfinite(within)
    return apart[both[0]], within[both[1]], model.molecules[both[0]], model.molecules[both[1]]


def _ranks(values: Floats, offsets: Integers) -> Floats:
    found: Floats = _rank(np.ascontiguousarray(values, np.float64), offsets)
    return found


@numba.njit(cache=True, nogil=True)
def _rank(values, offsets):  # type: ignore[no-untyped-def]
    """Rank of each value within its query, ties at their mean, from −½ to ½."""
    out = np.zeros(values.size)
    for q in range(offsets.size - 1):
        a, b = offsets[q], offsets[q + 1]
        order = np.argsort(values[a:b])
        k, n = 0, b - a
        while k < n:
            last = k
            while last + 1 < n and values[a + order[last + 1]] == values[a + order[k]]:
                last += 1
            for each in range(k, last + 1):
                out[a + order[each]] = ((k + last) / 2 - (n - 1) / 2) / max(n - 1, 1)
            k = last + 1
    return out


@numba.njit(cache=True, nogil=True)
def _correlations(x, y, offsets):  # type: ignore[no-untyped-def]
    """Pearson correlation of centred ranks within each query; 0 where one is constant."""
    out = np.zeros(offsets.size - 1)
    for q in range(out.size):
        xy = xx = yy = 0.0
        for k in range(offsets[q], offsets[q + 1]):
            xy += x[k] * y[k]
            xx += x[k] * x[k]
            yy += y[k] * y[k]
        if xx > 1e-12 and yy > 1e-12:
            out[q] = xy / np.sqrt(xx * yy)
    return out


@numba.njit(cache=True, nogil=True)
def _hits(values, offsets, truth):  # type: ignore[no-untyped-def]
    out = np.zeros(truth.size)
    for q in range(truth.size):
        top = values[offsets[q] : offsets[q + 1]].max()
        if values[truth[q]] == top:
            out[q] = 1.0 / (values[offsets[q] : offsets[q + 1]] == top).sum()
    return out


@numba.njit(cache=True, nogil=True)
def _follows_wrong(ranks, other, offsets, truth):  # type: ignore[no-untyped-def]
    out = np.full(truth.size, np.nan)
    for q in range(truth.size):
        a, b = offsets[q], offsets[q + 1]
        top, theirs = ranks[a:b].max(), other[a:b].max()
        chosen, first, both = 0, 0, 0
        for k in range(a, b):
            chosen += ranks[k] == top
            first += other[k] == theirs
            both += ranks[k] == top and other[k] == theirs
        if other[truth[q]] < theirs and first < b - a:
            chance = first / (b - a)
            out[q] = (both / chosen - chance) / (1 - chance)
    return out


@numba.njit(cache=True, nogil=True)
def _kept(x, y, offsets):  # type: ignore[no-untyped-def]
    """Share of pairs in the same order in both, ties half: (queries,)."""
    out = np.zeros(offsets.size - 1)
    for q in range(out.size):
        total, count = 0.0, 0
        for i in range(offsets[q], offsets[q + 1]):
            for j in range(i + 1, offsets[q + 1]):
                a, b = x[i] - x[j], y[i] - y[j]
                count += 1
                total += 1.0 if a * b > 0 else (0.5 if a * b == 0 else 0.0)
        out[q] = total / count
    return out


@numba.njit(cache=True, nogil=True)
def _by_formula(scores, formula, offsets, truth):  # type: ignore[no-untyped-def]
    apart, within = np.full(truth.size, np.nan), np.full(truth.size, np.nan)
    for q in range(truth.size):
        own = formula[truth[q]]
        wins, pairs, above, isomers = 0.0, 0, 0.0, 0
        for i in range(offsets[q], offsets[q + 1]):
            if formula[i] == own and i != truth[q]:
                isomers += 1
                above += 1.0 if scores[i] < scores[truth[q]] else (0.5 if scores[i] == scores[truth[q]] else 0.0)
                for j in range(offsets[q], offsets[q + 1]):
                    if formula[j] != own:
                        pairs += 1
                        wins += 1.0 if scores[i] > scores[j] else (0.5 if scores[i] == scores[j] else 0.0)
        if pairs:
            apart[q] = wins / pairs
        if isomers:
            within[q] = above / isomers
    return apart, within
