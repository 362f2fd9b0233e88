"""Features of many molecules: in portions, in parallel processes where that pays, always in the order asked."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import current_process, get_context
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .features import Featuriser, Ragged

Progress = Callable[[str], None]

#: So many molecules or fewer are computed here.
FEW = 2000
_PORTION = 500  # molecules handed to a process at a time, unless the featuriser has a `portion` of its own
#: Seconds of work below which starting processes, which import their modules anew, costs more than it gains.
START = 10.0
_SILENT = 5.0  # seconds between two lines of progress


def compute_many(
    featuriser: Featuriser, smiles: Sequence[str], processes: int | None = None, progress: Progress | None = None
) -> list[Ragged]:
    """What `featuriser.compute(smiles)` gives, of any number of molecules, in parts to be joined in this order.

    Args:
        featuriser: one that takes long for a molecule says so by a small `portion`, which lowers `FEW` accordingly.
        processes: at most so many, None: as many as cores; used where there are more than `FEW` molecules and the
            first portion shows that the rest takes longer than `START`. Processes are spawned: a script needs the usual
            `if __name__ == "__main__"`, without which (or where a process dies) this one does all the work.
        progress: takes a line of text now and then.
    Raises ChemistryError for a SMILES that does not parse.
    """
    portion: int = getattr(featuriser, "portion", _PORTION)
    if len(smiles) <= FEW * portion / _PORTION:
        return [featuriser.compute(smiles)]
    portions = [smiles[at : at + portion] for at in range(0, len(smiles), portion)]
    started = time.perf_counter()
    done = [featuriser.compute(portions[0])]
    left = (time.perf_counter() - started) * (len(portions) - 1)
    workers = (processes or _cores()) if left > START else 1
    told = started
    for part in _computed(featuriser, portions[1:], workers, progress):
        done.append(part)
        if progress and time.perf_counter() - told > _SILENT:
            told = time.perf_counter()
            progress(f"features of molecules: {sum(map(len, done)):,} of {len(smiles):,}")
    return done


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _computed(
    featuriser: Featuriser, portions: Sequence[Sequence[str]], workers: int, progress: Progress | None
) -> Iterator[Ragged]:
    """Features of each portion, in order."""
    done = 0
    if workers > 1 and len(portions) > 1 and not current_process().daemon:  # a daemon may have no children
        pool = ProcessPoolExecutor(min(workers, len(portions)), mp_context=get_context("spawn"), initializer=_deaf)
        try:
            for part in pool.map(featuriser.compute, portions):
                done += 1
                yield part
        except BrokenProcessPool:
            if progress:
                progress("the processes that compute features ended: going on in this one")
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    yield from map(featuriser.compute, portions[done:])


def _deaf() -> None:
    """Ctrl-C is the parent's to handle: it lets running portions end and starts no other."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
