"""Isomers: can a model tell molecules of one formula apart, or does the formula do the work?

LSM-MS2 reports leucine against isoleucine; here every group of molecules with one formula is asked. A query meets each
of its isomers in a duel, which a model that knows the formula alone wins half the time:

- retrieval: does the truth score above the isomeric candidate?
- fingerprint: is the prediction nearer to the truth's fingerprint than to that of the isomer in the test fold?
- spectrum prediction: is the prediction nearer to the molecule's own spectrum than to the isomer's, measured under the
  same adduct, instrument type and energy bin?
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl

from ..chem.molecule import formulas
from ..metrics.intervals import cluster_bootstrap
from ..metrics.molecule import BITS
from ..metrics.names import parse_metric
from ..tasks.protocol import Task
from .audit import Audit
from .by_molecule import LEAST_MOLECULES, RESAMPLES, Estimate, fingerprints, trained
from .condition_shift import labelled
from .evidence import Absent, CellKey, Evidence
from .finding import Finding, best_of
from .rankings import laid_scores, layout

NAME = "isomers"
#: A model that surely wins fewer duels than this is next to a coin (half) among isomers.
TELLS = 0.55
#: Groups (formulae) to judge by: they are what is resampled.
LEAST_GROUPS = 20
#: Spectra of one isomer that one query is compared with, the first by identifier.
MOST_SPECTRA = 3
_TASKS = ("retrieval", "fingerprint", "spectrum-prediction")
_REMEDY = "compare with a model that sees the formula alone, and do not present the score as telling structures apart"


@dataclass(frozen=True)
class Duels:
    """Duels of one model: `table` has identifier, inchikey14, formula, `win` (the share won), `rivals` (how many)."""

    key: CellKey
    table: pl.DataFrame

    def members(self) -> pl.DataFrame:
        """inchikey14, formula, `accuracy`: each rival of a query once, each query of a molecule once; `rivals`."""
        return (
            self.table.group_by("inchikey14", "formula")
            .agg(accuracy=pl.col("win").mean(), rivals=pl.col("rivals").max())
            .sort("formula", "inchikey14")
        )

    def accuracy(self) -> Estimate:
        """Balanced accuracy, the mean over molecules, with an interval that resamples formulae; n counts formulae."""
        rows = self.members()
        found = cluster_bootstrap(
            rows["accuracy"].to_numpy(), rows["formula"].to_numpy(), RESAMPLES,
            average="molecule", molecules=rows["inchikey14"].to_numpy(),
        )  # fmt: skip
        return Estimate(float(found.mean[0]), float(found.low[0]), float(found.high[0]), found.n_clusters)


def isomers(evidence: Evidence) -> list[Finding]:
    """Per split and trained model (its first seed): balanced accuracy in duels of isomers, the best blind control's
    beside it, and the worst member.

    Warning: surely below 0.55 (95 % interval over at least 20 formulae). Pass: surely above a half. Note: neither.
    """
    task = evidence.require_task(*_TASKS)
    models = set(trained(evidence.tables))
    if not models:
        raise Absent("is about trained models; this run has none")
    findings = []
    for key in evidence.first_seeds():
        if key.model in models:
            blind = best_of(evidence.tables, key.split, "blind")
            beside = next((k for k in evidence.first_seeds() if (k.split, k.model) == (key.split, blind)), None)
            findings.append(
                _judge(duels(evidence, task, key), None if beside is None else duels(evidence, task, beside))
            )
    return findings


def duels(evidence: Evidence, task: Task, key: CellKey) -> Duels:
    """Every duel of a cell's test queries, made once."""
    kinds: dict[str, Callable[[Evidence, Task, CellKey], pl.DataFrame]] = {
        "retrieval": _of_rankings,
        "fingerprint": _of_fingerprints,
        "spectrum-prediction": _of_spectra,
    }
    table: pl.DataFrame = evidence.kept(("duels", key), lambda: kinds[task.name](evidence, task, key))
    return Duels(key, table)


def _named(evidence: Evidence, split: str) -> pl.DataFrame:
    """identifier, inchikey14, formula of the test fold, the formula from the structure."""

    def make() -> pl.DataFrame:
        rows = evidence.folds(split)["test"].select("identifier", "inchikey14", "smiles").drop_nulls()
        molecules = rows.group_by("inchikey14").agg(pl.col("smiles").min()).sort("inchikey14")
        found = pl.Series("formula", formulas(molecules["smiles"].to_list()), dtype=pl.String)
        named = molecules.select("inchikey14").with_columns(found)
        return rows.select("identifier", "inchikey14").join(named, on="inchikey14", maintain_order="left")

    table: pl.DataFrame = evidence.kept(("formulae of test", split), make)
    return table


def _won(own: pl.Expr, other: pl.Expr) -> pl.Expr:
    return (own > other).cast(pl.Float64) + 0.5 * (own == other).cast(pl.Float64)


def _of_rankings(evidence: Evidence, task: Task, key: CellKey) -> pl.DataFrame:
    """A candidate without a score ranks above the truth, a truth without one below all (as `metrics.ranking`)."""
    laid, scores = layout(evidence, key.split), laid_scores(evidence, key)
    named = _named(evidence, key.split).select("identifier", own="formula")
    rows = laid.rows.join(named, on="identifier", how="left", maintain_order="left")
    numbers = pl.concat([laid.pools["formula"], rows["own"]]).rank("dense").fill_null(0).to_numpy()
    of_pool, own = numbers[: laid.pools.height], numbers[laid.pools.height :]
    query = laid.query
    there = np.flatnonzero(of_pool[laid.pool_row] == own[query])
    there = there[there != laid.truth[query[there]]]
    mine = np.nan_to_num(laid.own(scores), nan=-np.inf, posinf=np.inf, neginf=-np.inf)[query[there]]
    theirs = np.nan_to_num(scores[there], nan=np.inf, posinf=np.inf, neginf=-np.inf)
    won = (mine > theirs) + 0.5 * (mine == theirs)
    rivals = np.bincount(query[there], minlength=laid.queries)
    share = np.bincount(query[there], weights=won, minlength=laid.queries) / np.maximum(rivals, 1)
    table = rows.select("identifier", "inchikey14", formula="own", win=pl.Series(share), rivals=pl.Series(rivals))
    return table.filter(pl.col("rivals") > 0)


def _rivals(named: pl.DataFrame) -> pl.DataFrame:
    """Each query with the other molecules of its formula in the test fold: the columns of `named` and `rival`."""
    others = named.select("formula", rival="inchikey14").unique()
    return named.join(others, on="formula").filter(pl.col("rival") != pl.col("inchikey14")).sort("identifier", "rival")


def _of_fingerprints(evidence: Evidence, task: Task, key: CellKey) -> pl.DataFrame:
    """Tanimoto of probabilities, Σ min / Σ max; a query without a prediction loses."""
    keys, bits = fingerprints(evidence)
    pairs = _rivals(_named(evidence, key.split))
    asked = pairs.select("identifier").unique(maintain_order=True).with_row_index("query")
    given = asked.join(evidence.predictions(key), on="identifier", how="left", maintain_order="left")
    known = given["fingerprint"].is_not_null().to_numpy()
    likely = np.zeros((asked.height, BITS), np.float32)
    likely[known] = given["fingerprint"].drop_nulls().explode().to_numpy().reshape(-1, BITS)
    place = pl.DataFrame({"inchikey14": keys}).with_row_index("place")
    pairs = pairs.join(asked, on="identifier", maintain_order="left")
    query = pairs["query"].to_numpy()
    values = []
    for column in ("inchikey14", "rival"):
        found = pairs.join(place, left_on=column, right_on="inchikey14", how="left", maintain_order="left")["place"]
        values.append(_tanimoto(likely, bits, query, found.to_numpy()))
    table = pairs.with_columns(pl.Series("own", values[0]), pl.Series("other", values[1]))
    won = pl.when(pl.Series(known[query])).then(_won(pl.col("own"), pl.col("other"))).otherwise(0.0)
    return _shown(table.with_columns(win=won))


def _tanimoto(likely: np.ndarray, bits: np.ndarray, query: np.ndarray, molecule: np.ndarray) -> np.ndarray:
    """Of pairs (p,) of predictions and molecules, in blocks."""
    mass, ones = likely.sum(axis=1, dtype=np.float64), bits.sum(axis=1, dtype=np.float64)
    shared = np.empty(len(query))
    for start in range(0, len(query), 4096):
        part = slice(start, start + 4096)
        shared[part] = np.einsum("ij,ij->i", likely[query[part]], bits[molecule[part]].astype(np.float32))
    found: np.ndarray = shared / np.maximum(mass[query] + ones[molecule] - shared, 1e-9)
    return found


def _of_spectra(evidence: Evidence, task: Task, key: CellKey) -> pl.DataFrame:
    """Similarity in the primary metric of the prediction to either spectrum; the same for a missing prediction (½)."""
    rows, condition = evidence.folds(key.split)["test"], ("adduct", "instrument_type", "energy")
    named = _named(evidence, key.split).join(labelled(rows).select("identifier", *condition), on="identifier")
    others = named.select("formula", *condition, rival="inchikey14", rival_spectrum="identifier")
    pairs = named.join(others, on=["formula", *condition]).filter(pl.col("rival") != pl.col("inchikey14"))
    of_rival = pairs.sort("identifier", "rival", "rival_spectrum").group_by("identifier", "rival", maintain_order=True)
    met = of_rival.head(MOST_SPECTRA).with_row_index("pair").with_columns(pl.col("pair").cast(pl.String))
    given = evidence.predictions(key).select("identifier", "mzs", "intensities")
    predictions = met.select("pair", "identifier").join(given, on="identifier").drop("identifier")
    metric, values = evidence.tables.primary, {}
    for name, column in (("own", "identifier"), ("other", "rival_spectrum")):
        recorded = rows.select("identifier", "mzs", "intensities", "precursor_mz")
        truth = met.select("pair", column).join(recorded, left_on=column, right_on="identifier", maintain_order="left")
        scored = task.score(
            predictions.rename({"pair": "identifier"}),
            truth.select(pl.col("pair").alias("identifier"), "mzs", "intensities", "precursor_mz"), [metric], "fail",
        )  # fmt: skip
        values[name] = scored[metric] if parse_metric(metric).higher_is_better else -scored[metric]
    return _shown(met.with_columns(**values).with_columns(win=_won(pl.col("own"), pl.col("other"))))


def _shown(table: pl.DataFrame) -> pl.DataFrame:
    """Duels (win, rival) by query."""
    by_query = table.group_by("identifier", "inchikey14", "formula", maintain_order=True)
    return by_query.agg(pl.col("win").mean(), rivals=pl.col("rival").n_unique())


def _judge(own: Duels, blind: Duels | None) -> Finding:
    where = f"{own.key.model} on split {own.key.split}"
    members = own.members()
    groups = members["formula"].n_unique()
    if groups < LEAST_GROUPS or members.height < LEAST_MOLECULES:
        claim = f"whether {where} tells isomers apart cannot be judged"
        shown = f"{groups} formulae with isomers among the test queries; {LEAST_GROUPS} are needed"
        return Finding(NAME, "note", claim, members.height, shown, "test on more molecules, or on formula candidates")
    found = own.accuracy()
    worst = members.sort("accuracy", "rivals", "inchikey14", descending=[False, True, False]).row(0, named=True)
    by_group = members.group_by("formula").agg(pl.col("accuracy").mean())["accuracy"].to_numpy()
    even = float((by_group <= 0.5).mean())
    shown = f"wins {found.mean:.3f} of its duels ({found.low:.3f} to {found.high:.3f}; {members.height} molecules of "
    shown += f"{groups} formulae; chance 0.5)"
    shown += "" if blind is None else f", the blind {blind.key.model} {blind.accuracy().mean:.3f}"
    shown += f"; at most half in {even:.0%} of the formulae; worst member {worst['inchikey14']} "
    shown += f"({worst['formula']}) {worst['accuracy']:.2f} against {worst['rivals']} isomers"
    if found.high < TELLS:
        return Finding(NAME, "warning", f"{where} cannot tell isomers apart", members.height, shown, _REMEDY)
    if found.low > 0.5:
        return Finding(NAME, "pass", f"{where} tells isomers apart", members.height, shown, "nothing to do")
    claim = f"{where} is not shown to tell isomers apart"
    return Finding(NAME, "note", claim, members.height, shown, "test on more molecules, or on formula candidates")


ISOMERS = Audit("can a model tell molecules of one formula apart?", "files", isomers)
