"""Search a labelled library with its own spectra, each against the others: where right and wrong are known.

This is what confidence is calibrated on. As in a search, spectra of one ion mode meet those of that mode and of unknown
mode. The library need not hold the query's molecule: such a query has no right
answer, as a new compound in a sample has none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..errors import DataError
from ..schemas import HITS, ION_MODES, conform
from ..spectra.library import Library, Scoring
from .decoys import DRAWN, decoys
from .first_places import first_places, judged
from .libraries import Reference
from .pairs import Pairs
from .windows import Window

#: Molecules listed a query: the first, the second, and some to show.
TOP = 5
FOLDS = 4  # of queries, for decoys
_KEPT = ("identifier", "name", "smiles", "inchikey14", "formula", "adduct", "precursor_mz", "source", "ion_mode")


@dataclass(frozen=True)
class LeftOut:
    """A labelled library, its spectra as queries, and the candidates of each.

    `queries` has, beside the records' columns, `candidate_molecules` (how many) and `answerable` (its own is there).
    `notes`: what is to be told.
    """

    library: Library
    queries: pl.DataFrame
    pairs: Pairs
    scoring: Scoring
    window: Window
    notes: tuple[str, ...] = ()

    @classmethod
    def make(cls, records: pl.DataFrame, scoring: Scoring, window: Window) -> LeftOut:
        """Of SPECTRA `records`; those without InChIKey-14, precursor or peaks are left out.

        Raises DataError where no spectrum has a candidate.
        """
        known = pl.col("inchikey14").is_not_null() & pl.col("precursor_mz").is_not_null()
        usable = records.filter(known & (pl.col("mzs").list.len() > 0))
        library = Library.build(usable)
        pairs = _of_one_mode(library.rows, usable, window.pairs(library, usable))
        if not pairs.row.size:
            raise nothing_left(usable, window)
        lacking = records.height - usable.height
        notes = [f"{lacking:,} spectra without molecule, precursor m/z or peaks, left out"] if lacking else []
        if told := window.told(usable):
            notes.append(told)
        return cls(library, _described(usable, library, pairs), pairs, scoring, window, tuple(notes))

    @classmethod
    def of(cls, reference: Reference, scoring: Scoring, window: Window, ion_mode: str | None = None) -> LeftOut:
        """Of a library opened as for a search; with `ion_mode` of its spectra of that mode, and of unknown mode."""
        parts = [each.library for each in reference.parts if ion_mode is None or each.ion_mode in (ion_mode, None)]
        if not parts:
            raise DataError(f"no spectrum of {ion_mode} mode", where=reference.name, remedy="name the other ion mode")
        frames = [library.spectra(np.arange(library.rows.height)) for library in parts]
        return cls.make(pl.concat(frames, how="diagonal_relaxed"), scoring, window)

    def hits(self, top: int = TOP, threads: int | None = None) -> pl.DataFrame:
        """The best spectrum of each of the best `top` molecules of every query, schema HITS."""
        rows = self.library.rows
        lists = self.pairs.subsets(self.queries.height)
        group = rows.get_column("inchikey14")
        found = self.library.rank(self.queries, self.scoring, lists, top_k=top, group=group, threads=threads)
        query, place = np.nonzero(found.rows >= 0)
        at = found.rows[query, place]
        columns = {
            "identifier": self.queries["identifier"].gather(query),
            "rank": place + 1,
            "library_identifier": rows["identifier"].gather(at),
            "score": found.scores[query, place],
            "matched_peaks": found.matched[query, place],
            "precursor_difference": self.queries["precursor_mz"].gather(query) - rows["precursor_mz"].gather(at),
        }
        for name in ("explained", "explained_library"):
            share = getattr(found, name, None)
            columns[name] = None if share is None else share[query, place]
        of_library = [name for name in _KEPT if name in HITS and name != "identifier" and name in rows.columns]
        columns |= {name: rows[name].gather(at) for name in of_library}
        table = pl.DataFrame(columns)
        absent = [pl.lit(None, dtype=dtype).alias(name) for name, dtype in HITS.items() if name not in table.columns]
        return conform(table.with_columns(absent), HITS)

    def answers(self, threads: int | None = None) -> pl.DataFrame:
        """First places of all queries with a hit, judged, with `candidate_molecules` and `answerable`."""
        found = judged(first_places(self.hits(threads=threads)), self.queries)
        traits = self.queries.select("identifier", "candidate_molecules", "answerable")
        return found.join(traits, on="identifier", how="left", maintain_order="left")

    def decoy_scores(self, method: str, seed: int = 0, threads: int | None = None) -> NDArray[np.float64]:
        """The best score of every query among the decoys of its candidates, (queries,); 0 without any.

        Queries are dealt into folds, by contributor where that is left out, and the decoys that a fold meets are drawn
        from spectra of the other folds: what is left out of the library gives its decoys no fragment.
        """
        ordered = self.queries.select("identifier").with_row_index("_row")
        rows = self.library.rows.select("identifier").join(ordered, on="identifier", how="left", maintain_order="left")
        own = rows["_row"].to_numpy()  # rows of a library may have an order of their own
        by = "source" if self.window.leave_out == "source" else "identifier"
        fold = self.queries.select(pl.col(by).rank("dense").fill_null(0) % FOLDS).to_series().to_numpy()
        best = np.zeros(self.queries.height)
        for number in np.unique(fold) if method in DRAWN else [None]:
            mine = np.arange(fold.size) if number is None else np.flatnonzero(fold == number)
            donors = None if number is None else fold[own] != number
            made = Library.build(decoys(self.queries[own], method, seed, donors))
            lists = self.pairs.of(mine, fold.size).subsets(mine.size)
            found = made.rank(self.queries[mine], self.scoring, lists, top_k=1, threads=threads)
            best[mine] = found.scores[:, 0]
        return best


def _of_one_mode(rows: pl.DataFrame, queries: pl.DataFrame, found: Pairs) -> Pairs:
    """Without pairs of two known and unequal ion modes."""
    if "ion_mode" not in rows.columns:
        return found
    code = {name: number for number, name in enumerate(ION_MODES)}
    mode = pl.col("ion_mode").replace_strict(code, default=-1, return_dtype=pl.Int8).fill_null(-1)
    asked, there = (frame.select(mode).to_series().to_numpy() for frame in (queries, rows))
    asked, there = asked[found.query], there[found.row]
    return found.keep((asked == there) | (asked < 0) | (there < 0))


def nothing_left(records: pl.DataFrame, window: Window) -> DataError:
    """Why no spectrum has a candidate, and what to do about it."""
    what = "no spectrum of the library has a candidate"
    if window.leave_out == "source" and records["source"].n_unique() < 2:
        name = records["source"].drop_nulls().first()
        of = "state no contributor" if name is None else f"are of one contributor, {name!r}"
        remedy = "leave out the query's own spectrum alone (--leave-out spectrum); replicates then flatter all figures"
        return DataError(f"{what}: all of them {of}", where="library", remedy=remedy)
    return DataError(what, where="library", remedy="a wider precursor tolerance, fewer columns in `same`, more spectra")


def _described(queries: pl.DataFrame, library: Library, pairs: Pairs) -> pl.DataFrame:
    """The queries that have a candidate, renumbered, with what their candidates are. Rows without one stay too."""
    own = queries["inchikey14"].gather(pairs.query)
    there = pl.DataFrame({"query": pairs.query, "molecule": library.rows["inchikey14"].gather(pairs.row), "own": own})
    found = there.group_by("query").agg(
        candidate_molecules=pl.col("molecule").n_unique().cast(pl.Int64),
        answerable=(pl.col("molecule") == pl.col("own")).any(),
    )
    numbered = queries.with_row_index("query").with_columns(pl.col("query").cast(pl.Int64))
    joined = numbered.join(found, on="query", how="left", maintain_order="left").drop("query")
    return joined.with_columns(pl.col("candidate_molecules").fill_null(0), pl.col("answerable").fill_null(False))
