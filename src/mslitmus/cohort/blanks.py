"""Spectra that a blank holds too: same precursor and time, alike, and not much more intense in the sample."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..search.libraries import Reference, in_memory
from ..search.searching import Search, search

IN_BLANK = "in-blank"
#: A spectrum whose base peak is so many times that of the blank's is the sample's own.
FOLD = 3.0
#: Retention times may differ by so many seconds; unknown ones fit all.
SECONDS = 60.0
_ASKED = Search("cosine", intensity_power=0.5, per="spectrum", top_k=20, least_score=0.7, threads=1)


class BlankSpectra:
    """The spectra of all blanks of a cohort.

    Args:
        spectra: schema SPECTRA.
    """

    def __init__(self, spectra: pl.DataFrame) -> None:
        self._library = [Reference("blanks", "file", Path("blanks"), in_memory(spectra))]
        columns = ("identifier", "base_peak_intensity", "retention_time")
        self._told = spectra.select(pl.col(c).alias(f"_{c}") for c in columns)

    @staticmethod
    def load(path: Path) -> BlankSpectra:
        """From a Parquet file; made once a process."""
        return _loaded(path, path.stat().st_mtime_ns)

    def seen(self, spectra: pl.DataFrame) -> NDArray[np.bool_]:
        """(n,) whether a blank holds each spectrum. What states no precursor m/z is in none."""
        asked = spectra.filter(pl.col("precursor_mz").is_not_null())
        if asked.is_empty() or self._told.is_empty():
            return np.zeros(spectra.height, dtype=bool)
        hits = search(asked, self._library, _ASKED).select("identifier", "library_identifier")
        hits = hits.join(asked.select("identifier", "base_peak_intensity", "retention_time"), on="identifier")
        hits = hits.join(self._told, left_on="library_identifier", right_on="_identifier")
        own = pl.col("base_peak_intensity") >= FOLD * pl.col("_base_peak_intensity")
        apart = (pl.col("retention_time") - pl.col("_retention_time")).abs() > SECONDS
        found = hits.filter(~apart.fill_null(False))
        verdict = found.group_by("identifier").agg(own=own.fill_null(False).all())
        taken = verdict.filter(~pl.col("own"))["identifier"]
        return spectra["identifier"].is_in(taken.implode()).to_numpy()


@lru_cache(maxsize=1)
def _loaded(path: Path, _changed: int) -> BlankSpectra:
    return BlankSpectra(pl.read_parquet(path))
