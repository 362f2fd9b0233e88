"""Library search by learned vectors: an opened library that answers `search` as `spectra.library.Library` does.

The part of a reference is handed out with this in place of its index, and all that follows (merging of libraries, hit
files, the page) stays as it is. Matched peaks and explained intensity are still told, by the entropy similarity's rule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...errors import ConfigError
from ...search.libraries import Reference
from ...search.pairs import Pairs, measure_pairs
from ...search.searching import Search
from ...search.windows import Window
from ...spectra.library import Library, Scoring
from .embedder import Embedder, Vectors
from .library_embedding import cosines
from .nearest import Engine, nearest

NAME = "embedding"
_CHUNK = 5000  # library spectra embedded at a time
_WIDER = 50  # hits looked at for one that is kept: spectra of one molecule, too few peaks


@dataclass(frozen=True)
class EmbeddingSearch(Search):
    """A `Search` whose score is the cosine of learned vectors."""

    score: str = NAME

    def __post_init__(self) -> None:
        if self.score == Search.score:  # what stands where none was named
            object.__setattr__(self, "score", NAME)
        if self.score != NAME:
            raise ConfigError(f"score {self.score!r} beside an embedder", remedy=f"leave out --score, or take {NAME}")
        replace(Search(), **{k: v for k, v in vars(self).items() if k != "score"})  # all other checks
        if self.shift is not None:
            raise ConfigError("an analogue search by vectors", remedy="search openly (--open): vectors know no shift")

    def told(self) -> str:
        where = "any precursor" if self.precursor is None else f"precursor within {self.precursor}"
        return f"cosine of learned vectors, {where}"


@dataclass(frozen=True)
class EmbeddedLibrary:
    """A library with the vectors of its rows, (n, width)."""

    inner: Library
    embedder: Embedder
    vectors: Vectors
    engine: Engine = "exact"

    @classmethod
    def of(cls, library: Library, embedder: Embedder, engine: Engine = "exact") -> EmbeddedLibrary:
        """Embeds the library's spectra, a few thousand at a time."""
        starts = range(0, library.rows.height, _CHUNK)
        parts = [embedder.embed(library.spectra(np.arange(s, min(s + _CHUNK, library.rows.height)))) for s in starts]
        return cls(library, embedder, np.concatenate([np.zeros((0, embedder.width), np.float32), *parts]), engine)

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "inner"), name)  # rows, spectra and all else are the library's

    def search(
        self, queries: pl.DataFrame, score: str, tolerance: str, precursor_tolerance: str | None = None, *,
        top_k: int = 10, same: Sequence[str] = (), group_by: str | None = None, min_matched_peaks: int = 1,
        only: Mapping[str, Sequence[str]] | None = None, **other: Any,
    ) -> pl.DataFrame:  # fmt: skip
        """As `Library.search`; options of peaks in `other` mean nothing here."""
        mine, asked_for = self.embedder.embed(queries), np.flatnonzero(self._of(only or {}))
        if precursor_tolerance is not None or same:
            pairs = self._windowed(queries, precursor_tolerance, tuple(same))
            kept = np.isin(pairs.row, asked_for)
            pairs = Pairs(pairs.query[kept], pairs.row[kept])
        else:
            wanted = min(top_k * (_WIDER if group_by or min_matched_peaks > 1 else 1), len(asked_for))
            found_rows, _ = nearest(mine, self.vectors[asked_for], wanted, self.engine)
            rows = asked_for[found_rows]
            pairs = Pairs(np.repeat(np.arange(len(rows)), rows.shape[1]), np.sort(rows, axis=1).ravel())
        value = cosines(mine, self.vectors, pairs.query, pairs.row)
        shared = measure_pairs(self.inner, queries, Scoring("entropy", tolerance), pairs)
        found = pl.DataFrame(
            {
                "_query": pairs.query,
                "identifier": queries["identifier"].gather(pairs.query),
                "library_identifier": self.inner.rows["identifier"].gather(pairs.row),
                "score": value,
                "matched_peaks": shared.matched,
                "explained": shared.explained,
                "explained_library": shared.explained_library,
                "_group": _groups(self.inner.rows, group_by)[pairs.row],
            }
        ).filter((pl.col("matched_peaks") >= min_matched_peaks) | pl.lit(min_matched_peaks <= 1))
        found = found.sort("_query", "score", "library_identifier", descending=[False, True, False])
        found = found.unique(["_query", "_group"], keep="first", maintain_order=True)
        found = found.with_columns(rank=pl.int_range(1, pl.len() + 1).over("_query"))
        return found.filter(pl.col("rank") <= top_k).drop("_query", "_group")

    def _of(self, only: Mapping[str, Sequence[str]]) -> NDArray[np.bool_]:
        """Which rows have one of the values asked for in every column."""
        columns = [self.inner.rows[name].is_in(list(values)).fill_null(False) for name, values in only.items()]
        kept = np.ones(self.inner.rows.height, bool)
        for column in columns:
            kept &= column.to_numpy()
        return kept

    def _windowed(self, queries: pl.DataFrame, tolerance: str | None, same: tuple[str, ...]) -> Pairs:
        window = Window(tolerance or "100000Da", same, leave_out="nothing")
        return window.pairs(self.inner, queries)


def _groups(rows: pl.DataFrame, column: str | None) -> NDArray[np.int64]:
    """Equal values of the column the same number; each null, and without a column each row, one of its own."""
    if column is None:
        return np.arange(rows.height)
    number = (rows[column].rank("dense").cast(pl.Int64) - 1).fill_null(-1).to_numpy().astype(np.int64)
    return np.where(number < 0, rows.height + np.arange(rows.height), number)


def embedded(references: Sequence[Reference], embedder: Embedder, engine: Engine = "exact") -> list[Reference]:
    """The references with every part embedded."""
    found = []
    for reference in references:
        parts = [
            replace(part, library=EmbeddedLibrary.of(part.library, embedder, engine))  # type: ignore[arg-type]
            for part in reference.parts
        ]
        found.append(replace(reference, parts=tuple(parts)))
    return found
