"""Hits to a file as they come: TSV, Parquet or mzTab-M. Whole batches only, whatever ends the stream."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Protocol, Self

import polars as pl
import pyarrow.parquet as pq

from ..errors import ConfigError, RunError, unknown_name
from ..schemas import HITS, Schema
from .repeats import MERGED

FORMATS = ("tsv", "parquet", "mztab")
_SUFFIXES = {".tsv": "tsv", ".txt": "tsv", ".parquet": "parquet", ".mztab": "mztab"}
#: What of the query stands beside a hit, behind the columns of HITS.
OF_QUERY: Schema = {"precursor_mz": pl.Float64(), "retention_time": pl.Float32(), MERGED: pl.UInt32()}
_ROUNDED = {
    "score": 6,
    "explained": 4,
    "explained_library": 4,
    "precursor_difference": 6,
    "probability": 4,
    "q_value": 4,
}


def format_of(out: Path, named: str | None = None) -> str:
    """The named format, else by the suffix. Raises ConfigError for an unknown one."""
    if named is not None:
        if named not in FORMATS:
            raise unknown_name("format", named, FORMATS)
        return named
    found = _SUFFIXES.get(out.suffix.lower())
    if found is None:
        remedy = f"use one of {', '.join(_SUFFIXES)}, or --format"
        raise ConfigError(f"no format of hits is known by the suffix {out.suffix!r}", where=str(out), remedy=remedy)
    return found


class Writer(Protocol):
    """One format: rows to an open file."""

    def write(self, queries: pl.DataFrame, hits: pl.DataFrame) -> None: ...

    def close(self) -> None: ...


class HitFile:
    """A context that takes batches of queries and hits.

    The file gets its name when it is complete, or when what was cut off replaces nothing; else the part that was done
    lies beside it as `NAME.part`. It is opened at once, so that a folder that refuses is known before any work.

    Raises RunError where it cannot be written.
    """

    def __init__(self, out: Path, writer: Callable[[BinaryIO], Writer]) -> None:
        self.out, self.hits = out, 0
        self.kept: Path | None = None  # once closed: where the hits lie
        self._make = writer
        self._stream: BinaryIO | None = None
        self._writer: Writer | None = None

    @property
    def partial(self) -> Path:
        return self.out.with_name(f"{self.out.name}.part")

    def __enter__(self) -> Self:
        with self._told():
            if self.out.is_dir():
                raise IsADirectoryError(21, "it is a folder")
            self._stream = self.partial.open("wb")
        self._writer = self._make(self._stream)
        return self

    def write(self, queries: pl.DataFrame, hits: pl.DataFrame) -> None:
        """The hits of one batch of queries, flushed."""
        assert self._writer is not None
        assert self._stream is not None
        with self._told():
            self._writer.write(queries, hits)
            self._stream.flush()
        self.hits += hits.height

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        assert self._writer is not None
        assert self._stream is not None
        try:
            with self._told():
                self._writer.close()
                self._stream.close()
                complete = kind is None
                if complete or (self.hits and not self.out.exists()):
                    os.replace(self.partial, self.out)
                    self.kept = self.out
                elif self.hits:
                    self.kept = self.partial
                else:
                    self.partial.unlink()
        except RunError:
            if kind is None:
                raise  # else the error that counts is the first

    @contextlib.contextmanager
    def _told(self) -> Any:
        try:
            yield
        except OSError as error:
            raise RunError(
                f"the hits cannot be written ({error.strerror or error})",
                where=str(self.out),
                remedy="check that the folder exists, may be written to and has space left, or name another --out",
            ) from error


class Tsv:
    """Tab-separated text with a header; an unknown value is an empty field."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        stream.write(("\t".join([*HITS, *_query_names()]) + "\n").encode())

    def write(self, queries: pl.DataFrame, hits: pl.DataFrame) -> None:
        rows = beside(queries, hits).with_columns(pl.col(name).round(digits) for name, digits in _ROUNDED.items())
        plain = [pl.col(n).str.replace_all(r"[\t\r\n]+", " ") for n, t in HITS.items() if t == pl.String()]
        text = rows.with_columns(*plain, pl.col("query_precursor_mz").round(6), pl.col("query_retention_time").round(2))
        self._stream.write(text.write_csv(separator="\t", include_header=False, quote_style="never").encode())

    def close(self) -> None:
        """Nothing is held back."""


class Parquet:
    """One row group a batch."""

    def __init__(self, stream: BinaryIO) -> None:
        schema = pl.DataFrame(schema=dict(HITS) | {f"query_{n}": t for n, t in OF_QUERY.items()})
        arrow = schema.to_arrow(compat_level=pl.CompatLevel.oldest()).schema
        self._writer = pq.ParquetWriter(stream, arrow, compression="zstd")

    def write(self, queries: pl.DataFrame, hits: pl.DataFrame) -> None:
        self._writer.write_table(beside(queries, hits).to_arrow(compat_level=pl.CompatLevel.oldest()))

    def close(self) -> None:
        self._writer.close()


def beside(queries: pl.DataFrame, hits: pl.DataFrame) -> pl.DataFrame:
    """Hits with what is told of their query: `query_precursor_mz`, `query_retention_time`, `query_merged_scans`."""
    told = queries.select("identifier", *(pl.col(n).cast(t).alias(f"query_{n}") for n, t in OF_QUERY.items()))
    return hits.join(told, on="identifier", how="left", maintain_order="left")


def _query_names() -> list[str]:
    return [f"query_{name}" for name in OF_QUERY]
