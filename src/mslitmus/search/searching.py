"""Queries against libraries: each part of each library searched, the best hits of a query merged.

`search` answers one frame of queries; `stream` reads, searches and hands on batch by batch, with bounded memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
import polars as pl

from ..errors import ConfigError, unknown_name
from ..schemas import HITS
from ..spectra.flat import precursors
from ..spectra.library import Scoring
from ..spectra.tolerance import Tolerance
from .first_places import molecule_of
from .libraries import Part, Reference

#: Columns of a library spectrum that stand in a hit.
_OF_LIBRARY = ("name", "smiles", "inchikey14", "formula", "adduct")
GROUPS = ("molecule", "spectrum")


@dataclass(frozen=True)
class Search:
    """What is asked of the libraries.

    Args:
        score, tolerance, intensity_power, mz_power: how two spectra are compared, see `spectra.library`.
        precursor: how far the precursor m/z may lie apart, e.g. `10ppm`; None searches openly.
        shift: analogue search: window of query − library precursor (Da) in place of `precursor`.
        top_k: hits a query at most.
        per: `molecule`: the best spectrum of each molecule is a hit; `spectrum`: every spectrum.
        least_score, least_peaks: weaker hits are none.
        same: columns that must be equal in query and library, e.g. `adduct`; what is unknown equals nothing.
        threads: None takes all.
        only: (column, values) each: library spectra of other values are no hits.
    """

    score: str = "entropy"
    tolerance: str = "0.01Da"
    intensity_power: float = 1.0
    mz_power: float = 0.0
    precursor: str | None = "10ppm"
    shift: tuple[float, float] | None = None
    top_k: int = 10
    per: str = "molecule"
    least_score: float = 0.2
    least_peaks: int = 1
    same: tuple[str, ...] = ()
    threads: int | None = None
    only: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def __post_init__(self) -> None:
        _ = self.scoring  # refuses what is none
        if self.precursor is not None:
            Tolerance.of(self.precursor)
        if self.shift is not None and not self.shift[0] <= self.shift[1]:
            raise ConfigError(f"shift {self.shift}: the lower end is above the upper", remedy="e.g. -200 200")
        if self.top_k < 1:
            raise ConfigError(f"top_k={self.top_k}", remedy="1 or more")
        if self.per not in GROUPS:
            raise ConfigError(f"hits per {self.per!r}", remedy="molecule or spectrum")
        if not 0 <= self.least_score <= 1:
            raise ConfigError(f"least score {self.least_score}", remedy="0 to 1")

    @property
    def scoring(self) -> Scoring:
        return Scoring(self.score, self.tolerance, self.intensity_power, self.mz_power)

    @property
    def needs_precursor(self) -> bool:
        return self.precursor is not None or self.shift is not None

    def told(self) -> str:
        """In words: `entropy similarity, fragments within 0.01Da, precursor within 10ppm`."""
        powers = ""
        if self.intensity_power != 1 or self.mz_power != 0:
            powers = f" (intensity^{self.intensity_power:g}, m/z^{self.mz_power:g})"
        where = "any precursor" if self.precursor is None else f"precursor within {_spaced(self.precursor)}"
        if self.shift is not None:
            where = f"precursor {self.shift[0]:+g} to {self.shift[1]:+g} Da of the library's"
        only = "".join(f", {name} {' or '.join(values)}" for name, values in self.only)
        return f"{self.score} similarity{powers}, fragments within {_spaced(self.tolerance)}, {where}{only}"


class Confidence(Protocol):
    """Score → probability and q-value, calibrated elsewhere (`search.confidence`)."""

    def apply(self, hits: pl.DataFrame) -> pl.DataFrame:
        """`hits` (schema HITS) with `probability` and `q_value`."""
        ...


class Engine(Protocol):
    """Searches the libraries elsewhere, or in pieces (`search.sharding`)."""

    def found(self, queries: pl.DataFrame, asked: Search) -> list[pl.DataFrame]:
        """What `found` gives of every piece; together the pieces are the libraries."""
        ...


class Answer(NamedTuple):
    """One batch: queries as they were searched, their hits (schema HITS, best first), queries that could not be asked.

    `unasked` is the boolean column of the queries without a precursor m/z, where the search needs one.
    """

    queries: pl.DataFrame
    hits: pl.DataFrame
    unasked: pl.Series


def stream(
    queries: Iterable[pl.DataFrame],
    references: Sequence[Reference],
    asked: Search,
    confidence: Confidence | None = None,
    notes: Counter[str] | None = None,
    engine: Engine | None = None,
) -> Iterator[Answer]:
    """An answer a frame of queries, in their order; see `search`."""
    for frame in queries:
        unknown = pl.Series(np.isnan(precursors(frame)))
        unasked = unknown if asked.needs_precursor else pl.zeros(frame.height, pl.Boolean, eager=True)
        if notes is not None:
            notes["queries without precursor m/z, not searched"] += int(unasked.sum())
        some = frame.filter(~unasked)
        if confidence is None:
            hits = search(some, references, asked, engine)
        else:
            hits = _sure(some, references, asked, confidence, engine)
        yield Answer(frame, hits, unasked)


def _sure(
    queries: pl.DataFrame, references: Sequence[Reference], asked: Search, confidence: Confidence, engine: Engine | None
) -> pl.DataFrame:
    """The hits asked for with their confidence, which reads the best molecules, however weak and in whatever shape the
    hits are wanted."""
    wider = replace(asked, per="molecule", least_peaks=1, least_score=0.0, top_k=max(asked.top_k, 2))
    hits = confidence.apply(search(queries, references, wider, engine))
    if (asked.per, asked.least_peaks) == (wider.per, wider.least_peaks):
        return hits.filter((pl.col("score") >= asked.least_score) & (pl.col("rank") <= asked.top_k))
    best = hits.filter(pl.col("rank") == 1).select("identifier", "probability", "q_value", _molecule=molecule_of())
    wanted = search(queries, references, asked, engine).drop("probability", "q_value")
    wanted = wanted.with_columns(_molecule=molecule_of())
    return wanted.join(best, on=["identifier", "_molecule"], how="left", maintain_order="left").select(list(HITS))


def search(
    queries: pl.DataFrame, references: Sequence[Reference], asked: Search, engine: Engine | None = None
) -> pl.DataFrame:
    """The hits of each query over all libraries, schema HITS, queries in their order, best first.

    Args:
        queries: SPECTRA with unique identifiers. A query of known ion mode meets library spectra of that mode and of
            unknown mode; one of unknown mode meets all.
        engine: searches in place of this process.

    Equal scores: the library named first, then the lower identifier. A molecule found in several libraries is one hit.
    """
    if engine is None:
        pieces = [piece for n, each in enumerate(references) for piece in found(queries, each, n, asked)]
    else:
        pieces = engine.found(queries, asked)
    if not pieces:
        return pl.DataFrame(schema=HITS)
    return _best(pl.concat(pieces, how="diagonal_relaxed"), queries, asked)


def found(
    queries: pl.DataFrame, reference: Reference, number: int, asked: Search, shard: tuple[int, int] | None = None
) -> list[pl.DataFrame]:
    """The hits of each part of one library, to be merged by `search`.

    Args:
        number: the library's place among those that are searched.
        shard: (i, k): only the i-th of k stretches of every part.
    """
    out = []
    for part in reference.parts:
        mode = pl.col("ion_mode")
        some = queries if part.ion_mode is None else queries.filter(mode.is_null() | (mode == part.ion_mode))
        if some.height:
            hits = _told(part, _part_hits(part, some, asked, shard), some)
            out.append(hits.with_columns(library=pl.lit(reference.name), _library=pl.lit(number)))
    return out


def unstored(references: Sequence[Reference], scoring: Scoring) -> list[str]:
    """The stored libraries whose index for a scoring is made in memory at every search, and how to store it."""
    return [
        f"{each.name}: its index for this score is not stored and is made in memory; "
        f"`mslitmus library add {each.place} {scoring.told()}` stores it"
        for each in references
        if each.kind == "index" and not all(part.library.stores(scoring) for part in each.parts)
    ]


def check_only(references: Sequence[Reference], asked: Search) -> None:
    """Raises ConfigError for a value of `asked.only` that no library spectrum has."""
    for name, values in asked.only:
        there = pl.concat([part.library.rows.get_column(name) for each in references for part in each.parts])
        known = there.drop_nulls().unique().sort().to_list()
        for value in values:
            if value not in known:
                raise unknown_name(name, value, known)


def _part_hits(part: Part, queries: pl.DataFrame, asked: Search, shard: tuple[int, int] | None) -> pl.DataFrame:
    """`Library.search` of one part."""
    more: dict[str, Any] = {"shard": shard} if shard else {}
    if asked.only:
        more["only"] = dict(asked.only)
    if asked.shift is not None:
        more["precursor_shift"] = asked.shift
    if asked.least_peaks > 1:
        more["min_matched_peaks"] = asked.least_peaks
    return part.library.search(
        queries,
        asked.score,
        asked.tolerance,
        None if asked.shift is not None else asked.precursor,
        intensity_power=asked.intensity_power,
        mz_power=asked.mz_power,
        top_k=asked.top_k,
        same=asked.same,
        group_by="inchikey14" if asked.per == "molecule" else None,
        threads=asked.threads,
        **more,
    )


def _told(part: Part, hits: pl.DataFrame, queries: pl.DataFrame) -> pl.DataFrame:
    """With what the library says of each hit, and the difference of the precursors."""
    at = part.rows_of(hits.get_column("library_identifier"))
    rows = part.library.rows
    columns = {name: rows.get_column(name).gather(at) for name in _OF_LIBRARY}
    precursor = rows.get_column("precursor_mz").gather(at)
    asked = hits.select("identifier").join(
        queries.select("identifier", "precursor_mz"), on="identifier", how="left", maintain_order="left"
    )
    difference = asked.get_column("precursor_mz") - precursor
    return hits.with_columns(*(c.alias(n) for n, c in columns.items()), difference.alias("precursor_difference"))


def _best(hits: pl.DataFrame, queries: pl.DataFrame, asked: Search) -> pl.DataFrame:
    """The best `top_k` of each query over all parts, ranked anew."""
    order = queries.select("identifier").with_row_index("_query")
    rows = hits.filter(pl.col("score") >= asked.least_score).join(order, on="identifier")
    rows = rows.sort(
        "_query", "score", "_library", "library_identifier", descending=[False, True, False, False], maintain_order=True
    )
    if asked.per == "molecule":
        rows = rows.with_columns(_molecule=molecule_of())
        rows = rows.unique(["_query", "_molecule"], keep="first", maintain_order=True)
    rows = rows.with_columns(rank=pl.int_range(1, pl.len() + 1, dtype=pl.Int32).over("_query"))
    rows = rows.filter(pl.col("rank") <= asked.top_k)
    absent = [pl.lit(None, dtype=dtype).alias(name) for name, dtype in HITS.items() if name not in rows.columns]
    return rows.with_columns(absent).select(pl.col(name).cast(dtype) for name, dtype in HITS.items())


def _spaced(tolerance: str) -> str:
    return tolerance.replace("ppm", " ppm").replace("Da", " Da").replace("  ", " ")
