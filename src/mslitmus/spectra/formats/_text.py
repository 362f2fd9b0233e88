"""Blocks of text with plain line feeds: byte-order marks, carriage returns and odd encodings are settled here."""

from __future__ import annotations

from collections.abc import Iterator

from ...errors import FormatError
from ._container import Source
from ._problems import Problems


def decode(data: bytes, problems: Problems) -> str:
    """UTF-8, else Latin-1 (which cannot fail), with a note."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        problems.note("records that are not UTF-8, read as Latin-1")
        return data.decode("latin-1")


def wide_text(source: Source) -> FormatError | None:
    """The error for UTF-16 and UTF-32 text, None for anything else."""
    head = source.head
    zeros = max(head[0::2].count(0), head[1::2].count(0))
    if not (head.startswith((b"\xff\xfe", b"\xfe\xff")) or (head and zeros > 0.4 * len(head[1::2]) > 2)):
        return None
    return FormatError(
        "the text is encoded as UTF-16 or UTF-32",
        where=f"{source.label}:1",
        remedy=f"convert it: iconv -f UTF-16 -t UTF-8 {source.label.rsplit('/', 1)[-1]} > new-file",
    )


def refuse_binary(source: Source) -> None:
    """Raise FormatError for UTF-16/32 text and for bytes that are no text at all."""
    if wide := wide_text(source):
        raise wide
    head = source.head
    if b"\0" in head:
        line = head[: head.index(b"\0")].count(b"\n") + 1
        raise FormatError(
            "the file holds zero bytes: it is binary, not text",
            where=f"{source.label}:{line}",
            remedy="check that this is the right file; vendor files convert with ProteoWizard msconvert to mzML",
        )


def text_blocks(source: Source, problems: Problems) -> Iterator[bytes]:
    """Blocks of the source with every line end as `\\n` and without a byte-order mark."""
    try:
        refuse_binary(source)
    except FormatError as error:
        problems.report(error)
        return
    first, held = True, b""
    for raw in source.blocks(problems):
        block = held + raw
        if first:
            block, first = block.removeprefix(b"\xef\xbb\xbf"), False
        held = b""
        if b"\r" in block:
            if block.endswith(b"\r"):
                block, held = block[:-1], b"\r"
            block = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if block:
            yield block
    if held:
        yield b"\n"


def split_records(source: Source, problems: Problems, end: bytes) -> Iterator[tuple[int, bytes, bool]]:
    """Cut text at every occurrence of `end` (which begins with a line feed).

    Yields (line number of the first byte, text up to `end`, complete): only what follows the last `end` is incomplete.
    """
    line, rest = 1, b""
    for block in text_blocks(source, problems):
        pieces = (rest + block).split(end) if rest else block.split(end)
        rest = pieces.pop()
        for piece in pieces:
            yield line, piece, True
            line += piece.count(b"\n") + end.count(b"\n")
    yield line, rest, False
