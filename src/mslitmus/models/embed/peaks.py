"""Spectra as the embedding networks read them: flat arrays made once, gathered for a batch without a Python loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...schemas import SPECTRA
from ...spectra.flat import flatten, precursors
from ..predict.conditioning import ConditionVocabulary
from ..predict.features import gather_rows

#: What an embedding may read of a spectrum; columns that a table lacks count as unknown.
READ = (
    "identifier", "mzs", "intensities", "precursor_mz", "adduct", "charge", "ion_mode", "instrument_type",
    "collision_energy", "collision_energy_kind",
)  # fmt: skip


@dataclass(frozen=True)
class PeakTable:
    """n spectra.

    Attributes:
        mzs: (peaks,) Da, ascending within a spectrum.
        intensities: (peaks,) relative to the base peak.
        offsets: (n + 1,): spectrum i owns peaks offsets[i] … offsets[i + 1].
        precursor_mz: (n,) Da, 0 where unknown.
        conditions: (n, …) arrays of `ConditionVocabulary.encode`.
    """

    mzs: NDArray[np.float64]
    intensities: NDArray[np.float32]
    offsets: NDArray[np.int64]
    precursor_mz: NDArray[np.float64]
    conditions: Mapping[str, NDArray[Any]]

    @classmethod
    def of(cls, frame: pl.DataFrame, vocabulary: ConditionVocabulary, top: int) -> PeakTable:
        """The `top` most intense peaks of each row (0: all), ascending by m/z. Of equal ones the lower m/z stays.

        frame: `READ`, of which all but identifier and peaks may be absent. Raises SchemaError for what is no spectrum.
        """
        frame = filled(frame)
        flat = flatten(frame)
        mzs, intensities, offsets = flat.mzs, flat.intensities, flat.offsets
        row = np.repeat(np.arange(frame.height), np.diff(offsets))
        largest = np.zeros(frame.height)
        np.maximum.at(largest, row, intensities)
        relative = intensities / largest[row]
        if top and row.size:
            order = np.lexsort((mzs, -relative, row))
            keep = np.zeros(row.size, bool)
            keep[order[np.arange(row.size) - offsets[row] < top]] = True
            mzs, relative, row = mzs[keep], relative[keep], row[keep]
            offsets = np.concatenate(([0], np.cumsum(np.bincount(row, minlength=frame.height)))).astype(np.int64)
        precursor = frame["precursor_mz"].to_numpy().astype(np.float64)
        return cls(mzs, relative.astype(np.float32), offsets, precursor, vocabulary.encode(frame))

    def __len__(self) -> int:
        return len(self.precursor_mz)

    @property
    def lengths(self) -> NDArray[np.int64]:
        return np.diff(self.offsets)

    def take(self, rows: NDArray[np.int64]) -> PeakTable:
        """These spectra, in this order."""
        peaks, offsets = gather_rows(self.offsets, rows)
        conditions = {name: values[rows] for name, values in self.conditions.items()}
        return PeakTable(self.mzs[peaks], self.intensities[peaks], offsets, self.precursor_mz[rows], conditions)


def filled(frame: pl.DataFrame) -> pl.DataFrame:
    """`READ` of a table, absent columns null; an unknown precursor m/z (as `spectra.flat.precursors` reads it) is 0."""
    absent = [pl.lit(None, dtype=SPECTRA[name]).alias(name) for name in READ if name not in frame.columns]
    known = pl.Series("precursor_mz", np.nan_to_num(precursors(frame)))
    blank = [
        pl.col(name).cast(SPECTRA[name]) for name in READ if name in frame.columns and frame[name].dtype == pl.Null
    ]
    return frame.with_columns(*absent, *blank).select(READ).with_columns(known)


def length_batches(lengths: NDArray[np.int64], tokens: int, most: int) -> list[NDArray[np.int64]]:
    """Rows by ascending length, cut into batches of about `tokens` peaks and at most `most` spectra: in such a batch
    hardly anything is padded."""
    order = np.argsort(lengths, kind="stable")
    batch = np.cumsum(lengths[order] + 1) // max(1, tokens)
    edges = np.flatnonzero(np.diff(batch)) + 1
    parts: Sequence[NDArray[np.int64]] = np.split(order, edges) if order.size else []
    return [part[start : start + most] for part in parts for start in range(0, len(part), most)]
