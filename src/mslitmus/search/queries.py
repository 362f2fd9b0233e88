"""Query spectra from files as they come: any format, archives and folders, an instrument's run prepared first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import polars as pl

from ..errors import ConfigError, DataError, FormatError
from ..schemas import ION_MODES, conform
from ..spectra import formats
from .repeats import alone
from .runs import Preparation, prepare

#: Formats that hold whole runs, MS1 scans included.
RUNS = ("mzml", "mzxml")
FILE = "file"
_SCANS, BATCH = 256, 2_000


@dataclass
class Intake:
    """What was read so far: grows while `read` is consumed.

    Attributes:
        problems: faults and notes of the readers.
        notes: what was prepared or left out, counted.
        files: the files that were begun, in order; `ion_modes` those that were met in each.
        spectra: queries handed on.
    """

    problems: formats.Problems = field(default_factory=lambda: formats.Problems("skip"))
    notes: Counter[str] = field(default_factory=Counter)
    files: list[str] = field(default_factory=list)
    ion_modes: dict[str, set[str]] = field(default_factory=dict)
    spectra: int = 0

    def lines(self) -> list[str]:
        """The notes as `"12 × MS1 scans left out"`."""
        return [*self.problems.lines(), *(f"{n:,} × {text}" for text, n in self.notes.items() if n)]


def read(
    paths: Sequence[Path],
    how: Preparation | None = None,
    intake: Intake | None = None,
    *,
    ion_mode: str | None = None,
    batch: int = BATCH,
) -> Iterator[pl.DataFrame]:
    """Frames of at most `batch` queries: SPECTRA, `file` (path as given), `merged_scans` and `members`.

    Memory is bounded by a block of scans. Identifiers are unique over all files: with several files they begin with
    the file's name.

    Args:
        how: of runs; other files hold spectra that somebody prepared, which are taken as they are.
        ion_mode: of spectra that state none.

    Raises:
        FormatError: at the first fault, if the intake's problems say so, and if nothing at all can be read.
        DataError: no MS/MS spectrum in any file.
    """
    intake = intake or Intake()
    files = [file for path in paths for file in _files(path)]
    prefixes = stems(files) if len(files) > 1 else [None]
    for path, prefix in zip(files, prefixes, strict=True):
        label = str(path)
        intake.files.append(label)
        for frame in _one(path, how or Preparation(), intake):
            frame = _named(frame, label, prefix, ion_mode)
            intake.ion_modes.setdefault(label, set()).update(frame["ion_mode"].drop_nulls().unique().to_list())
            for start in range(0, frame.height, batch):
                intake.spectra += min(batch, frame.height - start)
                yield frame[start : start + batch]
    if not intake.spectra:
        if intake.problems.errors:
            raise intake.problems.errors[0]
        left = f" ({'; '.join(intake.lines())})" if intake.lines() else ""
        remedy = "is it a run without MS/MS, or MS1 only? `msconvert` must keep MS level 2"
        raise DataError(f"no MS/MS spectrum{left}", where=", ".join(map(str, paths)), remedy=remedy)


def _files(path: Path) -> list[Path]:
    """The path, or the files of a folder in order."""
    if not path.is_dir():
        return [path]
    found = formats.files_of(path)
    return [file for file in found if _known(file)] or found[:1]


def _known(path: Path) -> bool:
    try:
        formats.sniff(path)
    except FormatError:
        return False
    return True


def stems(files: Sequence[Path]) -> list[str]:
    """The stem of each file; one that is taken gets `#2`, `#3`, …"""
    out: list[str] = []
    for file in files:
        stem = file.name.split(".")[0] or "file"
        ways = (stem if nth == 1 else f"{stem}#{nth}" for nth in count(1))
        out.append(next(name for name in ways if name not in out))
    return out


def _one(path: Path, how: Preparation, intake: Intake) -> Iterator[pl.DataFrame]:
    """The queries of one file."""
    try:
        kind = formats.sniff(path)
    except FormatError as error:
        intake.problems.report(error)
        return
    if kind in RUNS:
        scans = formats.read_batches(path, batch=_SCANS, problems=intake.problems, ms1=True)
        yield from prepare(scans, how, intake.notes)
        return
    for frame in formats.read_batches(path, problems=intake.problems):
        rows = conform(frame)
        level = pl.col("ms_level").fill_null(2)
        intake.notes["MS1 spectra, left out"] += rows.filter(level == 1).height
        intake.notes["spectra of MS³ and beyond, left out"] += rows.filter(level > 2).height
        kept = rows.filter(level == 2)
        if kept.height:
            yield alone(kept)


def _named(frame: pl.DataFrame, label: str, prefix: str | None, ion_mode: str | None) -> pl.DataFrame:
    """With the file, unique identifiers, and an ion mode where none is stated."""
    identifier = pl.col("identifier")
    if prefix is not None:
        begins = identifier.str.starts_with(f"{prefix}:")
        identifier = pl.when(begins).then(identifier).otherwise(pl.lit(f"{prefix}:") + identifier)
    mode = pl.col("ion_mode") if ion_mode is None else pl.col("ion_mode").fill_null(ion_mode)
    return frame.with_columns(identifier, mode, pl.lit(label).alias(FILE))


def check_paths(paths: Sequence[Path]) -> None:
    """Raises FormatError for a path that is not there, before any work."""
    for path in paths:
        if not path.exists():
            raise FormatError("no such file or folder", where=str(path), remedy="check the path")


def check_ion_mode(text: str | None) -> str | None:
    """`positive`, `negative`, or their first letters. Raises ConfigError for another."""
    if text is None:
        return None
    found = [mode for mode in ION_MODES if text and mode.startswith(text.lower())]
    if len(found) != 1:
        raise ConfigError(f"ion mode {text!r}", remedy="positive or negative")
    return found[0]
