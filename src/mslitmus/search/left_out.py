"""Search a labelled library with its own spectra, each against the others: where right and wrong are known.

This is what confidence is calibrated on. The library need not hold the query's molecule: such a query has no right
answer, as a new compound in a sample has none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..errors import DataError
from ..schemas import HITS, conform
from ..spectra.library import Library, Scoring
from .decoys import decoys
from .first_places import first_places, judged
from .pairs import Pairs
from .windows import Window

#: Molecules listed a query: the first, the second, and some to show.
TOP = 5
_KEPT = ("identifier", "name", "smiles", "inchikey14", "formula", "adduct", "precursor_mz", "source", "ion_mode")


@dataclass(frozen=True)
class LeftOut:
    """A labelled library, its spectra as queries, and the candidates of each.

    `queries` has, beside the records' columns, `candidate_molecules` (how many) and `answerable` (its own is there).
    """

    library: Library
    queries: pl.DataFrame
    pairs: Pairs
    scoring: Scoring

    @classmethod
    def make(cls, records: pl.DataFrame, scoring: Scoring, window: Window) -> LeftOut:
        """Of SPECTRA `records`; those without InChIKey-14, precursor or peaks are left out.

        Raises DataError where no spectrum has a candidate.
        """
        known = pl.col("inchikey14").is_not_null() & pl.col("precursor_mz").is_not_null()
        usable = records.filter(known & (pl.col("mzs").list.len() > 0))
        library = Library.build(usable)
        pairs = window.pairs(library, usable)
        if not pairs.row.size:
            remedy = "a wider precursor tolerance, or a larger library"
            raise DataError("no spectrum of the library has a candidate", where="library", remedy=remedy)
        return cls(library, _described(usable, library, pairs), pairs, scoring)

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
        """The best score of every query among the decoys of its candidates, (queries,); 0 without any."""
        ordered = self.queries.select("identifier").with_row_index("_row")
        rows = self.library.rows.select("identifier").join(ordered, on="identifier", how="left", maintain_order="left")
        records = self.queries[rows["_row"].to_numpy()]  # rows of a library may have an order of their own
        made = Library.build(decoys(records, method, seed))
        lists = self.pairs.subsets(self.queries.height)
        return made.rank(self.queries, self.scoring, lists, top_k=1, threads=threads).scores[:, 0]


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
