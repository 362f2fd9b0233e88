"""Distances on disk: one SQLite table of lower and upper bounds by unordered pair of canonical SMILES."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

from ...errors import DataError
from ..molecule import RDKIT_VERSION
from .solve import Bounds

_TABLE = """create table if not exists mces (
    a text not null, b text not null, rdkit text not null, lower real not null, upper real not null,
    primary key (a, b, rdkit)) without rowid"""


class PairCache:
    """Bounds of pairs, only ever tightened. Values of another RDKit, whose aromaticity may differ, are not used.

    Raises DataError for a file that is no such cache.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._base = sqlite3.connect(path, timeout=60)
        try:
            self._base.execute(_TABLE)
        except sqlite3.DatabaseError as error:
            self._base.close()
            raise DataError(
                f"not a cache of distances: {error}", where=str(path), remedy="delete the file or name another"
            ) from error

    def answers(
        self, pairs: Sequence[tuple[str, str]], threshold: float | None, decide: bool = False
    ) -> dict[tuple[str, str], Bounds]:
        """The pairs whose stored bounds meet or lie above the threshold (with `decide`: do not straddle it)."""
        read = "select lower, upper from mces where a = ? and b = ? and rdkit = ?"
        found = {}
        for a, b in pairs:
            row = self._base.execute(read, (a, b, RDKIT_VERSION)).fetchone()
            if row is None:
                continue
            known = Bounds(*row)
            above = threshold is not None and known.lower > threshold
            below = decide and threshold is not None and known.upper <= threshold
            if known.exact or above or below:
                found[a, b] = known
        return found

    def keep(self, bounds: Mapping[tuple[str, str], Bounds]) -> None:
        """Store bounds; where a pair is there already, the tighter of each."""
        write = """insert into mces values (?, ?, ?, ?, ?) on conflict do update
            set lower = max(lower, excluded.lower), upper = min(upper, excluded.upper)"""
        with self._base:
            self._base.executemany(write, [(a, b, RDKIT_VERSION, k.lower, k.upper) for (a, b), k in bounds.items()])

    def close(self) -> None:
        self._base.close()
