"""Walk a tar stream without seeking, at a few microseconds a member (the standard library takes about sixty).

Reads ustar, GNU long names (`L`) and pax headers (`x`: path, size): Python docs, `tarfile`; POSIX.1-2001 pax.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from ...errors import FormatError
from ._problems import Problems

SMALL = 1 << 23  # members up to this size are handed over whole


class _Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...


class Buffered:
    """Exact reads over a stream that gives what it likes."""

    def __init__(self, raw: _Stream) -> None:
        self._raw, self._block, self._at = raw, b"", 0

    def exact(self, size: int) -> bytes:
        """`size` bytes, or fewer at the end."""
        stop = self._at + size
        if stop <= len(self._block):
            out = self._block[self._at : stop]
            self._at = stop
            return out
        parts = [self._block[self._at :]]
        need = size - len(parts[0])
        self._block, self._at = b"", 0
        while need > 0:
            block = self._raw.read(1 << 22)
            if not block:
                break
            parts.append(block[:need])
            if len(block) > need:
                self._block, self._at = block, need
            need -= len(parts[-1])
        return b"".join(parts)


class _Section:
    """The bytes of one large member."""

    def __init__(self, buffer: Buffered, size: int) -> None:
        self._buffer, self.left = buffer, size

    def read(self, size: int) -> bytes:
        out = self._buffer.exact(min(size, self.left))
        self.left = self.left - len(out) if out else 0
        return out


def _octal(field: bytes) -> int:
    if field[0] & 0x80:  # GNU base 256
        return int.from_bytes(field, "big") & ((1 << (8 * len(field) - 1)) - 1)
    return int(field.strip(b" \0") or b"0", 8)


def _pax(data: bytes) -> dict[str, str]:
    """`"<length> key=value\\n"` records."""
    out: dict[str, str] = {}
    while data:
        length, space, _ = data.partition(b" ")
        if not space or not length.isdigit() or not int(length):
            break
        key, _, value = data[len(length) + 1 : int(length) - 1].partition(b"=")
        out[key.decode("utf-8", "replace")] = value.decode("utf-8", "replace")
        data = data[int(length) :]
    return out


def _damaged(label: str, what: str) -> FormatError:
    return FormatError(
        f"the tar archive {what}",
        where=label,
        remedy='download or copy it again, or read with on_error="skip" to keep the complete members',
    )


def tar_members(raw: _Stream, label: str, problems: Problems) -> Iterator[tuple[str, bytes | None, _Section]]:
    """Yield (name, whole content or None if large, stream of a large member) of every regular file.

    A cut or damaged archive reports a FormatError after the last complete member.
    """
    buffer = Buffered(raw)
    last = "its start"
    overrides: dict[str, str] = {}
    try:
        while True:
            header = buffer.exact(512)
            if not header.strip(b"\0"):
                if len(header) < 512:
                    problems.report(_damaged(label, f"ends too early, after {last}"))
                return
            if len(header) < 512 or not _checksum_holds(header):
                problems.report(_damaged(label, f"is cut or damaged after {last}"))
                return
            size = int(overrides.get("size", 0)) or _octal(header[124:136])
            name, kind = overrides.get("path") or _name(header), header[156:157]
            padding = -size % 512
            if kind in (b"L", b"x"):
                data = buffer.exact(size + padding)[:size]
                overrides = {"path": data.rstrip(b"\0").decode("utf-8", "replace")} if kind == b"L" else _pax(data)
                continue
            overrides = {}
            section = _Section(buffer, size)
            if kind not in (b"0", b"\0") or name.rsplit("/", 1)[-1].startswith("."):
                _drain(section)
            elif size <= SMALL:
                data = buffer.exact(size)
                if len(data) < size:
                    problems.report(_damaged(label, f"ends too early, inside {name}"))
                    return
                section.left = 0
                yield name, data, section
            else:
                yield name, None, section
                _drain(section)
            buffer.exact(padding)
            last = name
    except FormatError as error:  # the compressed stream under the archive broke off
        if error in problems.errors or problems.on_error == "raise":
            raise
        problems.report(error)
    except ValueError as error:
        problems.report(_damaged(label, f"holds a malformed header after {last} ({error})"))


def _drain(section: _Section) -> None:
    while section.read(1 << 20):
        pass


def _name(header: bytes) -> str:
    name = header[:100].split(b"\0", 1)[0]
    if header[257:263] == b"ustar\0" and (prefix := header[345:500].split(b"\0", 1)[0]):
        name = prefix + b"/" + name
    return name.decode("utf-8", "replace")


def _checksum_holds(header: bytes) -> bool:
    try:
        stated = _octal(header[148:156])
    except ValueError:
        return False
    return stated == sum(header) - sum(header[148:156]) + 256
