"""How sure a library search is of its first molecule: from score, lead, matched peaks and explained intensity.

`fit` learns from answers that are known to be right or wrong (`left_out`), each molecule weighing one. Three maps are
tried by cross-validation over molecules, and the one of the smallest log loss is kept:

- `isotonic`: of the score alone, non-decreasing (pool adjacent violators);
- `logistic`: of all features, with a small L2 penalty;
- `logistic+isotonic`: the first laid over the second, for what a straight line in the logit misses.

The probability is that of the *molecule* of the best hit; hits of other molecules have none. The q-value of a hit is a
cautious share of wrong answers among those of the calibration that were at least as sure: (wrong + 1) / (all + 1) in
molecules, each judged by a map fitted without it, and never below 5 / molecules of the calibration: a rate of 1 % is
claimed from 500 molecules on (benchmarks/search_q_values.py says why). Both hold for queries like those of the
calibration: the same kind of library, as many compounds that it lacks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..errors import DataError
from ..metrics.rates import Isotonic, molecule_weights
from ..provenance import write_json
from .first_places import ANSWERS, first_places, molecule_of
from .promise import Promise, behind, upper

Array = NDArray[np.float64]
FORMAT = 2
KINDS = ("isotonic", "logistic", "logistic+isotonic")
#: Share of the intensity explained is a feature where the search tells it.
FEATURES = ("score", "score squared", "lead", "log matched peaks", "explained", "explained of library")
PENALTY = 1e-3
FOLDS = 5
LEAST_MOLECULES = 20
#: A rate is claimed of a calibration in which so many molecules would be wrong at it, were all accepted.
LEAST_WRONG = 5
_STEPS = 200
_CLIP = 1e-4  # of a probability in the log loss; nothing is surer than that


@dataclass(frozen=True)
class Curve:
    """A monotone map by its knots, linear between them, (k,) each."""

    x: tuple[float, ...]
    y: tuple[float, ...]

    def __call__(self, values: Array) -> Array:
        return np.interp(values, self.x, self.y)

    @classmethod
    def isotonic(cls, x: Array, right: Array, weight: Array) -> Curve:
        found = Isotonic(x, right, weight)
        return cls(tuple(found.x.tolist()), tuple(found.y.tolist()))


@dataclass(frozen=True)
class Confidence:
    """Answers → probability and q-value.

    Args:
        kind: a name of `KINDS`.
        features: names of the features that the logistic map reads, with their weights, means and deviations.
        curve: probability of the score, or of the logistic probability; None for `logistic`.
        errors: probability → share of wrong answers among those at least as sure, by steps: each value holds from its
            knot on up to the next.
        accepted, wrong: molecules of the calibration that are at least as sure as each knot of `errors`, and the wrong
            ones among them; empty in files of earlier versions.
        search: how the hits were made that it was fitted on: score, tolerance, precursor, …
        record: how the fit went.
    """

    kind: str
    features: tuple[str, ...]
    weights: tuple[float, ...]  # intercept first
    means: tuple[float, ...]
    deviations: tuple[float, ...]
    curve: Curve | None
    errors: Curve
    least: float = 0.0  # no probability is nearer to 0 or 1: 1 / (molecules + 2), as Laplace's rule has it
    accepted: tuple[float, ...] = ()
    wrong: tuple[float, ...] = ()
    search: Mapping[str, Any] = field(default_factory=dict)
    record: Mapping[str, Any] = field(default_factory=dict)

    def probability(self, answers: pl.DataFrame) -> Array:
        """Of rows of schema `first_places.ANSWERS`: P(the molecule is right), (n,).

        Raises DataError where the answers lack what the map reads: explained intensity, say.
        """
        return np.clip(self._probability(answers), self.least, 1 - self.least)

    def _probability(self, answers: pl.DataFrame) -> Array:
        if self.kind == "isotonic":
            assert self.curve is not None
            return self.curve(answers["score"].to_numpy())
        table = _features(answers)
        if absent := [name for name in self.features if not np.isfinite(table[name]).all()]:
            what = f"the hits do not tell: {', '.join(absent)}"
            raise DataError(what, where="confidence", remedy="calibrate with the search that is used")
        values = np.column_stack([table[name] for name in self.features])
        p = _logistic(_standardised(values, self.means, self.deviations), np.array(self.weights))
        return p if self.curve is None else self.curve(p)

    def q_values(self, probability: Array) -> Array:
        """Share of wrong answers to expect among those that are at least so sure, (n,)."""
        place = np.searchsorted(self.errors.x, probability, side="right") - 1
        return np.array(self.errors.y)[np.maximum(place, 0)]

    def threshold(self, rate: float) -> float | None:
        """The smallest probability from which on the expected share of wrong answers is at most `rate`, or None."""
        knot = self._knot(rate)
        return None if knot is None else float(self.errors.x[knot])

    def promise(self, rate: float) -> Promise | None:
        """What stands behind the threshold for `rate`; None where there is none, or the file does not tell."""
        knot = self._knot(rate)
        if knot is None or not self.accepted:
            return None
        bounds = [upper(n, k) for n, k in zip(self.accepted, self.wrong, strict=True)]
        sure = [x for x, bound in zip(self.errors.x, bounds, strict=True) if bound <= rate]
        return Promise(rate, self.accepted[knot], self.wrong[knot], min(sure, default=None))

    def _knot(self, rate: float) -> int | None:
        fit = np.flatnonzero(np.array(self.errors.y) <= rate)  # they fall as the probability rises
        return int(fit[0]) if fit.size else None

    def unreachable(self, rate: float) -> str | None:
        """Why there is no threshold for `rate`; None where there is one."""
        if self.threshold(rate) is not None:
            return None
        molecules, least = int(self.record.get("molecules", 0)), least_molecules(rate)
        if molecules < least:
            return f"{rate:.0%} needs at least {least:,} molecules, and the calibration has {molecules:,}"
        return "no probability is high enough"

    def apply(self, hits: pl.DataFrame) -> pl.DataFrame:
        """`hits` (schema HITS) with `probability` and `q_value` of every hit of a query's first molecule, else null."""
        if hits.is_empty():
            return hits
        answers = first_places(hits)
        p = self.probability(answers)
        known = answers.select("identifier", "molecule").with_columns(_p=p, _q=self.q_values(p))
        rows = hits.with_columns(molecule=molecule_of())
        joined = rows.join(known, on=["identifier", "molecule"], how="left", maintain_order="left")
        return joined.with_columns(probability="_p", q_value="_q").select(hits.columns)

    def save(self, path: str | Path) -> None:
        """Write it as JSON."""
        values = {name: getattr(self, name) for name in ("kind", "features", "weights", "means", "deviations")}
        curves = {"curve": self.curve and vars(self.curve), "errors": vars(self.errors)}
        told = {name: getattr(self, name) for name in ("least", "accepted", "wrong")}
        told |= {"search": dict(self.search), "record": dict(self.record)}
        write_json(Path(path), {"format": FORMAT, **values, **curves, **told})


def load(path: str | Path) -> Confidence:
    """A Confidence from its JSON file. Raises DataError for a file that is none."""
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        if found["format"] != FORMAT:
            remedy = "make it again with `mslitmus confidence`"
            raise DataError(f"format {found['format']}, this version reads {FORMAT}", where=str(path), remedy=remedy)
        values: dict[str, Any] = {name: tuple(found[name]) for name in ("features", "weights", "means", "deviations")}
        values |= {name: found[name] for name in ("kind", "least", "search", "record")}
        values |= {name: tuple(found.get(name, ())) for name in ("accepted", "wrong")}
        curve = None if found["curve"] is None else _curve(found["curve"])
        return Confidence(**values, curve=curve, errors=_curve(found["errors"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        what = f"no calibration of a library search: {error}"
        raise DataError(what, where=str(path), remedy="make one with `mslitmus confidence DATASET`") from error


def _curve(values: Mapping[str, Any]) -> Curve:
    return Curve(tuple(values["x"]), tuple(values["y"]))


def fit(answers: pl.DataFrame, search: Mapping[str, Any] | None = None, kind: str | None = None) -> Confidence:
    """Calibrate on judged answers (`first_places.judged`).

    Args:
        answers: schema ANSWERS with inchikey14 (of the query) and right.
        search: recorded with the result.
        kind: of `KINDS`; None takes the best by cross-validation over molecules.
    Raises DataError for fewer than 20 molecules, or answers that are all right or all wrong.
    """
    right = answers["right"].cast(pl.Float64).to_numpy()
    molecules = answers["inchikey14"].to_numpy()
    if len(np.unique(molecules)) < LEAST_MOLECULES or right.min() == right.max():
        what = f"{len(np.unique(molecules))} molecules, {right.mean():.0%} of {right.size} answers right"
        remedy = f"calibrate on {LEAST_MOLECULES} molecules or more, with right and wrong answers"
        raise DataError(f"too little to calibrate on: {what}", where="confidence", remedy=remedy)
    unseen = {name: out_of_fold(answers, name) for name in KINDS}
    weight = molecule_weights(molecules)[1]
    losses = {name: _log_loss(p, right, weight) for name, p in unseen.items()}
    chosen = kind or min(KINDS, key=lambda name: losses[name])
    count = len(np.unique(molecules))
    made = replace(_fitted(answers, chosen), least=1 / (count + 2))
    sure = np.clip(unseen[chosen], made.least, 1 - made.least)
    errors = cautious_errors(sure, right, weight)
    accepted, wrong = behind(np.array(errors.x), sure, right, weight)
    record = {"log_loss": losses, "queries": answers.height, "molecules": count, "right": float(right.mean())}
    return replace(made, errors=errors, accepted=accepted, wrong=wrong, search=dict(search or {}), record=record)


def _fitted(answers: pl.DataFrame, kind: str) -> Confidence:
    right = answers["right"].cast(pl.Float64).to_numpy()
    weight = molecule_weights(answers["inchikey14"].to_numpy())[1]
    nothing = Curve((0.0, 1.0), (1.0, 0.0))
    if kind == "isotonic":
        return Confidence(kind, (), (), (), (), Curve.isotonic(answers["score"].to_numpy(), right, weight), nothing)
    table = _features(answers)
    names = tuple(name for name in FEATURES if np.isfinite(table[name]).all())
    values = np.column_stack([table[name] for name in names])
    means = np.average(values, axis=0, weights=weight)
    deviations = np.sqrt(np.average((values - means) ** 2, axis=0, weights=weight))
    deviations = np.where(deviations > 0, deviations, 1.0)
    standard = _standardised(values, means, deviations)
    weights = _newton(standard, right, weight / weight.sum())
    curve = None
    if kind == "logistic+isotonic":
        curve = Curve.isotonic(_logistic(standard, weights), right, weight)
    return Confidence(
        kind, names, tuple(weights.tolist()), tuple(means.tolist()), tuple(deviations.tolist()), curve, nothing
    )


def _features(answers: pl.DataFrame) -> dict[str, Array]:
    column = {n: answers[n].cast(pl.Float64).fill_null(float("nan")).to_numpy() for n in ANSWERS if n not in _TEXT}
    return {
        "score": column["score"],
        "score squared": column["score"] ** 2,
        "lead": column["lead"],
        "log matched peaks": np.log1p(column["matched_peaks"]),
        "explained": column["explained"],
        "explained of library": column["explained_library"],
    }


_TEXT = ("identifier", "molecule", "library_identifier")


def _standardised(values: Array, means: Any, deviations: Any) -> Array:
    """With a first column of ones."""
    scaled = (values - np.asarray(means)) / np.asarray(deviations)
    return np.column_stack([np.ones(values.shape[0]), scaled])


def _logistic(values: Array, weights: Array) -> Array:
    return 1.0 / (1.0 + np.exp(-np.clip(values @ weights, -30, 30)))


def _newton(values: Array, right: Array, weight: Array) -> Array:
    """argmin Σ weight · log loss + PENALTY / 2 |w|² (not of the intercept), by Newton's method."""
    w = np.zeros(values.shape[1])
    ridge = np.full(w.size, PENALTY)
    ridge[0] = 1e-9
    for _ in range(50):
        p = _logistic(values, w)
        gradient = values.T @ (weight * (p - right)) + ridge * w
        curvature = (values * (weight * p * (1 - p))[:, None]).T @ values + np.diag(ridge)
        step = np.linalg.solve(curvature, gradient)
        largest = float(np.abs(step).max())
        w = w - step * min(1.0, 5.0 / max(largest, 1e-12))
        if largest < 1e-9:
            break
    return w


def out_of_fold(answers: pl.DataFrame, kind: str) -> Array:
    """Probability of each answer by a map of this kind that was fitted on other molecules, (n,)."""
    names = answers["inchikey14"].to_list()
    fold = np.array([blake2b(name.encode(), digest_size=2, person=b"confidence").digest()[0] % FOLDS for name in names])
    right = answers["right"].cast(pl.Float64).to_numpy()
    p = np.full(right.size, right.mean())
    for number in range(FOLDS):
        out = fold == number
        if out.any() and 0 < right[~out].mean() < 1:
            p[out] = _fitted(answers.filter(pl.Series(~out)), kind).probability(answers.filter(pl.Series(out)))
    return p


def _log_loss(p: Array, right: Array, weight: Array) -> float:
    p = np.clip(p, _CLIP, 1 - _CLIP)
    return float(np.average(-(right * np.log(p) + (1 - right) * np.log(1 - p)), weights=weight))


def least_molecules(rate: float) -> int:
    """Molecules that a calibration needs before it claims a rate."""
    return int(np.ceil(LEAST_WRONG / rate - 1e-9))


def cautious_errors(p: Array, right: Array, weight: Array) -> Curve:
    """(wrong + 1) / (all + 1) of those at least as sure, 5 / n or more, as monotone steps; at most 200 of them.

    Args:
        p: probabilities of answers that the map was not fitted on, (n,); weight: a molecule's answers weigh one.
    """
    order = np.argsort(-p, kind="stable")
    mass = np.cumsum(weight[order])
    rate = (np.cumsum((weight * (1 - right))[order]) + 1) / (mass + 1)
    rate = np.clip(rate, min(1.0, LEAST_WRONG / mass[-1]), 1.0)
    last = np.flatnonzero(np.append(np.diff(p[order]) != 0, True))  # the end of every tie
    x, y = p[order][last][::-1], rate[last][::-1]
    y = np.minimum.accumulate(y)  # from the least sure on: accepting fewer never has a larger q-value
    kept = np.unique(np.linspace(0, x.size - 1, min(x.size, _STEPS)).round().astype(np.int64))
    return Curve(tuple(x[kept].tolist()), tuple(y[kept].tolist()))
