"""Broken files: each ends in a message that names the file, the place and the remedy, and never in a traceback."""

# ruff: noqa: E501 (the table of broken files reads best one a line)

from __future__ import annotations

import base64
import gzip
import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mslitmus.errors import FormatError, SchemaError
from mslitmus.spectra import formats

from .records import JSON, MASSBANK, MGF, MSP, TSV, binary, mzml, mzml_spectrum, mzxml
from .test_readers import pack_tar, pack_zip


def parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def zip_with_damage() -> bytes:
    data = bytearray(pack_zip({"a.mgf": MGF * 50}))
    data[60:80] = b"\0" * 20
    return bytes(data)


def array_pair(**changes: str) -> str:
    return binary([110.0], "mz", **changes) + binary([1.0], "intensity")  # type: ignore[arg-type]


NUMPRESS = binary([110.0], "mz").replace("MS:1000574", "MS:1002312") + binary([1.0], "intensity")
SHORT = base64.b64encode(b"12345").decode()

#: name: (content, what the message says, the place behind the file name, a word of the remedy)
BROKEN: dict[str, tuple[str | bytes, str, str, str]] = {
    "empty file": ("", "empty", ":1", "downloaded completely"),
    "blank file": (" \n\n \n", "empty", ":1", "downloaded completely"),
    "unknown format": ("hello,world\n1,2\n", "'hello,world'", ":1", "known formats: parquet"),
    "unknown binary": (bytes(range(256)), "binary data", ":1", "known formats"),
    "HTML page": ("<!DOCTYPE html><html><body>Name: 404</body></html>", "HTML page", ":1", "browser"),
    "LFS pointer": ("version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 5\n", "Git LFS", ":1", "git lfs pull"),
    "bzip2": (b"BZh91AY&SY", "compressed", "", "gzip or zip"),
    "truncated gzip": (gzip.compress(MGF.encode() * 500, 1)[:-40], "gzip stream ends too early", "", "copy it again"),
    "damaged gzip": (gzip.compress(MGF.encode())[:20] + b"\xff" * 200, "gzip stream is damaged", "", "copy it again"),
    "truncated tar": (pack_tar("w", {"a.mgf": MGF, "b.mgf": MGF * 40})[:3000], "ends too early", "", "copy it again"),
    "damaged tar": (pack_tar("w", {"a.mgf": MGF, "b.mgf": MGF}).replace(b"b.mgf", b"c.mgf"), "damaged after", "", "copy"),
    "truncated zip": (pack_zip({"a.mgf": MGF})[:100], "zip archive cannot be opened", "", "copy it again"),
    "damaged zip member": (zip_with_damage(), "member is damaged", "!a.mgf", "copy it again"),
    "archive of nothing": (pack_zip({"readme.txt": "hello"}), "no known format", "!readme.txt:1", "known formats"),
    "empty archive": (pack_zip({}), "nothing to read inside", "", "name a file"),
    "UTF-16": (MSP.encode("utf-16"), "UTF-16", ":1", "iconv"),
    "binary in text": (MSP.encode() + b"\0\1\2", "zero bytes", ":19", "msconvert"),
    "MGF NaN": (MGF.replace("138.0662 100", "138.0662 NaN"), "'NaN' is not a number", ":10", "finite"),
    "MGF infinite": (MGF.replace("138.0662 100", "138.0662 -inf"), "'-inf' is not a number", ":10", "remove the peak"),
    "MGF overflow": (MGF.replace("138.0662 100", "138.0662 1e999"), "must be finite", ":10", "skip"),
    "MGF negative": (MGF.replace("138.0662 100", "138.0662 -5"), "intensity cannot be negative", ":10", "skip"),
    "MGF zero m/z": (MGF.replace("138.0662 100", "0.0 5"), "m/z must be positive", ":10", "skip"),
    "MGF text peak": (MGF.replace("138.0662 100", "138.0662 high"), "'high' is not a number", ":10", "m/z and intensity"),
    "MGF comma": (MGF.replace("138.0662 100", "138,0662 100"), "'138,0662'", ":10", "decimal point"),
    "MGF one column": (MGF.replace("138.0662 100", "138.0662"), "odd number of columns: '138.0662'", ":10", "m/z and"),
    "MGF no peaks": (MGF.replace("164.0340 20\n179.0575 50\n", ""), "'theobromine': no peaks", ":18", "skip"),
    "MGF no END": (MGF.replace("END IONS\n\n", ""), "'caffeine': BEGIN IONS without END IONS", ":1", "END IONS"),
    "MGF cut": (MGF[:-12], "'theobromine': BEGIN IONS without END IONS", ":14", "may be cut"),
    "MGF no BEGIN": (MGF.replace("BEGIN IONS\nTITLE=th", "TITLE=th"), "END IONS without BEGIN IONS", ":14", "BEGIN IONS"),
    "MSP count": (MSP.replace("Peaks: 3", "Peaks: 4"), "'C1': 4 peaks stated, 3 found", ":8", "number of peaks"),
    "MSP count no number": (MSP.replace("Peaks: 3", "Peaks: many"), "Num Peaks is 'many'", ":8", "skip"),
    "MSP no count": (MSP.replace("Num Peaks: 3\n", ""), "no 'Num Peaks' line", ":1", "add 'Num Peaks: n'"),
    "MSP odd": (MSP.replace("110.0713 12.5", "110.0713 12.5 3"), "odd number of columns", ":9", "m/z and intensity"),
    "MSP cut": (MSP[:-20], "odd number of columns", ":18", "m/z and intensity"),
    "MassBank cut": (MASSBANK[:-4], "'MSBNK-Test_Lab-T0001': the record is cut", ":1", "skip"),
    "MassBank no peaks": (MASSBANK.replace("PK$PEAK: m/z int. rel.int.\n", ""), "no PK$PEAK", ":1", "skip"),
    "MassBank count": (MASSBANK.replace("NUM_PEAK: 3", "NUM_PEAK: 2"), "2 peaks stated, 3 found", ":23", "number of peaks"),
    "MassBank no name": (MASSBANK.replace("ACCESSION: MSBNK-Test_Lab-T0001\n", ""), "no ACCESSION", ":1", "ACCESSION line"),
    "JSON cut": (JSON[:330], "cut or broken", ":4", "download it again"),
    "JSON odd pairs": (JSON.replace("[110.0713,12.5]", "[110.0713]"), "odd number of columns", ":1", "m/z and intensity"),
    "JSON text peaks": (JSON.replace("[110.0713,12.5]", "[110.0713,x]"), "'x' is not a number", ":1", "m/z and intensity"),
    "TSV lengths": (TSV.replace("0.125,1.0,0.44", "0.125,1.0"), "differ in number", ":2", "one intensity"),
    "TSV columns": (TSV.replace("\ttrain\tTrue", ""), "12 columns where the header names 14", ":2", "restore it"),
    "TSV text intensity": (TSV.replace("0.4,1.0", "0.4,NaN"), "'NaN' is not a number", ":3", "finite"),
    "mzML cut": (mzml()[:-300], "the document ends too early", "", "before it"),
    "mzML malformed": (mzml().replace("</precursorList>", "</wrong>"), "the XML is broken (mismatched tag)", ":", "again"),
    "mzML base64": (mzml(mzml_spectrum(0, [110.0], [1.0], arrays=array_pair(encoded="AAA*"))), "invalid base64", ":3", "msconvert"),
    "mzML zlib": (mzml(mzml_spectrum(0, [110.0], [1.0], arrays=array_pair(encoded="AAAA"))), "zlib data are damaged", ":3", "msconvert"),
    "mzML length": (mzml(mzml_spectrum(0, [110.0], [1.0], length=7)), "1 values where 7 are stated", ":3", "msconvert"),
    "mzML bytes": (mzml(mzml_spectrum(0, [1.0], [1.0], arrays=array_pair(compressed=False, encoded=SHORT))), "no whole number", ":3", "msc"),
    "mzML numpress": (mzml(mzml_spectrum(0, [110.0], [1.0], arrays=NUMPRESS)), "MS-Numpress linear", ":3", "--numpressAll off"),
    "mzML NaN": (mzml(mzml_spectrum(0, [110.0], [float("nan")])), "not finite", ":3", "msconvert"),
    "mzML unequal": (mzml(mzml_spectrum(0, [1.0], [1.0], arrays=binary([1.0], "mz"))), "1 m/z but 0 intensities", ":3", "msc"),
    "mzXML count": (mzxml(count=5), "2 peaks where 5 are stated", ":5", "msconvert"),
    "mzXML base64": (mzxml(peaks="A"), "invalid base64", ":5", "msconvert"),
    "mzXML order": (mzxml(contentType="m/z ruler"), "m/z ruler", ":5", "msconvert"),
    "mzXML cut": (mzxml()[:-60], "the document ends too early", "", "before it"),
    "Parquet cut": (parquet(pl.DataFrame({"a": [1]}))[:-20], "Parquet file is cut or damaged", "", "copy it again"),
    "Parquet columns": (parquet(pl.DataFrame({"identifier": ["x"]})), "columns absent: mzs", "", "schema"),
    "Parquet NaN": (
        parquet(pl.DataFrame({"identifier": ["x"], "mzs": [[float("nan")]], "intensities": [[1.0]], "precursor_mz": [1.0]})),
        "not finite", "", "formats.write",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_message_names_file_place_and_remedy(name: str, tmp_path: Path) -> None:
    content, says, place, remedy = BROKEN[name]
    path = tmp_path / "broken.file"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(FormatError) as caught:
        formats.read_raw(path)
    error = caught.value
    assert says in error.message
    assert (error.where or "").startswith(str(path) + place)
    assert remedy in (error.remedy or "")
    assert str(path) in str(error)
    skipped = _skipped(path)
    assert skipped is None or skipped.errors


def _skipped(path: Path) -> formats.ReadResult | None:
    """Reading with "skip" lists the error, or refuses a file as a whole with the same kind of error."""
    try:
        return formats.read_raw(path, on_error="skip")
    except FormatError:
        return None


def test_there_are_enough() -> None:
    assert len(BROKEN) >= 25


@pytest.mark.parametrize(
    ("name", "kept"),
    [("truncated gzip", 900), ("truncated tar", 2), ("MGF NaN", 1), ("MGF no END", 1), ("MGF cut", 1), ("MSP count", 1),
     ("JSON cut", 1), ("TSV lengths", 1), ("mzML cut", 1), ("MSP odd", 1)],
)  # fmt: skip
def test_skip_keeps_the_sound_records(name: str, kept: int, tmp_path: Path) -> None:
    content = BROKEN[name][0]
    path = tmp_path / "broken.file"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    result = formats.read_raw(path, on_error="skip")
    assert result.errors
    assert len(result.frame) >= kept


def test_encrypted_zip(tmp_path: Path) -> None:
    data = bytearray(pack_zip({"a.mgf": MGF}))
    central = data.index(b"PK\x01\x02")
    data[6] |= 1
    data[central + 8] |= 1
    path = tmp_path / "locked.zip"
    path.write_bytes(data)
    with pytest.raises(FormatError, match="zip member cannot be opened"):
        formats.read_raw(path)
    assert zipfile.is_zipfile(path)


def test_folder_with_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(FormatError, match="holds no files"):
        formats.read_raw(tmp_path / "empty")


@pytest.mark.parametrize("suffix", [".mgf", ".msp", ".tsv", ".parquet"])
def test_unwritable_places(suffix: str, tmp_path: Path, frame: Callable[[], pl.DataFrame]) -> None:
    with pytest.raises(FormatError, match="cannot be written") as caught:
        formats.write(frame(), tmp_path / "absent" / f"out{suffix}")
    assert "space left" in (caught.value.remedy or "")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_full_disk_leaves_the_old_file(
    tmp_path: Path, frame: Callable[[], pl.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out.mgf"
    target.write_text("old")
    opened = Path.open
    monkeypatch.setattr(
        Path, "open", lambda self, *a, **k: opened(Path("/dev/full") if ".part" in self.name else self, *a, **k)
    )
    with pytest.raises(FormatError, match="No space left"):
        formats.write(frame(), target)
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["out.mgf"]


def test_frames_that_cannot_be_written(tmp_path: Path, frame: Callable[[], pl.DataFrame]) -> None:
    with pytest.raises(FormatError, match="no format is known by the suffix"):
        formats.write(frame(), tmp_path / "out.xyz")
    with pytest.raises(SchemaError, match="identifier is missing"):
        formats.write(frame().with_columns(identifier=pl.lit(None, dtype=pl.String)), tmp_path / "out.mgf")
    with pytest.raises(SchemaError, match="differ in number"):
        formats.write(frame().with_columns(mzs=pl.col("mzs").list.head(1)), tmp_path / "out.mgf")
    assert np.array(list(tmp_path.iterdir())).size == 0


@pytest.fixture
def frame(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], pl.DataFrame]:
    path = tmp_path_factory.mktemp("good") / "good.mgf"
    path.write_text(MGF)
    return lambda: formats.read(path).frame
