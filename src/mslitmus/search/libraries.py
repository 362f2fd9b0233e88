"""Reference libraries by name: a dataset of the store, a file of any format, a stored index, or several of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..data import store
from ..data.identities import identities
from ..errors import DataError
from ..schemas import ION_MODES, conform
from ..spectra import formats
from ..spectra.library import Library
from . import stored
from .queries import stems

#: Columns of a library spectrum that a hit or a page tells.
TOLD = (
    "identifier", "precursor_mz", "ion_mode", "adduct", "name", "smiles", "inchikey14", "formula", "instrument_type",
    "collision_energy", "collision_energy_kind", "license", "source",
)  # fmt: skip
BATCH = 20_000
Say = Callable[[str], None]


@dataclass(frozen=True)
class Part:
    """Library spectra of one ion mode; None: of which it is not known."""

    ion_mode: str | None
    library: Library

    def rows_of(self, identifiers: pl.Series) -> NDArray[np.int64]:
        """The row of each identifier, which must be there."""
        return np.asarray(self.library.rows.get_column("identifier").search_sorted(identifiers), np.int64)


@dataclass(frozen=True)
class Reference:
    """One opened library.

    Attributes:
        name: of a hit's column `library`.
        kind: `dataset`, `file` or `index`.
        place: where it lies.
        parts: by ion mode.
        hash: of its contents, where that is known without reading them again.
        notes: what was left out or derived on opening.
    """

    name: str
    kind: str
    place: Path
    parts: tuple[Part, ...] = field(repr=False)
    hash: str | None = None
    notes: tuple[str, ...] = ()

    @cached_property
    def spectra(self) -> int:
        return sum(part.library.rows.height for part in self.parts)

    @cached_property
    def molecules(self) -> int:
        """Distinct InChIKey-14; 0 in a library without structures."""
        keys = [part.library.rows.get_column("inchikey14").drop_nulls() for part in self.parts]
        return int(pl.concat(keys).n_unique()) if keys else 0

    @cached_property
    def licenses(self) -> dict[str, int]:
        """Licence → spectra, the most frequent first."""
        column = pl.concat([part.library.rows.get_column("license") for part in self.parts]).fill_null("unstated")
        return {str(name): int(n) for name, n in column.value_counts(sort=True).iter_rows()}

    def spectrum(self, identifier: str) -> dict[str, Any]:
        """What is told of one library spectrum, with `mzs` and `intensities`. Raises DataError if it is not there."""
        for part in self.parts:
            names = part.library.rows.get_column("identifier")
            at = int(names.search_sorted(identifier))
            if at < names.len() and names[at] == identifier:
                return part.library.spectra([at]).row(0, named=True)
        raise DataError(f"no spectrum {identifier!r}", where=self.name, remedy="was the library changed meanwhile?")


def open_libraries(names: Sequence[str], say: Say | None = None) -> list[Reference]:
    """Each library in the order given; equal names are numbered.

    A bare name is a dataset of the store, if there is one; else a path: a stored index (`mslitmus library build`), or a
    file, archive or folder of spectra. Spectra of MS level 1 are left out.

    Raises DataError where a name is neither, or nothing to search with is inside; FormatError of the reader.
    """
    seen: Counter[str] = Counter()
    out = []
    for name in names:
        opened = _open(name, say or (lambda _: None))
        seen[opened.name] += 1
        if seen[opened.name] > 1:
            called = f"{opened.name}#{seen[opened.name]}"
            opened = Reference(called, opened.kind, opened.place, opened.parts, opened.hash, opened.notes)
        if not opened.spectra:
            raise DataError("no MS/MS spectrum with peaks", where=name, remedy="name another library")
        out.append(opened)
    return out


def _open(name: str, say: Say) -> Reference:
    path = Path(name).expanduser()
    bare = path.name == name
    if bare and name.partition("@")[0] in store.names():
        dataset = store.load(name)
        say(f"library {name}: {dataset.info['counts']['spectra']:,} spectra")
        frame, notes = _usable(dataset.frame())
        return Reference(name, "dataset", dataset.folder, in_memory(frame), dataset.hash, notes)
    if path.exists() and stored.is_index(path):
        opened = stored.open_index(path)
        parts = tuple(Part(mode, library) for mode, library in opened.parts)
        return Reference(opened.name, "index", path, parts, opened.hash)
    if path.exists():
        say(f"library {path.name}: reading")
        return _from_file(path)
    if bare:
        store.load(name)  # the store's own word on what to do
    raise DataError("no such file, folder or dataset", where=name, remedy="check the path; `mslitmus data list`")


def frames_of(names: Sequence[str], problems: formats.Problems | None = None) -> Iterator[pl.DataFrame]:
    """Library spectra of datasets and files as frames (`TOLD`, mzs, intensities), to store; memory is bounded by one.

    Of several sources, identifiers begin with the source's name, numbered where it repeats. A record that cannot be
    read goes to `problems`, which by default leave it out. Raises as `open_libraries`.
    """
    problems = problems or formats.Problems("skip")
    paths = [Path(name).expanduser() for name in names]
    for name, path, called in zip(names, paths, stems(paths), strict=True):
        if path.name == name and name.partition("@")[0] in store.names():
            whole = store.load(name).frame()
            frames: Iterator[pl.DataFrame] = (whole[at : at + BATCH] for at in range(0, whole.height, BATCH))
        elif path.exists():
            frames = (conform(frame) for frame in formats.read_batches(path, batch=BATCH, problems=problems))
        else:
            raise DataError(
                "no such file, folder or dataset", where=name, remedy="check the path; `mslitmus data list`"
            )
        for frame in frames:
            kept = _usable(frame)[0].select(*TOLD, "mzs", "intensities")
            if len(names) > 1:
                kept = kept.with_columns((pl.lit(f"{called}:") + pl.col("identifier")).alias("identifier"))
            if kept.height:
                yield kept


def _from_file(path: Path) -> Reference:
    problems = formats.Problems("skip")
    frames = [conform(frame) for frame in formats.read_batches(path, problems=problems)]
    if not frames:
        raise problems.errors[0] if problems.errors else DataError("no spectra inside", where=str(path))
    frame, notes = _usable(unique_identifiers(pl.concat(frames)))
    told = [*problems.lines(), *notes]
    if problems.errors:
        told.append(f"{len(problems.errors):,} records could not be read, the first: {problems.errors[0]}")
    return Reference(path.name.split(".")[0] or path.name, "file", path, in_memory(frame), None, tuple(told))


def unique_identifiers(frame: pl.DataFrame) -> pl.DataFrame:
    """Repeated identifiers get `#2`, `#3`, …, as within one reading."""
    nth = pl.int_range(1, pl.len() + 1).over("identifier")
    identifier = pl.col("identifier")
    return frame.with_columns(
        pl.when(nth == 1).then(identifier).otherwise(identifier + "#" + nth.cast(pl.String)).alias("identifier")
    )


def _usable(frame: pl.DataFrame) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """(spectra of MS level 2 or unknown with their molecules named alike, what was done)."""
    kept = frame.filter(pl.col("ms_level").fill_null(2) == 2)
    left_out = frame.height - kept.height
    full, derived, unread = with_molecules(kept)
    notes = (
        (left_out, "library spectra not of MS level 2, left out"),
        (derived, "molecules named from their SMILES"),
        (unread, "library spectra whose SMILES cannot be read: each counts as a molecule of its own"),
    )
    return full, tuple(f"{n:,} × {text}" for n, text in notes if n)


def with_molecules(frame: pl.DataFrame) -> tuple[pl.DataFrame, int, int]:
    """(`inchikey14` filled in from the SMILES where it is absent, molecules so named, spectra that cannot be)."""
    lacking = frame.filter(pl.col("inchikey14").is_null() & pl.col("smiles").is_not_null())
    if lacking.is_empty():
        return frame, 0, 0
    found = identities(lacking.get_column("smiles"), workers=1)
    table = found.select("smiles", pl.col("inchikey14").alias("_key"), pl.col("formula").alias("_formula"))
    joined = frame.join(table, on="smiles", how="left", maintain_order="left").with_columns(
        pl.coalesce("inchikey14", "_key").alias("inchikey14"), pl.coalesce("formula", "_formula").alias("formula")
    )
    named = joined.drop("_key", "_formula")
    unread = named.filter(pl.col("inchikey14").is_null() & pl.col("smiles").is_not_null()).height
    return named, int(found.get_column("inchikey14").drop_nulls().n_unique()), unread


def in_memory(frame: pl.DataFrame) -> tuple[Part, ...]:
    """A frame of SPECTRA as parts by ion mode."""
    parts = []
    for mode in (*ION_MODES, None):
        rows = frame.filter(pl.col("ion_mode").is_null() if mode is None else pl.col("ion_mode") == mode)
        if rows.height:
            parts.append(Part(mode, Library.build(rows.select(*TOLD, "mzs", "intensities"))))
    return tuple(parts)
