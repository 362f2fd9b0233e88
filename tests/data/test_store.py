"""The store: what goes in comes out; a kill keeps the old dataset; nothing is edited in place."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import polars as pl
import pytest

from mslitmus.data import store
from mslitmus.data.ledger import Ledger, LedgerEntry
from mslitmus.errors import DataError, SchemaError
from mslitmus.schemas import SPECTRA

LEDGER = Ledger((LedgerEntry("require_ms2", 3, dropped=1, examples=("x: MS level 1",), note="MS level 2."),))


def frame(*names: str, mz: float = 200.0) -> pl.DataFrame:
    n = len(names)
    return pl.DataFrame(
        {"identifier": names, "mzs": [[50.0, 60.0]] * n, "intensities": [[1.0, 0.5]] * n, "precursor_mz": [mz] * n,
         "license": ["CC BY", "CC0", None][:n], "inchikey14": ["A" * 14] * n, "flags": [["duplicate"]] * n}
    )  # fmt: skip


def test_round_trip() -> None:
    saved = store.save("lib", frame("a", "b"), LEDGER, {"title": "T"})
    loaded = store.load("lib")
    assert dict(loaded.frame().schema) == dict(SPECTRA)
    assert loaded.frame()["identifier"].to_list() == ["a", "b"]
    assert loaded.hash == saved.hash
    assert loaded.ledger.to_json() == LEDGER.to_json()
    assert loaded.info["counts"] == {"spectra": 2, "molecules": 1, "peaks": 4}
    assert loaded.info["flags"] == {"duplicate": 2}
    assert not loaded.simulated
    assert store.names() == ["lib"]


def test_other_contents_supersede_and_the_old_revision_stays() -> None:
    first = store.save("lib", frame("a"), LEDGER, {})
    again = store.save("lib", frame("a"), LEDGER, {})
    assert (first.info["revision"], again.info["revision"]) == (1, 1)
    assert not (store.home() / "datasets" / "lib@1").exists()
    second = store.save("lib", frame("b"), LEDGER, {})
    assert second.info["revision"] == 2
    assert store.load("lib").frame()["identifier"].to_list() == ["b"]
    assert store.load("lib@1").frame()["identifier"].to_list() == ["a"]
    assert store.names() == ["lib"]


def test_a_kill_while_writing_keeps_the_old_dataset(monkeypatch: pytest.MonkeyPatch) -> None:
    store.save("lib", frame("a"), LEDGER, {})

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "write_json", die)
    with pytest.raises(KeyboardInterrupt):
        store.save("lib", frame("b"), LEDGER, {})
    assert store.load("lib").frame()["identifier"].to_list() == ["a"]
    assert store.names() == ["lib"]


def test_a_kill_between_the_renames_is_undone() -> None:
    store.save("lib", frame("a"), LEDGER, {})
    folder = store.home() / "datasets"
    os.replace(folder / "lib", folder / "lib@1")
    assert store.names() == ["lib"]
    assert store.load("lib").frame()["identifier"].to_list() == ["a"]


def test_licences_filter_and_a_misspelt_one_lists_the_known() -> None:
    dataset = store.save("lib", frame("a", "b", "c"), LEDGER, {})
    assert dataset.frame(["cc-by"])["identifier"].to_list() == ["a"]
    assert dataset.frame(["CC0", "unstated"])["identifier"].to_list() == ["b", "c"]
    with pytest.raises(DataError, match=r"did you mean 'CC BY'.*CC0 \(1\)"):
        dataset.frame(["CC BYY"])


def test_a_handle_keeps_its_contents_when_another_import_takes_the_name() -> None:
    handle = store.save("lib", frame("a"), LEDGER, {})
    store.save("lib", frame("b"), LEDGER, {})
    assert handle.frame()["identifier"].to_list() == ["a"]
    shutil.rmtree(store.home() / "datasets" / "lib@1")
    with pytest.raises(DataError, match="are gone"):
        handle.frame()


def test_what_killed_saves_left_is_cleared_after_a_day() -> None:
    folder = store.save("lib", frame("a"), LEDGER, {}).folder
    old, fresh = folder.with_name(".lib.tmp1"), folder.with_name(".lib.tmp2")
    for left in (old, fresh):
        left.mkdir()
    os.utime(old, (0, 0))
    store.save("lib", frame("b"), LEDGER, {})
    assert not old.exists()
    assert fresh.exists()


def test_every_spelling_of_a_licence_is_kept() -> None:
    mixed = frame("a", "b", "c").with_columns(license=pl.Series(["CC BY", "CC-BY", "CC0"]))
    dataset = store.save("lib", mixed, LEDGER, {})
    assert dataset.frame(["cc by"])["identifier"].to_list() == ["a", "b"]
    assert dataset.frame("CC0")["identifier"].to_list() == ["c"]


@pytest.mark.parametrize("text", ["{", "{}", "[]", "3"])
def test_importing_a_damaged_dataset_again_works(text: str) -> None:
    dataset = store.save("lib", frame("a"), LEDGER, {})
    (dataset.folder / "dataset.json").write_text(text)
    with pytest.raises(DataError, match="import it again"):
        store.load("lib")
    store.save("lib", frame("b"), LEDGER, {})
    assert store.load("lib").frame()["identifier"].to_list() == ["b"]


def test_absent_and_damaged_datasets_say_what_to_do() -> None:
    store.save("massbank", frame("a"), LEDGER, {})
    with pytest.raises(DataError, match="did you mean 'massbank'"):
        store.load("masbank")
    (store.home() / "datasets" / "massbank" / "ledger.json").unlink()
    with pytest.raises(DataError, match=r"absent: ledger\.json"):
        store.load("massbank")


def test_a_damaged_table_names_the_file() -> None:
    dataset = store.save("lib", frame("a"), LEDGER, {})
    (dataset.folder / "spectra.parquet").write_bytes(b"PAR1 nonsense")
    with pytest.raises(DataError, match=r"spectra\.parquet"):
        dataset.frame()


def test_refusals() -> None:
    with pytest.raises(DataError, match="repeat"):
        store.save("lib", frame("a", "a"), LEDGER, {})
    with pytest.raises(DataError, match="no spectrum"):
        store.save("lib", frame("a").head(0), LEDGER, {})
    with pytest.raises(DataError, match="not a dataset name"):
        store.save("../up", frame("a"), LEDGER, {})
    with pytest.raises(DataError, match="up to 100 letters"):
        store.save("a" * 300, frame("a"), LEDGER, {})
    with pytest.raises(SchemaError, match="precursor_mz"):
        store.save("lib", frame("a").drop("precursor_mz"), LEDGER, {})
    assert store.names() == []


def test_home_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MSLITMUS_HOME", str(tmp_path))
    assert store.home() == tmp_path
    monkeypatch.delenv("MSLITMUS_HOME")
    assert store.home() == Path.home() / ".cache" / "mslitmus"


def test_ledger_round_trip_and_lookup() -> None:
    assert Ledger.from_json(LEDGER.to_json()).to_json() == LEDGER.to_json()
    assert LEDGER["require_ms2"].rows_out == 2
    assert LEDGER.frame()["dropped"].to_list() == [1]
    with pytest.raises(DataError, match="require_ms2"):
        LEDGER["no_such"]
    with pytest.raises(DataError, match="not a ledger"):
        Ledger.from_json('[{"x": 1}]')
