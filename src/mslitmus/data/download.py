"""Downloads that survive a bad line: resume by HTTP Range, retry with growing pauses, checksums kept ever after."""

from __future__ import annotations

import errno
import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from ..errors import DataError
from ..provenance import file_hash, write_json
from .catalogue import SourceFile
from .store import home

#: Called with bytes so far and the total (None where the server does not say).
Progress = Callable[[int, int | None], None]

ATTEMPTS, TIMEOUT, BLOCK = 6, 30.0, 1 << 18
_LOST = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError)


def fetch(source: SourceFile, progress: Progress | None = None, pause: float = 1.0, attempts: int = ATTEMPTS) -> Path:
    """The file under `home()/downloads`, downloaded unless a checked copy lies there already.

    A cut download continues where it stopped, also in a later call. `pause` (seconds) doubles after every failure that
    brought no new byte.

    Raises:
        DataError: no connection, refused by the server (404, 403, …), the disk is full, or the checksum differs from
        the catalogue's or from that of the first download.
    """
    folder = home() / "downloads"
    target, part = folder / source.name, folder / f"{source.name}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not target.is_file():
            _download(source.url, part, progress, pause, attempts)
            verify(source, part)
            os.replace(part, target)
        else:
            verify(source, target)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise DataError(
                "the disk is full", where=str(folder), remedy="free space, then run the same command"
            ) from error
        raise DataError(
            f"cannot write: {error}", where=str(folder), remedy="set MSLITMUS_HOME to a folder of yours"
        ) from error
    return target


def _download(url: str, part: Path, progress: Progress | None, pause: float, attempts: int) -> None:
    failures, wait, have = 0, pause, part.stat().st_size if part.is_file() else 0
    while True:
        try:
            _continue(url, part, progress)
            return
        except urllib.error.HTTPError as error:
            if error.code == 416 and have:  # the part is as long as the file, or longer: begin again
                part.unlink(missing_ok=True)
                have = 0
            elif error.code not in (408, 425, 429) and error.code < 500:
                raise _refused(url, error) from error
            reason = f"HTTP {error.code} {error.reason}"
        except _LOST as error:
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise
            reason = str(getattr(error, "reason", None) or error or type(error).__name__)
        now = part.stat().st_size if part.is_file() else 0
        failures, wait = (0, pause) if now > have else (failures + 1, wait * 2)
        have = now
        if failures >= attempts:
            raise DataError(
                f"download failed after {attempts} attempts: {reason}",
                where=url,
                remedy="check the connection and run the same command: it continues at "
                f"{have:,} bytes; or download it by hand and use --from PATH",
            )
        time.sleep(min(wait, 60.0))


def _continue(url: str, part: Path, progress: Progress | None) -> None:
    """One connection: append to `part` what is missing. Raises if the body ends early."""
    have = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "mslitmus"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        partial = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        done = have if partial else 0
        length = response.headers.get("Content-Length")
        total = done + int(length) if length else None
        with part.open("ab" if partial else "wb") as handle:
            while block := response.read1(BLOCK):
                handle.write(block)
                done += len(block)
                if progress:
                    progress(done, total)
        if total is not None and done < total:
            raise ConnectionError(f"the connection ended at {done:,} of {total:,} bytes")


def _refused(url: str, error: urllib.error.HTTPError) -> DataError:
    moved = "the file has moved: look for it on the dataset's page (`mslitmus data list`) and use --from PATH"
    closed = "the server asks for a login: download it by hand and use --from PATH"
    return DataError(
        f"the server says {error.code} {error.reason}", where=url, remedy=closed if error.code in (401, 403) else moved
    )


def _records() -> Path:
    return home() / "checksums.json"


def recorded() -> dict[str, str]:
    """URL → checksum of its first download here."""
    path = _records()
    if not path.is_file():
        return {}
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"checksums.json is damaged: {error}", where=str(path), remedy="delete or repair it") from error
    return {str(url): str(checksum) for url, checksum in table.items()}


def verify(source: SourceFile, path: Path) -> str:
    """Check a downloaded file against the catalogue, else against the first download; record a first one.

    Returns the checksum, `sha256:…` or `md5:…`. Raises DataError where it differs, and sets a wrong file aside.
    """
    known = recorded()
    expected = source.checksum or known.get(source.url, "")
    algorithm = expected.partition(":")[0] or "sha256"
    found = f"{algorithm}:{file_hash(path, algorithm)}"
    if not expected:
        write_json(_records(), known | {source.url: found})
    elif found != expected:
        aside = path.with_name(f"{source.name}.wrong")
        os.replace(path, aside)
        whose = "the catalogue's" if source.checksum else "that of the first download"
        raise DataError(
            f"checksum {found} differs from {whose}, {expected}: the file was damaged, or changed at its source",
            where=str(aside),
            remedy="run the command again; if it stays so, look at the file, and import it with --from if you trust it",
        )
    return found
