"""Claims: can an author's printed numbers be had from these predictions, and can they be true of the claimed n?

A claim is checked in four ways: the value against the predictions; the denominator against the queries; the value
against its own denominator (a hit rate times n is a whole number: the GRIM test, Brown & Heathers, Social Psychological
and Personality Science 2017, 8, 363); the interval against the narrowest one that so many independent queries allow.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import polars as pl
from scipy.special import ndtri

from ..metrics.tables import average_seeds
from .audit import Audit
from .by_molecule import averaged
from .claim import Claim, Printed
from .denominators import answered_only
from .evidence import Absent, Evidence
from .finding import Finding, RunTables

#: An interval may be narrower than the normal one of independent queries by this much: methods differ a little.
SLACK = 0.9


def claims(evidence: Evidence) -> list[Finding]:
    """Findings of every claim. Raises Absent without claims or scores."""
    if not evidence.claims:
        raise Absent("needs what an author claims (--claims FILE, see docs/audits/confidence.md)")
    if evidence.tables.scores is None:
        raise Absent("needs the scores of the run")
    return [finding for claim in evidence.claims for finding in _checked(evidence.tables, claim)]


def _checked(tables: RunTables, claim: Claim) -> Iterator[Finding]:
    assert tables.scores is not None
    rows = tables.scores.filter((pl.col("split") == claim.split) & (pl.col("model") == claim.model))
    if claim.metric not in rows.columns:
        here = ", ".join(sorted(tables.summary["metric"].unique().to_list()))
        shown = f"the run holds {here}"
        yield Finding(
            "claims", "note", f"{claim}: not measured here", 0, shown, "score with --metric, then audit again"
        )
        return
    test = rows.filter(pl.col("fold") == "test")
    if _mean(tables, claim, "test", claim.average, None) is None:
        yield _unmeasured(tables, test, claim)
        return
    yield _value(tables, rows, claim)
    if claim.n is not None:
        yield _denominator(test, claim)
        if (found := _granular(test, claim)) is not None:
            yield found
    if claim.low is not None and claim.high is not None:
        yield _interval(test, claim, claim.low, claim.high)


def _unmeasured(tables: RunTables, test: pl.DataFrame, claim: Claim) -> Finding:
    """Without a mean over the test queries nothing is refuted, and nothing confirmed."""
    n = test["identifier"].n_unique()
    val = _mean(tables, claim, "val", claim.average, None)
    shown = f"the run holds no mean of {claim.metric} per {claim.average} over test queries ({n:,} are scored)"
    if val is not None:
        shown += f"; on validation it is {val:.6g}"
    remedy = "predict and score the test queries, then audit again"
    return Finding("claims", "warning", f"{claim} cannot be checked: no test score here", n, shown, remedy)


def _value(tables: RunTables, rows: pl.DataFrame, claim: Claim) -> Finding:
    """Reproduced from the test predictions, from something else that is named, or from nothing."""
    own = _mean(tables, claim, "test", claim.average, None)
    n = rows.filter(pl.col("fold") == "test")["identifier"].n_unique()
    assert own is not None
    if claim.value.holds(own):
        shown = f"from the predictions {own:.6g}, mean per {claim.average} over {n:,} test queries"
        return Finding("claims", "pass", f"{claim} is reproduced", n, shown, "nothing to do")
    shown = f"mean per {claim.average} over {n:,} test queries: {own:.6g}"
    for severity, what, number in _elsewhere(tables, rows, claim):
        if number is not None and claim.value.holds(number):
            remedy = "state the mean over all test queries, and what it is a mean of"
            return Finding("claims", severity, f"{claim} is {what}", n, f"{shown}; {what}: {number:.6g}", remedy)
    remedy = "hand in the predictions that the number was made from, or correct it"
    return Finding("claims", "fatal", f"{claim} is not reproduced from the predictions", n, shown, remedy)


def _elsewhere(tables: RunTables, rows: pl.DataFrame, claim: Claim) -> Iterator[tuple[str, str, float | None]]:
    """What else the number might be, and how bad it is to print it without saying so: the milder reading of the test
    fold first, since two digits may fit several."""
    other = {"spectrum": "molecule", "molecule": "spectrum"}[claim.average]
    yield "warning", f"the mean per {other}, not per {claim.average}", _mean(tables, claim, "test", other, None)
    test = rows.filter(pl.col("fold") == "test")
    if not test["predicted"].all():
        shrunk = answered_only(test, [claim.metric])
        for average in (claim.average, other):
            mean = shrunk.filter(pl.col("average") == average)["mean"].to_list()
            yield "fatal", f"the mean per {average} over the answered queries alone", mean[0] if mean else None
    for average in (claim.average, other):
        for seed in test["seed"].unique().sort().to_list():
            yield "warning", f"the score of seed {seed} alone", _mean(tables, claim, "test", average, seed)
    for average in (claim.average, other):
        yield "fatal", "the validation score", _mean(tables, claim, "val", average, None)


def _mean(tables: RunTables, claim: Claim, fold: str, average: str, seed: int | None) -> float | None:
    of_seed = pl.col("seed").is_null() if seed is None else pl.col("seed") == seed
    found = tables.summary.filter(
        (pl.col("split") == claim.split)
        & (pl.col("model") == claim.model)
        & (pl.col("fold") == fold)
        & (pl.col("metric") == claim.metric)
        & (pl.col("average") == average)
        & of_seed
    )
    return found["mean"][0] if found.height else None


def _denominator(test: pl.DataFrame, claim: Claim) -> Finding:
    """The claimed n against queries or molecules, asked and answered."""
    column = "identifier" if claim.average == "spectrum" else "inchikey14"
    word = "queries" if claim.average == "spectrum" else "molecules"
    asked, answered = test[column].n_unique(), test.filter(pl.col("predicted"))[column].n_unique()
    shown = f"claimed n = {claim.n:,}; {asked:,} test {word} were asked, {answered:,} answered"
    if claim.n == asked:
        return Finding("claims", "pass", f"{claim}: n is the number of {word}", asked, shown, "nothing to do")
    remedy = "count every test query, unanswered ones as failed"
    if claim.n == answered:
        said = f"{claim}: the denominator leaves out what was not answered"
        return Finding("claims", "fatal", said, asked - answered, shown, remedy)
    said = f"{claim}: n is not the number of {word}"
    return Finding("claims", "warning", said, abs(asked - int(claim.n or 0)), shown, "say what n counts")


def _granular(test: pl.DataFrame, claim: Claim) -> Finding | None:
    """GRIM: of a hit rate per spectrum without ties, value × n is a whole number of hits, within rounding."""
    if not re.match(r"(hit@|top-)", claim.metric) or claim.average != "spectrum" or claim.n is None:
        return None
    values = test[claim.metric].cast(pl.Float64).drop_nulls()
    if not ((values == 0) | (values == 1)).all():  # a tie shares its hit: no whole numbers then
        return None
    n = claim.n * max(test["seed"].n_unique(), 1)
    if possible(claim.value, n):
        return None
    hits = claim.value.value * n
    shown = (
        f"{claim.value} × {n:,} = {hits:.2f}; {int(hits)} hits print as {_as_printed(int(hits) / n, claim.value)}, "
        f"{int(hits) + 1} as {_as_printed((int(hits) + 1) / n, claim.value)}"
    )
    said = f"{claim} is no share of {claim.n:,} queries"
    return Finding("claims", "fatal", said, claim.n, shown, "recount: value and n belong to different tables")


def possible(value: Printed, n: int) -> bool:
    """Whether a whole number of hits among n rounds to `value`."""
    first = np.ceil((value.value - value.half * (1 + 1e-6)) * n - 1e-9)
    return bool(0 <= first <= n and value.holds(first / n))


def _as_printed(number: float, like: Printed) -> str:
    return str(Printed(round(number / like.unit) * like.unit, like.unit))


def _interval(test: pl.DataFrame, claim: Claim, low: Printed, high: Printed) -> Finding:
    """A claimed interval holds its value, and is no narrower than independent queries of this spread allow."""
    means = average_seeds(test, [claim.metric]).select("inchikey14", pl.col(claim.metric).cast(pl.Float64)).drop_nulls()
    merged = means[claim.metric].to_numpy()
    queries = max(len(merged), claim.n or 0)
    claimed = f"claimed {claim.value} with {claim.level:.0%} interval {low} to {high}"
    if not low.value - low.half <= claim.value.value <= high.value + high.half:
        said = f"{claim} lies outside its own interval"
        return Finding("claims", "fatal", said, queries, claimed, "correct the interval or the value")
    z = float(ndtri((1 + claim.level) / 2))
    spread = float(merged.std(ddof=1)) if len(merged) > 1 else 0.0
    least = 2 * z * spread / queries**0.5
    if claim.average == "molecule":  # where molecules differ in spectra, their mean may be surer than that of spectra
        own = averaged(means, [claim.metric])[claim.metric].to_numpy()
        sure = float(own.std(ddof=1)) if len(own) > 1 else 0.0
        if sure / len(own) ** 0.5 < spread / queries**0.5:
            spread, queries = sure, max(len(own), claim.n or 0)
            least = 2 * z * spread / queries**0.5
    width = high.value - low.value + low.half + high.half
    needed = (2 * z * spread / max(width, 1e-12)) ** 2
    shown = (
        f"{claimed}; the scores have standard deviation {spread:.3f}, so {queries:,} independent queries give a width "
        f"of {least:.4f}; the claimed one needs {needed:,.0f}"
    )
    if width < SLACK * least:
        said = f"the interval of {claim} is too narrow for n = {claim.n or queries:,}"
        remedy = "state how it was computed; over thresholds, folds or resampled spectra it is no interval of this mean"
        return Finding("claims", "fatal", said, queries, shown, remedy)
    said = f"the interval of {claim} is possible for n = {claim.n or queries:,}"
    return Finding("claims", "pass", said, queries, shown, "nothing to do")


CLAIMS = Audit(
    "can an author's printed numbers be had from these predictions, and be true of their n?", "files", claims
)
