"""The same function over many chunks, in subprocesses, results in order.

Workers are plain Python processes fed through pipes (as in `data.identities`), so that this works from any
script, with or without a `__main__` guard, and never forks a threaded process. A worker's error is raised here.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from queue import SimpleQueue
from typing import IO, Any, cast

from ...errors import DataError


def apply(target: str, chunks: Sequence[Any], processes: int = 2) -> Iterator[Any]:
    """`target(chunk)` of each chunk, yielded in order as it is ready.

    Args:
        target: `module:function`, importable in a new process.
        chunks: one picklable argument a call.
        processes: with 1, or one chunk, everything runs here.
    """
    if processes <= 1 or len(chunks) <= 1:
        function = resolve(target)
        yield from (function(chunk) for chunk in chunks)
        return
    workers = [_start(target) for _ in range(min(processes, len(chunks)))]
    free: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
    for worker in workers:
        free.put(worker)

    def call(chunk: Any) -> Any:
        worker = free.get()
        try:
            return _ask(worker, chunk)
        finally:
            free.put(worker)

    pool = ThreadPoolExecutor(len(workers))
    try:
        yield from pool.map(call, chunks)
    finally:
        for worker in workers:
            worker.kill()
        pool.shutdown(wait=True, cancel_futures=True)
        for worker in workers:
            for pipe in (worker.stdin, worker.stdout):
                with contextlib.suppress(OSError):  # a broken pipe of a killed worker: nothing is lost
                    cast(IO[bytes], pipe).close()
            worker.wait()


def resolve(target: str) -> Callable[[Any], Any]:
    module, _, name = target.partition(":")
    function: Callable[[Any], Any] = getattr(import_module(module), name)
    return function


def _start(target: str) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "OMP_NUM_THREADS": "1"}
    environment |= {"OPENBLAS_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
    command = [sys.executable, "-c", f"from {__name__} import serve; serve({target!r})"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)


def _ask(worker: subprocess.Popen[bytes], chunk: Any) -> Any:
    assert worker.stdin is not None
    assert worker.stdout is not None
    try:
        pickle.dump(chunk, worker.stdin)
        worker.stdin.flush()
        failed, value = pickle.load(worker.stdout)
    except (OSError, EOFError, pickle.UnpicklingError) as error:
        raise DataError(f"a worker process died: {error}", remedy="start again: what is finished is kept") from error
    if failed:
        raise value
    return value


def serve(target: str) -> None:
    """The loop of a worker: one pickled chunk in, one pickled (failed, value) out, until the pipe closes."""
    function = resolve(target)
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while True:
        try:
            chunk = pickle.load(source)
        except EOFError:
            return
        try:
            answer = (False, function(chunk))
        except Exception as error:  # handed to the caller, who raises it
            answer = (True, error)
        pickle.dump(answer, sink)
        sink.flush()
