"""Which library spectra may answer a query: the precursor window, and what is left out to keep the question honest.

In a test of library search the library holds the query's own spectrum, further scans of the same vial, and often the
same spectrum under another accession. `Window` says which of these are no candidates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..errors import ConfigError
from ..spectra.library import Library, Scoring
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
            contributor. Spectra that state none count as those of one contributor, since they may be; `told` says
            how many.
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

    def pairs(self, library: Library, queries: pl.DataFrame, threads: int | None = None) -> Pairs:
        """Every query with every one of its candidates, ascending by query and library row.

        Raises SchemaError for a column that queries or library lack, or a query without a precursor m/z.
        """
        found = self._left(library, queries, _in_window(library, queries, self.precursor_tolerance, self.same))
        if self.max_similarity is None or not found.row.size:
            return found
        alike, _ = score_pairs(library, queries, DUPLICATE_SCORING, found, threads)
        return found.keep(alike < self.max_similarity)

    def told(self, queries: pl.DataFrame) -> str | None:
        """What is to be said of queries whose contributor is unknown; None where there is nothing."""
        unknown = queries["source"].null_count() if self.leave_out == "source" else 0
        if not unknown:
            return None
        what = f"{unknown:,} of {queries.height:,} spectra state no contributor"
        return f"{what}: they count as one contributor's, and none of them is a candidate of another"

    def _left(self, library: Library, queries: pl.DataFrame, found: Pairs) -> Pairs:
        """Without what is left out."""
        for name in {"nothing": (), "spectrum": ("identifier",), "source": ("identifier", "source")}[self.leave_out]:
            codes = library.subsets(queries, exclude=name).other
            assert codes is not None
            asked, there = codes.queries[found.query], codes.rows[found.row]
            unknown = [frame[name].is_null().to_numpy() for frame in (queries, library.rows)]
            both_unknown = unknown[0][found.query] & unknown[1][found.row]
            found = found.keep(np.where(both_unknown, name != "source", (asked != there) | (asked < 0)))
        return found


def _in_window(library: Library, queries: pl.DataFrame, tolerance: str, same: tuple[str, ...]) -> Pairs:
    """Pairs within the precursor window and equal in `same`."""
    subsets = library.subsets(queries, tolerance, same)
    assert subsets.windows is not None
    ordered = library.precursor_mz[library.order]  # NaN last
    begin = np.searchsorted(ordered, subsets.windows[:, 0])
    sizes = np.maximum(np.searchsorted(ordered, subsets.windows[:, 1], side="right") - begin, 0)
    query = np.repeat(np.arange(queries.height), sizes)
    place = np.arange(query.size) - np.repeat(np.cumsum(sizes) - sizes, sizes) + np.repeat(begin, sizes)
    row = library.order[place]
    if subsets.same is not None:
        asked, there = subsets.same.queries[query], subsets.same.rows[row]
        keep: NDArray[np.bool_] = (asked == there) & (asked >= 0)
        query, row = query[keep], row[keep]
    ascending = np.lexsort((row, query))
    return Pairs(query[ascending], row[ascending])
