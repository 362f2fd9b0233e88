"""Whatever a file holds, a reader gives a frame or a MslitmusError, never another exception."""

from __future__ import annotations

import gzip
import io
from contextlib import suppress
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mslitmus.errors import FormatError, MslitmusError
from mslitmus.schemas import SPECTRA
from mslitmus.spectra import formats
from mslitmus.spectra.formats._container import Source
from mslitmus.spectra.formats._peaks import FLAT, LINES, PAIRS, parse_numbers
from mslitmus.spectra.formats._problems import Problems

from .records import TEXTS
from .test_readers import pack_tar, pack_zip

FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
NAMES = sorted([*TEXTS, "parquet"])


def _table() -> bytes:
    buffer = io.BytesIO()
    row = {"identifier": ["x"], "mzs": [[50.5, 60.0]], "intensities": [[1.0, 0.5]], "precursor_mz": [100.0]}
    pl.DataFrame(row).write_parquet(buffer)
    return buffer.getvalue()


VALID = {name: text.encode() for name, text in TEXTS.items()} | {"parquet": _table()}
# fmt: off
FRAGMENTS = [
    b"\n", b"\r", b"\0", b"=", b":", b";", b"\t", b" ", b'"', b"[", b"]", b"<", b">", b"/", b"//", b"-1", b"nan",
    b"1e999", b"\xff", b"\xc3\xa9", b"BEGIN IONS\n", b"\nEND IONS", b"Num Peaks: 3\n", b"\n\n", b"99999999999999999999",
    b"</spectrum>", b"\xef\xbb\xbf", b"0.0", b"12.5 ", b"&amp;", b"&x;", b"\x1f\x8b", b"{", b"}", b",",
]
# fmt: on


@st.composite
def mutated(draw: st.DrawFn, text: bytes) -> bytes:
    """A valid file with a few cuts, repetitions and insertions."""
    data = bytearray(text)
    for _ in range(draw(st.integers(1, 4))):
        begin = draw(st.integers(0, len(data)))
        end = min(len(data), begin + draw(st.integers(0, 60)))
        action = draw(st.sampled_from(["cut", "insert", "repeat", "noise", "stop"]))
        if action == "cut":
            del data[begin:end]
        elif action == "insert":
            data[begin:begin] = draw(st.sampled_from(FRAGMENTS))
        elif action == "repeat":
            data[begin:begin] = data[begin:end] * draw(st.integers(1, 3))
        elif action == "noise":
            data[begin:end] = draw(st.binary(max_size=20))
        else:
            del data[begin:]
    return bytes(data)


def feed(name: str, content: bytes, *, split: int = 1 << 20) -> None:
    """Read `content` as format `name` both ways; what comes out keeps the rules."""

    def frames(problems: Problems) -> list[pl.DataFrame]:
        stream = io.BytesIO(content)
        return list(formats.FORMATS[name].read(iter([Source("fuzz", stream.read(split), stream)]), problems))

    problems = Problems("skip")
    for frame in frames(problems):
        check(frame)
    assert all(isinstance(error, FormatError) and error.where and error.remedy for error in problems.errors)
    if problems.errors:
        with pytest.raises(FormatError):
            frames(Problems("raise"))
    else:
        frames(Problems("raise"))


def check(frame: pl.DataFrame) -> None:
    assert (frame["mzs"].list.len() == frame["intensities"].list.len()).all()
    mzs, intensities = frame["mzs"].explode(), frame["intensities"].explode()
    assert mzs.is_finite().all()
    assert (mzs > 0).all() or frame.columns == list(SPECTRA)  # a Parquet table may hold anything finite
    assert intensities.is_finite().all()


@pytest.mark.parametrize("name", NAMES)
@FUZZ
@given(content=st.binary(max_size=400))
def test_random_bytes(name: str, content: bytes) -> None:
    feed(name, content)


@pytest.mark.parametrize("name", NAMES)
@FUZZ
@given(data=st.data())
def test_mutated_records(name: str, data: st.DataObject) -> None:
    feed(name, data.draw(mutated(VALID[name])), split=data.draw(st.integers(1, 600)))


@FUZZ
@given(data=st.data())
def test_mutated_containers(data: st.DataObject, tmp_path: Path) -> None:
    text = TEXTS["mgf"]
    two = {"a.mgf": text, "b.mgf": text}
    packed = data.draw(
        st.sampled_from([gzip.compress(text.encode()), pack_tar("w", two), pack_tar("w:gz", two), pack_zip(dict(two))])
    )
    path = tmp_path / "packed"
    path.write_bytes(data.draw(mutated(packed)))
    for on_error in ("raise", "skip"):
        with suppress(MslitmusError):
            frame = formats.read_raw(path, on_error=on_error).frame
            if frame.width:
                check(frame)


@FUZZ
@given(split=st.integers(1, 400), name=st.sampled_from(sorted(TEXTS)), crlf=st.booleans())
def test_blocks_may_end_anywhere(split: int, name: str, crlf: bool) -> None:
    content = VALID[name].replace(b"\n", b"\r\n") if crlf else VALID[name]

    def read(size: int) -> pl.DataFrame:
        stream = Drip(content[size:], size)
        source = Source("file", content[:size], stream)
        return pl.concat(formats.FORMATS[name].read(iter([source]), Problems()))

    assert read(split).equals(read(len(content)))


class Drip(io.BytesIO):
    """A stream that never gives more than a few bytes."""

    def __init__(self, content: bytes, most: int) -> None:
        super().__init__(content)
        self._most = most

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(self._most)


# --- numbers ------------------------------------------------------------------------------------------------------

decimals = st.one_of(
    st.floats(min_value=0, allow_nan=False, allow_infinity=False).map(repr),
    st.floats(min_value=0, max_value=2000, width=32).map(lambda x: repr(float(np.float32(x)))),
    st.from_regex(r"[+-]?[0-9]{1,25}(\.[0-9]{0,25})?([eE][+-]?[0-9]{1,3})?", fullmatch=True),
    st.from_regex(r"[+-]?\.[0-9]{1,22}", fullmatch=True),
)


@settings(max_examples=400, deadline=None)
@example(["9007199254740993", "1e23", "8.5e22", "0.000000", "123456789012345678901234567890"])
@given(st.lists(decimals, min_size=1, max_size=20))
def test_numbers_equal_python_floats(texts: list[str]) -> None:
    parsed = parse_numbers([",".join(texts).encode()], FLAT)
    expected = np.array([float(text) for text in texts])
    assert parsed.state.tolist() == [0]
    assert np.array_equal(parsed.values.view(np.uint64), expected.view(np.uint64))


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.lists(st.tuples(decimals, decimals), min_size=1, max_size=6), min_size=1, max_size=5))
def test_layouts_agree_with_splitting(rows: list[list[tuple[str, str]]]) -> None:
    texts = ["\n".join(f" {m}\t{i} " for m, i in row).encode() for row in rows]
    expected = [float(word) for text in texts for word in text.split()]
    for layout in (LINES, PAIRS):
        parsed = parse_numbers(texts, layout)
        assert parsed.counts.tolist() == [2 * len(row) for row in rows]
        assert parsed.values.tolist() == expected
