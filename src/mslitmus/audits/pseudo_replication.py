"""Pseudo-replication: spectra of one molecule, thresholds or seeds counted as if they were independent molecules.

Hurlbert, Ecological Monographs 1984, 54, 187. Kish's design effect says what it costs: n spectra are worth n / deff
independent ones, so an interval over spectra is √deff times too narrow.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from scipy.special import ndtr, ndtri

from ..metrics.intervals import cluster_bootstrap
from ..metrics.names import parse_metric
from ..metrics.paired import holm
from ..metrics.tables import average_seeds
from .audit import Audit
from .claim import Claim
from .evidence import Absent, Evidence
from .finding import Finding, RunTables, paired

ALPHA = 0.05
#: A p over molecules between the level and this may be another valid test's below it: a warning, not fatal.
NEARLY = 0.1
#: Intervals that are narrower than the molecules allow by less than this are a matter of method, not of the unit.
NARROW = 0.85
#: A design effect below this is not worth a word.
EFFECT = 1.5
RESAMPLES = 1000
_PLURAL = {
    "spectrum": "spectra", "molecule": "molecules", "threshold": "thresholds", "seed": "seeds", "other": "other units",
}  # fmt: skip


def pseudo_replication(evidence: Evidence) -> list[Finding]:
    """A note per split on what its spectra are worth; findings on claims that count something else as molecules."""
    tables = evidence.tables
    if tables.scores is None:
        raise Absent("needs the scores of the run")
    findings = [found for split in tables.splits if (found := _worth(tables, split)) is not None]
    for claim in evidence.claims:
        findings += _of_claim(tables, claim)
    return findings


def _worth(tables: RunTables, split: str) -> Finding | None:
    """Design effect of the primary metric on test, the median over trained rows (over all where none is trained)."""
    rows = tables.summary.filter(
        (pl.col("split") == split)
        & (pl.col("fold") == "test")
        & (pl.col("metric") == tables.primary)
        & (pl.col("average") == "spectrum")
        & pl.col("seed").is_null()
        & pl.col("n_effective").is_not_null()
        & pl.col("n_effective").is_not_nan()
        & (pl.col("n_effective") > 0)
    )
    own = rows.filter(pl.col("model").is_in([m for m, kind in tables.kinds.items() if kind == "trained"]))
    rows = own if own.height else rows
    if rows.is_empty():
        return None
    n, molecules = int(rows["n_queries"][0]), int(rows["n_molecules"][0])
    worth = float(rows["n_effective"].median())  # type: ignore[arg-type]
    effect = max(n / worth, 1.0)
    shown = (
        f"{n:,} test spectra of {molecules:,} molecules; design effect {effect:.1f} (median of {rows.height} models), "
        f"so an interval over spectra would be {effect**0.5:.1f} times too narrow; those here are over molecules"
    )
    lost, tested = _lost(tables, split)
    if tested:
        shown += f"; {lost} of {tested} comparisons of trained models would be significant over spectra and are not"
    if effect < EFFECT:
        claim = f"spectra of split {split} are nearly as good as independent"
        return Finding("pseudo-replication", "pass", claim, n, shown, "nothing to do")
    claim = f"the {n:,} test spectra of split {split} are worth {worth:,.0f} independent ones"
    remedy = "test and state intervals over molecules, never over spectra"
    return Finding("pseudo-replication", "note", claim, n, shown, remedy)


def _lost(tables: RunTables, split: str) -> tuple[int, int]:
    """Comparisons with a trained model that z over spectra calls significant and flips over molecules do not."""
    pairs = tables.comparisons.filter((pl.col("split") == split) & (pl.col("metric") == tables.primary))
    trained = {m for m, kind in tables.kinds.items() if kind == "trained"}
    pairs = pairs.filter(pl.col("model_a").is_in(trained) | pl.col("model_b").is_in(trained))
    if pairs.is_empty():
        return 0, 0
    wide = _test_scores(tables, split).pivot("model", index="identifier", values=tables.primary)
    ps = []
    for row in pairs.iter_rows(named=True):
        d = (wide[row["model_a"]] - wide[row["model_b"]]).drop_nulls().to_numpy() if _has(wide, row) else np.empty(0)
        error = d.std(ddof=1) / np.sqrt(len(d)) if len(d) > 1 else 0.0
        ps.append(2 * float(ndtr(-abs(d.mean()) / error)) if error > 0 else 1.0)
    over_spectra = holm(np.array(ps)) < ALPHA
    over_molecules = pairs["p_holm"].fill_null(1.0).fill_nan(1.0).to_numpy() < ALPHA
    return int((over_spectra & ~over_molecules).sum()), pairs.height


def _has(wide: pl.DataFrame, row: dict[str, object]) -> bool:
    return row["model_a"] in wide.columns and row["model_b"] in wide.columns


def _test_scores(tables: RunTables, split: str, metric: str | None = None) -> pl.DataFrame:
    """identifier, inchikey14, model and the metric on test, seeds averaged."""
    assert tables.scores is not None
    rows = tables.scores.filter((pl.col("fold") == "test") & (pl.col("split") == split))
    return average_seeds(rows, [metric or tables.primary]).with_columns(
        pl.col(metric or tables.primary).cast(pl.Float64)
    )


# --- claims ---------------------------------------------------------------------------------------------------------


def _of_claim(tables: RunTables, claim: Claim) -> list[Finding]:
    return [found for found in (_interval(tables, claim), _p(tables, claim)) if found is not None]


def _interval(tables: RunTables, claim: Claim) -> Finding | None:
    """The width of a claimed interval beside that over molecules at the same level."""
    known = tables.scores is not None and claim.metric in tables.scores.columns
    if claim.low is None or claim.high is None or not known:
        return None
    rows = _test_scores(tables, str(claim.split), claim.metric).filter(pl.col("model") == claim.model)
    if rows["inchikey14"].n_unique() < 2:
        return None
    values = rows[claim.metric].to_numpy()
    own = cluster_bootstrap(values, rows["inchikey14"].to_numpy(), RESAMPLES, average=claim.average, level=claim.level)
    width, rounding = claim.high.value - claim.low.value, claim.low.unit + claim.high.unit
    over_molecules = float(own.high[0] - own.low[0])
    over_spectra = float(2 * ndtri((1 + claim.level) / 2) * values.std(ddof=1) / np.sqrt(len(values)))
    of = f" over {_PLURAL.get(claim.unit, 'other units')}" if claim.unit else ""
    shown = (
        f"claimed width {width:.4g}{of}; from the predictions {over_molecules:.4f} over {own.n_molecules} molecules, "
        f"{over_spectra:.4f} over {len(values)} spectra taken as independent"
    )
    if over_molecules > 0 and width + rounding < NARROW * over_molecules:
        times = over_molecules / max(width, 1e-12)
        said = f"the claimed interval of {claim} is {times:.1f} times narrower than its molecules allow"
        remedy = "what it was made over is not independent: state the interval over molecules"
        return Finding("pseudo-replication", "warning", said, own.n_molecules, shown, remedy)
    said = f"the claimed interval of {claim} is as wide as its molecules demand"
    return Finding("pseudo-replication", "pass", said, own.n_molecules, shown, "nothing to do")


def _p(tables: RunTables, claim: Claim) -> Finding | None:
    """A claimed difference: is it there over molecules? One over thresholds or seeds says nothing about molecules."""
    if claim.better_than is None or claim.p is None:
        return None
    row = paired(tables.comparisons, str(claim.split), claim.metric, claim.model, claim.better_than)
    if row is None or row["p"] is None:
        return None
    where = f"{claim.model} against {claim.better_than} on split {claim.split}"
    low, high = (f"{v:+.3f}" if v is not None else "–" for v in (row["low"], row["high"]))
    unit = _PLURAL.get(claim.unit or "", "an unstated unit")
    shown = (
        f"claimed p = {claim.p:.2g} over {unit}; over {row['n_molecules']} molecules, paired, "
        f"{row['difference']:+.4f} (95 % {low} to {high}), p = {row['p']:.2g}"
    )
    remedy = "test paired over molecules"
    ahead = row["difference"] * (1 if parse_metric(claim.metric).higher_is_better else -1)
    if row["p"] < ALPHA and ahead < 0:
        said = f"{claim.model} is worse than {claim.better_than} over molecules on split {claim.split}, not better"
        return Finding("pseudo-replication", "fatal", said, row["n_molecules"], shown, "correct the claim")
    if claim.p < ALPHA <= row["p"]:
        said = f"the claimed difference of {where} does not hold over molecules"
        severity = "warning" if row["p"] < NEARLY else "fatal"
        return Finding("pseudo-replication", severity, said, row["n_molecules"], shown, remedy)
    if claim.unit in ("spectrum", "threshold", "seed", "other"):
        said = f"the claimed test of {where} is over {unit}, not molecules"
        return Finding("pseudo-replication", "warning", said, row["n_molecules"], shown, remedy)
    said = f"the claimed difference of {where} holds over molecules"
    return Finding("pseudo-replication", "pass", said, row["n_molecules"], shown, "nothing to do")


PSEUDO_REPLICATION = Audit("are spectra counted as if they were independent molecules?", "files", pseudo_replication)
