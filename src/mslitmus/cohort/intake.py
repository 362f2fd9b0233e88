"""From a sheet and its files to kept spectra and pooled vectors: one run in memory at a time, nothing done twice."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import polars as pl

from ..errors import DataError, FormatError
from ..provenance import code_hash, file_hash, write_parquet
from ..schemas import SPECTRA
from ..search.repeats import Repeats
from ..search.runs import Preparation
from . import representation as pooling
from .files import Reading, keep_run, load_run, locate, opened
from .kept import Kept, digest
from .representation import Representation, Summary, load, save, summarise
from .samples import Sheet
from .settings import CohortSettings

Say = Callable[[str], None]
#: Raised when spectra or pooled vectors are kept in another way.
SPECTRA_VERSION, VECTORS_VERSION = 1, 1
#: What is noted of each run, beside the columns of the sheet.
COUNTS = {"n_spectra": pl.Int64(), "n_peaks": pl.Int64(), "total_intensity": pl.Float64(), "in_blank": pl.Int64()}


def spectra_path(root: Path, sample: str) -> Path:
    return root / "spectra" / f"{sample}.parquet"


def read_runs(sheet: Sheet, data: Path, root: Path, how: CohortSettings, jobs: int, say: Say) -> pl.DataFrame:
    """Keep the spectra of every run; the blanks' first, as the others are compared with them.

    Returns `sample`, `hash` of the file, `key` of what was kept of it, the columns `COUNTS`, and `notes` (list).
    Raises DataError for a sample without any spectrum.
    """
    reading = Reading(Preparation(Repeats() if how.merge else None, how.noise), how.ion_mode)
    kept = Kept(root / "spectra" / "kept.json")
    done: dict[str, dict[str, Any]] = {}
    with opened(data, root) as folder:
        paths = locate(sheet.rows["file"].to_list(), folder)
        blank = sheet.rows["role"] == "blank"
        first, rest = sheet.rows.filter(blank), sheet.rows.filter(~blank)
        _read(first, paths, root, reading, "", kept, jobs, done, say, sheet.rows.height)
        about = ""
        if first.height and how.blanks == "remove":
            about = digest(sorted(done[s]["hash"] for s in first["sample"]))
            reading = Reading(reading.how, reading.ion_mode, _blanks(first, root, about))
        _read(rest, paths, root, reading, about, kept, jobs, done, say, sheet.rows.height)
    rows = [{"sample": s, **done[s]} for s in sheet.rows["sample"]]
    text = {name: pl.String() for name in ("sample", "hash", "key")}
    return pl.DataFrame(rows, schema={**text, **COUNTS, "notes": pl.List(pl.String)})


def _blanks(rows: pl.DataFrame, root: Path, about: str) -> Path:
    """The spectra of all blanks in one file."""
    path = root / "cache" / f"blanks-{about}.parquet"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_parquet(path, pl.concat([pl.read_parquet(spectra_path(root, s)) for s in rows["sample"]]))
    return path


def _read(
    rows: pl.DataFrame, paths: dict[str, Path], root: Path, reading: Reading, blanks: str, kept: Kept, jobs: int,
    done: dict[str, dict[str, Any]], say: Say, total: int,
) -> None:  # fmt: skip
    """Those runs that are not kept yet, in worker processes where several are asked for."""
    waiting: list[tuple[str, str, str, str, Path]] = []
    for sample, file, role in rows.select("sample", "file", "role").iter_rows():
        hashed = file_hash(paths[file])[:16]
        key = digest(hashed, reading.identity(), blanks, code_hash("search", "spectra"), SPECTRA_VERSION)
        notes = kept.get(sample, key, spectra_path(root, sample))
        if notes is not None:
            done[sample] = {"hash": hashed, "key": key, **notes}
        else:
            waiting.append((sample, role, hashed, key, paths[file]))
    for (sample, _, hashed, key, _), notes in _noted(waiting, root, reading, jobs):
        kept.put(sample, key, notes)
        done[sample] = {"hash": hashed, "key": key, **notes}
        say(f"{len(done)}/{total} runs read: {sample}, {notes['n_spectra']:,} spectra")


def _noted(waiting: Sequence[Any], root: Path, reading: Reading, jobs: int) -> Iterator[tuple[Any, dict[str, Any]]]:
    if jobs <= 1 or len(waiting) < 2:
        for each in waiting:
            yield each, _keep(each[4], each[0], each[1], spectra_path(root, each[0]), reading)
        return
    with ProcessPoolExecutor(min(jobs, len(waiting)), mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(_keep, e[4], e[0], e[1], spectra_path(root, e[0]), reading): e for e in waiting}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _keep(source: Path, sample: str, role: str, out: Path, reading: Reading) -> dict[str, Any]:
    """`keep_run`; a blank, pool or qc may hold no MS/MS spectrum at all, but no file may be damaged."""
    try:
        return keep_run(source, sample, out, reading)
    except (DataError, FormatError) as error:
        if role == "sample" or isinstance(error, FormatError):
            remedy = f"{error.remedy}; or take its row out of the sheet"
            raise type(error)(f"{role} {sample!r}: {error.message}", where=error.where, remedy=remedy) from error
        out.parent.mkdir(parents=True, exist_ok=True)
        write_parquet(out, pl.DataFrame(schema=dict(SPECTRA)))
        empty = {"n_spectra": 0, "n_peaks": 0, "total_intensity": None, "in_blank": 0, "faults": 0}
        return {**empty, "notes": ["no MS/MS spectrum"]}


def summaries(
    representation: Representation, samples: pl.DataFrame, root: Path, how: CohortSettings, say: Say
) -> tuple[list[Summary], str]:
    """The pooled vectors of every run, kept ones reused; and a hash of all that they were made of.

    A vector is kept under what the representation is (settings; files or state of a model), the code that makes and
    pools it, and the spectra of its run: file, preparation, blanks. An embedding of a large cohort takes long, and
    outlives changes of other code.

    Args:
        samples: `sample`, `role`, `key` (of its spectra).
    """
    identity = digest(representation.identity(), _code(representation), VECTORS_VERSION, how.blanks == "remove")
    folder = root / "cache" / f"{representation.name}-{identity[:8]}"
    kept = Kept(folder / "kept.json")
    out, keys = [], [identity]
    for n, (sample, role, spectra_key) in enumerate(samples.select("sample", "role", "key").iter_rows(), 1):
        path, key = folder / f"{sample}.npz", digest(identity, spectra_key)
        keys.append(key)
        if kept.get(sample, key, path) is None:
            without = how.blanks == "remove" and role != "blank"
            spectra = load_run(spectra_path(root, sample), without_blank=without)
            save(path, summarise(representation, spectra, zlib.crc32(sample.encode())))
            kept.put(sample, key, {})
            say(f"{representation.name}: {n}/{samples.height} runs")
        out.append(load(path))
    return out, digest(keys)


def _code(representation: Representation) -> list[str]:
    """Hashes of the sources that make and pool its vectors."""
    modules = (pooling, sys.modules[type(representation).__module__])
    return [file_hash(Path(file)) for module in modules if (file := getattr(module, "__file__", None))]
