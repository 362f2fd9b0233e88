"""A process that computes cells, one at a time: both ends of its pipes.

Workers are plain new interpreters (nothing is forked, no `__main__` guard is needed) in a process group of their own,
so that Ctrl-C reaches the main process alone, which then ends them. A worker whose main process is gone ends itself.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, cast

from ...audits.evidence import CellKey
from ...errors import MslitmusError
from .bench import read_bench

#: What a worker says: ("ready", None), ("line", text), ("done", None), ("error", exception), ("ended", how).
Said = tuple[str, Any]
_GRACE = 20.0  # seconds that a training gets to end on SIGTERM
_ENDED = 128 + signal.SIGTERM


class Worker:
    """The main process's end. Whatever the worker says goes to `hear(worker, said)`, from a thread."""

    def __init__(self, number: int, staged: Path, environment: Mapping[str, str], hear: Callable[..., None]) -> None:
        self.number = number
        path = {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"from {__name__} import serve; serve({str(staged)!r})"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **path, **environment},
            process_group=0,
        )
        self._reader = threading.Thread(target=self._listen, args=(hear,), daemon=True)
        self._reader.start()

    def give(self, key: CellKey) -> None:
        with contextlib.suppress(OSError):  # it has just died: its reader says so
            _send(cast(IO[bytes], self._process.stdin), key)

    def ask_to_end(self) -> None:
        with contextlib.suppress(OSError):
            self._process.terminate()

    def end(self, grace: float) -> None:
        """Wait so many seconds for the process to end, then kill it and whatever it started."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(grace)
        with contextlib.suppress(OSError):  # also of a worker that was killed: what it started holds memory and GPUs
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                cast(IO[bytes], pipe).close()

    def _listen(self, hear: Callable[..., None]) -> None:
        pipe = cast(IO[bytes], self._process.stdout)
        try:
            while True:
                hear(self, pickle.load(pipe))
        except (EOFError, OSError, pickle.UnpicklingError):
            hear(self, ("ended", _how(self._process.wait())))


def end_all(workers: list[Worker]) -> None:
    """End all workers: their trainings keep the last epoch. A second Ctrl-C kills them at once."""
    until = time.monotonic() + _GRACE
    for worker in workers:
        worker.ask_to_end()
    for worker in workers:
        try:
            worker.end(max(0.0, until - time.monotonic()))
        except KeyboardInterrupt:
            until = time.monotonic()
            worker.end(0.0)


def _how(code: int) -> str:
    if code < 0:
        name = signal.Signals(-code).name if -code in {int(s) for s in signal.Signals} else f"signal {-code}"
        return f"by {name}{' (memory ran out?)' if -code == signal.SIGKILL else ''}"
    return f"with exit code {code}"


# -- the worker's end -------------------------------------------------------------------------------------------------


def serve(staged: str) -> None:
    """Cells asked for on standard input, until it closes. Whatever libraries print goes to standard error."""
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asked: queue.SimpleQueue[CellKey | None] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(asked,), daemon=True).start()
    code = 0
    try:
        _work(staged, sink, asked)
    except (SystemExit, BrokenPipeError):  # SIGTERM, or the main process is gone
        code = _ENDED
    finally:  # a thread waits for input: an ordinary exit would stumble over it
        sys.stderr.flush()
        os._exit(code)


def _work(staged: str, sink: IO[bytes], asked: queue.SimpleQueue[CellKey | None]) -> None:
    try:
        bench = read_bench(Path(staged))
        _send(sink, ("ready", None))
        while (key := asked.get()) is not None:
            bench.compute(key, lambda line: _send(sink, ("line", line)))
            _send(sink, ("done", None))
    except BrokenPipeError:
        raise
    except Exception as error:
        if not isinstance(error, MslitmusError):  # a bug: its traceback is this process's
            error.add_note(f"in a worker process:\n{traceback.format_exc()}")
        _send(sink, ("error", error if _travels(error) else RuntimeError(traceback.format_exc())))


def _receive(asked: queue.SimpleQueue[CellKey | None]) -> None:
    """Hand requests on. Where the pipe closes, the main process is gone or wants no more."""
    with contextlib.suppress(EOFError, OSError):
        while True:
            asked.put(pickle.load(sys.stdin.buffer))
    asked.put(None)
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(_GRACE)
    os._exit(_ENDED)


def _end(signum: int, frame: Any) -> None:
    raise SystemExit(_ENDED)


def _send(pipe: IO[bytes], value: Any) -> None:
    pipe.write(pickle.dumps(value))
    pipe.flush()


def _travels(error: BaseException) -> bool:
    """Whether an exception comes out of its pickle as it went in."""
    try:
        return type(pickle.loads(pickle.dumps(error))) is type(error)
    except Exception:  # whatever a library's exception does when it is rebuilt
        return False
