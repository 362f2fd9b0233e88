"""Predicted spectra to a file or standard output as they come: whole records only, whatever ends the stream.

- `table`: TSV, one row a peak;
- `mgf`, `msp`: as `spectra.formats` writes them, with the expected similarity as keys of their own;
- `json`: one object a line, peaks as `[m/z, intensity]`, which the JSON reader takes back;
- `parquet`: the schema and the columns of the expected similarity, a row group a chunk.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import polars as pl
import pyarrow.parquet as pq

from ..errors import ConfigError, unknown_name
from ..schemas import SPECTRA
from ..spectra.formats import write
from .predicting import ORIGINS

FORMATS = ("table", "mgf", "msp", "parquet", "json")
_SUFFIXES = {".tsv": "table", ".txt": "table", ".mgf": "mgf", ".msp": "msp", ".parquet": "parquet", ".json": "json",
             ".jsonl": "json", ".ndjson": "json"}  # fmt: skip
_EXPECTED = ("expected_similarity", "expected_low", "expected_high", "similarity_to_train")
_TABLE = ("identifier", "smiles", "adduct", "precursor_mz", "instrument_type", "collision_energy", *_EXPECTED)


def format_of(out: Path | None, named: str | None) -> str:
    """The named format, else by the suffix, else `table`. Raises ConfigError for an unknown one."""
    if named is not None:
        if named not in FORMATS:
            raise unknown_name("format", named, FORMATS)
        return named
    return "table" if out is None else _SUFFIXES.get(out.suffix.lower(), "table")


class PredictedFile:
    """A context that takes frames of `predicting.Answer`.

    A file gets its name when it is complete, or when what was cut off replaces nothing; else the part that was done
    lies beside it as `NAME.part`.

    Raises ConfigError for Parquet without a file, or origins of peaks in a format that has no place for them.
    """

    def __init__(self, out: Path | None, format: str, explained: bool = False) -> None:
        if out is None and format == "parquet":
            raise ConfigError("Parquet is no text", where="--format", remedy="name a file with --out")
        if explained and format in ("mgf", "msp"):
            remedy = "use table, json or parquet"
            raise ConfigError(f"{format} has no place for the origin of a peak", where="--explain", remedy=remedy)
        self.out, self.format, self.spectra = out, format, 0
        self.kept: Path | None = None  # once closed: where the records lie
        self._explained = explained
        self._parquet: Any = None
        self._stream: BinaryIO | None = None

    @property
    def partial(self) -> Path:
        """Where an unfinished file lies."""
        assert self.out is not None
        return self.out.with_name(f"{self.out.name}.part")

    def __enter__(self) -> Self:
        if self.out is not None:
            self._stream = self.partial.open("wb")
        elif hasattr(sys.stdout, "buffer"):
            self._stream = sys.stdout.buffer
        if self.format == "table":
            columns = [*_TABLE, "mz", "intensity", *(("formula", "atoms", "shift") if self._explained else ())]
            self._put(("\t".join(columns) + "\n").encode())
        return self

    def write(self, frame: pl.DataFrame) -> None:
        """All of these spectra, flushed."""
        if frame.is_empty():
            return
        if self.format == "parquet":
            table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
            self._parquet = self._parquet or pq.ParquetWriter(self._stream, table.schema, compression="zstd")
            self._parquet.write_table(table)
        else:
            self._put(_TEXT[self.format](frame))
        self.spectra += frame.height

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._parquet is not None:
            self._parquet.close()
        if self.out is None or self._stream is None:
            return
        self._stream.close()
        if not self.spectra:
            self.partial.unlink()
        elif kind is None or not self.out.exists():
            os.replace(self.partial, self.out)
            self.kept = self.out
        else:
            self.kept = self.partial

    def _put(self, data: bytes) -> None:
        if self._stream is None:  # standard output that somebody replaced by text
            sys.stdout.write(data.decode())
            return
        self._stream.write(data)
        self._stream.flush()


def _table(frame: pl.DataFrame) -> bytes:
    origins = [name for name in ORIGINS if name in frame.columns]
    flat = frame.select(*_TABLE, *origins, mz="mzs", intensity="intensities")
    if origins:
        atoms = pl.col("peak_atoms").list.eval(pl.element().cast(pl.List(pl.String)).list.join(","))
        flat = flat.with_columns(atoms)
    flat = flat.explode("mz", "intensity", *origins)
    numbers = [pl.col(name).round(4) for name in (*_EXPECTED, "collision_energy")]
    flat = flat.with_columns(*numbers, pl.col("precursor_mz", "mz").round(5), pl.col("intensity").round(6))
    flat = flat.select(*_TABLE, "mz", "intensity", *origins)
    return flat.write_csv(separator="\t", include_header=False).encode()


def _json(frame: pl.DataFrame) -> bytes:
    short = [  # a float32 as the shortest decimal that reads back as the same
        pl.col(name).cast(pl.List(pl.String)).cast(pl.List(pl.Float64))
        if isinstance(dtype, pl.List)
        else pl.col(name).cast(pl.String).cast(pl.Float64)
        for name, dtype in frame.schema.items()
        if dtype in (pl.Float32, pl.List(pl.Float32))
    ]
    lines = []
    for row in frame.with_columns(short).iter_rows(named=True):
        peaks = [list(pair) for pair in zip(row.pop("mzs"), row.pop("intensities"), strict=True)]
        known = {key: value for key, value in row.items() if value is not None}
        lines.append(json.dumps({**known, "peaks": peaks}, ensure_ascii=False) + "\n")
    return "".join(lines).encode()


def _records(frame: pl.DataFrame, format: str) -> tuple[list[str], list[list[tuple[str, str]]]]:
    """(what `spectra.formats` writes, cut at each record's `_MARKS`; the known expectations of each record)."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"chunk.{format}"
        write(frame.select(SPECTRA.keys()), path, format)
        texts = path.read_text(encoding="utf-8").split(_MARKS[format])
    rows = frame.select(_EXPECTED).iter_rows(named=True)
    return texts, [[(name, f"{value:.4f}") for name, value in row.items() if value is not None] for row in rows]


_MARKS = {"mgf": "BEGIN IONS\n", "msp": "\nNum Peaks: "}


def _mgf(frame: pl.DataFrame) -> bytes:
    texts, known = _records(frame, "mgf")
    more = ["".join(f"{name.upper()}={value}\n" for name, value in pairs) for pairs in known]
    return "".join([texts[0], *(_MARKS["mgf"] + m + t for m, t in zip(more, texts[1:], strict=True))]).encode()


def _msp(frame: pl.DataFrame) -> bytes:
    texts, known = _records(frame, "msp")
    more = ["".join(f"\n{name}: {value}" for name, value in pairs) for pairs in known]
    return "".join([*(t + m + _MARKS["msp"] for t, m in zip(texts[:-1], more, strict=True)), texts[-1]]).encode()


_TEXT = {"table": _table, "json": _json, "mgf": _mgf, "msp": _msp}
