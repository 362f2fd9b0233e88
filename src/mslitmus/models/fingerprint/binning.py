"""Spectra as sparse vectors: m/z bins, neutral-loss bins and the bin of the precursor, as (index, value) pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from ..options import Options
from ..predict.batching import flat_peaks
from ..predict.features import gather_rows
from ..predict.heads.bins import forward_bin, reverse_bin


class BinningOptions(Options):
    """Options of the binned spectrum."""

    width: float = Field(0.25, ge=0.01, le=10, description="Da")
    max_mz: float = Field(1005.0, gt=0, le=10_000, description="Da; peaks and losses above are not seen")
    power: float = Field(0.5, gt=0, le=1, description="of the intensity summed in a bin; 0.5 is the square root")
    losses: bool = Field(True, description="neutral losses, counted from the precursor m/z, beside the peaks")
    precursor: bool = Field(True, description="the precursor's bin, as a bin of its own kind")


@dataclass(frozen=True)
class SparseRows:
    """n sparse vectors: row i owns entries offsets[i] … offsets[i + 1].

    Attributes:
        index: (entries,) ascending within a row.
        value: (entries,) > 0.
        offsets: (n + 1,).
    """

    index: NDArray[np.int64]
    value: NDArray[np.float32]
    offsets: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64]) -> SparseRows:
        """The same for these rows, in this order."""
        entries, offsets = gather_rows(self.offsets, rows)
        return SparseRows(self.index[entries], self.value[entries], offsets)


def dimension(options: BinningOptions) -> int:
    """Length of the sparse vectors: one block of bins for peaks, one for losses, one for the precursor."""
    return _blocks(options) * _block(options)


def binned(frame: pl.DataFrame, options: BinningOptions) -> SparseRows:
    """Each spectrum's bins. In each block intensities are summed in a bin, taken to `power` and scaled to length 1.

    frame: `mzs`, `intensities`, `precursor_mz`. Peaks above `max_mz` and losses below 0 are left out; a spectrum
    without peaks has its precursor's bin only, one whose precursor is unknown its peaks' bins only.
    """
    peaks = flat_peaks(frame, np.zeros(frame.height, np.int64))
    owner, block = peaks.owner, _block(options)
    precursor = np.nan_to_num(peaks.precursor_mz, nan=-1.0, posinf=-1.0, neginf=-1.0)  # below 0: in no bin
    parts = [_summed(owner, forward_bin(peaks.mzs, options.width), peaks.intensities, block, options.power)]
    if options.losses:
        lost = reverse_bin(precursor[owner] - peaks.mzs, options.width)
        parts.append(_summed(owner, lost, peaks.intensities, block, options.power))
    if options.precursor:
        one = np.ones(frame.height, np.float32)
        parts.append(_summed(np.arange(frame.height), forward_bin(precursor, options.width), one, block, 1.0))
    row = np.concatenate([part[0] for part in parts])
    index = np.concatenate([part[1] + number * block for number, part in enumerate(parts)])
    value = np.concatenate([part[2] for part in parts])
    order = np.argsort(row, kind="stable")
    counts = np.bincount(row, minlength=frame.height)
    return SparseRows(index[order], value[order], np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))


def _block(options: BinningOptions) -> int:
    return int(np.ceil(options.max_mz / options.width))


def _blocks(options: BinningOptions) -> int:
    return 1 + options.losses + options.precursor


def _summed(
    row: NDArray[np.int64], bins: NDArray[np.int64], intensity: NDArray[np.float32], block: int, power: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """(row, bin, value) of the occupied bins from 0 to `block`, each row of values scaled to length 1."""
    inside = (bins >= 0) & (bins < block) & (intensity > 0)
    keys, at = np.unique(row[inside] * block + bins[inside], return_inverse=True)
    value: NDArray[Any] = np.bincount(at, intensity[inside].astype(np.float64), minlength=len(keys)) ** power
    rows = keys // block
    length = np.sqrt(np.bincount(rows, value**2))
    return rows, keys % block, (value / length[rows]).astype(np.float32)
