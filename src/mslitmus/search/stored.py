"""A library built once and opened in no time: an index folder for each ion mode, and a word on what is inside.

    <folder>/  parts.json  positive/  negative/  unstated/

The folders are those of `spectra.library_files`; they are memory-mapped. A build writes beside the name and moves into
place, so that a kill leaves the old library or the new one.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from dataclasses import replace as replaced
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from .. import __version__
from ..errors import ConfigError, DataError
from ..provenance import now, replace_folder, write_json
from ..spectra import library_files
from ..spectra._pair_kernels import ENTROPY
from ..spectra.library import Library, Scoring

FORMAT, ABOUT, UNSTATED = 1, "parts.json", "unstated"
_MODES = {"positive": "positive", "negative": "negative", UNSTATED: None}


@dataclass(frozen=True)
class Stored:
    """An opened index: `parts` as (ion mode or None, library)."""

    name: str
    about: dict[str, Any]
    parts: tuple[tuple[str | None, Library], ...]

    @property
    def hash(self) -> str | None:
        return self.about.get("hash")


def is_index(path: Path) -> bool:
    """Whether a folder was made by `build`, or by `library_files.write`."""
    return (path / ABOUT).is_file() or (path / "library.json").is_file()


def open_index(path: Path) -> Stored:
    """Open it, memory-mapped. Raises DataError for one that is damaged or of another version."""
    if (path / "library.json").is_file():
        return _one_part(path)
    about = describe(path)
    parts = tuple((_MODES[mode], library_files.open(path / mode)) for mode in about["spectra"])
    return Stored(str(about["name"]), about, parts)


def _one_part(path: Path) -> Stored:
    """An index of `library_files` as it is: of one ion mode, which its rows state."""
    library = library_files.open(path)
    modes = library.rows.get_column("ion_mode").unique().to_list() if "ion_mode" in library.rows.columns else [None]
    if len(modes) != 1:
        remedy = "build it with `mslitmus library build`, which keeps ion modes apart"
        raise DataError("spectra of several ion modes in one index", where=str(path), remedy=remedy)
    return Stored(path.name, library_files.describe(path), ((modes[0], library),))


def describe(path: Path) -> dict[str, Any]:
    """What `parts.json` says. Raises DataError as `open_index`."""
    remedy = "build it again with `mslitmus library build`"
    try:
        about = dict(json.loads((path / ABOUT).read_text(encoding="utf-8")))
        if about["format"] != FORMAT:
            raise DataError(f"format {about['format']}, this version reads {FORMAT}", where=str(path), remedy=remedy)
        if absent := [mode for mode in about["spectra"] if mode not in _MODES or not (path / mode).is_dir()]:
            raise DataError(f"absent: {', '.join(absent)}", where=str(path), remedy=remedy)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"no stored library: {error}", where=str(path), remedy=remedy) from error
    return about


def build(
    frames: Iterable[pl.DataFrame],
    folder: Path,
    *,
    sources: Iterable[str],
    say: Callable[[str], None] = lambda _: None,
    scorings: Sequence[Scoring] = library_files.USUAL,
    replace: bool = False,
) -> dict[str, Any]:
    """Write an index folder from frames of spectra (`libraries.TOLD`, mzs, intensities) with unique identifiers.

    `scorings` are those whose index is stored; any other is made in memory at every search that asks for it.
    Memory is bounded by a frame and what `library_files.write` needs; the disk holds the spectra twice meanwhile.

    Returns what `describe` gives. Raises DataError where the folder is there already (without `replace`, or if it is no
    library), no spectrum comes, or the disk refuses.
    """
    if folder.exists() and not (replace and is_index(folder)):
        remedy = "name another folder, or --replace" if is_index(folder) else "name another folder"
        raise DataError("it is there already", where=str(folder), remedy=remedy)
    work = folder.with_name(f".{folder.name}.tmp{os.getpid()}")
    try:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        counts = _spool(frames, work, say)
        if not counts:
            raise DataError("no spectrum to store", where=str(folder), remedy="name another source")
        hashes = []
        for mode, number in counts.items():
            say(f"{mode}: indexing {number:,} spectra")
            library_files.write(_unspooled(work / f"{mode}.parquet"), work / mode, scorings=scorings)
            (work / f"{mode}.parquet").unlink()
            hashes.append(library_files.describe(work / mode)["hash"])
        about = {"format": FORMAT, "name": folder.name, "spectra": counts, "sources": list(sources)}
        about |= {"hash": "-".join(str(text)[:16] for text in hashes), "made": now(), "mslitmus": __version__}
        write_json(work / ABOUT, about)
        replace_folder(work, folder)
    except OSError as error:
        remedy = "check that the folder may be written to and has space left"
        raise DataError(f"cannot write: {error}", where=str(folder), remedy=remedy) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return about


def add(folder: Path, scorings: Sequence[Scoring], say: Callable[[str], None] = lambda _: None) -> None:
    """Store the index of further scorings in a library. Raises as `open_index`, and DataError if the disk refuses."""
    places = (
        [folder] if (folder / "library.json").is_file() else [folder / mode for mode in describe(folder)["spectra"]]
    )
    try:
        for place in places:
            say(f"{place.name}: indexing")
            library_files.add(place, scorings)
    except OSError as error:
        remedy = "check that the folder may be written to and has space left"
        raise DataError(f"cannot write: {error}", where=str(folder), remedy=remedy) from error


def scorings_of(
    scores: Sequence[str], tolerances: Sequence[str], intensity_power: float = 1.0, mz_power: float = 0.0
) -> list[Scoring]:
    """Every score at every tolerance; no scores: the usual ones. Powers are of the cosines, entropies have none.

    Raises ConfigError for what is no scoring, and for powers without a cosine.
    """
    out: list[Scoring] = []
    for tolerance in tolerances:
        if not scores:
            out += [replaced(usual, tolerance=tolerance) for usual in library_files.USUAL]
        for score in scores:
            plain = Scoring(score, tolerance)
            powers = (1.0, 0.0) if plain.measure == ENTROPY else (intensity_power, mz_power)
            out.append(Scoring(score, tolerance, *powers))
    if (intensity_power, mz_power) != (1.0, 0.0) and all(scoring.measure == ENTROPY for scoring in out if scores):
        raise ConfigError("powers without a cosine", remedy="name the cosine, e.g. --score modified-cosine")
    return out


def _spool(frames: Iterable[pl.DataFrame], work: Path, say: Callable[[str], None]) -> dict[str, int]:
    """The spectra as one Parquet file an ion mode; how many are in each."""
    writers: dict[str, pq.ParquetWriter] = {}
    counts: Counter[str] = Counter()
    try:
        for frame in frames:
            mode = pl.col("ion_mode").fill_null(UNSTATED)
            for (name,), rows in frame.group_by(mode.alias("mode"), maintain_order=True):
                table = rows.to_arrow(compat_level=pl.CompatLevel.oldest())
                if name not in writers:
                    writers[str(name)] = pq.ParquetWriter(work / f"{name}.parquet", table.schema, compression="zstd")
                writers[str(name)].write_table(table)
                counts[str(name)] += rows.height
            say(f"{counts.total():,} spectra read")
    finally:
        for writer in writers.values():
            writer.close()
    return {mode: counts[mode] for mode in _MODES if counts[mode]}


def _unspooled(path: Path) -> Iterator[pl.DataFrame]:
    with pq.ParquetFile(path) as file:
        for number in range(file.num_row_groups):
            yield pl.DataFrame(pl.from_arrow(file.read_row_group(number)))
