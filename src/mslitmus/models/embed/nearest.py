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
_CELLS = 20_000_000  # of a block of cosines, and of the vectors gathered at a time
_SPARE = 16  # looked at beyond the last place: ties there must not depend on the engine


def nearest(
    queries: Vectors, library: Vectors, top: int, engine: Engine = "exact"
) -> tuple[NDArray[np.int64], Vectors]:
    """((n, k) rows of the library, best first, (n, k) cosines), k = min(top, library).

    Raises ConfigError for another engine, MissingExtraError where faiss is asked for and not installed.
    """
    if engine not in ("exact", "faiss"):
        raise ConfigError(f"unknown engine {engine!r}", remedy="exact or faiss")
    k = min(top, len(library))
    if not k or not len(queries):
        return np.zeros((len(queries), k), np.int64), np.zeros((len(queries), k), np.float32)
    wider = min(k + _SPARE, len(library))
    rows = _through_faiss(queries, library, wider) if engine == "faiss" else _by_blocks(queries, library, wider)
    # Both engines add in 32 bits and in another order: the last word is a sum in 64 bits of the best and a few more.
    cosine = np.empty(rows.shape)
    step = max(1, _CELLS // (wider * library.shape[1]))
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        cosine[part] = np.einsum("ij,ikj->ik", queries[part], library[rows[part]], dtype=np.float64)
    order = np.lexsort((rows, -cosine), axis=1)[:, :k]
    return np.take_along_axis(rows, order, 1), np.take_along_axis(cosine, order, 1).astype(np.float32)


def _by_blocks(queries: Vectors, library: Vectors, k: int) -> NDArray[np.int64]:
    rows = np.empty((len(queries), k), np.int64)
    step = max(1, _CELLS // len(library))
    for start in range(0, len(queries), step):
        cosine = queries[start : start + step] @ library.T
        whole = k == len(library)
        rows[start : start + step] = np.arange(k) if whole else np.argpartition(-cosine, k - 1, axis=1)[:, :k]
    return rows


def _through_faiss(queries: Vectors, library: Vectors, k: int) -> NDArray[np.int64]:
    try:
        import faiss
    except ModuleNotFoundError as error:
        raise MissingExtraError("faiss is not installed", remedy="pip install 'mslitmus[faiss]'") from error
    index: Any = faiss.IndexFlatIP(library.shape[1])
    index.add(np.ascontiguousarray(library, np.float32))
    _, rows = index.search(np.ascontiguousarray(queries, np.float32), k)
    return np.asarray(rows, np.int64)
