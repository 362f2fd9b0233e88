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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..errors import DataError, SchemaError
from ..lock import exclusive
from ..provenance import replace_folder, write_json
from . import _index
from ._columns import Files, load_column, load_tables, save_column, save_table
from ._index import CHUNK, Index, Inverted
from .flat import Flat, flatten, precursors
from .library import Library
from .scoring import Scoring, Weighted
from .tolerance import spelt

VERSION = 2
#: The scorings whose index is stored unless others are asked for; the sqrt cosine comes with its modified cosine.
USUAL = (
    Scoring("cosine"), Scoring("modified-cosine"), Scoring("modified-cosine", intensity_power=0.5), Scoring("entropy"),
    Scoring("hybrid"),
)  # fmt: skip
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
        library._indexes[key] = Index(_weighted(key, peaks, at), _inverted(at / "by-mz"))
        if (at / "by-loss").is_dir():
            library._losses[key] = _inverted(at / "by-loss")
        for tolerance, shifted, crowding in stored["crowding"]:
            library._crowding[key, tolerance, shifted] = crowding
    return library


def add(folder: Path | str, scorings: Sequence[Scoring]) -> None:
    """Store the index of further scorings in a library that is there; what it has already is left alone.

    A kill leaves the library as it was. Raises DataError as `open`, RunError while another process adds to it.
    """
    folder = Path(folder)
    library, info = open(folder), describe(folder)
    with exclusive(folder):
        _store(scorings, library.peaks, library.precursor_mz[library.order], folder, info["chunk"], info["indexes"])
        write_json(folder / "library.json", info)


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
        identifiers, masses = _spool(batches, work, spool)
    by_name = identifiers.arg_sort().to_numpy().astype(np.int64)
    repeated = identifiers.gather(by_name)
    twice = repeated.filter(repeated == repeated.shift(1))
    if twice.len():
        raise SchemaError(f"repeated identifier: {twice[0]!r}", where="library", remedy="make identifiers unique")
    _write_rows(work, by_name)
    order = np.argsort(masses[by_name], kind="stable").astype(np.int64)
    save_column(work, "order", order)
    peaks = _write_peaks(work, by_name[order], chunk)
    ordered = masses[by_name][order]
    indexes: list[dict[str, Any]] = []
    _store(scorings, peaks, ordered, work, chunk, indexes)
    info = {
        "version": VERSION,
        "spectra": int(order.size),
        "peaks": int(peaks.mzs.size),
        "chunk": chunk,
        "hash": _hash(work),
        "indexes": indexes,
    }
    write_json(work / "library.json", info)


def _store(
    scorings: Sequence[Scoring], peaks: Flat, ordered: NDArray[np.float64], folder: Path, chunk: int,
    indexes: list[dict[str, Any]],
) -> None:  # fmt: skip
    """Write what the scorings need and is not there into `folder`, each index under its name once it is whole.

    Args:
        ordered: precursor m/z in the order of the peaks.
        indexes: of library.json, grown here; number k is the folder `index-k`.
    """
    for scoring in scorings:
        key = scoring.weighing
        numbers = {Scoring(**entry["scoring"]): number for number, entry in enumerate(indexes)}
        at = folder / f"index-{numbers.get(key, len(indexes))}"
        if key not in numbers:
            with _whole(at) as work:
                with Files(work) as sink:
                    weighted = _index.weigh(key, peaks, ordered, chunk, sink)
                _write_inverted(key, weighted, None, chunk, work / "by-mz")
            indexes.append({"scoring": asdict(key), "crowding": []})
        weighted, known = _weighted(key, peaks, at), indexes[numbers.get(key, len(indexes) - 1)]["crowding"]
        if scoring.shifted and not (at / "by-loss").is_dir():
            with _whole(at / "by-loss") as work:
                _write_inverted(key, weighted, ordered, chunk, work)
        for shifted in sorted({False, scoring.shifted}):
            named = [spelt(scoring.tolerance), shifted]
            if named not in [entry[:2] for entry in known]:
                known.append([*named, _index.crowding(weighted, scoring.tolerance, shifted)])


@contextlib.contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """A folder to fill, which gets the name `folder` when all is there."""
    work = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(work, ignore_errors=True)
    yield work
    shutil.rmtree(folder, ignore_errors=True)  # of an `add` that was killed before library.json named it
    os.replace(work, folder)


def _weighted(key: Scoring, peaks: Flat, at: Path) -> Weighted:
    """The weighted peaks of an index folder, mapped; cosines share the m/z of the library."""
    own = key.score != "cosine"
    return Weighted(
        load_column(at, "mzs") if own else peaks.mzs,
        load_column(at, "weights"),
        load_column(at, "shares"),
        load_column(at, "offsets") if own else peaks.offsets,
    )


def _spool(batches: Iterable[pl.DataFrame], work: Path, sink: Files) -> tuple[pl.Series, NDArray[np.float64]]:
    """Write every batch as it comes: peaks end to end, metadata apart. Returns identifiers and precursors."""
    identifiers, masses, total = [pl.Series("identifier", [], dtype=pl.String)], [np.zeros(0)], 0
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
        masses.append(precursors(batch))
    for name in ("mzs", "intensities", "offsets"):
        sink.finish(name)
    return pl.concat(identifiers), np.concatenate(masses)


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
