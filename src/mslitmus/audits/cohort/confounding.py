"""Does something that is no chemistry tell the label: the batch, the run order, or how much was measured at all?"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...cohort.association import Association, associate
from ..finding import Finding
from .tables import CohortTables, Units

#: Permutation p below which, and effect from which on, a factor is told to go with the target.
ALPHA, EFFECT = 0.01, 0.3
#: The same for one that decides the target altogether, which few samples cannot make more significant.
SURE = 0.05
#: Effect from which on the target cannot be told from the factor. Two equal classes one after the other reach .87.
ALL = {"batch": 0.9, "order": 0.8}
_WORDS = {
    "batch": "the batch",
    "order": "the run order",
    "n_spectra": "the number of spectra",
    "total_intensity": "the total ion current",
}
_REMEDY = {
    "batch": "measure again with every group in every batch; until then hold whole batches out (--together batch "
    "--together replicate) and "
    "centre batches in the marker tests, which leaves of the difference what is within batches",
    "order": "measure again in random order; until then a drift of the instrument explains the result as well",
    "n_spectra": "read the result beside this control: where it does not do better, the amount measured is what it "
    "reads; inject equal amounts",
    "total_intensity": "read the result beside this control; divide by the total (normalise: total), inject equal "
    "amounts",
}


def confounding(tables: CohortTables) -> list[Finding]:
    """Batch and run order."""
    return _judged(tables, "confounding", ("batch", "order"))


def amount(tables: CohortTables) -> list[Finding]:
    """Number of spectra and total ion current: a control that needs no spectrum."""
    return _judged(tables, "amount", ("n_spectra", "total_intensity"))


def _judged(tables: CohortTables, audit: str, factors: tuple[str, ...]) -> list[Finding]:
    out = []
    for target, where, units in tables.questions():
        for name in factors:
            pair = units.factor(name)
            found = None if pair is None else associate(*pair)
            if pair is not None and found is not None:
                out.append(_finding(audit, name, f"{target}{where}", units, pair, found))
    return out


def _finding(
    audit: str, name: str, target: str, units: Units, pair: tuple[NDArray[Any], NDArray[Any]], found: Association
) -> Finding:
    told = f"{found.measure} {found.effect:.2f}, permutation p = {found.p:.3g}, {found.n} independent samples"
    if name == "batch":
        told += _pure(*pair) if not units.numbers else ""
    else:
        told += f"; alone it reaches {_alone(*pair)}"
    word = _WORDS[name]
    decided = found.effect >= ALL.get(name, np.inf)
    if found.effect < EFFECT or found.p > (SURE if decided else ALPHA):
        return Finding(audit, "pass", f"{word} does not tell {target}", found.n, told, "nothing to do")
    claim = f"{word} decides {target}: one cannot be told from the other" if decided else f"{word} tells {target}"
    return Finding(audit, "fatal" if decided else "warning", claim, found.n, told, _REMEDY[name])


def _pure(batches: NDArray[Any], truth: NDArray[Any]) -> str:
    names = np.unique(batches)
    pure = sum(len(set(truth[batches == b].tolist())) == 1 for b in names)
    return f"; {pure} of {len(names)} batches hold one class only"


def _alone(values: NDArray[Any], truth: NDArray[Any]) -> str:
    """What the one number predicts, each sample left out: nearest class mean, or a straight line."""
    if truth.dtype.kind == "f":
        return f"R² {max(-1.0, line_r2(values, truth)):.2f}"
    return f"a balanced accuracy of {nearest_mean(values, truth):.2f} (chance {1 / len(set(truth.tolist())):.2f})"


def nearest_mean(values: NDArray[Any], truth: NDArray[Any]) -> float:
    """Balanced accuracy of the class whose mean, the sample itself left out, lies nearest."""
    names, of = np.unique(truth, return_inverse=True)
    sizes, sums = np.bincount(of), np.bincount(of, weights=values)
    own = np.eye(len(names), dtype=bool)[of]
    less = sizes[None, :] - own
    means = (sums[None, :] - own * values[:, None]) / np.maximum(less, 1)
    away = np.where(less > 0, np.abs(values[:, None] - means), np.inf)
    right = away.argmin(axis=1) == of
    return float(np.mean([right[of == k].mean() for k in range(len(names))]))


def line_r2(values: NDArray[Any], truth: NDArray[Any]) -> float:
    """R² of a straight line, each sample predicted by the line through all others."""
    x, y, n = values - values.mean(), truth - truth.mean(), len(truth)
    if not (x @ x) or not (y @ y):
        return 0.0
    leverage = 1 / n + x**2 / (x @ x)
    error = (y - x * (x @ y) / (x @ x)) / np.maximum(1 - leverage, 1e-9)
    return float(1 - (error @ error) / (y @ y))
