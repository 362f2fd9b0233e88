"""Is a model better on some molecules than on others? Values per molecule, their difference, its interval and p."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..metrics.intervals import resampled_sums
from ..metrics.names import parse_metric
from .evidence import Absent, Evidence
from .finding import best_of

#: Fewer molecules on a side tell nothing about a mean.
LEAST = 5
_RESAMPLES = 2000
_PERMUTATIONS = 4999
_BLOCK = 2_000_000  # entries of a permutation matrix held at once
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Contrast:
    """Mean inside minus mean outside, over molecules: 95 % bootstrap interval, two-sided permutation p, sizes."""

    difference: float
    low: float
    high: float
    p: float
    inside: int
    outside: int

    def __str__(self) -> str:
        interval = f"95 % interval {self.low:+.3f} to {self.high:+.3f}, permutation p = {self.p:.2g}"
        return f"{self.difference:+.3f} ({interval}; {self.inside} against {self.outside} molecules)"


def per_molecule(evidence: Evidence, split: str, model: str, fold: str = "test") -> pl.DataFrame:
    """`inchikey14`, `value`: mean of the primary metric over a molecule's spectra and seeds. Raises Absent."""
    tables = evidence.tables
    if tables.scores is None:
        raise Absent("needs the scores of the run")
    rows = tables.scores.filter((pl.col("split") == split) & (pl.col("model") == model) & (pl.col("fold") == fold))
    means = rows.group_by("identifier", "inchikey14").agg(pl.col(tables.primary).mean())
    return means.group_by("inchikey14").agg(value=pl.col(tables.primary).mean()).sort("inchikey14")


def contrast(values: pl.DataFrame, chosen: Any, way: int = 1, seed: int = 0) -> Contrast | None:
    """Molecules whose key is in `chosen` against the rest; None where a side has fewer than `LEAST`.

    p is that of Welch's t under permutation of the labels, which holds its level for unequal variances too (Janssen
    1997). Args: values: `inchikey14`, `value`; way: −1 where less is better, so that a positive difference is an
    advantage.
    """
    inside = values["inchikey14"].is_in(pl.Series(sorted(chosen), dtype=pl.String).implode()).to_numpy()
    numbers = way * values["value"].to_numpy().astype(np.float64)
    sides = numbers[inside], numbers[~inside]
    if min(map(len, sides)) < LEAST:
        return None
    drawn = [resampled_sums(side[:, None], _RESAMPLES, seed + k)[:, 0] / len(side) for k, side in enumerate(sides)]
    low, high = np.quantile(drawn[0] - drawn[1], [0.025, 0.975])
    difference = float(sides[0].mean() - sides[1].mean())
    p = _permuted(numbers, inside, seed)
    return Contrast(difference, float(low), float(high), p, len(sides[0]), len(sides[1]))


def advantage(evidence: Evidence, split: str, model: str, chosen: Any) -> tuple[Contrast, str] | None:
    """How much better a model is on `chosen` molecules, and what that is measured against.

    Where the run has a blind control, each molecule counts as the model's value minus the control's: molecules that
    are easy for everybody are then no advantage. None where a side has too few molecules.
    """
    own = per_molecule(evidence, split, model)
    control = best_of(evidence.tables, split, "blind")
    beside = "raw"
    if control is not None and control != model:
        theirs = per_molecule(evidence, split, control).rename({"value": "control"})
        own = own.join(theirs, on="inchikey14").select("inchikey14", value=pl.col("value") - pl.col("control"))
        beside = f"above the blind control {control}"
    found = contrast(own, chosen, 1 if parse_metric(evidence.tables.primary).higher_is_better else -1)
    return None if found is None else (found, beside)


def _permuted(numbers: Array, inside: NDArray[np.bool_], seed: int) -> float:
    random = np.random.default_rng(seed)
    observed = _welch(inside[None, :].astype(np.float64), numbers)[0]
    size = max(1, _BLOCK // len(numbers))
    hits, left = 0, _PERMUTATIONS
    while left > 0:
        count = min(size, left)
        labels = random.permuted(np.tile(inside, (count, 1)), axis=1).astype(np.float64)
        hits += int((_welch(labels, numbers) >= observed - 1e-9).sum())
        left -= count
    return (1 + hits) / (1 + _PERMUTATIONS)


def _welch(labels: Array, numbers: Array) -> Array:
    """|t| of each labelling: (labellings, n) of 0 and 1 → (labellings,); without spread |difference| / 1e-12."""
    total, squares, n = numbers.sum(), (numbers**2).sum(), len(numbers)
    count = labels.sum(axis=1)
    first, first_squares = labels @ numbers, labels @ numbers**2
    means = first / count, (total - first) / (n - count)
    spreads = first_squares / count - means[0] ** 2, (squares - first_squares) / (n - count) - means[1] ** 2
    error = np.maximum(spreads[0], 0) / (count - 1) + np.maximum(spreads[1], 0) / (n - count - 1)
    found: Array = np.abs(means[0] - means[1]) / np.sqrt(np.maximum(error, 1e-24))
    return found
