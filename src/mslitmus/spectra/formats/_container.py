"""Open a path as a sequence of plain byte streams, whatever it is wrapped in: gzip, tar, zip, a folder, or nested."""

from __future__ import annotations

import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from ...errors import FormatError
from ._problems import Problems
from ._tar import tar_members
from .folders import files_of, hidden

HEAD = 8192
BLOCK = 1 << 22
#: What the standard library raises on damaged, encrypted or oddly compressed zip archives.
_ZIP_FAULTS = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
)


class Stream(Protocol):
    """Anything with `read(n)`: up to n bytes, at least one unless it has ended."""

    def read(self, size: int, /) -> bytes: ...


@dataclass(slots=True)
class Source:
    """One plain file: its label for messages, its first bytes (not consumed) and its stream."""

    label: str
    head: bytes
    stream: Stream
    inside: bool = False  # a member of a folder or an archive, where unknown files may lie beside the spectra
    fault: FormatError | None = None  # met within the first bytes; the stream raises it too

    def blocks(self, problems: Problems) -> Iterator[bytes]:
        """All bytes in blocks. A stream that breaks off reports its error and ends there."""
        if self.head:
            yield self.head
        while True:
            try:
                block = self.stream.read(BLOCK)
            except FormatError as error:
                problems.report(error)
                return
            if not block:
                return
            yield block


class GzipStream:
    """Inflate a (multi-member) gzip stream, giving everything that is intact before a cut is reported."""

    def __init__(self, raw: Stream, label: str) -> None:
        self._raw, self._label = raw, label
        self._inflate = zlib.decompressobj(wbits=31)
        self._pending = b""
        self._done = False

    def read(self, size: int) -> bytes:
        while not self._done:
            chunk = self._pending or self._raw.read(1 << 18)
            try:
                out = self._inflate.decompress(chunk, size)
            except zlib.error as error:
                self._done = True
                raise FormatError(
                    f"the gzip stream is damaged ({error})", where=self._label, remedy="download or copy it again"
                ) from error
            if self._inflate.eof:
                self._pending = self._inflate.unused_data.lstrip(b"\0") or self._raw.read(1 << 18).lstrip(b"\0")
                self._done = not self._pending
                self._inflate = zlib.decompressobj(wbits=31)
            else:
                self._pending = self._inflate.unconsumed_tail
                if not chunk and not out:
                    self._done = True
                    raise FormatError(
                        "the gzip stream ends too early",
                        where=self._label,
                        remedy='download or copy it again, or read with on_error="skip" to keep what is complete',
                    )
            if out:
                return out
        return b""


class _Guarded:
    """A zip member whose failures come out as FormatError."""

    def __init__(self, raw: IO[bytes], label: str) -> None:
        self._raw, self._label = raw, label

    def read(self, size: int) -> bytes:
        try:
            return self._raw.read(size)
        except _ZIP_FAULTS as error:
            raise FormatError(
                f"the archive member is damaged ({error})", where=self._label, remedy="download or copy it again"
            ) from error


class _Prefixed:
    """A stream with bytes put back in front."""

    def __init__(self, head: bytes, raw: Stream, error: FormatError | None) -> None:
        self._head, self._raw, self._error = head, raw, error

    def read(self, size: int) -> bytes:
        if self._head:
            out, self._head = self._head[:size], self._head[size:]
            return out
        if self._error is not None:
            error, self._error = self._error, None
            self._raw = io.BytesIO()
            raise error
        return self._raw.read(size)


def _peek(raw: Stream) -> tuple[bytes, Stream, FormatError | None]:
    """First bytes, and the stream behind them; an error met on the way is kept for whoever reads on."""
    parts, got, error = [], 0, None
    while got < HEAD:
        try:
            part = raw.read(HEAD - got)
        except FormatError as caught:
            error = caught
            break
        if not part:
            break
        parts.append(part)
        got += len(part)
    return b"".join(parts), raw, error


def open_stream(raw: Stream, label: str, problems: Problems, *, inside: bool) -> Iterator[Source]:
    """Unwrap one stream until plain files are left."""
    head, raw, error = _peek(raw)
    if head.startswith(b"\x1f\x8b"):
        yield from open_stream(GzipStream(_Prefixed(head, raw, error), label), label, problems, inside=inside)
    elif head[257:262] == b"ustar":
        yield from _open_tar(_Prefixed(head, raw, error), label, problems)
    elif head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        whole = _Prefixed(head, raw, error)
        blocks = []
        while block := whole.read(BLOCK):
            blocks.append(block)
        yield from _open_zip(io.BytesIO(b"".join(blocks)), label, problems)
    elif head.startswith((b"BZh", b"\xfd7zXZ\x00", b"7z\xbc\xaf", b"\x28\xb5\x2f\xfd", b"Rar!")):
        raise FormatError(
            "the file is compressed in a way that is not read here", where=label, remedy="unpack it, or use gzip or zip"
        )
    else:
        yield Source(label, head, _Prefixed(b"", raw, error) if error else raw, inside, error)


def _open_tar(raw: Stream, label: str, problems: Problems) -> Iterator[Source]:
    for name, data, stream in tar_members(raw, label, problems):
        inner = f"{label}!{name}"
        if data is None:
            yield from open_stream(stream, inner, problems, inside=True)
        elif data.startswith((b"\x1f\x8b", b"PK\x03\x04")) or data[257:262] == b"ustar":
            yield from open_stream(io.BytesIO(data), inner, problems, inside=True)
        else:
            yield Source(inner, data, io.BytesIO(), inside=True)


def _open_zip(file: Path | io.BytesIO, label: str, problems: Problems) -> Iterator[Source]:
    try:
        archive = zipfile.ZipFile(file)
    except _ZIP_FAULTS as error:
        raise FormatError(
            f"the zip archive cannot be opened ({error})", where=label, remedy="download or copy it again"
        ) from error
    with archive:
        for info in sorted(archive.infolist(), key=lambda info: info.filename):
            if info.is_dir() or hidden(Path(info.filename)):
                continue
            inner = f"{label}!{info.filename}"
            try:
                member = archive.open(info)
            except _ZIP_FAULTS as error:
                problems.report(
                    FormatError(
                        f"the zip member cannot be opened ({error})", where=inner, remedy="unpack it with another tool"
                    )
                )
                continue
            with member:
                yield from open_stream(_Guarded(member, inner), inner, problems, inside=True)


def sources(path: Path, problems: Problems) -> Generator[Source, None, None]:
    """Every plain file under `path`, in a stable order. Labels read `archive.tar.gz!folder/member`."""
    if path.is_dir():
        for file in files_of(path):
            yield from _open_file(file, problems, inside=True)
    else:
        yield from _open_file(path, problems, inside=False)


def _open_file(path: Path, problems: Problems, *, inside: bool) -> Iterator[Source]:
    label = str(path)
    try:
        file = path.open("rb")
    except OSError as error:
        raise FormatError(
            f"the file cannot be opened ({error.strerror or error})",
            where=label,
            remedy="check the path and its rights",
        ) from error
    with file:
        start = file.read(4)
        file.seek(0)
        if start in (b"PK\x03\x04", b"PK\x05\x06"):
            yield from _open_zip(path, label, problems)
        else:
            yield from open_stream(_Guarded(file, label), label, problems, inside=inside)
