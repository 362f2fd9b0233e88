"""What the audits of "where does it fail" share: test scores side by side, means over molecules, a lead that fades.

The unit is the molecule. A model's score in a part of the test fold is the mean over the molecules of that part of
their spectra's mean; intervals resample molecules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import stdtr

from ..chem.molecule import morgan
from ..data.difficulty import nearest_similarity
from ..metrics.intervals import Array, cluster_bootstrap
from ..metrics.paired import holm
from ..metrics.tables import average_seeds
from .evidence import Absent, Evidence
from .finding import RunTables

#: Level of every test, after Holm's correction over the tests of one audit.
ALPHA = 0.05
#: Parts of fewer molecules are not judged: their intervals are wide and their bootstrap is poor.
LEAST_MOLECULES = 20
#: A lead has faded if surely no more than this share of it is left: a lead that halves is what novelty costs anybody.
LEFT = 0.5
RESAMPLES = 1000
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Estimate:
    """A mean over `n` molecules and its 95 % interval (NaN with fewer than two)."""

    mean: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.mean:.3f} ({self.low:.3f} to {self.high:.3f}, n = {self.n})"


@dataclass(frozen=True)
class Lead:
    """A model's lead over a control in two parts of the test fold, and the p of "the lead is the same in both".

    `p` is NaN where a part is too small to judge.
    """

    strong: Estimate
    weak: Estimate
    p: float

    @property
    def judged(self) -> bool:
        return bool(np.isfinite(self.p))

    def faded(self, p_holm: float) -> bool:
        """Surely a lead in the strong part, surely less of one in the weak part, at most half left, and none shown."""
        little = self.weak.low <= 0 and self.weak.high <= LEFT * self.strong.mean
        return self.judged and p_holm < ALPHA and self.strong.low > 0 and little

    @property
    def verb(self) -> str:
        """What to say of the weak part where neither verdict is reached."""
        return "does not lead" if self.weak.high <= 0 else "is not shown to lead"

    def __str__(self) -> str:
        return f"{_signed(self.strong)} against {_signed(self.weak)}"


def _signed(e: Estimate) -> str:
    return f"{e.mean:+.3f} ({e.low:+.3f} to {e.high:+.3f}, n = {e.n})"


def side_by_side(evidence: Evidence, split: str) -> pl.DataFrame:
    """Test scores in the primary metric, seeds averaged: identifier, inchikey14, one column a model; more is better
    (a metric of which less is better changes its sign). Raises Absent without scores."""
    tables = evidence.tables
    if tables.scores is None:
        raise Absent("needs the scores of the run")

    def make() -> pl.DataFrame:
        rows = tables.scores.filter((pl.col("fold") == "test") & (pl.col("split") == split))  # type: ignore[union-attr]
        way = 1.0 if tables.rising else -1.0
        merged = average_seeds(rows, [tables.primary]).with_columns(pl.col(tables.primary).cast(pl.Float64) * way)
        wide = merged.pivot("model", index=["identifier", "inchikey14"], values=tables.primary)
        return wide.drop_nulls().sort("identifier")

    found: pl.DataFrame = evidence.kept(("side-by-side", split), make)
    return found


def trained(tables: RunTables) -> list[str]:
    return sorted(model for model, kind in tables.kinds.items() if kind == "trained")


def estimate(values: Array, molecules: NDArray[Any], where: Mask | None = None, level: float = 0.95) -> Estimate:
    """Mean per molecule and BCa interval of `values` (spectra,), in the spectra that `where` marks."""
    if where is not None:
        values, molecules = values[where], molecules[where]
    if not len(values):
        return Estimate(float("nan"), float("nan"), float("nan"), 0)
    found = cluster_bootstrap(values, molecules, RESAMPLES, average="molecule", level=level)
    return Estimate(float(found.mean[0]), float(found.low[0]), float(found.high[0]), found.n_molecules)


def lead(model: Array, control: Array, molecules: NDArray[Any], strong: Mask, weak: Mask) -> Lead:
    """The lead of a model's scores (spectra,) over a control's in two parts, and whether it differs between them.

    p is two-sided, of a t-test of the difference of the two means over molecules, with the linearised variance of
    molecules as clusters (one may have spectra in both parts) and one degree of freedom fewer than the smaller part
    has molecules.
    """
    ahead = model - control
    parts = [estimate(ahead, molecules, mask) for mask in (strong, weak)]
    return Lead(parts[0], parts[1], contrast(ahead, molecules, strong, weak))


def contrast(values: Array, molecules: NDArray[Any], a: Mask, b: Mask) -> float:
    """p of "the mean per molecule is the same in parts a and b" (see `lead`); NaN where a part is too small."""
    code = np.unique(molecules, return_inverse=True)[1]
    n = int(code.max()) + 1 if len(code) else 0
    influence, difference, sizes = np.zeros(n), 0.0, []
    for mask, sign in ((a, 1.0), (b, -1.0)):
        counts = np.bincount(code[mask], minlength=n)
        there = counts > 0
        sizes.append(int(there.sum()))
        if sizes[-1] < LEAST_MOLECULES:
            return float("nan")
        own = np.bincount(code[mask], weights=values[mask], minlength=n)[there] / counts[there]
        difference += sign * float(own.mean())
        influence[there] += sign * (own - own.mean()) / sizes[-1]
    size = min(sizes)
    error = float(np.sqrt((influence**2).sum() * size / (size - 1)))
    if error <= 1e-12:
        return 1.0 if abs(difference) <= 1e-9 else 0.0
    return float(2 * stdtr(size - 1, -abs(difference) / error))


def one_sample(means: Array) -> float:
    """Two-sided p of "the mean of these (molecules,) is 0", Student's t; NaN with fewer than 20."""
    if len(means) < LEAST_MOLECULES:
        return float("nan")
    error = float(means.std(ddof=1) / np.sqrt(len(means)))
    if error <= 1e-12:
        return 1.0 if abs(float(means.mean())) <= 1e-9 else 0.0
    return float(2 * stdtr(len(means) - 1, -abs(float(means.mean())) / error))


def corrected(ps: Sequence[float]) -> Array:
    """Holm's p of one audit's tests; NaN stays NaN."""
    return holm(np.asarray(ps, np.float64))


def fingerprints(evidence: Evidence) -> tuple[pl.Series, NDArray[np.uint8]]:
    """InChIKey-14 of every molecule of the run's folds, sorted, and its Morgan fingerprint (molecules, 2048)."""

    def make() -> tuple[pl.Series, NDArray[np.uint8]]:
        folds = [rows for split in evidence.tables.splits for rows in evidence.folds(split).values()]
        named = pl.concat([rows.select("inchikey14", "smiles") for rows in folds]).drop_nulls()
        named = named.group_by("inchikey14").agg(pl.col("smiles").min()).sort("inchikey14")
        return named["inchikey14"], morgan(named["smiles"].to_list())

    found: tuple[pl.Series, NDArray[np.uint8]] = evidence.kept("fingerprints of molecules", make)
    return found


def similarity(evidence: Evidence, split: str) -> pl.DataFrame:
    """`inchikey14`, `similarity_to_train`: Tanimoto of each test molecule to its nearest training molecule."""

    def make() -> pl.DataFrame:
        keys, bits = fingerprints(evidence)
        folds = evidence.folds(split)
        test, train = (
            np.flatnonzero(keys.is_in(folds[fold]["inchikey14"].drop_nulls().unique().implode()))
            for fold in ("test", "train")
        )
        nearest = nearest_similarity(bits[test], bits[train]).astype(np.float64)
        return pl.DataFrame({"inchikey14": keys.gather(test), "similarity_to_train": nearest})

    found: pl.DataFrame = evidence.kept(("similarity", split), make)
    return found
