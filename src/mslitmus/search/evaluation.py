"""What a calibrated library search is worth: its answers judged on molecules that the calibration has not seen.

Molecules are dealt by a hash into `calibration` and `test`. The calibration fits the confidence and the thresholds; all
tables are of the test. Queries without any candidate are counted and not asked, as a search would find nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..metrics.rates import auc, aurc, calibration_error, molecule_weights, risk_at, risk_coverage
from . import confidence
from .confidence import Confidence
from .decoys import METHODS
from .fdr import LEVELS, against_truth, competed, expected, second_ranked
from .isomers import by_group, by_isomer
from .left_out import LeftOut

Array = NDArray[np.float64]
COVERAGES = (0.25, 0.5, 0.75, 0.9, 1.0)
_BINS = 20
_POINTS = 101


@dataclass(frozen=True)
class Evaluation:
    """Tables of the test molecules.

    strata: stratum (all, answerable, non-trivial, absent), average (spectrum, molecule), queries, molecules, top1,
        ceiling, chance (a candidate molecule at random);
    signs: sign (probability, score, lead), auc, aurc, `error@c`: share of wrong answers among the surest c; of all
        queries with a candidate (no hit at all is the least sure answer, and wrong);
    rates: method (`q_value`: what `Confidence.apply` gives a hit; `calibrated`: mean error that the probabilities of
        the test promise; `second-rank`; decoys), level, accepted, share, estimated, true, low, high, true_molecule
        (`fdr.against_truth`);
    curves: curve (`roc` by sign, `risk`, `right`, `wrong`), x, y;
    isomers, isomer_groups: `isomers.by_isomer` and `by_group`, of the answerable queries, calibration or not;
    summary: numbers of the whole.
    """

    confidence: Confidence
    answers: pl.DataFrame
    strata: pl.DataFrame
    signs: pl.DataFrame
    rates: pl.DataFrame
    curves: pl.DataFrame
    isomers: pl.DataFrame
    isomer_groups: pl.DataFrame
    summary: dict[str, Any]


def evaluate(
    asked: LeftOut,
    *,
    calibration: float = 0.3,
    methods: Sequence[str] = METHODS,
    search: dict[str, Any] | None = None,
    seed: int = 0,
    threads: int | None = None,
    progress: Callable[[str], None] = print,
) -> Evaluation:
    """Calibrate on a share of the molecules and judge on the rest.

    Args:
        calibration: share of the molecules that the confidence is fitted on.
        methods: decoys to try, names of `decoys.METHODS`.
        search: settings, recorded with the confidence.
    """
    queries = asked.queries
    for note in asked.notes:
        progress(note)
    progress(f"{queries.height:,} spectra against each other: {asked.pairs.row.size:,} pairs")
    answers = asked.answers(threads)
    fitting = _dealt(answers["inchikey14"], calibration)
    fitted = confidence.fit(answers.filter(fitting), search)
    test = answers.filter(~fitting)
    test = test.with_columns(probability=fitted.probability(test))
    progress(f"calibrated: {fitted.kind}, on {int(fitting.sum()):,} answers; judged on {test.height:,}")
    testing = queries.filter(~_dealt(queries["inchikey14"], calibration))
    right, molecules = test["right"].to_numpy(), test["inchikey14"].to_numpy()
    place = queries.select("identifier").with_row_index("place")
    where = test.join(place, on="identifier", how="left", maintain_order="left")["place"].to_numpy()
    score, second = test["score"].to_numpy(), test["second"].fill_null(0.0).to_numpy()
    sure = test["probability"].to_numpy()
    estimates = {"q_value": fitted.q_values(sure), "calibrated": expected(sure, molecule_weights(molecules)[1])}
    estimates["second-rank"] = second_ranked(score, second)
    for method in methods:
        progress(f"decoys: {method}")
        estimates[method] = competed(score, asked.decoy_scores(method, seed, threads)[where])
    tables = [against_truth(q, right, molecules).with_columns(method=pl.lit(name)) for name, q in estimates.items()]
    rates = pl.concat(tables).select("method", pl.exclude("method"))
    summary = {
        "notes": list(asked.notes),
        "spectra": queries.height,
        "without_candidates": int((queries["candidate_molecules"] == 0).sum()),
        "test_queries": testing.filter(pl.col("candidate_molecules") > 0).height,
        "without_hits": testing.filter(pl.col("candidate_molecules") > 0).height - test.height,
        "kind": fitted.kind,
        "log_loss": fitted.record["log_loss"],
        "calibration_error": calibration_error(sure, right.astype(np.float64), molecule_weights(molecules)[1]),
        "thresholds": _thresholds(fitted, test),
    }
    judged = pl.concat([test, _silent(testing, test)])
    of_test = strata(test, testing), signs(judged), rates, curves(judged)
    return Evaluation(fitted, test, *of_test, *_isomers(answers), summary)


def _dealt(molecules: pl.Series, share: float) -> pl.Series:
    """True for the molecules of the calibration: a hash decides, so that the same molecule always falls alike."""
    distinct = molecules.unique()
    lots = [int.from_bytes(blake2b(k.encode(), digest_size=4, person=b"calibration").digest(), "big") for k in distinct]
    chosen = distinct.filter(pl.Series([lot < share * 2**32 for lot in lots], dtype=pl.Boolean))
    return molecules.is_in(chosen.implode())


def _isomers(answers: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """By isomer and by group, of the queries that the library can answer."""
    possible = answers.filter("answerable")
    return by_isomer(possible), by_group(possible)


def _silent(queries: pl.DataFrame, answers: pl.DataFrame) -> pl.DataFrame:
    """Queries with a candidate and no hit, as answers that are wrong and not sure at all."""
    left = queries.filter(pl.col("candidate_molecules") > 0).join(answers, on="identifier", how="anti")
    nothing = {"score": 0.0, "probability": 0.0, "lead": -1.0, "right": False}
    rows = left.with_columns(pl.lit(value).alias(name) for name, value in nothing.items())
    absent = [pl.lit(None, dtype).alias(name) for name, dtype in answers.schema.items() if name not in rows.columns]
    return rows.with_columns(absent).select(pl.col(name).cast(dtype) for name, dtype in answers.schema.items())


def strata(answers: pl.DataFrame, queries: pl.DataFrame) -> pl.DataFrame:
    """Top-1 of queries with a candidate by what the library holds; a query without a hit is wrong."""
    rows = queries.filter(pl.col("candidate_molecules") > 0).join(
        answers.select("identifier", "right"), on="identifier", how="left", maintain_order="left"
    )
    rows = rows.with_columns(
        right=pl.col("right").fill_null(False).cast(pl.Float64),
        there=pl.col("answerable").cast(pl.Float64),
        chance=pl.col("answerable") / pl.col("candidate_molecules"),
    )
    several = pl.col("candidate_molecules") > 1
    parts = {
        "all": rows,
        "answerable": rows.filter("answerable"),
        "non-trivial": rows.filter(pl.col("answerable") & several),
        "absent": rows.filter(~pl.col("answerable")),
    }
    out = []
    means = [pl.col(name).mean().alias(label) for name, label in (("right", "top1"), ("there", "ceiling"))]
    means.append(pl.col("chance").mean())
    for name, part in parts.items():
        of_molecules = part.group_by("inchikey14").agg(pl.col("right", "there", "chance").mean())
        for average, table in (("spectrum", part), ("molecule", of_molecules)):
            head = {"stratum": name, "average": average, "queries": part.height, "molecules": of_molecules.height}
            out.append(head | table.select(means).row(0, named=True))
    return pl.DataFrame(out)


def signs(answers: pl.DataFrame) -> pl.DataFrame:
    """How well each sign tells right from wrong, and what abstaining by it buys; each molecule weighs one."""
    right = answers["right"].cast(pl.Float64).to_numpy()
    weight = molecule_weights(answers["inchikey14"].to_numpy())[1]
    rows = []
    for sign in ("probability", "score", "lead"):
        value = answers[sign].to_numpy()
        row: dict[str, Any] = {"sign": sign, "auc": auc(value, right, weight), "aurc": aurc(value, right, weight)}
        row["auc_per_spectrum"] = auc(value, right, np.ones(right.size))
        rows.append(row | {f"error@{c:g}": risk_at(value, right, weight, c) for c in COVERAGES})
    return pl.DataFrame(rows)


def curves(answers: pl.DataFrame) -> pl.DataFrame:
    """Points to draw: ROC of each sign, risk against coverage of the probability, score histograms."""
    right = answers["right"].cast(pl.Float64).to_numpy()
    weight = molecule_weights(answers["inchikey14"].to_numpy())[1]
    signs_ = ("probability", "score", "lead")
    parts = [_points(f"roc of {sign}", *roc(answers[sign].to_numpy(), right, weight)) for sign in signs_]
    parts.append(_points("risk", *risk_coverage(answers["probability"].to_numpy(), right, weight)))
    edges = np.linspace(0, 1, _BINS + 1)
    for name, share in (("right", weight * right), ("wrong", weight * (1 - right))):
        height, _ = np.histogram(answers["score"].to_numpy(), edges, weights=share)
        parts.append(pl.DataFrame({"curve": [name] * _BINS, "x": edges[:-1], "y": height}))
    return pl.concat(parts)


def roc(value: Array, right: Array, weight: Array) -> tuple[Array, Array]:
    """False-positive and true-positive rate, from (0, 0) to (1, 1), one point a distinct value."""
    group = np.unique(-value, return_inverse=True)[1]
    hits, misses = np.bincount(group, weight * right), np.bincount(group, weight * (1 - right))
    total = [max(float(side.sum()), 1e-300) for side in (misses, hits)]
    return tuple(np.concatenate(([0.0], np.cumsum(s) / t)) for s, t in zip((misses, hits), total, strict=True))  # type: ignore[return-value]


def _points(name: str, x: Array, y: Array) -> pl.DataFrame:
    """At most `_POINTS` points of a line."""
    at = np.unique(np.linspace(0, x.size - 1, min(x.size, _POINTS)).round().astype(np.int64))
    return pl.DataFrame({"curve": [name] * at.size, "x": x[at], "y": y[at]})


def _thresholds(fitted: Confidence, test: pl.DataFrame) -> list[dict[str, Any]]:
    """The probability to ask for at each wanted error rate, chosen on the calibration, and what it gives on test."""
    out = []
    right, sure = test["right"].to_numpy(), test["probability"].to_numpy()
    weight = molecule_weights(test["inchikey14"].to_numpy())[1]
    for level in LEVELS:
        least = fitted.threshold(level)
        taken = np.zeros(right.size, bool) if least is None else sure >= least
        row = {
            "wanted": level,
            "probability": least,
            "why_not": fitted.unreachable(level),
            **_behind(fitted, level),
            "answered": float(taken.mean()),
            "error": None,
        }
        row |= {"answered_molecule": float(np.average(taken, weights=weight)), "error_molecule": None}
        if taken.any():
            row["error"] = float(1 - right[taken].mean())
            row["error_molecule"] = float(np.average(~right[taken], weights=weight[taken]))
        out.append(row)
    return out


def _behind(fitted: Confidence, level: float) -> dict[str, Any]:
    """What of the calibration stands behind the threshold."""
    promise = fitted.promise(level)
    if promise is None:
        return dict.fromkeys(("accepted", "wrong", "bound", "few", "sure_from", "promise"))
    counts = {"accepted": promise.accepted, "wrong": promise.wrong, "bound": promise.bound}
    return {**counts, "few": promise.few, "sure_from": promise.sure_from, "promise": promise.told()}
