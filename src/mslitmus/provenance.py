"""Where a number comes from: content hashes of tables, versions, machine, wall time."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from . import __version__

_RECORDED = (
    "numpy",
    "numba",
    "polars",
    "pyarrow",
    "rdkit",
    "scipy",
    "torch",
    "lightning",
    "torch_geometric",
)


def table_hash(frame: pl.DataFrame, columns: Iterable[str] | None = None) -> str:
    """SHA-256 of a table's contents (first 16 hex digits): column names, order of rows and every value count,
    the file format and library versions do not.

    The types of columns are not fed in: datasets, candidate sets and frozen benchmarks are named by these hashes, so
    the rule cannot change. Numbers go in as their bytes, so that columns of zeros (or of nulls) are alike as Int64 and
    as Float64. Callers hash tables that were conformed to a schema, which fixes the types.
    """
    digest = hashlib.sha256()
    for name in columns or frame.columns:
        digest.update(name.encode())
        _feed(digest, frame.get_column(name))
    return digest.hexdigest()[:16]


def _feed(digest: Any, series: pl.Series) -> None:
    missing = series.is_null()
    digest.update(np.packbits(missing.to_numpy()).tobytes())
    if isinstance(series.dtype, pl.List):
        lengths = series.list.len().fill_null(0)
        digest.update(lengths.to_numpy().astype("<u4").tobytes())
        _feed(digest, series.filter(lengths > 0).explode())
    elif series.dtype == pl.String:
        text = series.fill_null("")
        digest.update(text.str.len_bytes().to_numpy().astype("<u4").tobytes())
        digest.update("".join(text.to_list()).encode())
    elif series.dtype == pl.Boolean:
        digest.update(np.packbits(series.fill_null(False).to_numpy()).tobytes())
    else:
        digest.update(np.ascontiguousarray(series.fill_null(0).to_numpy()).tobytes())


def file_hash(path: Path, algorithm: str = "sha256") -> str:
    """Hex digest of a file, read in blocks."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, algorithm).hexdigest()


def environment() -> dict[str, Any]:
    """Versions and machine, as plain JSON values."""
    versions = {"python": platform.python_version(), "mslitmus": __version__}
    for name in _RECORDED:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {"versions": versions, "machine": platform.machine(), "system": platform.system(), "cpus": os.cpu_count()}


def now() -> str:
    """UTC time to the second, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def write_json(path: Path, value: Any) -> None:
    """Write JSON through a temporary file, so that a kill leaves the old file or the new one, never half of one."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    _replace(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_parquet(path: Path, frame: pl.DataFrame) -> None:
    """Write Parquet (zstd) through a temporary file, as `write_json` does. Raises OSError where the disk refuses."""

    def write(temporary: Path) -> None:
        try:
            frame.write_parquet(temporary, compression="zstd", compression_level=3, statistics=False)
        except pl.exceptions.ComputeError as error:  # so polars reports a full disk
            raise OSError(f"{path}: {error}") from error

    _replace(path, write)


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    """`path` from what `write` puts into a temporary file beside it; a failed write leaves neither."""
    temporary = path.with_name(f".{path.name}.tmp{os.getpid()}")
    try:
        write(temporary)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):  # the error that counts is the first
            temporary.unlink()
        raise


@cache
def code_hash(*rooms: str) -> str:
    """Hash of the source of some of this package's rooms: numbers that they made are theirs alone."""
    digest = hashlib.sha256()
    for name in rooms:
        for path in sorted((Path(__file__).parent / name).rglob("*.py")):
            digest.update(path.relative_to(Path(__file__).parent).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def replace_folder(made: Path, folder: Path) -> None:
    """Give a finished folder its name. What had that name is moved aside first, so that a kill loses neither."""
    if not folder.exists():
        os.replace(made, folder)
        return
    aside = folder.with_name(f".{folder.name}.old{os.getpid()}")
    os.replace(folder, aside)
    os.replace(made, folder)
    shutil.rmtree(aside, ignore_errors=True)
