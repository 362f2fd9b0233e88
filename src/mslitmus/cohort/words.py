"""Bags of words: spectra told by their precursor m/z alone, or by their binned fragments and losses."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from ..errors import ConfigError
from ..spectra.flat import flatten
from ..spectra.peaks import bin_index
from .representation import words_frame

_BAG: tuple[str, ...] = ("mean", "log", "tfidf", "hellinger", "count")


class PrecursorHistogram:
    """How many spectra have a precursor in each bin: nothing of the fragments is read. The baseline of LSM-MS2.

    Args:
        max_mz: Da; precursors from there on, and spectra that state none, are not counted.
        width: Da.
    """

    name = "precursor-histogram"
    bag = True
    aggregations: tuple[str, ...] = _BAG

    def __init__(self, max_mz: float = 1000.0, width: float = 1.0) -> None:
        _positive(max_mz=max_mz, width=width)
        self.max_mz, self.width = max_mz, width
        self._size = int(np.ceil(max_mz / width))

    def vectors(self, spectra: pl.DataFrame) -> Any:
        """(n, bins) CSR, at most one entry a row."""
        mz = spectra["precursor_mz"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        row = np.flatnonzero((mz > 0) & (mz < self.max_mz))
        return _presence(row, np.minimum(bin_index(mz[row], self.width), self._size - 1), (mz.size, self._size))

    def words(self, index: NDArray[np.int64]) -> pl.DataFrame:
        low = index * self.width
        word = [f"precursor@{a:g}-{a + self.width:g}" for a in low]
        return words_frame(
            index, word, ["precursor"] * index.size, (low + self.width / 2).tolist(), [None] * index.size
        )

    def identity(self) -> dict[str, Any]:
        return {"name": self.name, "max_mz": self.max_mz, "width": self.width}


class Fragments:
    """Which fragments and neutral losses occur, in how many spectra (MEMO, Gaudry et al. 2022).

    Words are m/z and losses rounded to a multiple of `width`; MEMO's settings are the defaults.

    Args:
        width: Da.
        max_mz: Da; fragments from there on are left out.
        losses: least and largest loss (Da) that is a word; none of multiply charged precursors.
        least: peaks below this share of the base peak are left out.
    """

    name = "fragments"
    bag = True
    aggregations: tuple[str, ...] = _BAG

    def __init__(
        self,
        width: float = 0.01,
        max_mz: float = 1200.0,
        losses: tuple[float, float] = (10.0, 200.0),
        least: float = 0.01,
    ) -> None:
        _positive(width=width, max_mz=max_mz)
        if not 0 < losses[0] < losses[1]:
            raise ConfigError(f"losses={losses}", remedy="the least first, e.g. (10, 200)")
        self.width, self.max_mz, self.losses, self.least = width, max_mz, (float(losses[0]), float(losses[1])), least
        self._peaks = round(max_mz / width) + 1
        self._size = self._peaks + round(losses[1] / width) + 1

    def vectors(self, spectra: pl.DataFrame) -> Any:
        """(n, words) CSR of ones."""
        flat = flatten(spectra, where="spectra of a run")
        n = spectra.height
        row = np.repeat(np.arange(n), np.diff(flat.offsets))
        base = np.zeros(n)
        np.maximum.at(base, row, flat.intensities)
        strong = flat.intensities >= self.least * base[row]
        row, mzs = row[strong], flat.mzs[strong]
        fits = mzs < self.max_mz
        peaks = row[fits], self._number(mzs[fits])
        precursor = spectra["precursor_mz"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        single = (spectra["charge"].abs() <= 1).fill_null(True).to_numpy()
        loss = np.where(single, precursor, np.nan)[row] - mzs
        fits = (loss >= self.losses[0]) & (loss <= self.losses[1])
        losses = row[fits], self._peaks + self._number(loss[fits])
        rows, columns = (np.concatenate(pair) for pair in zip(peaks, losses, strict=True))
        return _presence(rows, columns, (n, self._size))

    def _number(self, mzs: NDArray[np.float64]) -> NDArray[np.int64]:
        return np.rint(mzs / self.width).astype(np.int64)

    def words(self, index: NDArray[np.int64]) -> pl.DataFrame:
        is_loss = index >= self._peaks
        mz = np.where(is_loss, index - self._peaks, index) * self.width
        decimals = max(0, int(np.ceil(-np.log10(self.width) - 1e-9)))
        kind = np.where(is_loss, "loss", "peak").tolist()
        word = [f"{k}@{m:.{decimals}f}" for k, m in zip(kind, mz, strict=True)]
        return words_frame(index, word, kind, mz.tolist(), [None] * index.size)

    def identity(self) -> dict[str, Any]:
        return {
            "name": self.name, "width": self.width, "max_mz": self.max_mz, "losses": self.losses, "least": self.least
        }  # fmt: skip


def _presence(rows: NDArray[Any], columns: NDArray[Any], shape: tuple[int, int]) -> Any:
    """A CSR matrix with 1 at each (row, column) that occurs."""
    matrix = sparse.csr_matrix((np.ones(rows.size, np.float32), (rows, columns)), shape=shape)
    matrix.sum_duplicates()
    matrix.data[:] = 1.0
    return matrix


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise ConfigError(f"{name}={value}", remedy="above 0, Da")
