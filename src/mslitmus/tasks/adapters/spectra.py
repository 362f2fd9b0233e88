"""What the adapters of spectrum predictors share: peaks as a tool gives them, and the level that a query asks for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...schemas import PREDICTED_SPECTRA

#: Kinds of collision energy in eV, or converted to it on import.
ELECTRONVOLTS = ("eV", "NCE", "ramp", "stepped")
_SAME_PEAK = 1e-4  # Da: fragments of one formula come out as one peak


@dataclass(frozen=True)
class Peaks:
    """m/z (Da) and intensities (any scale), (n,) each."""

    mzs: NDArray[np.float64]
    intensities: NDArray[np.float64]

    def scaled(self) -> Peaks:
        """Base peak 1; nothing changes where all is zero."""
        top = self.intensities.max(initial=0.0)
        return self if top <= 0 else Peaks(self.mzs, self.intensities / top)


def merged(parts: Sequence[Peaks]) -> Peaks:
    """Peaks of all parts, ascending; those within 1e-4 Da of the one before are summed; base peak 1, no zeros."""
    mzs = np.concatenate([np.zeros(0), *(p.mzs for p in parts)])
    heights = np.concatenate([np.zeros(0), *(p.intensities for p in parts)])
    kept = heights > 0
    order = np.argsort(mzs[kept], kind="stable")
    mzs, heights = mzs[kept][order], heights[kept][order]
    if not len(mzs):
        return Peaks(mzs, heights)
    starts = np.flatnonzero(np.diff(mzs, prepend=-np.inf) > _SAME_PEAK)
    sums = np.add.reduceat(heights, starts)
    return Peaks(np.add.reduceat(mzs * heights, starts) / sums, sums).scaled()


def table(rows: Iterable[tuple[str, Peaks]]) -> pl.DataFrame:
    """PREDICTED_SPECTRA of (identifier, peaks)."""
    data = [{"identifier": i, "mzs": p.mzs.tolist(), "intensities": p.intensities.tolist()} for i, p in rows]
    return pl.DataFrame(data, schema=dict(PREDICTED_SPECTRA))


def at_energy(query: Mapping[str, object], levels: Mapping[float, Peaks]) -> Peaks:
    """The spectrum at the level (eV) nearest the query's energy; where that is not in eV, the mean over all levels."""
    energy, kind = query.get("collision_energy"), query.get("collision_energy_kind")
    if isinstance(energy, int | float) and (kind is None or kind in ELECTRONVOLTS) and np.isfinite(energy):
        return merged([levels[min(levels, key=lambda level: (abs(level - energy), level))]])
    return merged([peaks.scaled() for peaks in levels.values()])
