"""Which library spectra may answer a query: the precursor window, and what is left out to keep the question honest.

In a test of library search the library holds the query's own spectrum, further scans of the same vial, and often the
same spectrum under another accession. `Window` says which of these are no candidates.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..errors import ConfigError, SchemaError
from ..spectra.flat import refuse_rows
from ..spectra.library import Library, Scoring, Subsets
from ..spectra.tolerance import Tolerance
from .pairs import Pairs, score_pairs

LEFT_OUT = ("nothing", "spectrum", "source")
#: How near-duplicates are found: the weighted entropy similarity at this tolerance.
DUPLICATE_SCORING = Scoring("entropy", "0.02Da")


@dataclass(frozen=True)
class Window:
    """The candidates of a query among the spectra of a library.

    Args:
        precursor_tolerance: e.g. `"10ppm"`, `"0.5Da"`.
        same: columns that must be equal in query and library; null equals nothing.
        leave_out: `nothing`; `spectrum`: what has the query's identifier; `source`: also all spectra of its
            contributor (a query without source then has its own spectrum left out alone).
        max_similarity: library spectra whose entropy similarity to the query is at least this are near-duplicates
            and left out; None keeps them.
    """

    precursor_tolerance: str = "10ppm"
    same: tuple[str, ...] = ("adduct",)
    leave_out: str = "spectrum"
    max_similarity: float | None = None

    def __post_init__(self) -> None:
        Tolerance.of(self.precursor_tolerance)
        if self.leave_out not in LEFT_OUT:
            raise ConfigError(f"leave_out {self.leave_out!r}", remedy=f"one of {', '.join(LEFT_OUT)}")
        if self.max_similarity is not None and not 0 < self.max_similarity <= 1:
            raise ConfigError(f"max_similarity {self.max_similarity}", remedy="above 0 and at most 1, e.g. 0.99")

    @property
    def columns(self) -> tuple[str, ...]:
        """What queries and library rows need beside their peaks."""
        own = ("source",) if self.leave_out == "source" else ()
        return tuple(dict.fromkeys(("identifier", "precursor_mz", *self.same, *own)))

    def pairs(self, library: Library, queries: pl.DataFrame) -> Pairs:
        """Every query with every one of its candidates, ascending by query and library row.

        Raises SchemaError for a column that queries or library lack, or a query without a precursor m/z.
        """
        for name, columns in (("library", library.rows.columns), ("queries", queries.columns)):
            if absent := [column for column in self.columns if column not in columns]:
                raise SchemaError(f"columns absent: {', '.join(absent)}", where=name, remedy="see docs/schema.md")
        found = _in_window(library.rows, queries, self.precursor_tolerance, self.same)
        found = found.keep(self._allowed(library.rows, queries, found))
        if self.max_similarity is None or not found.row.size:
            return found
        alike, _ = score_pairs(library, queries, DUPLICATE_SCORING, found)
        return found.keep(alike < self.max_similarity)

    def without_duplicates(self, similarity: float) -> Window:
        """This window without near-duplicates."""
        return replace(self, max_similarity=similarity)

    def subsets(self, library: Library, queries: pl.DataFrame) -> Subsets:
        """The same as `Library.rank` takes it."""
        return self.pairs(library, queries).subsets(queries.height)

    def _allowed(self, rows: pl.DataFrame, queries: pl.DataFrame, found: Pairs) -> NDArray[np.bool_]:
        keep = np.ones(found.row.size, dtype=bool)
        names = {"nothing": (), "spectrum": ("identifier",), "source": ("identifier", "source")}[self.leave_out]
        for name in names:
            asked, there = _codes(queries.select(name), rows.select(name))
            keep &= (asked[found.query] != there[found.row]) | (asked[found.query] < 0)
        return keep


class _Segment(NamedTuple):
    """Library rows of one combination of `same`, ascending by precursor m/z."""

    begin: int
    end: int


def _in_window(rows: pl.DataFrame, queries: pl.DataFrame, tolerance: str, same: tuple[str, ...]) -> Pairs:
    """Pairs within the precursor window and equal in `same`."""
    asked_mz, there_mz = _precursor(queries), _precursor(rows)
    remedy = "give precursor_mz, or leave these queries out"
    refuse_rows(queries, np.isnan(asked_mz), "without a precursor m/z", SchemaError, "queries", remedy)
    asked, there = _codes(queries.select(same), rows.select(same)) if same else _all_alike(queries, rows)
    usable = np.flatnonzero((there >= 0) & np.isfinite(there_mz))
    order = usable[np.lexsort((there_mz[usable], there[usable]))]
    code, mz = there[order], there_mz[order]
    low, high = Tolerance.of(tolerance).window(asked_mz)
    begin, end = np.zeros(queries.height, np.int64), np.zeros(queries.height, np.int64)
    for number in np.unique(asked[asked >= 0]):
        segment = _Segment(int(np.searchsorted(code, number)), int(np.searchsorted(code, number, side="right")))
        mine = np.flatnonzero(asked == number)
        inside = mz[segment.begin : segment.end]
        begin[mine] = segment.begin + np.searchsorted(inside, low[mine])
        end[mine] = segment.begin + np.searchsorted(inside, high[mine], side="right")
    sizes = end - begin
    query = np.repeat(np.arange(queries.height), sizes)
    place = np.arange(query.size) - np.repeat(np.cumsum(sizes) - sizes, sizes) + np.repeat(begin, sizes)
    row = order[place]
    ascending = np.lexsort((row, query))
    return Pairs(query[ascending], row[ascending])


def _codes(asked: pl.DataFrame, there: pl.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The same number for equal rows of the two frames, −1 where any column is null."""
    both = pl.concat([asked, there])
    number = both.select(pl.struct(pl.all()).rank("dense").cast(pl.Int64) - 1).to_series()
    known = both.select(pl.all_horizontal(pl.all().is_not_null())).to_series()
    codes = np.where(known.to_numpy(), number.to_numpy(), -1)
    return codes[: asked.height], codes[asked.height :]


def _all_alike(queries: pl.DataFrame, rows: pl.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return np.zeros(queries.height, np.int64), np.zeros(rows.height, np.int64)


def _precursor(frame: pl.DataFrame) -> NDArray[np.float64]:
    return np.array(frame.get_column("precursor_mz").cast(pl.Float64).fill_null(float("nan")).to_numpy())
