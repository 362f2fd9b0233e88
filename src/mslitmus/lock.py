"""One writer a folder, also where several machines see it: a lock file that a kill does not leave behind for good.

The file names process and host. On its own host a lock counts while that process lives; on another one while the file
is touched now and then, which its owner does.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import RunError

#: Seconds between two touches, and those after which another host's lock is nobody's: ten missed touches.
BEAT, DEAD = 15.0, 150.0
_PAUSE = 0.5  # seconds between two looks at a lock that is waited for


@contextmanager
def exclusive(folder: Path, *, wait: float = 0.0) -> Iterator[None]:
    """Nobody else is within for this folder. A lock whose process is gone (a kill) is taken over.

    Args:
        wait: seconds for which another one's lock is waited for. Raises RunError after that.
    """
    path, mine = folder / ".lock", folder / f".lock.{_host()}.{os.getpid()}"
    until = time.monotonic() + wait
    mine.write_text(_me())  # whole before it gets its name, so that nobody reads half a lock
    try:
        while not _linked(mine, path):
            if not _held(path, mine):
                path.unlink(missing_ok=True)
            elif time.monotonic() < until:
                time.sleep(_PAUSE)
                mine.touch()  # its time is the file server's now
            else:
                raise _refusal(folder, path)
    finally:
        mine.unlink(missing_ok=True)
    left = threading.Event()
    threading.Thread(target=_beat, args=(path, left), daemon=True).start()
    try:
        yield
    finally:
        left.set()
        if _owner(path) == (os.getpid(), _host()):  # not the lock of one who took this process for dead
            path.unlink(missing_ok=True)


def _beat(path: Path, left: threading.Event) -> None:
    while not left.wait(BEAT):
        with suppress(OSError):
            os.utime(path)


def _me() -> str:
    return f"{os.getpid()} {_host()}"


def _host() -> str:
    return socket.gethostname().replace("/", "_") or "unnamed"


def _refusal(folder: Path, path: Path) -> RunError:
    pid, host = _owner(path)
    where = "" if host == _host() else f" on {host}"
    remedy = (
        f"wait for process {pid}{where}, or write elsewhere (--name, --out); if it is no run of mslitmus: delete {path}"
    )
    return RunError("another process is writing here", where=str(folder), remedy=remedy)


def _held(path: Path, mine: Path) -> bool:
    """Whether the owner of the lock is still there. This very process counts as gone: it asks for itself."""
    pid, host = _owner(path)
    if pid is None:
        return False
    if host == _host():
        return pid != os.getpid() and _alive(pid)
    try:
        return mine.stat().st_mtime - path.stat().st_mtime < DEAD
    except OSError:
        return False


def _owner(path: Path) -> tuple[int | None, str]:
    """Process and host; this host where none is named."""
    try:
        pid, _, host = path.read_text().strip().partition(" ")
        return int(pid), host or _host()
    except (OSError, ValueError):
        return None, ""


def _linked(mine: Path, path: Path) -> bool:
    """Give `mine` the name `path` unless that name is taken."""
    try:
        os.link(mine, path)
    except FileExistsError:
        return False
    except OSError:  # a disk without hard links
        try:
            with path.open("x") as lock:
                lock.write(mine.read_text())
        except FileExistsError:
            return False
    return True


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
