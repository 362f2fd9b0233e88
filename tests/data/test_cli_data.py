"""`mslitmus data …` as a user meets it: add, list, show, export, and errors that say what to do."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mslitmus.cli.data import data_app
from mslitmus.data import importer, store
from mslitmus.errors import ConfigError, DataError
from mslitmus.spectra import formats

MSP = """NAME: Caffeine
PRECURSORMZ: 195.0877
PRECURSORTYPE: [M+H]+
SMILES: CN1C=NC2=C1C(=O)N(C)C(=O)N2C
IONMODE: Positive
INSTRUMENTTYPE: LC-ESI-QTOF
COLLISIONENERGY: 20 eV
LICENSE: CC0
Num Peaks: 3
110.0713 20
138.0662 100
195.0877 50

NAME: unknown feature
PRECURSORMZ: 250.1
IONMODE: Positive
Num Peaks: 2
91.0542 10
105.0699 20

NAME: broken structure
PRECURSORMZ: 195.0877
PRECURSORTYPE: [M+H]+
SMILES: C1CC
Num Peaks: 2
110.0713 20
138.0662 100
"""
runner = CliRunner()


@pytest.fixture
def library(tmp_path: Path) -> Path:
    path = tmp_path / "lib.msp"
    path.write_text(MSP, encoding="utf-8")
    return path


def invoke(*arguments: object) -> str:
    result = runner.invoke(data_app, [str(a) for a in arguments], env={"COLUMNS": "100"})
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_add_show_list_export(library: Path, tmp_path: Path) -> None:
    output = invoke("add", "file", "--as", "mylib", "--from", library, "--license", "CC BY")
    assert "3 records in, 2 out" in output
    assert "mylib revision 1: 2 spectra of 1 molecules" in output
    dataset = store.load("mylib")
    assert dataset.info["licenses"] == {"CC0": 1, "CC BY": 1}
    assert dataset.info["sources"][0]["checksum"].startswith("sha256:")
    assert dataset.ledger["require_readable_record"].rows_in == 3
    shown = invoke("show", "mylib", "--examples")
    assert "eV stated" in shown
    assert "require_readable_structure" in shown
    assert max(len(line) for line in shown.splitlines()) <= 100
    assert "mylib" in invoke("list")
    out = tmp_path / "out.mgf"
    assert "1 spectra" in invoke("export", "mylib", out, "--license", "cc0")
    back = formats.read(out).frame
    assert back["name"].to_list() == ["Caffeine"]
    assert back["collision_energy"].to_list() == [20.0]
    assert "only licences: CC0" in invoke("show", "mylib", "--license", "CC0")


@pytest.mark.parametrize("ending", ["mgf", "msp", "tsv", "parquet"])
def test_curated_data_keep_their_hash_through_any_format(library: Path, tmp_path: Path, ending: str) -> None:
    first = importer.add("file", [library], as_name="one").dataset
    assert invoke("export", "one", tmp_path / f"x.{ending}").startswith("2 spectra")
    assert importer.add("file", [tmp_path / f"x.{ending}"], as_name="two").dataset.hash == first.hash


def test_list_says_what_to_do_when_empty() -> None:
    output = invoke("list")
    assert "nothing yet" in output
    for name in ("massbank", "massspecgym", "nplib1", "msnlib", "mona", "casmi-2016"):
        assert name in output


def test_a_damaged_dataset_does_not_hide_the_others(library: Path) -> None:
    importer.add("file", [library], as_name="bad").dataset.folder.joinpath("dataset.json").write_text("{")
    importer.add("file", [library], as_name="good")
    output = invoke("list")
    assert "damaged" in output
    assert "good" in output


def test_a_cache_that_cannot_be_written_stops_no_curation(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mslitmus.data import identities
    from mslitmus.data.curate import curate

    def refuse(*_: object) -> None:
        raise OSError("Read-only file system")

    monkeypatch.setattr(identities, "write_parquet", refuse)
    assert curate(formats.read(library).frame)[0].height == 2


def test_a_bad_name_is_refused_before_the_file_is_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a dataset name"):
        importer.add("file", [tmp_path / "absent.msp"], as_name="a/b")


def test_errors_name_the_place_and_the_remedy(library: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--as NAME"):
        invoke("add", "file", "--from", library)
    with pytest.raises(DataError, match="no such file"):
        invoke("add", "massbank", "--from", tmp_path / "absent.tar.gz")
    with pytest.raises(ConfigError, match="did you mean 'massbank'"):
        invoke("add", "massbnk", "--from", library)
    with pytest.raises(ConfigError, match="exclude each other"):
        invoke("get", "massbank", "--from", library, "--download-only")
    with pytest.raises(DataError, match="nothing to download"):
        invoke("get", "file", "--as", "x")
    with pytest.raises(DataError, match="no dataset 'nothere'"):
        invoke("show", "nothere")
    importer.add("file", [library], as_name="mylib")
    with pytest.raises(DataError, match=r"did you mean .CC0.\? licences here: CC0 \(1\), unstated \(1\)"):
        invoke("show", "mylib", "--license", "CCO")
    with pytest.raises(DataError, match="no such folder"):
        invoke("export", "mylib", tmp_path / "no" / "out.mgf")


def test_a_failed_import_leaves_the_old_dataset(library: Path, tmp_path: Path) -> None:
    before = importer.add("file", [library], as_name="mylib").dataset
    bad = tmp_path / "bad.msp"
    bad.write_text("NAME: x\nPRECURSORMZ: 100\nNum Peaks: 1\n50 nan\n", encoding="utf-8")
    with pytest.raises(DataError, match="no spectrum could be read"):
        importer.add("file", [bad], as_name="mylib")
    assert store.load("mylib").hash == before.hash


def test_bad_records_are_counted_or_stop_the_import(library: Path, tmp_path: Path) -> None:
    mixed = tmp_path / "mixed.msp"
    mixed.write_text(MSP + "\nNAME: bad\nPRECURSORMZ: 100\nNum Peaks: 1\n50 nan\n", encoding="utf-8")
    done = importer.add("file", [mixed], as_name="mylib")
    entry = done.dataset.ledger["require_readable_record"]
    assert (entry.rows_in, entry.dropped) == (4, 1)
    assert "mixed.msp" in entry.examples[0]
    with pytest.raises(Exception, match=r"mixed\.msp"):
        importer.add("file", [mixed], as_name="strict", strict=True)
    assert store.names() == ["mylib"]


@pytest.mark.real
def test_real_msp_imports(real_data: Callable[[str], Path]) -> None:
    done = importer.add("file", [real_data("readers/massbank_five_spectra.msp")], as_name="five")
    assert done.dataset.info["counts"]["spectra"] >= 1


@pytest.mark.real
def test_massspecgym_energies_are_stated_in_ev(real_data: Callable[[str], Path]) -> None:
    import polars as pl

    done = importer.add("massspecgym", [real_data("readers/example_5_spectra.mgf")], as_name="gym")
    stated = done.dataset.frame().filter(pl.col("collision_energy_raw").is_not_null())
    assert set(stated["collision_energy_kind"]) <= {"eV"}
    assert set(done.dataset.frame()["license"]) == {"MIT"}


SPEC = """>compound CCMSLIB1
>formula C8H10N4O2
>parentmass 195.0877
>ionization [M+H]+
#instrument Orbitrap

>ms1
195.0877 100

>ms2
110.0713 20
138.0662 100
"""
LABELS = (
    "dataset\tspec\tname\tionization\tformula\tsmiles\tinchikey\tinstrument\n"
    "canopus\tCCMSLIB1\tCaffeine\t[M+H]+\tC8H10N4O2\tCN1C=NC2=C1C(=O)N(C)C(=O)N2C\tRYYVLZVUVIJVGH\tOrbitrap\n"
)


@pytest.mark.parametrize("packed", [True, False])
def test_nplib1_export_imports(tmp_path: Path, packed: bool) -> None:
    folder = tmp_path / "canopus_train_export"
    (folder / "spec_files").mkdir(parents=True)
    (folder / "labels.tsv").write_text(LABELS, encoding="utf-8")
    (folder / "spec_files" / "CCMSLIB1.ms").write_text(SPEC, encoding="utf-8")
    (folder / "spec_files" / "CCMSLIB2.ms").write_text(">ms2\n110.0 many\n", encoding="utf-8")
    path = folder
    if packed:
        path = tmp_path / "export.tar"
        with tarfile.open(path, "w") as archive:
            archive.add(folder, arcname=folder.name)
    done = importer.add("nplib1", [path])
    row = done.dataset.frame().row(0, named=True)
    assert (row["identifier"], row["name"], row["mzs"]) == ("CCMSLIB1", "Caffeine", [110.0713, 138.0662])
    assert (row["instrument_type"], row["source"]) == ("Orbitrap", "NPLIB1")
    assert done.dataset.ledger["require_readable_record"].dropped == 1


def test_nplib1_without_labels_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.ms").write_text(SPEC, encoding="utf-8")
    with pytest.raises(DataError, match=r"no labels\.tsv inside"):
        importer.add("nplib1", [tmp_path])
