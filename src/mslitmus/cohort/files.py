"""The runs of a sheet: where they lie, in a folder or an archive, and each one's spectra, prepared and kept."""

from __future__ import annotations

import gzip
import lzma
import tarfile
import tempfile
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl

from ..errors import DataError, FormatError
from ..provenance import write_parquet
from ..schemas import SPECTRA, conform
from ..search.queries import Intake, read
from ..search.runs import Preparation
from .blanks import IN_BLANK, BlankSpectra
from .samples import stem

#: What unpacking a damaged archive raises, cut off or with wrong bytes inside.
DAMAGED = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError)


def extract(archive: Path, folder: Path) -> None:
    """Unpack a zip or tar. Raises one of `DAMAGED`, also where only the checksum at the end of a tar.gz tells."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as whole:
            whole.extractall(folder)
        return
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
        while tar.fileobj is not None and tar.fileobj.read(1 << 20):
            pass


@contextmanager
def opened(data: Path, scratch: Path) -> Iterator[Path]:
    """The folder of the runs; an archive is unpacked beside the results for as long as it is needed.

    Raises FormatError where `data` is neither.
    """
    if data.is_dir():
        yield data
        return
    if not data.exists():
        raise FormatError("no such folder or archive", where=str(data), remedy="check --data")
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch, prefix=".unpacked-") as folder:
        try:
            extract(data, Path(folder))
        except DAMAGED as error:
            remedy = "--data is a folder of runs, or a tar or zip archive of them"
            raise FormatError(f"cannot be unpacked: {error}", where=str(data), remedy=remedy) from error
        yield Path(folder)


def locate(files: Sequence[str], folder: Path) -> dict[str, Path]:
    """The path of each file of a sheet: by its path, else by its name, by its name without endings, by that whatever
    the case.

    Raises DataError for those that are absent, for a name that several files have, and for a file of several rows.
    """
    there = sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))
    rules: tuple[Callable[[str], str], ...] = (str, stem, lambda name: stem(name).casefold())
    known: list[dict[str, list[Path]]] = [defaultdict(list) for _ in rules]
    for path in there:
        for rule, paths in zip(rules, known, strict=True):
            paths[rule(path.name)].append(path)
    out, absent = {}, []
    for file in files:
        exact = folder / file
        name = PurePosixPath(file.replace("\\", "/")).name
        by_name = (paths[rule(name)] for rule, paths in zip(rules, known, strict=True) if rule(name) in paths)
        found = [exact] if exact.is_file() else next(by_name, [])
        if len(found) > 1:
            shown = ", ".join(str(p.relative_to(folder)) for p in found[:3])
            raise DataError(f"{file!r} may be any of {shown}", where=str(folder), remedy="name its folder in the sheet")
        if found:
            out[file] = found[0]
        else:
            absent.append(file)
    if absent:
        shown = ", ".join(absent[:5]) + (", …" if len(absent) > 5 else "")
        remedy = f"{len(there):,} files lie there; names may differ in folder, ending and case only"
        raise DataError(f"{len(absent)} of {len(files)} files are not there: {shown}", where=str(folder), remedy=remedy)
    _refuse_twins(out, folder)
    return out


def _refuse_twins(paths: Mapping[str, Path], folder: Path) -> None:
    """A run that two rows name would be in training and test at once."""
    rows = defaultdict(list)
    for file, path in paths.items():
        rows[path.resolve()].append(file)
    for path, names in rows.items():
        if len(names) > 1:
            what = f"{', '.join(map(repr, names[:3]))} are one file, {path.name}"
            raise DataError(what, where=str(folder), remedy="one row a run; name the folder where names repeat")


@dataclass(frozen=True)
class Reading:
    """How a run is read; picklable, for worker processes.

    Args:
        blanks: Parquet of the blanks' spectra; those that a blank holds too get the flag `in-blank`.
    """

    how: Preparation
    ion_mode: str | None = None
    blanks: Path | None = None

    def identity(self) -> dict[str, Any]:
        return {"how": repr(self.how), "ion_mode": self.ion_mode}


def keep_run(source: Path, sample: str, out: Path, reading: Reading) -> dict[str, Any]:
    """Read a run and write its spectra (schema SPECTRA, identifiers begin with the sample).

    Returns what is to be noted: n_spectra, n_peaks, total_intensity (null where not recorded), in_blank, notes.
    Raises FormatError or DataError of the reader where nothing can be read; single faults are noted.
    """
    intake = Intake()
    frames = [conform(frame) for frame in read([source], reading.how, intake, ion_mode=reading.ion_mode)]
    spectra = pl.concat(frames).with_columns((pl.lit(f"{sample}:") + pl.col("identifier")).alias("identifier"))
    spectra = _unique(spectra)
    in_blank = 0
    if reading.blanks is not None:
        seen = pl.Series(BlankSpectra.load(reading.blanks).seen(spectra))
        in_blank = int(seen.sum())
        flags = pl.col("flags")
        marked = pl.concat_list(flags.fill_null([]), pl.lit(IN_BLANK))
        spectra = spectra.with_columns(flags=pl.when(seen).then(marked).otherwise(flags))
    out.parent.mkdir(parents=True, exist_ok=True)
    write_parquet(out, spectra.select(list(SPECTRA)))
    total = spectra.select((pl.col("base_peak_intensity") * pl.col("intensities").list.sum()).sum()).item()
    faults = [str(error).splitlines()[0] for error in intake.problems.errors[:3]]
    return {
        "n_spectra": spectra.height,
        "n_peaks": int(spectra["mzs"].list.len().sum()),
        "total_intensity": float(total) if spectra["base_peak_intensity"].null_count() < spectra.height else None,
        "in_blank": in_blank,
        "faults": len(intake.problems.errors),
        "notes": [*intake.lines(), *faults],
    }


def _unique(spectra: pl.DataFrame) -> pl.DataFrame:
    """Repeated identifiers get `#2`, `#3`, …"""
    if spectra["identifier"].n_unique() == spectra.height:
        return spectra
    nth = pl.int_range(1, pl.len() + 1).over("identifier")
    identifier = pl.col("identifier")
    numbered = identifier + "#" + nth.cast(pl.String)
    return spectra.with_columns(pl.when(nth == 1).then(identifier).otherwise(numbered).alias("identifier"))


def load_run(path: Path, *, without_blank: bool) -> pl.DataFrame:
    """The kept spectra of a run, those flagged `in-blank` left out on request."""
    spectra = pl.read_parquet(path)
    if without_blank:
        return spectra.filter(~pl.col("flags").list.contains(IN_BLANK).fill_null(False))
    return spectra
