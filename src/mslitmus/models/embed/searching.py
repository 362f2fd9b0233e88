"""Library search by learned vectors: an opened library that answers `search` as `spectra.library.Library` does.

The part of a reference is handed out with this in place of its index, and all that follows (merging of libraries, hit
files, the page) stays as it is. Matched peaks and explained intensity are still told, by the entropy similarity's rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
_WIDER = 20  # of the nearest are looked at for each hit, at first: many are of one molecule
_PAIRS = 2_000_000  # looked at a time
_ROUNDING = 1e-6  # of the 32-bit cosines that choose what is looked at
_HIT = [
    "_query", "_floor", "identifier", "library_identifier", "score", "matched_peaks", "explained", "explained_library",
    "rank",
]  # fmt: skip


@dataclass(frozen=True)
class EmbeddingSearch(Search):
    """A `Search` whose score is the cosine of learned vectors."""

    score: str = NAME

    def __post_init__(self) -> None:
        if self.score != NAME:
            what = f"score {self.score!r} beside an embedder, whose hits are ranked by the cosine of vectors"
            remedy = "leave out --score, or --embedder; a study's library-sum weighs both (docs/embeddings.md)"
            raise ConfigError(what, remedy=remedy)
        if (self.intensity_power, self.mz_power) != (Search.intensity_power, Search.mz_power):
            what = "powers of intensity or m/z beside an embedder, which weighs peaks itself"
            raise ConfigError(what, remedy="leave out --intensity-power and --mz-power")
        replace(Search(), **{k: v for k, v in vars(self).items() if k != "score"})  # all other checks
        if self.shift is not None:
            raise ConfigError("an analogue search by vectors", remedy="search openly (--open): vectors know no shift")

    def told(self) -> str:
        where = "any precursor" if self.precursor is None else f"precursor within {self.precursor}"
        return f"cosine of learned vectors, {where}"


@dataclass(frozen=True)
class _Asked:
    """Queries with their vectors (n, width), and what of the library is a hit: `group` (rows,) holds the number of
    each row's molecule, of which the best spectrum counts."""

    queries: pl.DataFrame
    vectors: Vectors
    tolerance: str
    top: int
    group: NDArray[np.int64]
    least: int


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
        """As `Library.search`, over all vectors; options of peaks in `other` mean nothing here."""
        mine, allowed = self.embedder.embed(queries), self._of(only or {})
        asked = _Asked(queries, mine, tolerance, top_k, _groups(self.inner.rows, group_by), min_matched_peaks)
        if precursor_tolerance is not None:
            found = Window(precursor_tolerance, tuple(same), leave_out="nothing").pairs(self.inner, queries)
            return self._kept(asked, found.keep(allowed[found.row])).drop("_query", "_floor")
        parts = [self._openly(asked, few, np.flatnonzero(rows & allowed)) for few, rows in self._alike(queries, same)]
        blank = self._kept(asked, Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64)))
        return pl.concat([blank, *parts]).sort("_query", "rank").drop("_query", "_floor")

    def _openly(self, asked: _Asked, left: NDArray[np.int64], rows: NDArray[np.int64]) -> pl.DataFrame:
        """The best hits of these queries among these rows, whatever the precursor.

        So many of the nearest are looked at that no other one can be among the hits: if the last hit is not clearly
        nearer than the last that was looked at, or there are too few, four times as many are.
        """
        parts: list[pl.DataFrame] = []
        vectors = self.vectors if len(rows) == len(self.vectors) else self.vectors[rows]
        wanted = min(asked.top * _WIDER, len(rows))
        while left.size and wanted:
            again = []
            for few in np.split(left, range(step := max(1, _PAIRS // wanted), len(left), step)):
                near = rows[nearest(asked.vectors[few], vectors, wanted, self.engine)[0]]
                found = self._kept(asked, Pairs(np.repeat(few, wanted), np.sort(near, axis=1).ravel()))
                last = found.group_by("_query").agg(pl.col("score").min(), pl.col("_floor").first(), pl.len())
                sure = (pl.col("len") == asked.top) & (pl.col("score") > pl.col("_floor") + _ROUNDING)
                done = few if wanted == len(rows) else last.filter(sure)["_query"].to_numpy()
                parts.append(found.filter(pl.col("_query").is_in(done.tolist())))
                again.append(np.setdiff1d(few, done))
            left, wanted = np.concatenate(again), min(4 * wanted, len(rows))
        return pl.concat(parts) if parts else self._kept(asked, Pairs(left[:0], rows[:0]))

    def _kept(self, asked: _Asked, pairs: Pairs) -> pl.DataFrame:
        """The hits among these pairs (ascending), with `_query` and `_floor`, the lowest cosine looked at."""
        value = cosines(asked.vectors, self.vectors, pairs.query, pairs.row)
        table = pl.DataFrame({"_query": pairs.query, "_row": pairs.row, "_group": asked.group[pairs.row]})
        table = table.with_columns(
            score=pl.Series(value), library_identifier=self.inner.rows["identifier"].gather(pairs.row)
        ).with_columns(_floor=pl.col("score").min().over("_query"))
        if asked.least > 1:
            table = self._measured(asked, table).filter(pl.col("matched_peaks") >= asked.least)
        table = table.sort("_query", "score", "library_identifier", descending=[False, True, False])
        table = table.unique(["_query", "_group"], keep="first", maintain_order=True)
        table = table.with_columns(rank=pl.int_range(1, pl.len() + 1).over("_query"))
        table = table.filter(pl.col("rank") <= asked.top)
        if asked.least <= 1:
            table = self._measured(asked, table)
        return table.with_columns(identifier=asked.queries["identifier"].gather(table["_query"])).select(_HIT)

    def _measured(self, asked: _Asked, table: pl.DataFrame) -> pl.DataFrame:
        """With matched peaks and explained intensity, by the entropy similarity's rule."""
        ordered = table.sort("_query", "_row")
        pairs = Pairs(*(ordered[name].to_numpy().astype(np.int64) for name in ("_query", "_row")))
        shared = measure_pairs(self.inner, asked.queries, Scoring("entropy", asked.tolerance), pairs)
        told = {"matched_peaks": shared.matched, "explained": shared.explained}
        told["explained_library"] = shared.explained_library
        found = ordered.with_columns(pl.Series(name, values) for name, values in told.items())
        return found.sort("_query", "score", "library_identifier", descending=[False, True, False])

    def _alike(
        self, queries: pl.DataFrame, same: Sequence[str]
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.bool_]]]:
        """Queries of equal values in `same`, and which rows have these values too. Null equals nothing."""
        if not same:
            yield np.arange(queries.height), np.ones(self.inner.rows.height, bool)
            return
        numbered = queries.select(*same, _query=pl.int_range(pl.len())).drop_nulls()
        for values, few in numbered.group_by(*same, maintain_order=True):
            equal = [self.inner.rows[name] == value for name, value in zip(same, values, strict=True)]
            rows = np.logical_and.reduce([each.fill_null(False).to_numpy() for each in equal])
            yield few["_query"].to_numpy().astype(np.int64), rows

    def _of(self, only: Mapping[str, Sequence[str]]) -> NDArray[np.bool_]:
        """Which rows have one of the values asked for in every column."""
        columns = [self.inner.rows[name].is_in(list(values)).fill_null(False) for name, values in only.items()]
        kept = np.ones(self.inner.rows.height, bool)
        for column in columns:
            kept &= column.to_numpy()
        return kept


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
