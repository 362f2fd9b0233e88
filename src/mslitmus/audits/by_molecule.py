"""Means over molecules, once for all audits: tables, test scores side by side, an estimate with its interval.

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
from ..metrics.intervals import Array, cluster_bootstrap, cluster_sums
from ..metrics.paired import holm
from ..metrics.tables import average_seeds
from .evidence import Absent, Evidence
from .finding import RunTables

#: Level of every test, after Holm's correction over the tests of one audit.
ALPHA = 0.05
#: Parts of fewer molecules are not judged: their intervals are wide and their bootstrap is poor.
LEAST_MOLECULES = 20
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


def averaged(scores: pl.DataFrame, metrics: Sequence[str], *beside: str) -> pl.DataFrame:
    """One row a molecule (and value of the columns `beside`): the mean of its rows in each metric, in order of
    appearance."""
    keys = [*beside, "inchikey14"]
    return scores.group_by(keys, maintain_order=True).agg(pl.col(*metrics).cast(pl.Float64).mean())


def means(values: Array, molecules: NDArray[Any]) -> Array:
    """Mean of each molecule's values (n,), molecules in sorted order. Shape (molecules,)."""
    sums, counts = cluster_sums(values[:, None], molecules)
    found: Array = sums[:, 0] / counts
    return found


def per_molecule(evidence: Evidence, split: str, model: str, fold: str = "test") -> pl.DataFrame:
    """`inchikey14`, `value`: mean of the primary metric over a molecule's spectra and seeds. Raises Absent."""
    tables = evidence.tables
    if tables.scores is None:
        raise Absent("needs the scores of the run")
    rows = tables.scores.filter((pl.col("split") == split) & (pl.col("model") == model) & (pl.col("fold") == fold))
    seeds = averaged(rows, [tables.primary], "identifier")
    return averaged(seeds, [tables.primary]).rename({tables.primary: "value"}).sort("inchikey14")


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


def estimate(
    values: Array,
    molecules: NDArray[Any] | None = None,
    where: Mask | None = None,
    level: float = 0.95,
    resamples: int = RESAMPLES,
) -> Estimate:
    """Mean per molecule and BCa interval of `values` (spectra,), in the spectra that `where` marks.

    Without `molecules` every value is of another molecule.
    """
    molecules = np.arange(len(values)) if molecules is None else molecules
    if where is not None:
        values, molecules = values[where], molecules[where]
    if not len(values):
        return Estimate(float("nan"), float("nan"), float("nan"), 0)
    found = cluster_bootstrap(values, molecules, resamples, average="molecule", level=level)
    return Estimate(float(found.mean[0]), float(found.low[0]), float(found.high[0]), found.n_molecules)


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
