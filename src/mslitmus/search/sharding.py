"""One search in many pieces: stretches of the libraries, each searched by a worker, the best hits merged exactly.

Every worker returns the best hits of its pieces by the rule of the whole (score, then the library named first, then
the lower identifier; one spectrum a molecule). A hit that is among the best k of all is among the best k of its piece,
so merging the pieces gives what one search of everything gives.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from ..data import store
from ..errors import ConfigError, RunError
from ..rays import check_address, connected, ray_module
from .libraries import Reference, open_libraries
from .searching import Engine, Search, found


class Piece(NamedTuple):
    """Stretch `shard` = (i, k) of every part of a library; `source` is what opens it, `called` what hits name."""

    number: int
    source: str
    called: str
    shard: tuple[int, int]


def plan(references: Sequence[Reference], sources: Sequence[str], workers: int) -> list[list[Piece]]:
    """What each of the workers searches: whole libraries if there are as many, else stretches of each.

    Stretches are of ascending precursor m/z. No worker is without a piece while pieces last. Raises ConfigError for
    fewer workers than one.
    """
    if workers < 1:
        raise ConfigError(f"{workers} shards", remedy="1 or more")
    of = -(-workers // len(references))
    pieces = [
        Piece(number, source, reference.name, (k, of))
        for number, (reference, source) in enumerate(zip(references, sources, strict=True))
        for k in range(of)
    ]
    return [pieces[worker::workers] for worker in range(workers)]


class Worker:
    """Holds the libraries of its pieces open and searches them."""

    def __init__(self, pieces: Sequence[Piece], opened: Sequence[Reference] | None = None) -> None:
        """`opened`: all libraries, where they are open in this process already."""
        self._pieces = list(pieces)
        self._open: dict[int, Reference] = {}
        for piece in pieces:
            if piece.number not in self._open:
                one = open_libraries([piece.source])[0] if opened is None else opened[piece.number]
                self._open[piece.number] = replace(one, name=piece.called)

    def found(self, queries: pl.DataFrame, asked: Search) -> list[pl.DataFrame]:
        pieces = self._pieces
        return [hits for p in pieces for hits in found(queries, self._open[p.number], p.number, asked, p.shard)]


@dataclass(frozen=True)
class Local:
    """Workers in this process, one after the other."""

    workers: Sequence[Worker]

    def found(self, queries: pl.DataFrame, asked: Search) -> list[pl.DataFrame]:
        return [hits for worker in self.workers for hits in worker.found(queries, asked)]


@dataclass(frozen=True)
class Cluster:
    """Workers that are Ray actors. One that dies with its node is started again elsewhere and asked again."""

    ray: Any
    actors: Sequence[Any]

    def found(self, queries: pl.DataFrame, asked: Search) -> list[pl.DataFrame]:
        handed = self.ray.put(queries)
        try:
            answers = self.ray.get([actor.found.remote(handed, asked) for actor in self.actors])
        except self.ray.exceptions.RayTaskError as error:
            raise error.cause from error
        except self.ray.exceptions.RayError as error:
            remedy = "every node must see the libraries under the same path and run the same mslitmus"
            raise RunError(f"a worker was lost: {str(error).splitlines()[0]}", remedy=remedy) from error
        return [hits for answer in answers for hits in answer]


@contextmanager
def local(references: Sequence[Reference], sources: Sequence[str], shards: int) -> Iterator[Engine]:
    """Every shard in this process: the same hits by the same way as on a cluster."""
    yield Local([Worker(pieces, references) for pieces in plan(references, sources, shards) if pieces])


@contextmanager
def on_ray(
    references: Sequence[Reference],
    sources: Sequence[str],
    shards: int | None,
    threads: int | None,
    address: str | None,
) -> Iterator[Engine]:
    """Every shard in an actor of a Ray cluster, which lives within this context.

    Args:
        sources: what opens the libraries; paths must be seen by every node, and so must MSLITMUS_HOME.
        shards: None: as many as the cluster has room for.
        threads: cores of a shard; None is 1.

    Raises MissingExtraError without Ray, RunError where no cluster answers or a worker cannot start, ConfigError where
    a shard is larger than every node.
    """
    check_address(address)
    ray = ray_module()
    cores = threads or 1
    with connected(ray, address, cores):
        room = sum(int(node["Resources"].get("CPU", 0)) // cores for node in ray.nodes() if node["Alive"])
        if room < (shards or 1):
            what = f"room for {room} shards of {cores} cores each"
            raise ConfigError(what, where="the cluster", remedy="fewer --shards or --threads, or more nodes")
        places = [_absolute(source) for source in sources]
        actor = ray.remote(num_cpus=cores, max_restarts=2, max_task_retries=2, scheduling_strategy="SPREAD")(_Far)
        home = str(store.home().resolve())
        yield Cluster(ray, [actor.remote(home, p) for p in plan(references, places, shards or room) if p])


class _Far(Worker):
    """A worker in a process of its own."""

    def __init__(self, home: str, pieces: Sequence[Piece]) -> None:
        os.environ["MSLITMUS_HOME"] = home
        super().__init__(pieces)


def _absolute(source: str) -> str:
    """A path from where this process runs; the name of a dataset as it is."""
    path = Path(source).expanduser()
    named = path.name == source and source.partition("@")[0] in store.names()
    return source if named or not path.exists() else str(path.absolute())
