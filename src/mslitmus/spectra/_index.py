"""What the kernels search: the peaks of a library with one kind of weights, and the same peaks sorted by m/z.

Spectra stand in the order of their precursor m/z (unknown ones last), so that a precursor window is one stretch of
them. They are inverted in chunks, so that a chunk's row numbers fit 16 bits and its sums stay in the processor's
cache, and so that an index is made and searched in bounded memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ._compiled import kernel
from ._index_kernels import BINS_PER_DA
from .flat import Flat
from .scoring import Scoring, Weighted
from .tolerance import Tolerance

#: Spectra a chunk; row numbers within one are uint16.
CHUNK = 1 << 16
_MOST_BINS = 1 << 15


class Inverted(NamedTuple):
    """The peaks of each chunk by ascending position (m/z, or precursor − m/z), with bound weight and row in the chunk.

    Chunk c is `starts[c]:starts[c + 1]`, and in it bin b of the positions is `bins[c, b]:bins[c, b + 1]` further on.
    """

    position: NDArray[np.float32]
    bounds: NDArray[np.float32]
    row: NDArray[np.uint16]
    starts: NDArray[np.int64]
    bins: NDArray[np.int64]


class Index(NamedTuple):
    """The weighted peaks of a library in the order of their precursors, and the same inverted."""

    weighted: Weighted
    by_mz: Inverted


class Sink(Protocol):
    """Takes columns piece by piece, and gives each back end to end: from memory, or mapped from disk."""

    def append(self, name: str, values: NDArray[Any]) -> None: ...

    def finish(self, name: str) -> NDArray[Any]: ...


class Memory:
    """A `Sink` in memory."""

    def __init__(self) -> None:
        self._pieces: dict[str, list[NDArray[Any]]] = {}

    def append(self, name: str, values: NDArray[Any]) -> None:
        self._pieces.setdefault(name, []).append(values)

    def finish(self, name: str) -> NDArray[Any]:
        return np.concatenate(self._pieces.pop(name))


def slices(spectra: Flat | Weighted, chunk: int) -> Iterator[tuple[int, int]]:
    """(first, last) spectrum of each chunk; one empty chunk of an empty library."""
    n = spectra.offsets.size - 1
    for first in range(0, max(n, 1), chunk):
        yield first, min(n, first + chunk)


def cut(spectra: Any, first: int, last: int) -> Any:
    """Spectra `first:last` of a Flat or Weighted."""
    offsets = np.asarray(spectra.offsets[first : last + 1])
    peaks = slice(int(offsets[0]), int(offsets[-1]))
    return type(spectra)(*(column[peaks] for column in spectra[:-1]), offsets - offsets[0])


def weigh(scoring: Scoring, peaks: Flat, precursor: NDArray[np.float64], chunk: int, sink: Sink) -> Weighted:
    """The weighted peaks, made chunk by chunk. Cosines keep every peak, so m/z and offsets stay those of `peaks`."""
    total, own = 0, scoring.score != "cosine"
    if own:
        sink.append("offsets", np.zeros(1, np.int64))
    for first, last in slices(peaks, chunk):
        part = scoring.weigh(cut(peaks, first, last), precursor[first:last])
        sink.append("weights", part.weights)
        sink.append("shares", part.shares)
        if own:
            sink.append("mzs", part.mzs)
            sink.append("offsets", part.offsets[1:] + total)
            total += int(part.offsets[-1])
    return Weighted(
        sink.finish("mzs") if own else peaks.mzs,
        sink.finish("weights"),
        sink.finish("shares"),
        sink.finish("offsets") if own else peaks.offsets,
    )


def invert(
    scoring: Scoring, weighted: Weighted, precursor: NDArray[np.float64] | None, chunk: int, sink: Sink
) -> Inverted:
    """The chunks of `weighted` sorted by m/z, or with `precursor` (n,) by loss; an unknown loss has no entry."""
    starts = [0]
    for first, last in slices(weighted, chunk):
        part = cut(weighted, first, last)
        row = np.repeat(np.arange(last - first, dtype=np.uint16), np.diff(part.offsets))
        position = part.mzs if precursor is None else precursor[first:last][row] - part.mzs
        order = np.argsort(position)
        order = order[: np.count_nonzero(~np.isnan(position))]  # NaN last
        ordered = position[order].astype(np.float32)
        bins = np.clip(ordered * np.float32(BINS_PER_DA), 0, _MOST_BINS - 1).astype(np.int64)
        edges = np.concatenate(([0], np.cumsum(np.bincount(bins, minlength=_MOST_BINS))))
        columns = ordered, scoring.bounds(part.weights)[order], row[order], edges.astype(np.int64)
        for name, values in zip(("position", "bounds", "row", "bins"), columns, strict=True):
            sink.append(name, values)
        starts.append(starts[-1] + order.size)
    position, bounds, rows, edges = (sink.finish(name) for name in ("position", "bounds", "row", "bins"))
    return Inverted(position, bounds, rows, np.array(starts, np.int64), edges.reshape(-1, _MOST_BINS + 1))


def nothing() -> Inverted:
    """Where no losses are asked for."""
    none = np.zeros(0, np.float32)
    return Inverted(none, none, np.zeros(0, np.uint16), np.zeros(1, np.int64), np.zeros((1, 2), np.int64))


@kernel
def most_within(mzs, offsets, da, relative):  # type: ignore[no-untyped-def]
    """The most peaks of one spectrum that can agree with the same m/z."""
    most = 1
    for k in range(offsets.size - 1):
        low = offsets[k]
        for high in range(offsets[k], offsets[k + 1]):
            while mzs[high] - mzs[low] > 2.01 * (da + relative * mzs[high]):
                low += 1
            most = max(most, high - low + 1)
    return most


def crowding(weighted: Weighted, tolerance: str, shifted: bool) -> int:
    """How many peaks of one library spectrum may be added up for one query peak.

    By loss, a tolerance in ppm is that of the query's m/z, here of at most 10,000.
    """
    limit = Tolerance.of(tolerance)
    most = most_within(weighted.mzs, weighted.offsets, limit.da, limit.relative)
    if shifted:
        most += most_within(weighted.mzs, weighted.offsets, limit.da + 1e4 * limit.relative, 0.0)
    return int(most)
