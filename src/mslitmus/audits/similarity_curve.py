"""Similarity curve: does a model only do well on test molecules that lie near the training set?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..metrics.intervals import Array, cluster_sums, resampled_sums
from ..metrics.strata import SIMILARITY_EDGES
from .audit import Audit
from .by_molecule import RESAMPLES, averaged, corrected, side_by_side, similarity, trained
from .evidence import Absent, Evidence
from .finding import Finding, best_of
from .leads import Lead, Question, lead, verdict

NAME = "similarity-curve"
#: Far from train: nearest training molecule below this Tanimoto (Morgan radius 2). Near: at or above the other.
FAR, NEAR = 0.5, 0.7
_QUESTION = Question(
    audit=NAME,
    open="whether {model} does well only near train",
    faded="{model} does well only near train: far from it, it cannot be told from {control}",
    there="far from train",
    parts=(f"at Tanimoto ≥ {NEAR:g}", f"below {FAR:g}"),
    remedy="report the score far from train beside the mean, or show a split by scaffold or MCES",
)


@dataclass(frozen=True)
class Slope:
    """Change of a score per 0.1 of Tanimoto, least squares over molecules, with a 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if not np.isfinite(self.value):  # all are equally near
            return "an unknown amount"
        return f"{self.value:+.3f} ({self.low:+.3f} to {self.high:+.3f})"


@dataclass(frozen=True)
class Curve:
    """One trained model on one split; `beside` is the nearest-neighbour baseline, if the run has one."""

    split: str
    model: str
    control: str | None
    lead: Lead | None
    shown: str
    affected: int


def similarity_curve(evidence: Evidence) -> list[Finding]:
    """Per split and trained model: the lead over the best blind control near train against far from it.

    Warning: the lead has faded far from train (`leads.Lead.faded`, Holm over all models and splits). Pass: it
    stands far from train too. Note: neither is shown. Each with the curve and its slope, the neighbour's beside it.
    """
    if not trained(evidence.tables):
        raise Absent("is about trained models; this run has none")
    curves = [curve for split in evidence.tables.splits for curve in _curves(evidence, split)]
    ps = corrected([float("nan") if c.lead is None else c.lead.p for c in curves])
    return [
        verdict(_QUESTION, f"{c.model} on split {c.split}", c.control, c.lead, float(p), c.affected, c.shown)
        for c, p in zip(curves, ps, strict=True)
    ]


def slopes(x: Array, y: Array, molecules: NDArray[np.str_], seed: int = 0) -> list[Slope]:
    """Slopes per 0.1 of each column of y (spectra, k) on x (spectra,), over the means of molecules."""
    sums, counts = cluster_sums(np.column_stack([x, y]), molecules)
    means = sums / counts[:, None]
    u, v = means[:, :1], means[:, 1:]
    table = np.column_stack([np.ones(len(u)), u, u * u, v, u * v])

    def fit(total: Array) -> Array:
        n, su, suu = total[:, :1], total[:, 1:2], total[:, 2:3]
        sv, suv = np.split(total[:, 3:], 2, axis=1)
        spread = n * suu - su**2
        return np.divide(n * suv - su * sv, spread, out=np.full_like(suv, np.nan), where=spread > 1e-12) / 10

    value = fit(table.sum(axis=0)[None, :])[0]
    drawn = fit(resampled_sums(table, RESAMPLES, seed)) if len(u) > 1 else np.full((1, y.shape[1]), np.nan)
    low, high = np.nanquantile(drawn, [0.025, 0.975], axis=0) if np.isfinite(drawn).any() else (value, value)
    return [Slope(*map(float, row)) for row in zip(value, low, high, strict=True)]


def _curves(evidence: Evidence, split: str) -> Iterator[Curve]:
    tables = evidence.tables
    rows = side_by_side(evidence, split).join(similarity(evidence, split), on="inchikey14", maintain_order="left")
    near, molecules = rows["similarity_to_train"].to_numpy(), rows["inchikey14"].to_numpy()
    blind, neighbour = best_of(tables, split, "blind"), best_of(tables, split, "neighbour")
    far = near < FAR
    for model in (m for m in trained(tables) if m in rows.columns):
        names = [model, *([neighbour] if neighbour else [])]
        found = slopes(near, rows.select(names).to_numpy(), molecules)
        shown = f"per 0.1 of Tanimoto to the nearest training molecule {tables.primary} changes by {found[0]}"
        shown += f", of {neighbour} by {found[1]}" if neighbour else ""
        shown += f"; mean by similarity: {_levels(rows, model)}"
        own = rows[model].to_numpy()
        ahead = None if blind is None else lead(own, rows[blind].to_numpy(), molecules, near >= NEAR, far)
        yield Curve(split, model, blind, ahead, shown, len(np.unique(molecules[far])))


def _levels(rows: pl.DataFrame, model: str) -> str:
    """`< 0.3: 0.21 (n = 14), …`: means over molecules by stratum."""
    edges = (-np.inf, *SIMILARITY_EDGES, np.inf)
    by_molecule = averaged(rows, [model, "similarity_to_train"])
    parts = []
    for low, high in pairwise(edges):
        part = by_molecule.filter(pl.col("similarity_to_train").is_between(low, high, closed="left"))[model]
        name = f"< {high:g}" if np.isinf(low) else f"≥ {low:g}" if np.isinf(high) else f"{low:g}–{high:g}"
        if part.len():
            parts.append(f"{name}: {part.to_numpy().mean():.3f} (n = {part.len()})")
    return ", ".join(parts)


SIMILARITY_CURVE = Audit("does a model only do well near its training molecules?", "files", similarity_curve)
