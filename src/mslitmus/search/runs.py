"""An LC-MS/MS run straight from the instrument, as queries: centroids, precursors measured, repeats merged, noise cut.

Scans stream by: of the survey scans (MS1) only the last is kept, of the MS/MS scans a block.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from ..errors import ConfigError
from ..schemas import conform
from ..spectra.flat import Flat, flatten, select
from ..spectra.peaks import PRECURSOR_ABOVE
from .picking import centroid, profile
from .precursors import repair
from .repeats import Repeats, alone, as_columns, merge

#: Scans that wait for the next survey scan at most; and MS/MS scans that are merged at a time.
_WAITING, _BLOCK = 4_000, 4_000


@dataclass(frozen=True)
class Preparation:
    """What is done to the scans of a run.

    Args:
        repeats: rule for merging repeated scans; None leaves every scan a query of its own.
        noise: peaks below this share of the base peak are dropped.
        measure_precursor: the precursor m/z is looked up in the survey scan.
    """

    repeats: Repeats | None = field(default_factory=Repeats)
    noise: float = 0.01
    measure_precursor: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.noise < 1:
            raise ConfigError(f"noise={self.noise}", remedy="a share of the base peak from 0 to below 1, e.g. 0.01")


def prepare(frames: Iterable[pl.DataFrame], how: Preparation, notes: Counter[str]) -> Iterator[pl.DataFrame]:
    """Frames of one run with MS1 scans, in the order of the file → frames of queries, see `repeats.merge`.

    Raises SchemaError for scans that are no spectra.
    """
    scans = _measured(frames, how.measure_precursor, notes)
    for block in _blocks(scans, how.repeats):
        if block.is_empty():
            continue
        whole = merge(block, how.repeats) if how.repeats else alone(block)
        notes["repeated scans merged into others"] += block.height - whole.height
        yield _without_noise(whole, how.noise)


def _measured(frames: Iterable[pl.DataFrame], wanted: bool, notes: Counter[str]) -> Iterator[pl.DataFrame]:
    """MS2 scans as centroids with measured precursors.

    A scan waits until the next survey scan has passed: where scans nest (mzXML), its own comes after it.
    """
    waiting = pl.DataFrame()
    for frame in frames:
        rows = pl.concat([waiting, conform(frame)])
        level = pl.col("ms_level").fill_null(2)
        notes["scans of MS³ and beyond, left out"] += rows.filter(level > 2).height
        rows = rows.filter(level <= 2)
        surveys = (rows["ms_level"].fill_null(2) == 1).arg_true()
        last = int(surveys[-1]) if surveys.len() else 0
        if rows.height - last > _WAITING:
            yield from _with_precursors(rows, wanted, notes)
            waiting = rows[last : last + 1] if surveys.len() else rows.clear()
        elif last:
            yield from _with_precursors(rows[: last + 1], wanted, notes)
            waiting = rows[last:]
        else:
            waiting = rows
    if waiting.height:
        yield from _with_precursors(waiting, wanted, notes)


def _with_precursors(rows: pl.DataFrame, wanted: bool, notes: Counter[str]) -> Iterator[pl.DataFrame]:
    survey = pl.col("ms_level").fill_null(2) == 1
    surveys, scans = rows.filter(survey), rows.filter(~survey)
    if scans.is_empty():
        return
    scans = _centroided(scans, notes)
    if not wanted or surveys.is_empty():
        yield scans
        return
    timed = rows["retention_time"].null_count() < rows.height  # the readers take a time of 0 for unknown
    times = rows["retention_time"].fill_null(0.0) if timed else pl.int_range(rows.height, eager=True)
    at = times.filter(rows.select(survey).to_series()).to_numpy()
    order = np.argsort(at, kind="stable")
    of = np.searchsorted(at[order], times.filter(rows.select(~survey).to_series()).to_numpy(), side="right") - 1
    peaks = _picked(flatten(surveys, where="MS1 scans"))
    found = []
    stated = scans.select("precursor_mz", "charge").iter_rows()
    for (mz, charge), place in zip(stated, of.tolist(), strict=True):
        if mz is None or place < 0:
            found.append(mz)
            continue
        number = int(order[place])
        inside = slice(int(peaks.offsets[number]), int(peaks.offsets[number + 1]))
        value, what = repair(mz, charge, peaks.mzs[inside], peaks.intensities[inside])
        notes[str(what)] += 1
        found.append(value)
    yield scans.with_columns(pl.Series("precursor_mz", found, dtype=pl.Float64))


def _centroided(scans: pl.DataFrame, notes: Counter[str]) -> pl.DataFrame:
    before = flatten(scans, where="MS/MS scans")
    notes["MS/MS scans recorded as profile, centroided"] += int(profile(before).sum())
    after = _picked(before)
    return scans if after is before else scans.with_columns(*as_columns(after))


def _picked(spectra: Flat) -> Flat:
    """The spectra with centroids in place of profiles."""
    is_profile = profile(spectra)
    if not is_profile.any():
        return spectra
    per_point = np.repeat(is_profile, np.diff(spectra.offsets))
    picked, kept = centroid(select(spectra, per_point)), select(spectra, ~per_point)
    sizes = np.diff(picked.offsets) + np.diff(kept.offsets)
    row = np.concatenate([np.repeat(np.arange(sizes.size), np.diff(part.offsets)) for part in (picked, kept)])
    order = np.argsort(row, kind="stable")
    mzs, intensities = (np.concatenate(pair)[order] for pair in zip(picked[:2], kept[:2], strict=True))
    return Flat(mzs, intensities, np.concatenate(([0], np.cumsum(sizes))).astype(np.int64))


def _blocks(scans: Iterable[pl.DataFrame], rule: Repeats | None) -> Iterator[pl.DataFrame]:
    """Blocks to merge within; the last seconds of a block go into the next one, as their group may go on."""
    held = pl.DataFrame()
    for frame in scans:
        held = pl.concat([held, frame]) if held.height else frame
        if held.height < _BLOCK:
            continue
        newest = held.select(pl.col("retention_time").max()).item()
        late = pl.lit(False) if rule is None or newest is None else pl.col("retention_time") > newest - rule.seconds
        late = late.fill_null(False)
        yield held.filter(~late)
        held = held.filter(late)
    if held.height:
        yield held


def _without_noise(queries: pl.DataFrame, share: float) -> pl.DataFrame:
    """Without peaks below `share` of the base peak, or above the isotopes of a precursor not known as multiply charged.

    A query that has no other peaks keeps none and finds nothing.
    """
    spectra = flatten(queries, where="queries")
    sizes = np.diff(spectra.offsets)
    base = np.zeros(sizes.size)
    row = np.repeat(np.arange(sizes.size), sizes)
    np.maximum.at(base, row, spectra.intensities)
    single = (queries["charge"].abs() <= 1).fill_null(True).to_numpy()
    precursor = queries["precursor_mz"].fill_null(float("inf")).to_numpy()
    limit = np.where(single, precursor + PRECURSOR_ABOVE, np.inf)
    kept = select(spectra, (spectra.intensities >= share * base[row]) & (spectra.mzs <= limit[row]))
    return queries.with_columns(*as_columns(kept))
