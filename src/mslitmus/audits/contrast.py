"""Is a model better on some molecules than others are on the same ones? A difference in differences over molecules.

Molecules that stand in a list are seldom like the rest: the common ones are in every public list, and easier for
everybody. So a model's value on a molecule counts as what it is above that of a reference on the same molecule.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..metrics.intervals import resampled_sums
from ..metrics.paired import holm
from .by_molecule import per_molecule, trained
from .evidence import Evidence
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


def contrast(values: pl.DataFrame, chosen: Any, seed: int = 0) -> Contrast | None:
    """Molecules whose key is in `chosen` against the rest; None where a side has fewer than `LEAST`.

    p is that of Welch's t under permutation of the labels, which holds its level for unequal variances too (Janssen
    1997). Args: values: `inchikey14`, `value`, more is better.
    """
    inside = values["inchikey14"].is_in(pl.Series(sorted(chosen), dtype=pl.String).implode()).to_numpy()
    numbers = values["value"].to_numpy().astype(np.float64)
    sides = numbers[inside], numbers[~inside]
    if min(map(len, sides)) < LEAST:
        return None
    drawn = [resampled_sums(side[:, None], _RESAMPLES, seed + k)[:, 0] / len(side) for k, side in enumerate(sides)]
    low, high = np.quantile(drawn[0] - drawn[1], [0.025, 0.975])
    difference = float(sides[0].mean() - sides[1].mean())
    p = _permuted(numbers, inside, seed)
    return Contrast(difference, float(low), float(high), p, len(sides[0]), len(sides[1]))


@dataclass(frozen=True)
class Advantage:
    """What a model gains on chosen molecules above each reference, and which of these read the query.

    It gains more than all of them where the largest p is small and the lowest interval lies above 0 (an
    intersection–union test: no correction over references). Without a reference `beside` holds the raw contrast.
    """

    beside: Mapping[str, Contrast]
    reading: tuple[str, ...]

    @property
    def p(self) -> float:
        return max(found.p for found in self.beside.values())

    @property
    def low(self) -> float:
        return min(found.low for found in self.beside.values())

    @property
    def relative(self) -> bool:
        """Whether a reference reads the query: only such a one finds easy molecules easy."""
        return bool(self.reading)

    def __str__(self) -> str:
        return ", ".join(f"{found} {name}" for name, found in self.beside.items())


def advantage(evidence: Evidence, split: str, model: str, chosen: Any, met: Collection[str] = ()) -> Advantage | None:
    """How much more a model gains on `chosen` molecules than others do; None where a side has too few molecules.

    References are the best blind control, the best neighbour, and the best trained model that is not among `met`, each
    by validation. A model that is better by a factor gains more on easy molecules than its reference does, so one that
    reads the query is stretched to the spread of the model's values.

    Args:
        met: models that met the chosen molecules too; if empty, no trained model is a reference.
    """
    tables = evidence.tables
    way = 1.0 if tables.rising else -1.0
    own = per_molecule(evidence, split, model)
    fellows = [name for name, kind in tables.kinds.items() if kind == "trained" and name not in met] if met else []
    references = {
        f"above the blind control {name}" if kind == "blind" else f"above {name}": name
        for kind, among in (("blind", None), ("neighbour", None), ("trained", fellows))
        if (name := best_of(tables, split, kind, among=among)) is not None and name != model
    }
    found, reading = {}, []
    for words, name in references.items():
        theirs = per_molecule(evidence, split, name).rename({"value": "reference"})
        both = own.join(theirs, on="inchikey14", maintain_order="left")
        times = 1.0 if tables.kinds[name] == "blind" else _times(both)
        ahead = both["value"].to_numpy() - times * both["reference"].to_numpy()
        each = contrast(both.select("inchikey14", value=pl.Series(way * ahead)), chosen)
        if each is None:
            return None
        found[words] = each
        reading += [name] if tables.kinds[name] != "blind" else []
    if not found:
        raw = contrast(own.with_columns(value=way * pl.col("value")), chosen)
        return None if raw is None else Advantage({"raw": raw}, ())
    return Advantage(found, tuple(reading))


def advantages(
    evidence: Evidence, split: str, chosen: Any, models: Collection[str] | None = None
) -> dict[str, Advantage]:
    """`advantage` of the trained models, or of those among them that met a list; empty without scores."""
    if evidence.tables.scores is None:
        return {}
    mine = [model for model in trained(evidence.tables) if models is None or model in models]
    found = {model: advantage(evidence, split, model, chosen, met=models or ()) for model in mine}
    return {model: each for model, each in found.items() if each is not None}


def told(gains: Mapping[str, Advantage]) -> str:
    """A sentence a model; empty where there are none."""
    return "; ".join(f"{model} is better on them by {found}" for model, found in gains.items())


def profiting(gains: Mapping[str, Advantage], alpha: float) -> tuple[list[str], list[str]]:
    """Models that surely gain more than every reference (Holm over models): those with a reference that reads the
    query, and those without, whose gain may be that of easy molecules."""
    p = holm(np.array([found.p for found in gains.values()])) if gains else np.zeros(0)
    sure = [model for (model, found), each in zip(gains.items(), p, strict=True) if each < alpha and found.low > 0]
    return [m for m in sure if gains[m].relative], [m for m in sure if not gains[m].relative]


def _times(both: pl.DataFrame) -> float:
    """By how much more the model's `value` spreads over molecules than its `reference`, at least 1.

    The slope of the reduced major axis. The least-squares slope would leave ease behind, since a neighbour's value is a
    noisy sign of it.
    """
    spread = [float(both[name].cast(pl.Float64).std() or 0.0) for name in ("value", "reference")]  # type: ignore[arg-type]
    return max(1.0, spread[0] / spread[1]) if spread[1] > 1e-9 else 1.0


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
