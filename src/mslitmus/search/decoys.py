"""Decoy spectra: what a library spectrum of this precursor could look like without belonging to any molecule.

One decoy a library spectrum, with its identifier, precursor, adduct and number of fragments, so that every query has
as many decoys as candidates, under the same window. Peaks within the precursor's region are kept, since a query shares
them with every candidate. None of the three needs fragmentation trees:

- `shifted`: every fragment moves by a whole number of about 1.0005 Da (the mean mass of a nominal unit of organic
  matter), up to 25 either way, so that it stays where fragments can lie;
- `naive`: fragments drawn one by one from spectra of other molecules with a precursor within 50 Da;
- `resampled`: a walk through the library as in the spectrum-based method of Scheubert et al., Nat. Commun. 2017, 8,
  1494: take a spectrum of another molecule that has the fragment added last, add a random fragment of it below the
  precursor, go on. Fragments that occur together stay together, which makes the hardest decoys of the three.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..errors import unknown_name
from ..spectra._compiled import kernel, part
from ..spectra.flat import Flat, flatten
from ..spectra.peaks import PRECURSOR_BELOW

METHODS = ("shifted", "naive", "resampled")
DRAWN = ("naive", "resampled")  # with fragments of other spectra
UNIT = 1.000495  # Da of a nominal mass unit, organic matter
MOST_UNITS = 25
LEAST_MZ = 30.0
NAIVE_WINDOW = 50.0  # Da of precursor
SAME_PEAK = 0.005  # Da
_TRIES = 40


def decoys(library: pl.DataFrame, method: str, seed: int = 0, donors: NDArray[np.bool_] | None = None) -> pl.DataFrame:
    """`library` with the peaks of its decoys, rows in the same order.

    Args:
        library: identifier, mzs, intensities, precursor_mz; `inchikey14` where known: a decoy takes nothing from
            spectra of its own molecule (rows without one count as molecules of their own).
        method: a name of `METHODS`.
        donors: (n,) which spectra fragments may be taken from; None: all.
        seed: of the draw; a decoy depends on it, on its identifier and on the library, not on the order of the rows.
    """
    if method not in METHODS:
        raise unknown_name("decoy method", method, METHODS)
    place = library.select(pl.col("identifier").rank("ordinal") - 1).to_series().to_numpy().astype(np.int64)
    frame = library[np.argsort(place)]  # in the order of the identifiers
    peaks = flatten(frame, where="library")
    precursor = np.array(frame["precursor_mz"].cast(pl.Float64).fill_null(float("nan")).to_numpy())
    precursor = np.where(np.isnan(precursor), np.inf, precursor)
    seeds = np.array([_seed(name, method, seed) for name in frame["identifier"].to_list()], np.uint64)
    if method == "shifted":
        mzs, heights, offsets = _shifted(*peaks, precursor, seeds)
    else:
        giving = np.ones(frame.height, np.bool_) if donors is None else donors[np.argsort(place)]
        drawn_from = _order(peaks, precursor, frame, giving)
        mzs, heights, offsets = _drawn(method == "resampled", *peaks, precursor, seeds, *drawn_from)
    lists = pl.DataFrame({"mzs": mzs, "intensities": heights.astype(np.float32)})
    lists = lists.with_columns(_row=np.repeat(np.arange(frame.height), np.diff(offsets)))
    grouped = lists.sort("_row", "mzs").group_by("_row", maintain_order=True).agg("mzs", "intensities")
    rows = pl.DataFrame({"_row": np.arange(frame.height)}).join(grouped, on="_row", how="left", maintain_order="left")
    made = [rows[n].fill_null(pl.Series([[]], dtype=rows.schema[n])) for n in ("mzs", "intensities")]
    return frame.with_columns(made)[place]


def _seed(name: str, method: str, seed: int) -> int:
    return int.from_bytes(blake2b(f"{seed}\n{method}\n{name}".encode(), digest_size=8).digest(), "little")


def _order(
    peaks: Flat, precursor: NDArray[np.float64], frame: pl.DataFrame, giving: NDArray[np.bool_]
) -> tuple[Any, ...]:
    """molecule of each spectrum; giving spectra by precursor; their peaks by m/z: (position, row)."""
    number = np.arange(frame.height)
    if "inchikey14" in frame.columns:
        key = frame.select(pl.coalesce("inchikey14", pl.concat_str(pl.lit("\0"), "identifier")))
        number = key.to_series().rank("dense").to_numpy().astype(np.int64)
    row = np.repeat(np.arange(frame.height), np.diff(peaks.offsets))
    by_mz = np.argsort(peaks.mzs, kind="stable")
    by_mz = by_mz[giving[row[by_mz]]]
    by_precursor = np.argsort(precursor, kind="stable")
    return number, by_precursor[giving[by_precursor]], peaks.mzs[by_mz], row[by_mz]


@part
def _below(state, n):  # type: ignore[no-untyped-def]
    """A whole number from 0 to n − 1 and the next state: SplitMix64 (Steele, Lea & Flood 2014)."""
    state = state + np.uint64(0x9E3779B97F4A7C15)
    z = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.int64((z ^ (z >> np.uint64(31))) >> np.uint64(1)) % np.int64(n), state


@kernel
def _shifted(mzs, heights, offsets, precursor, seeds):  # type: ignore[no-untyped-def]
    out = mzs.copy()
    for row in range(offsets.size - 1):
        state = seeds[row]
        top = precursor[row] - PRECURSOR_BELOW
        for k in range(offsets[row], offsets[row + 1]):
            if mzs[k] >= top:
                continue
            for _ in range(_TRIES):
                lot, state = _below(state, 2 * MOST_UNITS)
                moved = mzs[k] + (lot - MOST_UNITS if lot < MOST_UNITS else lot - MOST_UNITS + 1) * UNIT
                if LEAST_MZ <= moved < top:
                    out[k] = moved
                    break
    return out, heights.copy(), offsets


@kernel
def _drawn(  # type: ignore[no-untyped-def]
    walk, mzs, heights, offsets, precursor, seeds, molecule, by_precursor, position, owner
):
    """Peaks of the precursor's region, then as many drawn ones as there were fragments, where they can be found."""
    n = offsets.size - 1
    out_mz, out_height, out_offsets = np.zeros(mzs.size), np.zeros(mzs.size), np.zeros(n + 1, np.int64)
    sorted_precursor = precursor[by_precursor]
    filled = 0
    for row in range(n):
        state = seeds[row]
        top, first = precursor[row] - PRECURSOR_BELOW, filled
        last = precursor[row]
        for k in range(offsets[row], offsets[row + 1]):
            if mzs[k] >= top:
                out_mz[filled], out_height[filled] = mzs[k], heights[k]
                filled += 1
        low = np.searchsorted(sorted_precursor, precursor[row] - NAIVE_WINDOW)
        high = np.searchsorted(sorted_precursor, precursor[row] + NAIVE_WINDOW, side="right")
        for _ in range(offsets[row + 1] - offsets[row] - (filled - first)):
            for attempt in range(_TRIES):
                donor = -1
                if walk and attempt < _TRIES // 2:
                    a = np.searchsorted(position, last - SAME_PEAK)
                    b = np.searchsorted(position, last + SAME_PEAK, side="right")
                    if b > a:
                        lot, state = _below(state, b - a)
                        donor = owner[a + lot]
                elif high > low:
                    lot, state = _below(state, high - low)
                    donor = by_precursor[low + lot]
                if donor < 0 or molecule[donor] == molecule[row] or offsets[donor] == offsets[donor + 1]:
                    continue
                lot, state = _below(state, offsets[donor + 1] - offsets[donor])
                peak = offsets[donor] + lot
                if mzs[peak] >= top or _among(out_mz, first, filled, mzs[peak]):
                    continue
                out_mz[filled], out_height[filled] = mzs[peak], heights[peak]
                last = mzs[peak]
                filled += 1
                break
        out_offsets[row + 1] = filled
    return out_mz[:filled], out_height[:filled], out_offsets


@part
def _among(mzs, first, last, mz):  # type: ignore[no-untyped-def]
    found = False
    for k in range(first, last):
        found = found or abs(mzs[k] - mz) <= SAME_PEAK
    return found
