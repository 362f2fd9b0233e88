"""Contrastive training: spectra of one molecule together, those of other molecules in the same mass window apart.

Positives are spectra of the same molecule; where a batch has one of another laboratory, those of the query's own do not
count. Negatives are the spectra of the same precursor window and adduct, its isomers above all (this is what a library
search has to tell apart), and, with a weight of their own, all others of the batch. For a spectrum i with positives P:

    loss = mean over p ∈ P of log(1 + Σ exp((s_in − s_ip) / τ)), n over the negatives,

InfoNCE (van den Oord et al. 2018) with one positive at a time, as in supervised contrast (Khosla et al. 2020). With
`positives: any` a soft maximum over P stands for s_ip: one near positive is enough, which is what a search asks for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from ..options import Options

_NONE = -1e4  # stands for minus infinity: nothing to tell apart


class ContrastOptions(Options):
    """Options of the contrast."""

    temperature: float = Field(0.07, gt=0)
    positives: Literal["mean", "any"] = "mean"
    window: float = Field(0.5, ge=0, le=1, description="weight of the negatives of the same window alone")
    ppm: float = Field(10.0, gt=0, description="precursors of one window lie no further apart from the next one")
    per_molecule: int = Field(6, ge=2, description="spectra of a molecule and adduct in an epoch, drawn anew each time")
    run: int = Field(32, ge=1, description="spectra of neighbouring windows that stay together in a batch")
    other_source: bool = Field(True, description="prefer positives of another laboratory")


@dataclass(frozen=True)
class Labels:
    """(n,) each: molecule, precursor window (numbered by adduct and mass) and source, −1 where unknown."""

    molecule: NDArray[np.int64]
    window: NDArray[np.int64]
    source: NDArray[np.int64]

    @classmethod
    def of(cls, frame: pl.DataFrame, ppm: float) -> Labels:
        """frame: inchikey14, precursor_mz and, where there, adduct and source."""
        return cls(_numbers(frame["inchikey14"]), windows(frame, ppm), _numbers(_column(frame, "source")))


def windows(frame: pl.DataFrame, ppm: float) -> NDArray[np.int64]:
    """Number of each row's window: rows of one adduct whose ascending precursors lie within `ppm` of the next one."""
    adduct, mz = _numbers(_column(frame, "adduct")), frame["precursor_mz"].to_numpy().astype(np.float64)
    order = np.lexsort((mz, adduct))
    new = np.diff(adduct[order], prepend=-2) != 0
    new |= ~(np.diff(mz[order], prepend=0.0) <= ppm * 1e-6 * mz[order])  # an unknown one lies near to none
    found = np.empty(len(order), np.int64)
    found[order] = np.cumsum(new) - 1
    return found


def epoch(labels: Labels, options: ContrastOptions, batch_size: int, seed: int) -> list[NDArray[np.int64]]:
    """Batches of row numbers: whole windows, neighbours in mass side by side, order and draw by the seed.

    At most `per_molecule` spectra of a molecule and window, of as many sources as it has. A window with one molecule
    and one spectrum of it teaches nothing and is left out.
    """
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(labels.molecule))
    pair = labels.window * (labels.molecule.max(initial=0) + 1) + labels.molecule
    rows = rows[np.lexsort((labels.source[rows], pair[rows]))]
    turn = _rank(pair[rows], labels.source[rows])  # first one of each source, then the second ones
    rows = rows[np.lexsort((turn, pair[rows]))]
    rows = rows[_rank(pair[rows]) < options.per_molecule]
    crowd = np.bincount(labels.window[rows])
    rows = rows[crowd[labels.window[rows]] > 1]
    if not rows.size:
        return []
    rows = rows[np.argsort(labels.window[rows], kind="stable")]
    first = np.diff(labels.window[rows], prepend=-1) != 0
    begin = np.maximum.accumulate(np.where(first, np.arange(len(rows)), 0))
    run = (begin + int(rng.integers(options.run))) // options.run
    shuffled = rng.permutation(int(run.max()) + 1)[run]
    rows = rows[np.argsort(shuffled, kind="stable")]
    return np.array_split(rows, max(1, round(len(rows) / batch_size)))


def teaches(labels: Labels, rows: NDArray[np.int64], options: ContrastOptions) -> bool:
    """Whether a contrast of these rows has anything to tell apart: a molecule with two of them, and a negative."""
    molecules = np.unique(labels.molecule[rows]).size
    if molecules < 2 or molecules == rows.size:
        return False
    pairs = np.unique(np.stack([labels.window[rows], labels.molecule[rows]]), axis=1).shape[1]
    return options.window < 1 or pairs > np.unique(labels.window[rows]).size


def contrast(vectors: Tensor, molecule: Tensor, window: Tensor, source: Tensor, options: ContrastOptions) -> Tensor:
    """Scalar loss of a batch: vectors (n, d) of unit length, labels (n,)."""
    similar = vectors @ vectors.T / options.temperature
    same = molecule.unsqueeze(0) == molecule.unsqueeze(1)
    positive = same & ~torch.eye(len(vectors), dtype=torch.bool, device=vectors.device)
    if options.other_source:
        other = positive & (source.unsqueeze(0) != source.unsqueeze(1))
        positive = torch.where(other.any(1, keepdim=True), other, positive)
    near = (window.unsqueeze(0) == window.unsqueeze(1)) & ~same
    loss = options.window * _told_apart(similar, positive, near, options.positives)
    if options.window < 1:
        loss = loss + (1 - options.window) * _told_apart(similar, positive, ~same, options.positives)
    return loss


def _told_apart(similar: Tensor, positive: Tensor, negative: Tensor, how: str) -> Tensor:
    """Mean over the spectra that have a positive and a negative; 0 where none has."""
    asked = positive.any(1) & negative.any(1)
    if not bool(asked.any()):
        return similar.sum() * 0.0
    similar, positive, negative = similar[asked], positive[asked], negative[asked]
    against = torch.logsumexp(similar.masked_fill(~negative, _NONE), 1, keepdim=True)
    if how == "any":
        best = torch.logsumexp(similar.masked_fill(~positive, _NONE), 1, keepdim=True) - positive.sum(1, True).log()
        return functional.softplus(against - best).mean()
    each = functional.softplus(against - similar) * positive
    return (each.sum(1) / positive.sum(1)).mean()


def _rank(*keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Place of each element among the equal ones next to it."""
    new = np.zeros(len(keys[0]), bool)
    for key in keys:
        new |= np.diff(key, prepend=key[:1] - 1) != 0
    at = np.arange(len(new))
    return at - np.maximum.accumulate(np.where(new, at, 0))


def _column(frame: pl.DataFrame, name: str) -> pl.Series:
    return frame[name] if name in frame.columns else pl.Series(name, [None] * frame.height, dtype=pl.String)


def _numbers(values: pl.Series) -> NDArray[np.int64]:
    """Equal values the same number, −1 for unknown ones."""
    return (values.rank("dense").cast(pl.Int64) - 1).fill_null(-1).to_numpy().astype(np.int64)
