"""Vectors on disk: a Parquet file that grows batch by batch and takes its name once it is whole."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from ...errors import ConfigError
from .embedder import Vectors


class VectorFile:
    """Columns `identifier` and `vector` (a list of `width` f32). A context: on an error nothing is left behind."""

    def __init__(self, path: Path, width: int) -> None:
        if path.suffix != ".parquet":
            raise ConfigError(f"vectors are written as .parquet, not {path.suffix!r}", remedy="--out vectors.parquet")
        self.path, self.width, self.rows = path, width, 0
        self._temporary = path.with_name(f".{path.name}.tmp{os.getpid()}")
        self._schema = pa.schema([("identifier", pa.string()), ("vector", pa.list_(pa.float32(), width))])

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = pq.ParquetWriter(self._temporary, self._schema)
        return self

    def write(self, identifiers: pl.Series, vectors: Vectors) -> None:
        flat = pa.array(np.ascontiguousarray(vectors).ravel())
        lists = pa.FixedSizeListArray.from_arrays(flat, self.width)
        names = pa.array(identifiers.to_list(), pa.string())
        self._writer.write_table(pa.Table.from_arrays([names, lists], schema=self._schema))
        self.rows += len(vectors)

    def __exit__(self, kind: object, *error: object) -> None:
        self._writer.close()
        if kind is None:
            os.replace(self._temporary, self.path)
        else:
            self._temporary.unlink(missing_ok=True)


def read_vectors(path: Path) -> tuple[list[str], Vectors]:
    """Identifiers and (n, width) vectors of a file that `mslitmus embed` wrote."""
    table = pq.read_table(path)
    lists = table.column("vector").combine_chunks()
    flat = lists.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    return table.column("identifier").to_pylist(), flat.reshape(len(lists), lists.type.list_size)
