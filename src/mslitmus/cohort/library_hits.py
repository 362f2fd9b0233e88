"""A run told by the molecules of a library that its spectra resemble most."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from ..errors import ConfigError
from ..search.first_places import molecule_of
from ..search.libraries import Reference, open_libraries
from ..search.searching import Search, search
from .representation import words_frame


class LibraryHits:
    """One word a molecule (InChIKey-14): the best hit of a spectrum counts with its score, if it is good enough.

    Args:
        library: datasets, files or indexes, as for `mslitmus search --library`.
        least_score, least_peaks: weaker hits are none.
        score, tolerance, precursor: as for `mslitmus search`.
    """

    name = "library-hits"
    bag = True
    aggregations: tuple[str, ...] = ("mean", "log", "tfidf", "hellinger", "count")

    def __init__(
        self, library: tuple[str, ...] = (), least_score: float = 0.7, least_peaks: int = 3, score: str = "entropy",
        tolerance: str = "0.01Da", precursor: str = "10ppm",
    ) -> None:  # fmt: skip
        if not library:
            raise ConfigError("library-hits without a library", remedy="--library NAME: a dataset or a file")
        self.library = tuple(library)
        self._asked = Search(
            score, tolerance, precursor=precursor, top_k=1, least_score=least_score, least_peaks=least_peaks
        )

    @cached_property
    def _references(self) -> list[Reference]:
        return open_libraries(self.library)

    @cached_property
    def _molecules(self) -> pl.DataFrame:
        """`molecule`, `name`, `index`: of all libraries, in alphabetical order."""
        parts = []
        for reference in self._references:
            for part in reference.parts:
                rows = part.library.rows.with_columns(pl.lit(reference.name).alias("library"))
                rows = rows.rename({"identifier": "library_identifier"})
                parts.append(rows.select(molecule_of().alias("molecule"), "name"))
        known = pl.concat(parts).group_by("molecule").agg(pl.col("name").drop_nulls().sort().first())
        return known.sort("molecule").with_row_index("index")

    def vectors(self, spectra: pl.DataFrame) -> Any:
        """(n, molecules) CSR, at most one entry a row: the score of the best hit."""
        asked = spectra.filter(pl.col("precursor_mz").is_not_null())
        shape = (spectra.height, self._molecules.height)
        if asked.is_empty():
            return sparse.csr_matrix(shape, dtype=np.float32)
        hits = search(asked, self._references, self._asked).select(
            "identifier", "score", molecule_of().alias("molecule")
        )
        hits = hits.join(self._molecules.select("molecule", "index"), on="molecule")
        hits = hits.join(spectra.select("identifier").with_row_index("_row"), on="identifier")
        row, column, score = (hits[name].to_numpy() for name in ("_row", "index", "score"))
        return sparse.csr_matrix((score.astype(np.float32), (row, column)), shape=shape)

    def words(self, index: NDArray[np.int64]) -> pl.DataFrame:
        told = self._molecules[index.tolist()]
        kind = ["molecule"] * index.size
        word = (
            told["molecule"].str.replace("\0", ":", literal=True).to_list()
        )  # library and identifier of what has no structure
        return words_frame(index, word, kind, [None] * index.size, told["name"].to_list())

    def identity(self) -> dict[str, Any]:
        hashes = [[each.name, each.hash or each.spectra] for each in self._references]
        return {"name": self.name, "libraries": hashes, "search": repr(self._asked)}
