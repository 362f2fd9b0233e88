"""Every format reads its valid records, in every container and dialect."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mslitmus.errors import ConfigError, FormatError
from mslitmus.schemas import SPECTRA
from mslitmus.spectra import formats

from .records import JSON, MASSBANK, MGF, MSP, TEXTS, TSV, mzml, mzml_spectrum, mzxml

RealData = Callable[[str], Path]


def write(folder: Path, text: str | bytes, name: str = "file") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_valid_records_read(name: str, tmp_path: Path) -> None:
    path = write(tmp_path, TEXTS[name], "odd.suffix")
    assert formats.sniff(path) == name
    result = formats.read_raw(path)
    assert result.format == name
    assert not result.errors
    first = result.frame.row(0, named=True)
    assert first["precursor_mz"] == 195.0877
    assert first["mzs"][:2] == [110.0713, 138.0662]
    assert first["intensities"][0] / first["intensities"][1] == pytest.approx(0.125)


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_harmonised_frame(name: str, tmp_path: Path) -> None:
    frame = formats.read(write(tmp_path, TEXTS[name])).frame
    assert frame.columns[: len(SPECTRA)] == list(SPECTRA)
    first = frame.row(0, named=True)
    assert max(first["intensities"]) == 1.0
    assert first["ms_level"] in (2, None)
    assert frame["identifier"].is_unique().all()


def test_massbank_fields(tmp_path: Path) -> None:
    row = formats.read_raw(write(tmp_path, MASSBANK)).frame.row(0, named=True)
    assert row["identifier"] == "MSBNK-Test_Lab-T0001"
    assert row["source"] == "Test_Lab"
    assert row["name"] == "Caffeine"
    assert row["adduct"] == "[M+H]+"
    assert row["retention_time"] == 150.0
    assert row["inchi"] is None
    assert row["inchikey"] == "RYYVLZVUVIJVGH-UHFFFAOYSA-N"
    assert (row["license"], row["ms_level"], row["collision_energy_raw"]) == ("CC BY", "MS2", "30 eV")


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("2.5 min", 150.0), ("563 sec", 563.0), ("563  sec", 563.0), ("1 min.", 60.0), ("4.2", None), ("3, 4 min", None),
     ("N/A min", None), ("2-3 min", None), ("90 sec (MSMS)", 90.0)],
)  # fmt: skip
def test_retention_times_need_their_unit(written: str, seconds: float | None, tmp_path: Path) -> None:
    row = formats.read_raw(write(tmp_path, MASSBANK.replace("2.5 min", written))).frame.row(0, named=True)
    assert row["retention_time"] == seconds


def test_two_adducts_are_no_adduct(tmp_path: Path) -> None:
    text = MASSBANK.replace("ION_TYPE [M+H]+", "ION_TYPE [M+H]+,[M-H2O+H]+")
    assert formats.read_raw(write(tmp_path, text)).frame["adduct"].to_list() == [None]


def test_annotations(tmp_path: Path) -> None:
    frame = formats.read_annotations(write(tmp_path, MASSBANK))
    assert frame.rows() == [("MSBNK-Test_Lab-T0001", 138.0662, "C6H8N3O+")]
    other = MASSBANK.replace("m/z tentative_formula formula_count mass error(ppm)", "m/z rel.int formula exact_mass")
    other = other.replace("138.0662 C6H8N3O+ 1", "138.0662 99 C6H8N3O+ 1")
    assert formats.read_annotations(write(tmp_path, other))["formula"].to_list() == ["C6H8N3O+"]


@pytest.mark.parametrize(
    ("charge", "mode", "expected"),
    [("1+", "positive", 1), ("2-", "negative", -2), ("1", "negative", -1), ("-1", "", -1), ("0", "positive", None),
     ("x", "positive", None), ("+2", "negative", 2)],
)  # fmt: skip
def test_charges(charge: str, mode: str, expected: int | None, tmp_path: Path) -> None:
    text = MGF.replace("CHARGE=1+", f"CHARGE={charge}").replace("IONMODE=positive", f"IONMODE={mode}")
    assert formats.read_raw(write(tmp_path, text)).frame["charge"][0] == expected


def test_mgf_keys_behind_the_peaks_and_peak_charges(tmp_path: Path) -> None:
    text = MGF.replace("110.0713 12.5\n", "110.0713\t12.5\t1+\n").replace(
        "195.0877 44\n", "195.0877 44\nRTINSECONDS=61\n"
    )
    row = formats.read_raw(write(tmp_path, text)).frame.row(0, named=True)
    assert row["retention_time"] == 61
    assert len(row["mzs"]) == 3


@pytest.mark.parametrize("end", ["\r\n", "\r"])
@pytest.mark.parametrize("name", ["mgf", "msp", "massbank", "massspecgym", "gnps_json"])
def test_line_ends_and_byte_order_mark(name: str, end: str, tmp_path: Path) -> None:
    plain = formats.read_raw(write(tmp_path, TEXTS[name], "a")).frame
    lines = TEXTS[name].split("\n")
    mixed = "".join(line + (end if number % 3 else "\n") for number, line in enumerate(lines[:-1])) + lines[-1]
    for text in (TEXTS[name].replace("\n", end), mixed):
        assert formats.read_raw(write(tmp_path, b"\xef\xbb\xbf" + text.encode(), "a")).frame.equals(plain)


def test_latin_1_is_read_and_noted(tmp_path: Path) -> None:
    result = formats.read_raw(write(tmp_path, MSP.replace("caffeine", "caféine").encode("latin-1")))
    assert result.frame["name"][0] == "caféine"
    assert any("Latin-1" in note for note in result.notes)


def test_peaks_out_of_order_are_sorted_and_noted(tmp_path: Path) -> None:
    text = MGF.replace("110.0713 12.5\n138.0662 100\n", "138.0662 100\n110.0713 12.5\n")
    result = formats.read_raw(write(tmp_path, text))
    assert result.frame["mzs"][0].to_list() == [110.0713, 138.0662, 195.0877]
    assert result.frame["intensities"][0].to_list() == [12.5, 100.0, 44.0]
    assert result.notes == ["1 × spectra with peaks out of order, sorted"]


def test_repeated_and_missing_identifiers_are_settled(tmp_path: Path) -> None:
    text = MGF + MGF.replace("TITLE=caffeine\n", "")
    result = formats.read_raw(write(tmp_path, text, "lib.mgf"))
    assert result.frame["identifier"].to_list() == ["caffeine", "theobromine", "lib-3", "theobromine#2"]
    assert len(result.notes) == 2


@pytest.mark.parametrize("layout", ["12 0; 24 5; \n35 19;", "12 0\n24 5\n35 19", "(12,0) (24,5) (35,19)",
                                    "12:0 24:5\n 35:19 ",
                                    '12\t0\t"a b"\n24 5 "?; 1/2"\n35 19 C2', "12,0 24,5 35,19"])  # fmt: skip
def test_msp_peak_layouts(layout: str, tmp_path: Path) -> None:
    frame = formats.read_raw(write(tmp_path, f"Name: x\nNum Peaks: 3\n{layout}\n")).frame
    assert frame["mzs"].to_list() == [[12.0, 24.0, 35.0]]
    assert frame["intensities"].to_list() == [[0.0, 5.0, 19.0]]


def test_msp_records_without_blank_line_and_riken_keys(tmp_path: Path) -> None:
    text = "NAME: a\nPRECURSORMZ: 100.5\nRETENTIONTIME: 2\nNUM PEAKS: 1\n50.1\t3\n"
    text += "NAME: b\nIONMODE: Negative\nNum peaks: 1\n51 4\n"
    frame = formats.read_raw(write(tmp_path, text)).frame
    assert frame["name"].to_list() == ["a", "b"]
    assert frame["retention_time"].to_list() == [120.0, None]
    assert frame["ion_mode"].to_list() == [None, "Negative"]


def test_massspecgym_columns(tmp_path: Path) -> None:
    row = formats.read(write(tmp_path, TSV)).frame.row(0, named=True)
    assert (row["inchikey14"], row["fold"], row["simulation_challenge"]) == ("RYYVLZVUVIJVGH", "train", True)
    assert (row["precursor_formula"], row["parent_mass"], row["collision_energy_raw"]) == (
        "C8H11N4O2",
        194.0804,
        "30.0",
    )


def test_mzml_fields_and_ms1(tmp_path: Path) -> None:
    text = mzml(mzml_spectrum(0, [100.0], [1.0], level=1), mzml_spectrum(1, [110.0713, 138.0662], [12.5, 100.0]))
    frame = formats.read_raw(write(tmp_path, text, "run.mzML")).frame
    row = frame.row(0, named=True)
    assert row["identifier"] == "run:scan=2"
    assert (row["charge"], row["ion_mode"], row["fragmentation"]) == (-1, "negative", "HCD")
    assert (row["retention_time"], row["collision_energy_raw"]) == (90.0, "30.0 eV")
    assert len(formats.read_raw(write(tmp_path, text), ms1=True).frame) == 2
    prefixed = text.replace("<", "<p:").replace("<p:/", "</p:").replace("<p:?", "<?").replace("xmlns=", "xmlns:p=")
    assert formats.read_raw(write(tmp_path, prefixed, "run.mzML")).frame.equals(frame)


def test_mzxml_fields(tmp_path: Path) -> None:
    row = formats.read_raw(write(tmp_path, mzxml(), "run.mzXML")).frame.row(0, named=True)
    assert row["identifier"] == "run:scan=2"
    assert (row["charge"], row["ion_mode"], row["fragmentation"]) == (-1, "negative", "HCD")
    assert (row["retention_time"], row["collision_energy_raw"], row["instrument"]) == (90.5, "30.0", "Q Exactive")


def pack_tar(mode: str, members: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for name, text in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


def pack_zip(members: dict[str, str | bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return buffer.getvalue()


LONG = "folder-" + "x" * 120 + "/" + "y" * 150 + ".mgf"


@pytest.mark.parametrize("kind", ["gzip", "two gzips", "tar", "tar.gz", "pax", "zip", "gzip in zip", "tar in zip"])
def test_containers(kind: str, tmp_path: Path) -> None:
    members = {"README.md": "nothing here", LONG: MGF}
    packed = {
        "gzip": lambda: gzip.compress(MGF.encode()),
        "two gzips": lambda: gzip.compress(MGF[:60].encode()) + gzip.compress(MGF[60:].encode()),
        "tar": lambda: pack_tar("w", members),
        "tar.gz": lambda: pack_tar("w:gz", members),
        "pax": lambda: gzip.compress(pack_tar("w", {**members, "é" * 90 + ".mgf": "BEGIN IONS\n1 2\nEND IONS\n"})),
        "zip": lambda: pack_zip(dict(members)),
        "gzip in zip": lambda: pack_zip({"a.mgf.gz": gzip.compress(MGF.encode())}),
        "tar in zip": lambda: pack_zip({"a.tar": pack_tar("w", members)}),
    }[kind]()
    result = formats.read_raw(write(tmp_path, packed, "packed"))
    assert result.format == "mgf"
    assert len(result.frame) == (3 if kind == "pax" else 2)
    assert "caffeine" in result.frame["identifier"].to_list()


def test_folder_with_nested_folders_and_formats(tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    write(tmp_path / "in", MASSBANK, "a.txt")
    write(tmp_path / "in" / "deep", gzip.compress(MSP.encode()), "b.gz")
    write(tmp_path / "in", "notes", "notes.md")
    result = formats.read_raw(tmp_path / "in")
    assert result.format == "massbank+msp"
    assert len(result.frame) == 3
    assert len(formats.read_raw(tmp_path / "in", format="msp").frame) == 2


def test_batches_cover_the_file(tmp_path: Path) -> None:
    text = "".join(MGF.replace("TITLE=", f"TITLE={n}") for n in range(7))
    path = write(tmp_path, text)
    sizes = [len(frame) for frame in formats.read_batches(path, batch=4)]
    assert sizes == [4, 4, 4, 2]


def test_skip_keeps_what_is_sound(tmp_path: Path) -> None:
    bad = MGF.replace("138.0662 100", "138.0662 NaN")
    result = formats.read_raw(write(tmp_path, bad + MGF), on_error="skip")
    assert result.frame["identifier"].to_list() == ["theobromine", "caffeine", "theobromine#2"]
    assert len(result.errors) == 1


def test_wrong_options_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, MGF)
    with pytest.raises(ConfigError, match="did you mean 'mgf'"):
        formats.read(path, format="mgff")
    with pytest.raises(ConfigError, match="on_error"):
        formats.read(path, on_error="ignore")
    with pytest.raises(FormatError, match="cannot be opened"):
        formats.read(tmp_path / "absent")


def test_json_lines_and_peaks_as_lists(tmp_path: Path) -> None:
    lines = '{"spectrum_id": "a", "peaks": [[50.5, 1], [60.5, 2]]}\n{"spectrum_id": "b", "peaks": [[50.5, 1]]}\n'
    assert formats.read_raw(write(tmp_path, lines)).frame["mzs"].to_list() == [[50.5, 60.5], [50.5]]
    assert len(formats.read_raw(write(tmp_path, JSON.replace("\n", " "))).frame) == 2


# --- against other readers and the real files --------------------------------------------------------------------


def test_mgf_parity_with_pyteomics(tmp_path: Path) -> None:
    from pyteomics import mgf

    random = np.random.default_rng(0)
    path = tmp_path / "made.mgf"
    spectra = [
        {"m/z array": np.sort(random.uniform(50, 900, 30)), "intensity array": random.lognormal(5, 2, 30),
         "params": {"title": f"s{n}", "pepmass": 500.0 + n, "charge": "2+"}}
        for n in range(50)
    ]  # fmt: skip
    mgf.write(spectra, str(path))
    frame = formats.read_raw(path).frame
    with mgf.MGF(str(path), convert_arrays=1) as reader:
        for row, theirs in zip(frame.iter_rows(named=True), reader, strict=True):
            assert row["mzs"] == theirs["m/z array"].tolist()
            assert row["intensities"] == theirs["intensity array"].tolist()
            assert row["precursor_mz"] == theirs["params"]["pepmass"][0]
            assert row["charge"] == 2


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "format", "count"),
    [("comments_with_quotes.msp", "msp", 1), ("golm.msp", "msp", 3), ("massbank_five_spectra.msp", "msp", 5),
     ("multiline_semicolon.msp", "msp", 2), ("riken_style_five_spectra.msp", "msp", 5), ("pesticides.mgf", "mgf", 76),
     ("example_5_spectra.mgf", "mgf", 5), ("gnps_spectra.json", "gnps_json", 5), ("lcms-small.mzML", "mzml", 331),
     ("lcms-small.mzXML", "mzxml", 434)],
)  # fmt: skip
def test_real_files(name: str, format: str, count: int, real_data: RealData) -> None:
    result = formats.read(real_data(f"readers/{name}"))
    assert (result.format, len(result.frame), result.errors) == (format, count, [])


@pytest.mark.real
def test_real_mgf_and_mzxml_equal_pyteomics(real_data: RealData) -> None:
    from pyteomics import mgf, mzxml

    for name in ("pesticides.mgf", "example_5_spectra.mgf"):
        path = real_data(f"readers/{name}")
        frame = formats.read_raw(path).frame
        with mgf.MGF(str(path), convert_arrays=1) as reader:
            for row, theirs in zip(frame.iter_rows(named=True), reader, strict=True):
                order = np.argsort(theirs["m/z array"], kind="stable")
                assert row["mzs"] == theirs["m/z array"][order].tolist()
                assert row["intensities"] == theirs["intensity array"][order].tolist()
    path = real_data("readers/lcms-small.mzXML")
    frame = formats.read_raw(path).frame
    with mzxml.MzXML(str(path), use_index=False) as reader:
        tandem = [scan for scan in reader if scan["msLevel"] == 2 and len(scan["m/z array"])]
    for row, theirs in zip(frame.iter_rows(named=True), tandem, strict=True):
        assert row["mzs"] == theirs["m/z array"].tolist()
        assert row["intensities"] == theirs["intensity array"].tolist()
        assert row["precursor_mz"] == pytest.approx(theirs["precursorMz"][0]["precursorMz"], abs=1e-9)


@pytest.mark.real
def test_real_mzml_equals_lxml(real_data: RealData) -> None:
    import base64

    from lxml import etree

    path = real_data("readers/lcms-small.mzML")
    frame = formats.read_raw(path).frame
    space = "{http://psi.hupo.org/ms/mzml}"
    found = []
    for _, element in etree.iterparse(str(path), tag=f"{space}spectrum"):
        levels = [e.get("value") for e in element.iter(f"{space}cvParam") if e.get("name") == "ms level"]
        if levels == ["2"]:
            first, second = element.iter(f"{space}binary")
            found.append(
                (
                    np.frombuffer(base64.b64decode(first.text), "<f8"),
                    np.frombuffer(base64.b64decode(second.text), "<f4"),
                )
            )
    assert len(found) == len(frame)
    for row, (mzs, intensities) in zip(frame.iter_rows(named=True), found, strict=True):
        assert row["mzs"] == mzs.tolist()
        assert row["intensities"] == intensities.tolist()


def test_of_repeated_keys_the_first_counts(tmp_path: Path) -> None:
    text = MGF.replace("PEPMASS=195.0877\n", "PEPMASS=195.0877\nPEPMASS=7.5\nPEPMASS=\n")
    assert formats.read_raw(write(tmp_path, text)).frame["precursor_mz"][0] == 195.0877
    preferred = MGF.replace("PEPMASS=195.0877\n", "PEPMASS=195\nPRECURSOR_MZ=195.0877\n")
    assert formats.read_raw(write(tmp_path, preferred)).frame["precursor_mz"][0] == 195.0877
    for extra in ("CH$NAME: x\n", "ACCESSION: y\n"):
        assert (
            formats.read_raw(write(tmp_path, MASSBANK.replace("PK$NUM", extra + "PK$NUM"))).frame["name"][0]
            == "Caffeine"
        )


@pytest.mark.real
def test_the_whole_archive_reads_without_a_fault(real_data: RealData) -> None:
    path = real_data("MassBank-data-2025.05.1-open.tar.gz")
    problems = formats.Problems()
    count = sum(len(frame) for _, frame in formats.iter_raw(path, problems))
    assert count == 74_677
    assert problems.lines() == ["2 × files in the container that hold no known format, left alone"]


@pytest.mark.real
def test_truncated_archive_keeps_what_is_complete(real_data: RealData, tmp_path: Path) -> None:
    with real_data("MassBank-data-2025.05.1-open.tar.gz").open("rb") as file:
        path = write(tmp_path, file.read(600_000), "cut.tar.gz")
    with pytest.raises(FormatError, match="gzip stream ends too early"):
        formats.read_raw(path)
    result = formats.read_raw(path, on_error="skip")
    assert len(result.frame) > 500
    assert any("too early" in error.message for error in result.errors)
    assert result.frame.select(pl.col("mzs").list.len().min()).item() > 0
