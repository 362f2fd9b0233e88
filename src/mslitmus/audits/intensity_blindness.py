"""Intensity blindness: does a model see more than the set of fragment formulae? After Khoo & Barzilay (2026).

A group is all test spectra with the same non-empty set of fragment formulae (`unseen_formulae.fragment_formulae`) from
two molecules or more. To a model that reads the formulae alone its spectra are one. Pairs are two spectra of a group
and of different molecules; of each the similarity of

- predictions: fingerprints Σ min / Σ max of the probabilities; rankings Spearman's correlation of the scores of the
  candidates that both pools hold (5 or more);
- true fingerprints: Tanimoto;
- spectra: cosine on bins of 0.01 Da, as measured, and with every intensity set to 1.

Means weigh every group the same, and intervals resample groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..metrics.intervals import Array, cluster_bootstrap
from ..metrics.molecule import BITS
from ..metrics.spectrum import score
from ..metrics.tables import unit_range
from ..tasks.protocol import Task
from .audit import Audit
from .by_molecule import RESAMPLES, Estimate, fingerprints, side_by_side, trained
from .evidence import Absent, CellKey, Evidence
from .finding import Finding
from .rankings import Layout, laid_scores, layout
from .unseen_formulae import of_run

NAME = "intensity-blindness"
#: Groups to judge by: they are what is resampled.
LEAST_GROUPS = 20
#: Predictions this alike are one prediction.
SAME = 0.95
#: Molecules or spectra less alike than this could have been told apart.
APART = 0.9
#: A query is poorly predicted below this, where the metric lies between 0 and 1.
POOR = 0.5
#: Spectra of a molecule in a group, the first by identifier; a long dilution series would else be the group.
MOST_SPECTRA = 3
LEAST_SHARED = 5
_COSINE = "cosine@0.01Da"
_REMEDY = "check that intensities reach the model (mslitmus audit RUN spectrum-ablation --live), and train with them"


@dataclass(frozen=True)
class Pairs:
    """Pairs of one model; `table`: group, a, b (identifiers), predicted, true, measured, binary (similarities)."""

    key: CellKey
    table: pl.DataFrame

    @property
    def groups(self) -> int:
        return self.table["group"].n_unique()

    def mean(self, column: str) -> Estimate:
        """Over groups; `n` counts them."""
        by_group = self.table.group_by("group").agg(pl.col(column).mean()).sort("group")
        found = cluster_bootstrap(by_group[column].to_numpy(), by_group["group"].to_numpy(), RESAMPLES)
        return Estimate(float(found.mean[0]), float(found.low[0]), float(found.high[0]), by_group.height)

    def follows(self) -> Estimate:
        """How much less alike predictions are where intensities are less alike: slope of `predicted` on `measured`
        with `binary` (the peaks without intensities) and `true` held fixed, bootstrapped over groups."""
        names = ("measured", "binary", "true")
        x = np.column_stack([np.ones(self.table.height), *(self.table[n].to_numpy() for n in names)])
        return _slope(x, self.table["predicted"].to_numpy(), self.table["group"].to_numpy())


def intensity_blindness(evidence: Evidence) -> list[Finding]:
    """Per split and trained model (its first seed).

    Warning: predictions inside the groups are surely the same (0.95) though molecules and intensities surely differ
    (below 0.9), by 95 % intervals over at least 20 groups. Pass: they surely follow the intensities (see
    `Pairs.follows`). Note: neither, or too few groups. Each with the share of poor predictions that the groups explain.
    """
    task = evidence.require_task("fingerprint", "retrieval")
    models = set(trained(evidence.tables))
    if not models:
        raise Absent("is about trained models; this run has none")
    return [_judge(evidence, pairs_of(evidence, task, key)) for key in evidence.first_seeds() if key.model in models]


def same_formulae(fragments: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """group, identifier, inchikey14: the groups (see above) among `rows` (identifier, inchikey14), sorted."""
    sets = (
        fragments.join(rows.select("identifier", "inchikey14"), on="identifier")
        .sort("formula")
        .group_by("identifier", "inchikey14", maintain_order=True)
        .agg(pl.col("formula").str.join(" ").alias("group"))
    )
    several = pl.col("inchikey14").n_unique().over("group") > 1
    return sets.filter(several).select("group", "identifier", "inchikey14").sort("group", "identifier")


def pairs_of(evidence: Evidence, task: Task, key: CellKey) -> Pairs:
    """Pairs of a cell, those whose predictions can be compared."""
    base = evidence.kept(("pairs of same formulae", key.split), lambda: _pairs(evidence, key.split))
    if task.name == "fingerprint":
        found = _of_fingerprints(base, evidence.predictions(key))
    else:
        found = _of_rankings(base, layout(evidence, key.split), laid_scores(evidence, key))
    return Pairs(key, found.drop_nulls("predicted").drop_nans("predicted"))


def _pairs(evidence: Evidence, split: str) -> pl.DataFrame:
    """group, a, b and the similarities that no model decides."""
    rows = evidence.folds(split)["test"]
    groups = same_formulae(of_run(evidence), rows)
    few = groups.group_by("group", "inchikey14", maintain_order=True).head(MOST_SPECTRA)
    left = few.rename({"identifier": "a", "inchikey14": "molecule_a"})
    right = few.rename({"identifier": "b", "inchikey14": "molecule_b"})
    pairs = left.join(right, on="group").filter(
        (pl.col("a") < pl.col("b")) & (pl.col("molecule_a") != pl.col("molecule_b"))
    )
    pairs = pairs.select("group", "a", "b", "molecule_a", "molecule_b").sort("group", "a", "b")
    keys, bits = fingerprints(evidence)
    places = pl.DataFrame({"molecule": keys}).with_row_index("place")
    sides = [
        bits[
            pairs.join(places, left_on=name, right_on="molecule", how="left", maintain_order="left")["place"].to_numpy()
        ].astype(np.float32)
        for name in ("molecule_a", "molecule_b")
    ]
    flat = rows.with_columns(intensities=pl.col("intensities").list.eval(pl.element() * 0 + 1))
    measured = {name: _cosine(pairs, frame) for name, frame in (("measured", rows), ("binary", flat))}
    return pairs.with_columns(pl.Series("true", _alike(*sides)), **measured)


def _cosine(pairs: pl.DataFrame, rows: pl.DataFrame) -> pl.Series:
    numbered = pairs.with_row_index("pair").with_columns(pl.col("pair").cast(pl.String))
    peaks = rows.select("identifier", "mzs", "intensities")
    sides = [
        numbered.select("pair", pl.col(name).alias("spectrum"))
        .join(peaks, left_on="spectrum", right_on="identifier", maintain_order="left")
        .select(pl.col("pair").alias("identifier"), "mzs", "intensities")
        for name in ("a", "b")
    ]
    return score(sides[0], sides[1], [_COSINE])[_COSINE]


def _alike(a: NDArray[np.float32], b: NDArray[np.float32]) -> Array:
    """Σ min / Σ max by row; 1 for two empty ones."""
    least, most = (f(a, b).sum(axis=1, dtype=np.float64) for f in (np.minimum, np.maximum))
    return np.where(most > 0, least / np.maximum(most, 1e-12), 1.0)


def _of_fingerprints(pairs: pl.DataFrame, given: pl.DataFrame) -> pl.DataFrame:
    known = given.drop_nulls("fingerprint").unique("identifier", keep="first", maintain_order=True)
    likely = known["fingerprint"].explode().to_numpy().reshape(known.height, BITS)
    place = known.select("identifier").with_row_index("place")
    both = pairs.join(place.rename({"identifier": "a", "place": "of_a"}), on="a", maintain_order="left")
    both = both.join(place.rename({"identifier": "b", "place": "of_b"}), on="b", maintain_order="left")
    parts = [
        _alike(likely[part["of_a"].to_numpy()], likely[part["of_b"].to_numpy()]) for part in both.iter_slices(2048)
    ]
    values = np.concatenate([np.zeros(0), *parts])
    return both.drop("of_a", "of_b").with_columns(pl.Series("predicted", values, dtype=pl.Float64))


def _of_rankings(pairs: pl.DataFrame, laid: Layout, scores: Array) -> pl.DataFrame:
    asked = pl.concat([pairs["a"], pairs["b"]]).unique()
    mine = np.flatnonzero(laid.rows["identifier"].is_in(asked.implode()).to_numpy())
    rows = np.flatnonzero(np.isin(laid.query, mine) & np.isfinite(scores))
    given = pl.DataFrame(
        {
            "identifier": laid.rows["identifier"].gather(laid.query[rows]),
            "candidate": laid.pools["candidate"].gather(laid.pool_row[rows]),
            "score": scores[rows],
        }
    )
    left = given.select(pl.col("identifier").alias("a"), "candidate", pl.col("score").alias("score_a"))
    right = given.select(pl.col("identifier").alias("b"), "candidate", pl.col("score").alias("score_b"))
    shared = pairs.select("a", "b").unique().join(left, on="a").join(right, on=["b", "candidate"])
    found = shared.group_by("a", "b").agg(
        predicted=pl.corr("score_a", "score_b", method="spearman"), shared=pl.len()
    )  # fmt: skip
    return pairs.join(found.filter(pl.col("shared") >= LEAST_SHARED), on=["a", "b"], maintain_order="left")


def _slope(x: Array, y: Array, groups: NDArray[np.str_], seed: int = 0) -> Estimate:
    """Second coefficient of y (pairs,) on x (pairs, k), each group of weight 1, with a bootstrap over groups."""
    code = np.unique(groups, return_inverse=True)[1]
    n = int(code.max()) + 1
    weight = 1.0 / np.bincount(code)[code]
    moments = np.zeros((n, x.shape[1], x.shape[1] + 1))
    np.add.at(moments, code, weight[:, None, None] * x[:, :, None] * np.column_stack([x, y])[:, None, :])

    def fit(total: Array) -> float:
        return float(np.linalg.lstsq(total[:, :-1], total[:, -1], rcond=None)[0][1])

    rng = np.random.default_rng(seed)
    drawn = [fit(moments[rng.integers(0, n, n)].sum(axis=0)) for _ in range(RESAMPLES)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Estimate(fit(moments.sum(axis=0)), float(low), float(high), n)


def _judge(evidence: Evidence, pairs: Pairs) -> Finding:
    key = pairs.key
    where = f"{key.model} on split {key.split}"
    if pairs.groups < LEAST_GROUPS:
        claim = f"whether {where} sees intensities cannot be judged from groups of the same fragment formulae"
        shown = f"{pairs.groups} groups of test spectra that can be compared; {LEAST_GROUPS} are needed"
        return Finding(NAME, "note", claim, pairs.table.height, shown, "use the audit `spectrum-ablation` (--live)")
    alike = {name: pairs.mean(name) for name in ("predicted", "true", "measured", "binary")}
    follows = pairs.follows()
    shown = (
        f"{pairs.table.height:,} pairs in {pairs.groups} groups: predictions alike {alike['predicted']}, true "
        f"fingerprints {alike['true']}, spectra {alike['measured']}, without intensities {alike['binary']}; "
        f"predictions follow intensities with slope {follows}{_explained(evidence, pairs)}"
    )
    apart = alike["true"].high < APART and alike["measured"].high < APART
    if alike["predicted"].low >= SAME and apart:
        claim = f"{where} gives molecules of the same fragment formulae the same answer, whatever their intensities"
        return Finding(NAME, "warning", claim, pairs.table.height, shown, _REMEDY)
    if follows.low > 0:
        claim = f"{where} follows intensities among spectra of the same fragment formulae"
        return Finding(NAME, "pass", claim, pairs.table.height, shown, "nothing to do")
    claim = f"{where} is not shown to follow intensities among spectra of the same fragment formulae"
    return Finding(NAME, "note", claim, pairs.table.height, shown, _REMEDY)


def _explained(evidence: Evidence, pairs: Pairs) -> str:
    """Of the poor predictions, how many are in a group, and how many share their prediction there with a molecule
    unlike theirs; nothing for metrics outside of 0 to 1."""
    if not unit_range([evidence.tables.primary])[0] or not evidence.tables.rising:
        return ""
    rows = side_by_side(evidence, pairs.key.split)
    poor = rows.filter(pl.col(pairs.key.model) < POOR)
    if poor.is_empty():
        return ""
    confused = pairs.table.filter((pl.col("predicted") >= APART) & (pl.col("true") < APART))
    inside, same = (_share(poor, [*table["a"], *table["b"]]) for table in (pairs.table, confused))
    return (
        f"; of {poor.height:,} poor predictions ({evidence.tables.primary} below {POOR:g}) {inside.mean:.1%} are in a "
        f"group, {same.mean:.2%} ({same.low:.2%} to {same.high:.2%}) share their answer with a molecule unlike theirs"
    )


def _share(poor: pl.DataFrame, identifiers: Sequence[str]) -> Estimate:
    """Share of spectra, with an interval over molecules."""
    marked = poor["identifier"].is_in(pl.Series(sorted(set(identifiers)), dtype=pl.String).implode())
    found = cluster_bootstrap(marked.to_numpy().astype(np.float64), poor["inchikey14"].to_numpy(), RESAMPLES)
    return Estimate(float(found.mean[0]), float(found.low[0]), float(found.high[0]), found.n_molecules)


INTENSITY_BLINDNESS = Audit("does a model see more than the set of fragment formulae?", "files", intensity_blindness)
