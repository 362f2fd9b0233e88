"""Nearest vectors: exact by blocks of a matrix product, or through faiss's exact index, with equal results.

Vectors are of unit length, so the inner product is the cosine. Of equal cosines the lower row comes first.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...errors import ConfigError, MissingExtraError
from .embedder import Vectors

Engine = Literal["exact", "faiss"]
_CELLS = 20_000_000  # of a block of cosines


def nearest(queries: Vectors, library: Vectors, top: int, engine: Engine = "exact") -> tuple[NDArray[np.int64], Vectors]:
    """((n, k) rows of the library, best first, (n, k) cosines), k = min(top, library).

    Raises ConfigError for another engine, MissingExtraError where faiss is asked for and not installed.
    """
    if engine not in ("exact", "faiss"):
        raise ConfigError(f"unknown engine {engine!r}", remedy="exact or faiss")
    k = min(top, len(library))
    if not k or not len(queries):
        return np.zeros((len(queries), k), np.int64), np.zeros((len(queries), k), np.float32)
    if engine == "faiss":
        return _through_faiss(queries, library, k)
    rows, found = np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float32)
    step = max(1, _CELLS // len(library))
    for start in range(0, len(queries), step):
        part = slice(start, start + step)
        cosine = queries[part] @ library.T
        best = np.argpartition(-cosine, k - 1, axis=1)[:, :k] if k < len(library) else np.arange(k)[None, :]
        best = np.broadcast_to(best, (cosine.shape[0], k))
        rows[part], found[part] = _sorted(best, np.take_along_axis(cosine, best, 1))
    return rows, found


def _through_faiss(queries: Vectors, library: Vectors, k: int) -> tuple[NDArray[np.int64], Vectors]:
    try:
        import faiss
    except ModuleNotFoundError as error:
        raise MissingExtraError("faiss is not installed", remedy="pip install 'mslitmus[faiss]'") from error
    index: Any = faiss.IndexFlatIP(library.shape[1])
    index.add(np.ascontiguousarray(library, np.float32))
    cosine, rows = index.search(np.ascontiguousarray(queries, np.float32), k)
    return _sorted(rows.astype(np.int64), cosine)


def _sorted(rows: NDArray[np.int64], cosine: Vectors) -> tuple[NDArray[np.int64], Vectors]:
    order = np.lexsort((rows, -cosine), axis=1)
    return np.take_along_axis(rows, order, 1), np.take_along_axis(cosine, order, 1)
