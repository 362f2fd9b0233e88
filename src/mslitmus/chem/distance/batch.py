"""Many pairs: each different pair once, from the cache or in parallel processes, in the order asked."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import polars as pl

from ...errors import ChemistryError, RunError
from .cache import PairCache
from .graph import graph, key
from .solve import Bounds, bounds

Progress = Callable[[str], None]
Pair = tuple[str, str]

#: Below this number of pairs starting processes costs more than it gains, unless the caller names a number of them.
_FEW = 2000
#: Pairs handed to a process at a time: results are kept, and progress told, once a portion.
_PORTION = 50


def mces_many(
    pairs: pl.DataFrame,
    threshold: float | None = 15.0,
    time_limit: float = 10.0,
    processes: int | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> pl.DataFrame:
    """Distances of many pairs.

    Args:
        pairs: columns `smiles_a`, `smiles_b`.
        threshold, time_limit: of each pair, as in `mces`.
        processes: None takes all cores for 2,000 pairs or more, else none but this one. Processes are spawned, so a
            script that asks for them needs the usual `if __name__ == "__main__"`.
        cache: SQLite file, made where absent, keyed by the unordered pair of canonical SMILES. A value in it is used
            where it answers the threshold asked now; work done is kept when the run is interrupted.
        progress: called with a line of text now and then.
    Returns `smiles_a`, `smiles_b`, `mces`, `exact`, `upper`, one row a row of `pairs`, in their order: `mces` is the
    distance where `exact`, else a lower bound, and `upper` an upper one; a bound that is not above the threshold means
    that the time ran out.
    Raises ChemistryError for the first SMILES that is missing or does not parse, before any work.
    """
    if pairs["smiles_a"].null_count() + pairs["smiles_b"].null_count():
        raise ChemistryError("a pair lacks a SMILES", where="mces_many", remedy="drop rows without a structure first")
    texts = pl.concat([pairs["smiles_a"], pairs["smiles_b"]]).unique(maintain_order=True).to_list()
    named = {text: key(text) for text in texts}
    first: dict[str, str] = {}
    for text, name in named.items():
        first.setdefault(name, text)
    asked = [_unordered(named[a], named[b]) for a, b in pairs.select("smiles_a", "smiles_b").iter_rows()]
    known = solve_pairs(list(dict.fromkeys(asked)), first, threshold, time_limit, processes, cache, progress)
    found = [known[pair] for pair in asked]
    return pairs.select("smiles_a", "smiles_b").with_columns(
        mces=pl.Series([f.lower for f in found], dtype=pl.Float64),
        exact=pl.Series([f.exact for f in found], dtype=pl.Boolean),
        upper=pl.Series([f.upper for f in found], dtype=pl.Float64),
    )


def solve_pairs(
    pairs: Sequence[Pair],
    smiles: dict[str, str],
    threshold: float | None,
    time_limit: float,
    processes: int | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
    decide: bool = False,
) -> dict[Pair, Bounds]:
    """Bounds of different unordered pairs of keys (canonical SMILES); `smiles` spells out each key; see `bounds`."""
    store = PairCache(cache) if cache else None
    try:
        known = store.answers(pairs, threshold, decide) if store else {}
        missing = [pair for pair in pairs if pair not in known]
        portions = [missing[at : at + _PORTION] for at in range(0, len(missing), _PORTION)]
        work = partial(_solve, threshold=threshold, time_limit=time_limit, decide=decide)
        spelled = [[(smiles[a], smiles[b]) for a, b in portion] for portion in portions]
        for portion, found in zip(portions, run_portions(work, spelled, processes), strict=True):
            fresh = dict(zip(portion, found, strict=True))
            known |= fresh
            if store:
                store.keep(fresh)
            if progress:
                progress(f"MCES: {len(known):,} of {len(pairs):,} pairs")
        return known
    finally:
        if store:
            store.close()


def run_portions(
    work: Callable[[list[Pair]], list[Bounds]], portions: list[list[Pair]], processes: int | None
) -> Iterator[list[Bounds]]:
    """`work` of every portion, in order; in other processes where that pays. Ctrl-C ends them and is raised again."""
    count = sum(map(len, portions))
    workers = (os.cpu_count() or 1 if count >= _FEW else 1) if processes is None else processes
    if workers <= 1 or len(portions) <= 1:
        yield from map(work, portions)
        return
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_deaf)
    try:
        yield from pool.map(work, portions)
    except BrokenProcessPool as error:
        raise RunError(
            "the processes that compute distances ended",
            remedy='guard the script with `if __name__ == "__main__":`, free memory, or give processes=1',
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _solve(pairs: list[Pair], threshold: float | None, time_limit: float, decide: bool) -> list[Bounds]:
    return [bounds(graph(a), graph(b), threshold, time_limit, decide) for a, b in pairs]


def _deaf() -> None:
    """Ctrl-C is the parent's to handle: it lets running portions end and starts no other."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _unordered(a: str, b: str) -> Pair:
    return (a, b) if a <= b else (b, a)
