"""Repeated scans of one ion as one spectrum: same precursor, charge and energy, close in time, similar."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..spectra._compiled import kernel
from ..spectra.flat import Flat, flatten
from ..spectra.library import Library
from ..spectra.merge import merge_groups
from ..spectra.tolerance import Tolerance

MERGED, MEMBERS = "merged_scans", "members"
#: Of one run of scans so many spectra that resemble no other are told apart; what is left after these stays as it is.
_ROUNDS = 6


@dataclass(frozen=True)
class Repeats:
    """What counts as a repeated scan.

    Args:
        precursor: how far any two precursors of a group may lie apart.
        seconds: longest pause between two scans of a group.
        width: longest group, s; what goes on longer (one ion watched through the run) is cut every so often.
        similarity: least cosine (square root of intensities, 0.01 Da) to the group's most intense scan.
    """

    precursor: str = "10ppm"
    seconds: float = 20.0
    width: float = 60.0
    similarity: float = 0.7

    def __post_init__(self) -> None:
        Tolerance.of(self.precursor)


def merge(scans: pl.DataFrame, rule: Repeats) -> pl.DataFrame:
    """`scans` (schema SPECTRA, one run) with each group as one row, in the order of the scans.

    Scans of different polarity, charge, fragmentation or collision energy are never one group; what is unknown is a
    value of its own. Added are `merged_scans` (how many) and `members` (their identifiers). A row has the metadata of
    the group's most intense scan, peaks as `spectra.merge` joins them, and the median of the precursor m/z. Scans
    without precursor or retention time stay alone.
    """
    if scans.is_empty():
        return alone(scans)
    rows = scans.with_columns(_group=pl.Series(_close(scans, rule)), _row=pl.int_range(scans.height))
    leader = _leaders(rows, rule)
    rows = rows.with_columns(_leader=pl.Series(leader))
    found, group = np.unique(leader, return_inverse=True)
    if found.size == scans.height:
        return alone(scans)
    sizes = rows.group_by("_leader", maintain_order=True).agg(
        pl.len().alias(MERGED), pl.col("identifier").alias(MEMBERS), pl.col("precursor_mz").median()
    )
    lead = rows.drop("precursor_mz").join(sizes, left_on="_row", right_on="_leader", how="inner").sort("_row")
    several = (lead[MERGED] > 1).to_numpy()
    inside = several[group]
    numbers = np.cumsum(several) - 1
    spectra = merge_groups(flatten(rows.filter(pl.Series(inside))), numbers[group[inside]].astype(np.int64))
    whole = _with_peaks(lead.filter(pl.Series(several)), spectra)
    columns = ["_row", *scans.columns, MERGED, MEMBERS]
    both = pl.concat([whole.select(columns), lead.filter(pl.Series(~several)).select(columns)])
    return both.sort("_row").drop("_row")


def alone(scans: pl.DataFrame) -> pl.DataFrame:
    """Every scan as a group of its own."""
    return scans.with_columns(pl.lit(1, pl.UInt32).alias(MERGED), pl.concat_list("identifier").alias(MEMBERS))


def _close(scans: pl.DataFrame, rule: Repeats) -> NDArray[np.int64]:
    """Number of each scan's run of scans of one kind with like precursors and no long pause."""
    limit = Tolerance.of(rule.precursor)
    mz, time = pl.col("precursor_mz"), pl.col("retention_time")
    energy = pl.coalesce("collision_energy_raw", pl.col("collision_energy").cast(pl.String))
    kind = pl.struct("ion_mode", "charge", "fragmentation", energy.alias("energy")).rank("dense")
    keys = scans.select(mz, time, kind.alias("kind"), pl.int_range(pl.len()).alias("row"))
    keys = keys.sort("kind", "precursor_mz", "retention_time", nulls_last=True)
    apart = (pl.col("kind") != pl.col("kind").shift()) | mz.is_null() | time.is_null()
    starts = keys.select(apart.fill_null(True)).to_series().to_numpy()
    masses = keys.get_column("precursor_mz").fill_null(0.0).to_numpy()
    keys = keys.with_columns(ion=pl.Series(_ions(masses, starts, limit.da, limit.relative)))
    keys = keys.sort("ion", "retention_time", nulls_last=True)
    pause = (time - time.shift() > rule.seconds) | (pl.col("ion") != pl.col("ion").shift())
    groups = keys.with_columns(group=pause.fill_null(True).cum_sum())
    part = ((time - time.min().over("group")) / rule.width).floor().fill_null(0.0)
    named = groups.with_columns(part=part).sort("row").select(pl.struct("group", "part").rank("dense"))
    return named.to_series().to_numpy().astype(np.int64)


@kernel
def _ions(mzs, starts, da, relative):  # type: ignore[no-untyped-def]
    """A number a scan, the same for scans of one ion: runs of ascending `mzs` are cut at their widest gap until the
    first and the last of each agree. A mark in `starts` begins a run."""
    n = mzs.size
    ion, count = np.zeros(n, np.int64), 0
    ends = np.zeros(n + 1, np.int64)  # of the stretches that wait, the next one last
    first = 0
    while first < n:
        last = first + 1
        while last < n and not starts[last]:
            last += 1
        ends[0], waiting = last, 1
        while waiting:
            last = ends[waiting - 1]
            cut, widest = last, 0.0
            if mzs[last - 1] - mzs[first] > da + relative * (mzs[first] + mzs[last - 1]) / 2:
                for k in range(first + 1, last):
                    if mzs[k] - mzs[k - 1] > widest:
                        cut, widest = k, mzs[k] - mzs[k - 1]
            if cut < last:
                ends[waiting] = cut
                waiting += 1
            else:
                ion[first:last] = count
                count += 1
                first = last
                waiting -= 1
    return ion


def _leaders(rows: pl.DataFrame, rule: Repeats) -> NDArray[np.int64]:
    """For each scan the row of the scan that it is merged with: itself, or the most intense of those like it."""
    leader = np.arange(rows.height)
    left = rows.filter(pl.len().over("_group") > 1)
    for _ in range(_ROUNDS):
        if left.is_empty():
            break
        ordered = left.sort("base_peak_intensity", descending=True, nulls_last=True, maintain_order=True)
        heads = ordered.unique("_group", keep="first", maintain_order=True)
        most = int(left.get_column("_group").value_counts().get_column("count").max() or 1)  # type: ignore[arg-type]
        hits = Library.build(left).search(
            heads, tolerance="0.01Da", intensity_power=0.5, same=["_group"], top_k=most, threads=1
        )
        times = left.select(library_identifier="identifier", row="_row", time="retention_time")
        pairs = _unbroken(
            hits.filter(pl.col("score") >= rule.similarity)
            .join(heads.select("identifier", head="_row"), on="identifier")
            .join(times, on="library_identifier"),
            rule.seconds,
        )
        leader[pairs.get_column("row").to_numpy()] = pairs.get_column("head").to_numpy()
        done = pl.concat([pairs.get_column("row"), heads.get_column("_row")])
        left = left.filter(~pl.col("_row").is_in(done.implode())).filter(pl.len().over("_group") > 1)
    return leader


def _unbroken(pairs: pl.DataFrame, seconds: float) -> pl.DataFrame:
    """Of the scans (`row`, `time`) like each `head`, those that no pause separates from it; others may lie between."""
    pairs = pairs.sort("head", "time", "row")
    pause = (pl.col("time").diff() > seconds).fill_null(False).cum_sum().over("head")
    own = pl.col("_run").filter(pl.col("row") == pl.col("head")).first().over("head")
    return pairs.with_columns(_run=pause).filter(pl.col("_run") == own)


def _with_peaks(rows: pl.DataFrame, spectra: Flat) -> pl.DataFrame:
    """Rows with other peaks, relative to their base peak."""
    return rows.with_columns(*as_columns(spectra))


def as_columns(spectra: Flat) -> list[pl.Series]:
    """`mzs` and `intensities` (base peak 1) of n spectra as list columns."""
    import pyarrow as pa

    sizes = np.diff(spectra.offsets)
    base = np.zeros(sizes.size)
    row = np.repeat(np.arange(sizes.size), sizes)
    np.maximum.at(base, row, spectra.intensities)
    offsets = pa.array(spectra.offsets, pa.int64())
    columns = (("mzs", spectra.mzs), ("intensities", (spectra.intensities / base[row]).astype(np.float32)))
    return [
        pl.Series(name, pl.from_arrow(pa.LargeListArray.from_arrays(offsets, pa.array(values))))
        for name, values in columns
    ]
