"""Batches: spectra grouped so that each distinct molecule of a batch is encoded once.

Everything is a flat array prepared once; a batch is gathered by index, without a Python loop over peaks or atoms.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from .conditioning import ConditionVocabulary
from .features import FeatureStore, Featuriser, Ragged, gather_rows
from .ions import describe
from .parts import Batch, FlatPeaks, TargetTable


def training_peaks(frame: pl.DataFrame, heads: FeatureStore | None = None) -> FlatPeaks:
    """`flat_peaks` with molecules and ions; `heads` holds what the head wants to see of the molecules."""
    distinct, molecule = number_molecules(frame["smiles"].to_list())
    features = None if heads is None else heads.get(distinct)
    return replace(flat_peaks(frame, molecule), smiles=tuple(distinct), ions=describe(frame), features=features)


def flat_peaks(frame: pl.DataFrame, molecule: NDArray[np.int64]) -> FlatPeaks:
    """The measured peaks of a SPECTRA frame."""
    lengths = frame["mzs"].list.len().fill_null(0).to_numpy().astype(np.int64)
    filled = frame.filter(pl.col("mzs").list.len() > 0)
    return FlatPeaks(
        filled["mzs"].explode().to_numpy().astype(np.float64),
        filled["intensities"].explode().to_numpy().astype(np.float32),
        np.concatenate([[0], np.cumsum(lengths)]),
        frame["precursor_mz"].to_numpy().astype(np.float64),
        molecule,
    )


def number_molecules(smiles: Sequence[str]) -> tuple[list[str], NDArray[np.int64]]:
    """Distinct SMILES in order of appearance, and the number of each row's."""
    numbers: dict[str, int] = {}
    rows = [numbers.setdefault(text, len(numbers)) for text in smiles]
    return list(numbers), np.asarray(rows, np.int64)


@dataclass(frozen=True)
class SpectrumTable:
    """All spectra of a fold, ready to be gathered.

    Attributes:
        features: of the distinct molecules.
        molecule: (n,) each spectrum's molecule.
        conditions: named arrays (n, …).
        precursor_mz: (n,) Da.
        ions: what the adducts say, (n,) each.
        parts: the head's featuriser and its features of the distinct molecules, or None.
        targets: None for queries.
    """

    featuriser: Featuriser
    features: Ragged
    molecule: NDArray[np.int64]
    conditions: Mapping[str, NDArray[Any]]
    precursor_mz: NDArray[np.float64]
    ions: Mapping[str, NDArray[Any]]
    parts: tuple[Featuriser, Ragged] | None = None
    targets: TargetTable | None = None

    @classmethod
    def of(
        cls,
        frame: pl.DataFrame,
        store: FeatureStore,
        vocabulary: ConditionVocabulary,
        targets: TargetTable | None = None,
        heads: FeatureStore | None = None,
    ) -> SpectrumTable:
        """`heads` is the store of what the head wants to see of molecules."""
        distinct, molecule = number_molecules(frame["smiles"].to_list())
        precursor = frame["precursor_mz"].to_numpy().astype(np.float64)
        parts = None if heads is None else (heads.featuriser, heads.get(distinct))
        conditions, ions = vocabulary.encode(frame), describe(frame)
        return cls(store.featuriser, store.get(distinct), molecule, conditions, precursor, ions, parts, targets)

    def __len__(self) -> int:
        return len(self.molecule)

    def batch(self, rows: NDArray[np.int64], device: torch.device | str = "cpu") -> Batch:
        """These spectra, their molecules once each."""
        distinct, index = np.unique(self.molecule[rows], return_inverse=True)
        molecules = self.featuriser.collate(self.features.take(distinct))
        parts = {} if self.parts is None else self.parts[0].collate(self.parts[1].take(distinct))
        return Batch(
            tensors(molecules, device),
            tensor(index.astype(np.int64), device),
            tensors({name: values[rows] for name, values in self.conditions.items()}, device),
            tensor(self.precursor_mz[rows], device),
            tensors({name: values[rows] for name, values in self.ions.items()}, device),
            tensors(parts, device),
            tensors(self._targets(rows), device),
        )

    def _targets(self, rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        if self.targets is None:
            return {}
        entries, starts = gather_rows(self.targets.offsets, rows)
        columns = {name: values[entries] for name, values in self.targets.columns.items()}
        return {**columns, "row": np.repeat(np.arange(len(rows)), np.diff(starts))}


def tensor(values: NDArray[Any], device: torch.device | str) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values)).to(device)


def tensors(arrays: Mapping[str, NDArray[Any]], device: torch.device | str) -> dict[str, Tensor]:
    return {name: tensor(np.asarray(values), device) for name, values in arrays.items()}


def epoch_rows(
    molecule: NDArray[np.int64], batch_size: int, per_molecule: int, seed: int, at_most: int | None = None
) -> list[NDArray[np.int64]]:
    """One epoch of batches (arrays of row numbers), shuffled by `seed`.

    The spectra of a molecule are dealt, in random order, into groups of at most `per_molecule` that stay together:
    1 is a plain shuffle, a large number puts all spectra of a molecule into one batch. Every row comes exactly once,
    unless `at_most` limits the spectra of a molecule: then so many, drawn anew by each seed.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(molecule))
    order = order[np.argsort(molecule[order], kind="stable")]
    sorted_molecules = molecule[order]
    first = np.concatenate([[True], sorted_molecules[1:] != sorted_molecules[:-1]])
    rank = np.arange(len(order)) - np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))
    if at_most is not None:
        drawn = rank < at_most
        order, first, rank = order[drawn], first[drawn], rank[drawn]
    group = np.cumsum(first | (rank % per_molecule == 0)) - 1
    shuffled = rng.permutation(group[-1] + 1)[group]
    rows = order[np.argsort(shuffled, kind="stable")]
    batches = max(1, round(len(rows) / batch_size))
    return [np.sort(part) for part in np.array_split(rows, batches)]


def like_length(
    rows: Sequence[NDArray[np.int64]], lengths: NDArray[np.integer[Any]], seed: int, bucket: int = 24
) -> list[NDArray[np.int64]]:
    """Batches of rows of like length, so that little is padded: `bucket` batches at a time are sorted by `lengths` (of
    every row) and dealt anew, and the batches shuffled by `seed`."""
    batches: list[NDArray[np.int64]] = []
    for start in range(0, len(rows), bucket):
        together = np.concatenate(rows[start : start + bucket])
        ordered = together[np.argsort(lengths[together], kind="stable")]
        batches.extend(np.array_split(ordered, len(rows[start : start + bucket])))
    order = np.random.default_rng([seed, bucket]).permutation(len(batches))
    return [batches[number] for number in order]


class EpochBatches:
    """A sized iterable of the batches of one epoch."""

    def __init__(self, table: SpectrumTable, rows: Sequence[NDArray[np.int64]], device: torch.device | str) -> None:
        self.table, self.rows, self.device = table, rows, device

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Batch]:
        for rows in self.rows:
            yield self.table.batch(rows, self.device)
