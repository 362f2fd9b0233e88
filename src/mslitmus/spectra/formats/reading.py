"""Sniff, open, read: from a path to schema frames, with every problem either raised or listed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain, groupby
from pathlib import Path
from typing import Any

import polars as pl

from ...errors import FormatError, unknown_name
from ...schemas import SPECTRA, conform
from ._container import Source, sources
from ._format import Format
from ._problems import Problems
from ._rows import BATCH
from ._text import wide_text
from .registry import FORMATS, MODULES

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ReadResult:
    """What a file held.

    Args:
        frame: the spectra, columns of `schemas.SPECTRA` first, then extra columns of the source.
        errors: what could not be read (only with on_error="skip").
        format: name of the format, several joined by `+`.
        notes: what was repaired or left out, counted.
    """

    frame: pl.DataFrame
    errors: list[FormatError]
    format: str
    notes: list[str] = field(default_factory=list)


def _settled(head: bytes) -> bytes:
    return head.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _known(head: bytes) -> str:
    """Name of the first format that recognises the head, or `unknown`."""
    text = _settled(head)
    for name in MODULES:
        if FORMATS[name].looks_like(text):
            return name
    return UNKNOWN


def _strange(source: Source) -> FormatError:
    """The error for a file that no format recognises, as helpful as its first bytes allow."""
    if found := source.fault or wide_text(source):
        return found
    head = source.head.lstrip(b"\xef\xbb\xbf \t\r\n")
    where = f"{source.label}:1"
    if not source.head.strip():
        return FormatError(
            "the file is empty", where=where, remedy="check that it was written or downloaded completely"
        )
    if head.startswith(b"version https://git-lfs"):
        remedy = "fetch the content with `git lfs pull`, or download the file from the web page"
        return FormatError("the file is a Git LFS pointer, not the data", where=where, remedy=remedy)
    if head[:200].lower().startswith((b"<!doctype html", b"<html", b"<head")):
        remedy = "the download gave an error or log-in page: open the address in a browser and save the real file"
        return FormatError("the file is an HTML page, not spectra", where=where, remedy=remedy)
    kinds = ", ".join(f"{name} ({title})" for name, title in MODULES.items())
    binary = b"\0" in head or sum(byte < 9 or 13 < byte < 32 for byte in head[:512]) > 16
    shown = "binary data" if binary else repr(head.split(b"\n", 1)[0][:60].decode("utf-8", "replace"))
    return FormatError(
        f"no known format: the first {len(source.head):,} bytes, which begin with {shown}, match none",
        where=where,
        remedy=f"known formats: {kinds}; if it is one of them, name it with format=",
    )


def _format(name: str) -> Format:
    if name not in FORMATS:
        raise unknown_name("format", name, FORMATS)
    found = FORMATS[name]
    assert isinstance(found, Format)
    return found


def sniff(path: str | Path) -> str:
    """Name of the format of the first recognised file. Raises FormatError where there is none."""
    first: Source | None = None
    with closing(sources(Path(path), Problems("skip"))) as found:
        for source in found:
            if (name := _known(source.head)) != UNKNOWN:
                return name
            first = first or source
    raise _strange(first) if first else _nothing(path)


def _nothing(path: str | Path) -> FormatError:
    return FormatError(
        "nothing to read inside", where=str(path), remedy="name a file, archive or folder that holds spectra"
    )


class _Identifiers:
    """Every spectrum gets an identifier that is unique within one reading."""

    def __init__(self, path: Path, problems: Problems) -> None:
        self._stem, self._problems = path.name.split(".")[0] or "spectrum", problems
        self._seen: set[str] = set()
        self._row = 0

    def settle(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Missing identifiers become `file-7`, repeated ones `name#2`; both are noted."""
        given = frame["identifier"].to_list()
        out = []
        for name in given:
            self._row += 1
            chosen = name or f"{self._stem}-{self._row}"
            if chosen in self._seen:
                nth = 2
                while f"{chosen}#{nth}" in self._seen:
                    nth += 1
                chosen = f"{chosen}#{nth}"
            self._seen.add(chosen)
            out.append(chosen)
        if out == given:
            return frame
        missing = given.count(None)
        self._problems.note("spectra without an identifier, numbered", missing)
        changed = sum(old != new for old, new in zip(given, out, strict=True))
        self._problems.note("repeated identifiers, numbered", changed - missing)
        return frame.with_columns(pl.Series("identifier", out))


def iter_raw(
    path: str | Path,
    problems: Problems,
    format: str | None = None,
    batch: int = BATCH,
    **options: Any,
) -> Iterator[tuple[str, pl.DataFrame]]:
    """(format, raw frame) batches before harmonisation; problems go to `problems`.

    Files that no format recognises raise when named directly, and are noted when they lie inside a folder or archive.
    """
    wanted = _format(format) if format else None

    def kind(source: Source) -> str:
        if wanted and (not source.inside or wanted.looks_like(_settled(source.head))):
            return wanted.name
        return UNKNOWN if wanted else _known(source.head)

    seen, unknown, names = False, None, _Identifiers(Path(path), problems)
    with closing(sources(Path(path), problems)) as found:
        for name, group in groupby(found, key=kind):
            if name == UNKNOWN:
                for source in group:
                    unknown = unknown or source
                    if source.inside and source.fault:
                        problems.report(source.fault)
                    elif source.inside:
                        problems.note("files in the container that hold no known format, left alone")
                    else:
                        problems.report(_strange(source))
                continue
            for source in group:  # groupby hands over lazily: the reader pulls the rest of the group itself
                seen = True
                for frame in _format(name).read(chain([source], group), problems, batch, **options):
                    if len(frame):
                        yield name, names.settle(frame)
    if not seen and not problems.errors:
        if unknown is None:
            problems.report(_nothing(path))
        elif unknown.inside:
            problems.report(_strange(unknown))


def read_raw(path: str | Path, format: str | None = None, on_error: str = "raise", **options: Any) -> ReadResult:
    """As `read`, before metadata are harmonised: text as the source wrote it, peaks as recorded."""
    problems = Problems(on_error)
    parts = list(iter_raw(path, problems, format, **options))
    frame = pl.concat([part for _, part in parts], how="diagonal_relaxed") if parts else pl.DataFrame()
    return ReadResult(frame, problems.errors, "+".join(dict.fromkeys(name for name, _ in parts)), problems.lines())


def read_batches(
    path: str | Path,
    format: str | None = None,
    on_error: str = "raise",
    batch: int = BATCH,
    problems: Problems | None = None,
    **options: Any,
) -> Iterator[pl.DataFrame]:
    """Schema frames of at most `batch` spectra; memory is bounded by one. `problems` tells what was left out."""
    found = problems or Problems(on_error)
    for _, frame in iter_raw(path, found, format, batch, **options):
        yield _harmonised(frame)


def _harmonised(raw: pl.DataFrame) -> pl.DataFrame:
    """Raw frames go through `metadata.harmonise`; one with the whole schema was written by mslitmus and is kept."""
    if raw.columns[: len(SPECTRA)] == list(SPECTRA):
        return raw
    from ..metadata import harmonise

    frame = harmonise(raw)
    return conform(frame).hstack(frame.drop(SPECTRA.keys(), strict=False))


def read(path: str | Path, format: str | None = None, on_error: str = "raise", **options: Any) -> ReadResult:
    """Read every spectrum of a file, archive or folder into the schema.

    Args:
        path: file (plain, gzip, tar, zip) or folder.
        format: name of a format (see FORMATS), or None to find it by content.
        on_error: `"raise"` stops at the first fault, `"skip"` leaves faulty records out and lists them in `errors`.
        options: of the format, e.g. `ms1=True` for mzML.

    Raises:
        FormatError: naming file, line and remedy.
    """
    problems = Problems(on_error)
    frames, names = [], []
    for name, frame in iter_raw(path, problems, format, **options):
        names.append(name)
        frames.append(_harmonised(frame))
    whole = pl.concat(frames, how="diagonal_relaxed") if frames else pl.DataFrame()
    return ReadResult(whole, problems.errors, "+".join(dict.fromkeys(names)), problems.lines())
