"""Molecule features: computed once a distinct SMILES, kept as flat arrays, gathered for a batch without a loop.

A `Featuriser` turns SMILES into a `Ragged`: named arrays whose rows belong to molecules (one row of fingerprint bytes,
n rows of atoms, 2m rows of edges). `FeatureStore` keeps what was computed in memory and, given a folder, on disk.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from .parallel import compute_many

Array = NDArray[Any]


def gather_rows(offsets: NDArray[np.int64], molecules: NDArray[np.int64]) -> tuple[NDArray[np.int64], Array]:
    """Positions of the rows of these molecules, one after the other, and the new offsets.

    offsets: (n + 1,), molecules: (k,) → ((rows,), (k + 1,)).
    """
    lengths = offsets[molecules + 1] - offsets[molecules]
    starts = np.concatenate([[0], np.cumsum(lengths)])
    shift = np.repeat(offsets[molecules] - starts[:-1], lengths)
    return np.arange(starts[-1]) + shift, starts


@dataclass(frozen=True)
class Ragged:
    """Named arrays (rows, …) with offsets (molecules + 1,): molecule i owns rows offsets[i] … offsets[i + 1]."""

    arrays: Mapping[str, Array]
    offsets: Mapping[str, NDArray[np.int64]]

    def __len__(self) -> int:
        return len(next(iter(self.offsets.values()))) - 1

    def take(self, molecules: NDArray[np.int64]) -> Self:
        """The same for these molecules, in this order."""
        arrays, offsets = {}, {}
        for name, values in self.arrays.items():
            rows, offsets[name] = gather_rows(self.offsets[name], molecules)
            arrays[name] = values[rows]
        return type(self)(arrays, offsets)

    @classmethod
    def join(cls, parts: Sequence[Ragged]) -> Self:
        """Several tables, one after the other."""
        names = parts[0].arrays.keys()
        arrays = {name: np.concatenate([part.arrays[name] for part in parts]) for name in names}
        lengths = {name: np.concatenate([np.diff(part.offsets[name]) for part in parts]) for name in names}
        return cls(arrays, {name: np.concatenate([[0], np.cumsum(lengths[name])]) for name in names})

    @property
    def nbytes(self) -> int:
        return sum(values.nbytes for values in (*self.arrays.values(), *self.offsets.values()))

    @classmethod
    def stack(cls, rows: Sequence[Mapping[str, Array]]) -> Self:
        """One mapping of arrays a molecule → table. At least one molecule."""
        arrays = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
        counts = {name: np.cumsum([0] + [len(row[name]) for row in rows]) for name in rows[0]}
        return cls(arrays, {name: count.astype(np.int64) for name, count in counts.items()})


class Featuriser(Protocol):
    """What an encoder wants to see of a molecule. `key` names it and its settings: a new key is a new cache."""

    @property
    def key(self) -> str: ...

    def compute(self, smiles: Sequence[str]) -> Ragged:
        """Features of at least one SMILES. Raises ChemistryError if one does not parse."""
        ...

    def collate(self, features: Ragged) -> dict[str, Array]:
        """Arrays of a batch as the encoder's `forward` takes them, e.g. edges shifted to the atoms of the batch."""
        ...


class FeatureStore:
    """Features by SMILES.

    Args:
        featuriser: computes what is not there yet.
        folder: cached on disk here, a file of new molecules at each `flush`; None keeps to memory.
        limit, memory: beyond so many molecules or bytes new ones are computed but not kept, so that prediction streams.
        processes, progress: of `parallel.compute_many`, which computes what is new.
    """

    def __init__(
        self,
        featuriser: Featuriser,
        folder: Path | None = None,
        limit: int = 200_000,
        processes: int | None = None,
        progress: Callable[[str], None] | None = None,
        memory: int = 2 << 30,
    ) -> None:
        self.featuriser, self.folder, self.limit, self.memory = featuriser, folder, limit, memory
        self._processes, self._progress = processes, progress
        self._number: dict[str, int] = {}
        self._table: Ragged | None = None
        self._flushed = 0
        if folder is not None:
            self._read(folder)

    def __len__(self) -> int:
        return len(self._number)

    def get(self, smiles: Sequence[str]) -> Ragged:
        """Features of these SMILES, in this order; duplicates are welcome."""
        missing = [s for s in dict.fromkeys(smiles) if s not in self._number]
        extra: dict[str, int] = {}
        table = self._table
        if missing:
            new = compute_many(self.featuriser, missing, self._processes, self._progress)
            table = Ragged.join([*([] if table is None else [table]), *new])
            numbers = {s: len(self._number) + i for i, s in enumerate(missing)}
            if len(self._number) + len(missing) <= self.limit and table.nbytes <= self.memory:
                self._number.update(numbers)
                self._table = table
            else:
                extra = numbers
        if table is None:
            return self.featuriser.compute(["C"]).take(np.zeros(0, np.int64))
        number = self._number
        rows = [number[s] if s in number else extra[s] for s in smiles]
        return table.take(np.asarray(rows, np.int64))

    def flush(self) -> None:
        """Write what is new since the last flush, through a temporary file."""
        if self.folder is None or self._table is None or self._flushed == len(self._number):
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        names = list(self._number)[self._flushed :]
        part = self._table.take(np.arange(self._flushed, len(self._number)))
        digest = hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]
        path = self.folder / f"{self._prefix}-{digest}.npz"
        temporary = path.with_name(f".{path.stem}.tmp{uuid4().hex}.npz")  # two machines may share a process id
        columns: dict[str, Any] = {f"a:{k}": v for k, v in part.arrays.items()}
        columns |= {f"o:{k}": v for k, v in part.offsets.items()}
        np.savez(temporary, smiles=np.array(names), **columns)
        os.replace(temporary, path)
        self._flushed = len(self._number)

    @property
    def _prefix(self) -> str:
        return self.featuriser.key

    def _read(self, folder: Path) -> None:
        parts = []
        for path in sorted(folder.glob(f"{self._prefix}-*.npz")):
            try:
                with path.open("rb") as handle, np.load(handle, allow_pickle=False) as stored:
                    smiles = stored["smiles"].tolist()
                    arrays = {k[2:]: stored[k] for k in stored.files if k.startswith("a:")}
                    offsets = {k[2:]: stored[k] for k in stored.files if k.startswith("o:")}
            except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
                path.unlink(missing_ok=True)  # a damaged cache file is computed anew
                continue
            part = Ragged(arrays, offsets)
            new = np.array([i for i, s in enumerate(smiles) if s not in self._number], np.int64)
            if len(new):
                self._number.update({smiles[i]: len(self._number) + k for k, i in enumerate(new)})
                parts.append(part.take(new))
        self._table = Ragged.join(parts) if parts else None
        self._flushed = len(self._number)
