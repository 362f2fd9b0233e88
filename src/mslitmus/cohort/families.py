"""Spectral families: the spectra of all runs that are one ion, found by precursor and likeness in bounded memory.

The precursors of all runs are read first (a few bytes a spectrum) and cut into slices where none lies near the next;
then each slice is read by itself. Within a slice the most intense spectra lead: a spectrum joins the leader that it
resembles most, or leads a family of its own (leader clustering). Neither the order of the runs nor what they are
samples of has a say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..spectra.library import Library
from ..spectra.tolerance import Tolerance

SLICE = 40_000  # spectra in memory at a time, unless they share one precursor
_BLOCK = 1_000
_RIVALS = 20  # families of one precursor that are compared with each other
_PEAKS = ["mzs", "intensities"]
_TOLD = ["identifier", "precursor_mz", "retention_time", "ion_mode", "adduct", "base_peak_intensity", *_PEAKS]

FAMILIES = {
    "family": pl.String(),  # e.g. F000123, by ascending precursor
    "acquisition": pl.String(),
    "precursor_mz": pl.Float64(),  # median, Da
    "retention_time": pl.Float64(),  # median, s
    "retention_spread": pl.Float64(),  # half the distance of the quartiles, s
    "n_spectra": pl.Int64(),
    "n_samples": pl.Int64(),
    "sample": pl.String(),  # of the representative, the most intense spectrum
    "identifier": pl.String(),
    "ion_mode": pl.String(),
    "mzs": pl.List(pl.Float64),
    "intensities": pl.List(pl.Float32),
}
#: One row a family and sample that has it.
ABUNDANCES = {
    "family": pl.String(),
    "sample": pl.String(),
    "n_spectra": pl.Int64(),
    "intensity": pl.Float64(),  # MS/MS ion current, summed; null where not recorded
}


@dataclass(frozen=True)
class Likeness:
    """When two spectra are one family.

    Args:
        precursor: how far the precursor m/z may lie apart.
        score, similarity: measure of `spectra.library` and its least value.
        tolerance: of fragment m/z.
        peaks: matched peaks at least, or all of the smaller spectrum's.
    """

    precursor: str = "10ppm"
    score: str = "cosine"
    similarity: float = 0.7
    tolerance: str = "0.01Da"
    peaks: int = 1


def group(
    runs: Mapping[str, Path], acquisition: str | None = None, like: Likeness | None = None, first: int = 1
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Families of the runs of one acquisition: (`FAMILIES`, `ABUNDANCES`).

    Args:
        runs: sample → Parquet of its spectra (schema SPECTRA).
        first: number of the first family.
    """
    like = like or Likeness()
    families, abundances = [], []
    number = first
    for spectra in _slices(runs, Tolerance.of(like.precursor)):
        rows = spectra.with_columns(_leader=pl.Series(_leaders(spectra, like)))
        told, counted = _summed(rows, number)
        number += told.height
        families.append(told.with_columns(acquisition=pl.lit(acquisition, pl.String)))
        abundances.append(counted)
    empty = pl.DataFrame(schema=FAMILIES), pl.DataFrame(schema=ABUNDANCES)
    return (
        pl.concat([empty[0], *(f.select(pl.col(n).cast(t) for n, t in FAMILIES.items()) for f in families)]),
        pl.concat([empty[1], *(a.select(pl.col(n).cast(t) for n, t in ABUNDANCES.items()) for a in abundances)]),
    )


def _slices(runs: Mapping[str, Path], limit: Tolerance) -> Iterator[pl.DataFrame]:
    """Spectra with `_sample`, by stretches of precursor m/z; those without precursor or peaks are left out."""
    mzs = [
        pl.read_parquet(path, columns=["precursor_mz"]).to_series().drop_nulls().to_numpy() for path in runs.values()
    ]
    sorted_mz = np.sort(np.concatenate([np.zeros(0), *mzs]))
    for low, high in _stretches(sorted_mz, limit):
        inside = pl.col("precursor_mz").is_between(low, high) & (pl.col("mzs").list.len() > 0)
        parts = [
            pl.scan_parquet(path).filter(inside).select(_TOLD).with_columns(_sample=pl.lit(name)).collect()
            for name, path in runs.items()
        ]
        spectra = pl.concat(parts)
        if spectra.height:
            yield spectra


def _stretches(mzs: NDArray[np.float64], limit: Tolerance) -> list[tuple[float, float]]:
    """(lowest, highest) of runs of about `SLICE` sorted values, cut only where the next lies beyond the tolerance."""
    if not mzs.size:
        return []
    gap = np.flatnonzero(np.diff(mzs) > limit.da + limit.relative * mzs[1:]) + 1
    cuts, begin = [0], 0
    for place in gap.tolist():
        if place - begin >= SLICE:
            cuts.append(place)
            begin = place
    ends = [*cuts[1:], mzs.size]
    return [(float(mzs[a]), float(mzs[b - 1])) for a, b in zip(cuts, ends, strict=True)]


def _leaders(spectra: pl.DataFrame, like: Likeness) -> NDArray[np.int64]:
    """(n,) the row that leads each spectrum's family."""
    n = spectra.height
    names = pl.Series("identifier", [f"{k:09d}" for k in range(n)])  # by row, so that ties go to the earlier
    current = spectra["base_peak_intensity"].fill_null(0.0).to_numpy().astype(np.float64)
    peaks = spectra["mzs"].list.len().to_numpy()
    order = np.lexsort((spectra["identifier"].rank("ordinal").to_numpy(), -peaks.astype(np.int64), -current))
    table = spectra.select("precursor_mz", "ion_mode", *_PEAKS).with_columns(names, pl.col("ion_mode").fill_null(""))
    leader = np.full(n, -1, np.int64)
    heads = np.zeros(0, np.int64)
    for start in range(0, n, _BLOCK):
        block = order[start : start + _BLOCK]
        if heads.size:
            asked, found = _found(table, block, heads, like, 1)
            leader[asked] = found
        rest = block[leader[block] < 0]
        if rest.size:
            new = _among(leader, rest, _found(table, rest, rest, like, rest.size))
            heads = np.concatenate([heads, new])
    return _merged(table, leader, like)


def _merged(table: pl.DataFrame, leader: NDArray[np.int64], like: Likeness) -> NDArray[np.int64]:
    """Leaders that are alike made one: a leader whose own precursor was badly measured leaves some of its family out,
    so families are compared at their median precursors."""
    heads, of, sizes = np.unique(leader, return_inverse=True, return_counts=True)
    median = table.with_columns(_of=pl.Series(of)).group_by("_of").agg(pl.col("precursor_mz").median()).sort("_of")
    names = pl.Series("identifier", [f"{k:09d}" for k in range(heads.size)])
    families = table[heads].with_columns(names, median["precursor_mz"])
    order = np.argsort(-sizes, kind="stable")
    into = np.full(heads.size, -1, np.int64)
    _among(into, order, _found(families, order, order, like, min(heads.size, _RIVALS)))
    return heads[into][of]


def _found(
    table: pl.DataFrame, asked: NDArray[np.int64], library: NDArray[np.int64], like: Likeness, top: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs (row asked, row of the library that it resembles), best first a row."""
    power = 0.5 if "cosine" in like.score else 1.0
    hits = Library.build(table[library]).search(
        table[asked],
        like.score,
        like.tolerance,
        like.precursor,
        intensity_power=power,
        top_k=top,
        same=["ion_mode"],
        min_matched_peaks=like.peaks,
        threads=1,
    )
    kept = hits.filter(pl.col("score") >= like.similarity)
    return tuple(kept[c].cast(pl.Int64).to_numpy() for c in ("identifier", "library_identifier"))  # type: ignore[return-value]


def _among(
    leader: NDArray[np.int64], rest: NDArray[np.int64], pairs: tuple[NDArray[np.int64], NDArray[np.int64]]
) -> NDArray[np.int64]:
    """Families among spectra without a leader, the most intense (first) leading; returns the new leaders."""
    position = {row: place for place, row in enumerate(rest.tolist())}
    near: dict[int, list[int]] = {row: [] for row in position}
    for asked, found in zip(pairs[0].tolist(), pairs[1].tolist(), strict=True):
        if position[found] < position[asked]:
            near[asked].append(found)
    for row, earlier in near.items():
        leader[row] = next((found for found in earlier if leader[found] == found), row)
    heads: NDArray[np.int64] = rest[leader[rest] == rest]
    return heads


def _summed(rows: pl.DataFrame, first: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Families of one slice and what each sample has of them."""
    time = pl.col("retention_time").cast(pl.Float64)
    current = (pl.col("base_peak_intensity") * pl.col("intensities").list.sum()).cast(pl.Float64)
    by = rows.with_columns(_current=current, _row=pl.int_range(pl.len()))
    told = by.group_by("_leader").agg(
        pl.col("precursor_mz").median(),
        retention_time=time.median(),
        retention_spread=(time.quantile(0.75) - time.quantile(0.25)) / 2,
        n_spectra=pl.len(),
        n_samples=pl.col("_sample").n_unique(),
    )
    lead = by.select("_row", "identifier", "ion_mode", *_PEAKS, sample="_sample")
    told = told.join(lead, left_on="_leader", right_on="_row").sort("precursor_mz", "_leader")
    name = pl.format("F{}", (pl.int_range(pl.len()) + first).cast(pl.String).str.zfill(6))
    told = told.with_columns(family=name)
    counted = by.join(told.select("_leader", "family"), on="_leader").group_by("family", "_sample").agg(
        n_spectra=pl.len(),
        intensity=pl.when(pl.col("_current").is_not_null().any()).then(pl.col("_current").sum()),
    )  # fmt: skip
    return told, counted.rename({"_sample": "sample"}).sort("family", "sample")
