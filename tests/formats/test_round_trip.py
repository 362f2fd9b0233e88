"""Write and read back: every field of the schema survives in every format, bit for bit."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from mslitmus.schemas import SPECTRA
from mslitmus.spectra import formats

SUFFIXES = (".mgf", ".msp", ".tsv", ".parquet")
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
single = st.floats(width=32, allow_nan=False, allow_infinity=False)
positive = st.floats(min_value=1e-30, max_value=1e5, allow_nan=False)
share = st.floats(min_value=0, max_value=1, width=32)


def value_of(dtype: pl.DataType) -> st.SearchStrategy[object]:
    if dtype == pl.String:
        return words
    if dtype == pl.Boolean:
        return st.booleans()
    if dtype == pl.Int8:
        return st.integers(-128, 127)
    if dtype == pl.Float32:
        return single
    if dtype == pl.Float64:
        return st.floats(allow_nan=False, allow_infinity=False)
    return st.lists(words if dtype == pl.List(pl.String) else single, max_size=3)


@st.composite
def frames(draw: st.DrawFn) -> pl.DataFrame:
    """Schema frames of a few spectra with anything in their optional columns."""
    count = draw(st.integers(1, 4))
    columns: dict[str, list[object]] = {}
    for name, dtype in SPECTRA.items():
        if name == "identifier":
            columns[name] = [f"s{n} {draw(words)}" for n in range(count)]
        elif name not in ("mzs", "intensities"):
            columns[name] = [draw(st.none() | value_of(dtype)) for _ in range(count)]
    peaks = [draw(st.lists(st.tuples(positive, share), min_size=1, max_size=5)) for _ in range(count)]
    columns["mzs"] = [sorted(mz for mz, _ in row) for row in peaks]
    columns["intensities"] = [[height for _, height in row] for row in peaks]
    return pl.DataFrame([pl.Series(name, columns[name], dtype=dtype) for name, dtype in SPECTRA.items()])


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(frame=frames())
def test_every_field_survives(suffix: str, frame: pl.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / f"spectra{suffix}"
    formats.write(frame, path)
    result = formats.read(path)
    assert_frame_equal(result.frame, frame, check_exact=True)
    assert not result.notes


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_awkward_values(suffix: str, tmp_path: Path) -> None:
    names = ["a\nb\tc\r\n", "", None, "N/A", ' "x"; = : \\n é \u2028 \x85 \0']
    frame = pl.DataFrame([
        pl.Series("identifier", list("abcde")),
        pl.Series("mzs", [[50.123456789012345, 60.1]] * 5),
        pl.Series("intensities", [[0.1, 1.0]] * 5, dtype=pl.List(pl.Float32)),
        pl.Series("precursor_mz", [None, 100.1, 1e-7, 1e22, 0.1 + 0.2]),
        pl.Series("name", names, dtype=pl.String),
        pl.Series("flags", [[], None, ["a;b", "c\\s"], [""], ["", ""]], dtype=pl.List(pl.String)),
        pl.Series("collision_energy_steps", [[0.1, 2], None, [], [1e-7], [3]], dtype=pl.List(pl.Float32)),
        pl.Series("charge", [1, -2, None, 0, 3], dtype=pl.Int8),
        pl.Series("ion_mode", ["positive", "negative", None, None, "positive"]),
    ])  # fmt: skip
    path = tmp_path / f"spectra{suffix}"
    formats.write(frame, path)
    assert_frame_equal(formats.read(path).frame.select(frame.columns), frame, check_exact=True)


def test_other_programs_read_what_we_write(tmp_path: Path, tiny: pl.DataFrame) -> None:
    from pyteomics import mgf

    path = tmp_path / "out.mgf"
    formats.write(tiny, path)
    with mgf.MGF(str(path), convert_arrays=1) as reader:
        spectra = list(reader)
    assert [spectrum["params"]["title"] for spectrum in spectra] == tiny["identifier"].to_list()
    assert [spectrum["params"]["pepmass"][0] for spectrum in spectra] == tiny["precursor_mz"].to_list()
    assert [spectrum["m/z array"].tolist() for spectrum in spectra] == tiny["mzs"].to_list()


def test_format_by_name_and_large_frames(tmp_path: Path, tiny: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    from mslitmus.spectra.formats import writing

    monkeypatch.setattr(writing, "CHUNK", 7)
    for name in ("mgf", "msp", "massspecgym", "parquet"):
        path = tmp_path / f"{name}.out"
        formats.write(tiny, path, format=name)
        assert formats.sniff(path) == name
        assert_frame_equal(formats.read(path).frame, tiny.select(list(SPECTRA)), check_exact=True)
