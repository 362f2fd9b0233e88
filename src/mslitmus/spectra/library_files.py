"""A library on disk: built with bounded memory, and searched from mapped files, so that it need not fit in memory.

    <folder>/  library.json           format version, counts, hash, the scorings whose index is stored
               rows-0000.arrow …      all columns but the peaks, ascending by identifier (Arrow IPC, mapped)
               mzs.npy intensities.npy offsets.npy     peaks, ascending by precursor m/z
               order.npy              the row of each of these spectra
               index-0/ …             weights and inverted chunks of one scoring

`write` fills a folder beside the wanted one and moves it into place when all is there, so a kill leaves no half library
that opens. Intensities are stored as float32, as in the data contract.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..errors import DataError, SchemaError
from ..provenance import replace_folder
from . import _index
from ._columns import Files, load_column, load_tables, save_column, save_table
from ._index import CHUNK, Index, Inverted
from .flat import Flat, flatten
from .library import Library
from .scoring import Scoring, Weighted

VERSION = 1
#: The scorings whose index is stored unless others are asked for; by-loss scores of the same weights come with them.
USUAL = (Scoring("cosine"), Scoring("modified-cosine", intensity_power=0.5), Scoring("entropy"))
_PEAKS = ("mzs", "intensities")
_ROWS = 100_000  # of metadata a file


def write(
    batches: Iterable[pl.DataFrame],
    folder: Path | str,
    *,
    scorings: Sequence[Scoring] = USUAL,
    overwrite: bool = False,
    chunk: int = CHUNK,
) -> Library:
    """Store a library of the spectra of all batches, with the index of each of `scorings`; returns it, opened.

    Args:
        batches: frames as for `Library.build`, of the same columns; only one is held at a time. Of all spectra together
            only identifiers and precursors are.
        overwrite: replace a library that is there.
        chunk: spectra that are inverted together, at most 65,536.

    Raises DataError where the folder exists, SchemaError for what `Library.build` refuses.
    """
    folder = Path(folder)
    if folder.exists() and not (overwrite and (folder / "library.json").is_file()):
        remedy = "choose another folder" if folder.is_dir() else "remove it, or choose another folder"
        raise DataError("there is something already", where=str(folder), remedy=remedy + ", or overwrite the library")
    work = folder.with_name(f".{folder.name}.partial-{os.getpid()}")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        _fill(batches, work, list(scorings), chunk)
        replace_folder(work, folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return open(folder)


def open(folder: Path | str) -> Library:
    """The library of a folder, mapped: pages are read as a search touches them.

    Raises DataError where there is none, where it is of another version, or where a file is not as it was written.
    """
    folder = Path(folder)
    info = describe(folder)
    peaks = Flat(load_column(folder, "mzs"), load_column(folder, "intensities"), load_column(folder, "offsets"))
    rows = load_tables(sorted(folder.glob("rows-*.arrow")))
    counts = {"spectra": rows.height, "peaks": len(peaks.mzs)}
    if counts != {name: info[name] for name in counts}:
        raise DataError("files are missing or were changed", where=str(folder), remedy="write the library again")
    library = Library(rows, peaks, load_column(folder, "order"), info["chunk"])
    for number, stored in enumerate(info["indexes"]):
        key, at = Scoring(**stored["scoring"]), folder / f"index-{number}"
        own = key.score != "cosine"
        weighted = Weighted(
            load_column(at, "mzs") if own else peaks.mzs,
            load_column(at, "weights"),
            load_column(at, "shares"),
            load_column(at, "offsets") if own else peaks.offsets,
        )
        library._indexes[key] = Index(weighted, _inverted(at / "by-mz"))
        if (at / "by-loss").is_dir():
            library._losses[key] = _inverted(at / "by-loss")
        for tolerance, shifted, crowding in stored["crowding"]:
            library._crowding[key, tolerance, shifted] = crowding
    return library


def describe(folder: Path | str) -> dict[str, Any]:
    """library.json of a library: version, spectra, peaks, hash, scorings. Raises DataError where there is none."""
    path = Path(folder) / "library.json"
    remedy = "write it with mslitmus library build"
    try:
        info: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError("no library here", where=str(folder), remedy=remedy) from error
    except ValueError as error:
        raise DataError("library.json cannot be read", where=str(folder), remedy=remedy) from error
    if info.get("version") != VERSION:
        message = f"a library of format version {info.get('version')}, this program reads {VERSION}"
        raise DataError(message, where=str(folder), remedy=remedy)
    return info


def verify(folder: Path | str) -> None:
    """Read all that scores come from. Raises DataError if it is not what was written."""
    if describe(folder)["hash"] != _hash(Path(folder)):
        raise DataError("the files are not as they were written", where=str(folder), remedy="write the library again")


def _fill(batches: Iterable[pl.DataFrame], work: Path, scorings: list[Scoring], chunk: int) -> None:
    with Files(work / "spool") as spool:
        identifiers, precursors = _spool(batches, work, spool)
    by_name = identifiers.arg_sort().to_numpy().astype(np.int64)
    repeated = identifiers.gather(by_name)
    twice = repeated.filter(repeated == repeated.shift(1))
    if twice.len():
        raise SchemaError(f"repeated identifier: {twice[0]!r}", where="library", remedy="make identifiers unique")
    _write_rows(work, by_name)
    order = np.argsort(precursors[by_name], kind="stable").astype(np.int64)
    save_column(work, "order", order)
    peaks = _write_peaks(work, by_name[order], chunk)
    ordered = precursors[by_name][order]
    made: dict[Scoring, Weighted] = {}
    crowding: dict[Scoring, list[tuple[str, bool, int]]] = {}
    for scoring in scorings:
        key = scoring.weighing
        at = work / f"index-{list(made).index(key) if key in made else len(made)}"
        if key not in made:
            with Files(at) as sink:
                made[key], crowding[key] = _index.weigh(key, peaks, ordered, chunk, sink), []
            _write_inverted(key, made[key], None, chunk, at / "by-mz")
        if scoring.shifted and not (at / "by-loss").is_dir():
            _write_inverted(key, made[key], ordered, chunk, at / "by-loss")
        for shifted in {False, scoring.shifted}:
            most = _index.crowding(made[key], scoring.tolerance, shifted)
            crowding[key].append((scoring.tolerance, shifted, most))
    info = {
        "version": VERSION,
        "spectra": int(order.size),
        "peaks": int(peaks.mzs.size),
        "chunk": chunk,
        "hash": _hash(work),
        "indexes": [{"scoring": asdict(key), "crowding": most} for key, most in crowding.items()],
    }
    (work / "library.json").write_text(json.dumps(info, indent=1), encoding="utf-8")


def _spool(batches: Iterable[pl.DataFrame], work: Path, sink: Files) -> tuple[pl.Series, NDArray[np.float64]]:
    """Write every batch as it comes: peaks end to end, metadata apart. Returns identifiers and precursors."""
    identifiers, precursors, total = [pl.Series("identifier", [], dtype=pl.String)], [np.zeros(0)], 0
    sink.append("offsets", np.zeros(1, np.int64))
    for name, kind in zip(_PEAKS, (np.float64, np.float32), strict=True):
        sink.append(name, np.zeros(0, kind))
    for number, batch in enumerate(batches):
        absent = [name for name in ("identifier", *_PEAKS) if name not in batch.columns]
        if absent:
            raise SchemaError(f"columns absent: {', '.join(absent)}", where="library", remedy="see docs/schema.md")
        flat = flatten(batch, where="library")
        sink.append("mzs", flat.mzs)
        sink.append("intensities", flat.intensities.astype(np.float32))
        sink.append("offsets", flat.offsets[1:] + total)
        total += int(flat.offsets[-1])
        save_table(work / "spool" / f"rows-{number:06d}.arrow", batch.drop(_PEAKS))
        identifiers.append(batch.get_column("identifier"))
        known = "precursor_mz" in batch.columns
        column = batch.get_column("precursor_mz").cast(pl.Float64).fill_null(float("nan")) if known else None
        precursors.append(np.full(batch.height, np.nan) if column is None else column.to_numpy())
    for name in ("mzs", "intensities", "offsets"):
        sink.finish(name)
    return pl.concat(identifiers), np.concatenate(precursors)


def _write_rows(work: Path, by_name: NDArray[np.int64]) -> None:
    parts = sorted((work / "spool").glob("rows-*.arrow"))
    rows = load_tables(parts) if parts else pl.DataFrame(schema={"identifier": pl.String})
    for number, first in enumerate(range(0, max(1, by_name.size), _ROWS)):
        save_table(work / f"rows-{number:04d}.arrow", rows[by_name[first : first + _ROWS]])


def _write_peaks(work: Path, places: NDArray[np.int64], chunk: int) -> Flat:
    """The spooled peaks in the order `places`, and the spool removed."""
    spool = work / "spool"
    mzs, intensities, offsets = (load_column(spool, name) for name in ("mzs", "intensities", "offsets"))
    sizes = np.diff(offsets)[places]
    with Files(work) as sink:
        for first in range(0, max(1, places.size), chunk):
            chosen, lengths = places[first : first + chunk], sizes[first : first + chunk]
            within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
            at = np.repeat(offsets[chosen], lengths) + within
            sink.append("mzs", mzs[at])
            sink.append("intensities", intensities[at])
        sink.append("offsets", np.concatenate(([0], np.cumsum(sizes))).astype(np.int64))
        made = Flat(*(sink.finish(name) for name in ("mzs", "intensities", "offsets")))
    del mzs, intensities, offsets
    with contextlib.suppress(OSError):
        shutil.rmtree(spool)
    return made


def _write_inverted(
    key: Scoring, weighted: Weighted, precursor: NDArray[np.float64] | None, chunk: int, folder: Path
) -> None:
    with Files(folder) as sink:
        save_column(folder, "starts", _index.invert(key, weighted, precursor, chunk, sink).starts)


def _inverted(folder: Path) -> Inverted:
    columns = {name: load_column(folder, name) for name in Inverted._fields}
    return Inverted(**{**columns, "bins": columns["bins"].reshape(columns["starts"].size - 1, -1)})


def _hash(folder: Path) -> str:
    """SHA-256 of the peaks and the metadata (first 16 hex digits)."""
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("*.npy"), *folder.glob("rows-*.arrow")]):
        digest.update(path.name.encode())
        with path.open("rb") as handle:
            digest.update(hashlib.file_digest(handle, "sha256").digest())
    return digest.hexdigest()[:16]
