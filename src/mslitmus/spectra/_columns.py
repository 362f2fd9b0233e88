"""Columns as .npy files, written piece by piece, and tables as Arrow IPC; both mapped when read."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any, Self

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.lib import format as npy
from numpy.typing import NDArray

from ..errors import DataError


class Files:
    """A `_index.Sink` on disk: `<folder>/<name>.npy` grows with every piece, and is mapped once finished.

    A context: files that are not finished are closed on the way out.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._open: dict[str, tuple[IO[bytes], np.dtype[Any], int]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for handle, _, _ in self._open.values():
            handle.close()

    def append(self, name: str, values: NDArray[Any]) -> None:
        if name not in self._open:
            new: IO[bytes] = (self._folder / f"{name}.npy").open("wb")
            _header(new, values.dtype, 0)  # numpy leaves room in it for any length
            self._open[name] = new, values.dtype, 0
        handle, dtype, size = self._open[name]
        handle.write(np.ascontiguousarray(values, dtype).data)
        self._open[name] = handle, dtype, size + values.size

    def finish(self, name: str) -> NDArray[Any]:
        handle, dtype, size = self._open.pop(name)
        handle.seek(0)
        _header(handle, dtype, size)
        handle.close()
        return load_column(self._folder, name)


def _header(handle: IO[bytes], dtype: np.dtype[Any], size: int) -> None:
    fields = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": (size,)}
    npy.write_array_header_1_0(handle, fields)


def save_column(folder: Path, name: str, values: NDArray[Any]) -> None:
    with Files(folder) as sink:
        sink.append(name, values)
        sink.finish(name)


def load_column(folder: Path, name: str) -> NDArray[Any]:
    """The column, mapped; a plain array, so that the kernels see the type that they are compiled for.

    Mapped copy-on-write: numba tells arrays that cannot be written to from others. Nothing writes.
    """
    path = folder / f"{name}.npy"
    try:
        if path.stat().st_size <= 128:  # no data: cannot be mapped
            return np.load(path)  # type: ignore[no-any-return]
        return np.asarray(np.load(path, mmap_mode="c"))
    except (OSError, ValueError) as error:
        raise DataError(f"cannot be read: {error}", where=str(path), remedy="write the library again") from error


def save_table(path: Path, table: pl.DataFrame) -> None:
    table.write_ipc(path, compression="uncompressed")  # what is compressed cannot be mapped


def load_tables(paths: list[Path]) -> pl.DataFrame:
    """Tables of the same columns below each other, mapped."""
    parts = []
    for path in paths:
        try:
            with pa.memory_map(str(path)) as file:  # its memory lives as long as what was read from it
                parts.append(pl.DataFrame(pl.from_arrow(pa.ipc.open_file(file).read_all(), rechunk=False)))
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"cannot be read: {error}", where=str(path), remedy="write the library again") from error
    return pl.concat(parts, rechunk=False)
