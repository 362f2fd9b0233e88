"""Which library spectra each query of a search may hit: lists, precursor windows, equal or unequal columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..errors import SchemaError

_EMPTY = np.zeros(0, np.int64)
_NO_CODES = np.zeros(0, np.int32)


class Codes(NamedTuple):
    """Numbers that stand for values, equal ones the same: of the queries and of the library rows; −1 equals nothing."""

    queries: NDArray[np.int32]
    rows: NDArray[np.int32]


class Subsets(NamedTuple):
    """Which library rows each query may hit: those of list `of[q]`, or all rows where that is −1.

    List k is `members[offsets[k]:offsets[k + 1]]`, ascending library rows; queries may share a list. Of these, only
    rows whose precursor m/z lies in `windows[q]`, lowest and highest (Da), that are equal in `same`, not in `other`,
    and, of the spectra by ascending precursor m/z, number `stretch[0]` to `stretch[1]` − 1.
    """

    of: NDArray[np.int64]
    offsets: NDArray[np.int64]
    members: NDArray[np.int64]
    windows: NDArray[np.float64] | None = None
    same: Codes | None = None
    other: Codes | None = None
    stretch: tuple[int, int] | None = None

    @classmethod
    def everything(cls, queries: int) -> Subsets:
        return cls(np.full(queries, -1), np.zeros(1, np.int64), _EMPTY)

    @classmethod
    def from_lists(cls, of: NDArray[np.int64], lists: Sequence[NDArray[np.int64]]) -> Subsets:
        offsets = np.concatenate(([0], np.cumsum([len(one) for one in lists]))).astype(np.int64)
        members = np.concatenate([_EMPTY, *(np.sort(one) for one in lists)]).astype(np.int64)
        return cls(np.asarray(of, np.int64), offsets, members)

    def rows_of(self, query: int) -> NDArray[np.int64]:
        """The library rows of one query that has a list."""
        number = self.of[query]
        return self.members[self.offsets[number] : self.offsets[number + 1]]


class Allowed(NamedTuple):
    """`Subsets` as the kernels read them: spectra by their place in the index, a window as a stretch of places."""

    begin: NDArray[np.int64]
    end: NDArray[np.int64]
    of: NDArray[np.int64]
    offsets: NDArray[np.int64]
    members: NDArray[np.int64]
    same_queries: NDArray[np.int32]
    same_rows: NDArray[np.int32]
    other_queries: NDArray[np.int32]
    other_rows: NDArray[np.int32]


def allowed(subsets: Subsets, order: NDArray[np.int64], precursor: NDArray[np.float64]) -> Allowed:
    """`order`: the library row of each spectrum of the index; `precursor`: its m/z, ascending, NaN last."""
    n = subsets.of.size
    begin, end = np.zeros(n, np.int64), np.full(n, order.size, np.int64)
    if subsets.windows is not None:
        ascending = np.argsort(subsets.windows[:, 0])  # neighbours in the array are found in the cache
        low, high = subsets.windows[ascending].T
        begin[ascending] = np.searchsorted(precursor, low)
        end[ascending] = np.searchsorted(precursor, high, side="right")
    if subsets.stretch is not None:
        begin, end = np.maximum(begin, subsets.stretch[0]), np.minimum(end, subsets.stretch[1])
    end = np.maximum(begin, end)
    members = subsets.members
    if members.size:
        place = np.empty(order.size, np.int64)
        place[order] = np.arange(order.size)
        number = np.repeat(np.arange(subsets.offsets.size - 1), np.diff(subsets.offsets))
        members = place[members]
        members = members[np.lexsort((members, number))]
    same = subsets.same or Codes(_NO_CODES, _NO_CODES)
    other = subsets.other or Codes(_NO_CODES, _NO_CODES)
    return Allowed(begin, end, subsets.of, subsets.offsets, members, *same, *other)


class Encoder:
    """Numbers for the values of some library columns; a null in any of them equals nothing."""

    def __init__(self, rows: pl.DataFrame, columns: Sequence[str]) -> None:
        self._columns = list(columns)
        require(rows, columns, "library")
        table = rows.select(self._columns)
        self._keys = table.unique(maintain_order=True).drop_nulls().with_row_index("_code")
        self.rows = self._encode(table)

    def queries(self, queries: pl.DataFrame) -> Codes:
        require(queries, self._columns, "queries")
        return Codes(self._encode(queries.select(self._columns)), self.rows)

    def _encode(self, table: pl.DataFrame) -> NDArray[np.int32]:
        found = table.join(self._keys, on=self._columns, how="left", maintain_order="left")
        return found.get_column("_code").cast(pl.Int32).fill_null(-1).to_numpy().copy()


def require(frame: pl.DataFrame, columns: Sequence[str], where: str) -> None:
    """Raises SchemaError naming the columns that are absent."""
    absent = [name for name in columns if name not in frame.columns]
    if absent:
        known = ", ".join(frame.columns)
        raise SchemaError(f"columns absent: {', '.join(absent)}", where=where, remedy=f"there are {known}")
