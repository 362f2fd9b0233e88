"""What mzML and mzXML share: expat fed block by block, encoded arrays, and the batch of scans."""

from __future__ import annotations

import binascii
import zlib
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Protocol
from xml.parsers import expat

import numpy as np
import polars as pl

from ...errors import FormatError
from ..flat import MOST_MZ
from ._container import Source
from ._problems import Problems, record_error
from ._rows import assemble, sort_peaks

_REWRITE = "convert the raw file again with ProteoWizard msconvert"


class ScanReader(Protocol):
    """Receives the elements of a document, names without prefix; `scans` holds the finished ones."""

    parser: expat.XMLParserType
    scans: Scans

    def start(self, name: str, attributes: dict[str, str]) -> None: ...

    def end(self, name: str) -> None: ...


def scans_of(source: Source, problems: Problems, reader: ScanReader, batch: int) -> Iterator[pl.DataFrame]:
    """Raw frames of at most about `batch` scans: the reader's, emptied between blocks of the source."""
    for _block in _drive(source, problems, reader):
        if len(reader.scans) >= batch:
            yield from reader.scans.finish()
    yield from reader.scans.finish()


def _drive(source: Source, problems: Problems, handler: ScanReader) -> Iterator[None]:
    """Feed the source to the handler, pausing after every block. A broken document reports and ends there."""
    parser = handler.parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.buffer_size = 1 << 20

    def start(name: str, attributes: dict[str, str]) -> None:
        handler.start(name.rpartition(":")[2] if ":" in name else name, attributes)

    def end(name: str) -> None:
        handler.end(name.rpartition(":")[2] if ":" in name else name)

    parser.StartElementHandler, parser.EndElementHandler = start, end
    try:
        for block in source.blocks(problems):
            parser.Parse(block, False)
            yield
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        cut = error.code in (expat.errors.codes[expat.errors.XML_ERROR_NO_ELEMENTS], 5, 27)  # no element, unclosed …
        what = "the document ends too early" if cut else f"the XML is broken ({expat.errors.messages[error.code]})"
        problems.report(
            FormatError(
                what,
                where=f"{source.label}:{error.lineno}",
                remedy='copy or convert the file again, or read with on_error="skip" to keep the scans before it',
            )
        )
    except (LookupError, ValueError) as error:  # an encoding that expat does not know
        problems.report(FormatError(f"the XML cannot be decoded ({error})", where=f"{source.label}:1", remedy=_REWRITE))


class BrokenArrayError(Exception):
    """An encoded array that cannot be decoded; the text says why."""


def decode_array(text: str, compressed: bool, dtype: np.dtype) -> np.ndarray:
    """base64 (and zlib) text → float64 array. Raises BrokenArrayError."""
    try:
        raw = binascii.a2b_base64("".join(text.split()), strict_mode=True)
    except ValueError as error:
        raise BrokenArrayError(f"invalid base64 ({error})") from error
    if compressed and raw:
        try:
            raw = zlib.decompress(raw)
        except zlib.error as error:
            raise BrokenArrayError(f"the zlib data are damaged ({error})") from error
    if len(raw) % dtype.itemsize:
        raise BrokenArrayError(f"{len(raw)} bytes are no whole number of {8 * dtype.itemsize}-bit values")
    return np.frombuffer(raw, dtype=dtype).astype(np.float64)


def stem(label: str) -> str:
    """File name without folders and endings, for identifiers."""
    return PurePath(label.rsplit("!", 1)[-1]).name.split(".")[0] or "run"


class Scans:
    """A batch of scans under construction."""

    def __init__(self, label: str, problems: Problems) -> None:
        self._label, self._problems = label, problems
        self._fields: list[Mapping[str, str]] = []
        self._mzs: list[np.ndarray] = []
        self._intensities: list[np.ndarray] = []

    def __len__(self) -> int:
        return len(self._fields)

    def refuse(self, what: str, line: int, name: str | None, remedy: str = _REWRITE) -> None:
        """Report a scan that is left out."""
        hint = f'{remedy}, or read with on_error="skip"'
        self._problems.report(record_error(what, self._label, line, name, hint))

    def add(self, fields: Mapping[str, str], mzs: np.ndarray, intensities: np.ndarray, line: int) -> None:
        """Keep a scan if its peaks are sound; one without peaks is left out and counted."""
        name = fields.get("identifier")
        if len(mzs) != len(intensities):
            self.refuse(f"{len(mzs)} m/z but {len(intensities)} intensities", line, name)
        elif not len(mzs):
            self._problems.note("scans without peaks, left out")
        elif not (np.isfinite(mzs).all() and np.isfinite(intensities).all()):
            self.refuse("an m/z or intensity is not finite", line, name)
        elif mzs.min() <= 0 or intensities.min() < 0:
            self.refuse("an m/z or intensity is negative", line, name)
        elif mzs.max() > MOST_MZ:
            self.refuse(f"an m/z is above {MOST_MZ:,.0f}", line, name)
        else:
            self._fields.append(fields)
            self._mzs.append(mzs)
            self._intensities.append(intensities)

    def finish(self) -> Iterator[pl.DataFrame]:
        """The raw frame of the batch, if there is one; the builder is empty afterwards."""
        if not self._fields:
            return
        counts = np.array([len(mzs) for mzs in self._mzs], dtype=np.int64)
        mzs, intensities = np.concatenate(self._mzs), np.concatenate(self._intensities)
        fields, self._fields, self._mzs, self._intensities = self._fields, [], [], []
        mzs, intensities = sort_peaks(mzs, intensities, counts, self._problems)
        yield assemble(fields, mzs, intensities, counts)
