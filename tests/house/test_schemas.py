from __future__ import annotations

import polars as pl
import pytest

from mslitmus import provenance
from mslitmus.errors import SchemaError
from mslitmus.schemas import SPECTRA, conform

ROW = {"identifier": ["a"], "mzs": [[50.0, 60.0]], "intensities": [[1.0, 0.5]], "precursor_mz": [100.0]}


def test_an_unknown_from_an_instrument_fits():
    frame = conform(pl.DataFrame(ROW))
    assert dict(frame.schema) == dict(SPECTRA)
    assert frame["smiles"].null_count() == 1


def test_massspecgym_columns_are_a_subset():
    theirs = "identifier mzs intensities smiles formula precursor_formula parent_mass precursor_mz adduct"
    theirs += " instrument_type collision_energy fold simulation_challenge"
    assert set(theirs.split()) <= set(SPECTRA)


def test_absent_and_uncastable_columns_are_named():
    with pytest.raises(SchemaError, match="columns absent: precursor_mz"):
        conform(pl.DataFrame(ROW).drop("precursor_mz"))
    with pytest.raises(SchemaError, match="does not cast"):
        conform(pl.DataFrame({**ROW, "precursor_mz": ["heavy"]}))


def test_hash_counts_every_value_and_only_values(tmp_path):
    frame = conform(pl.DataFrame(ROW))
    first = provenance.table_hash(frame)
    provenance.write_parquet(tmp_path / "a.parquet", frame)
    assert provenance.table_hash(pl.read_parquet(tmp_path / "a.parquet")) == first
    assert provenance.table_hash(frame.with_columns(pl.lit("x").alias("name"))) != first
    assert provenance.table_hash(frame.with_columns(mzs=pl.lit([50.0, 61.0], pl.List(pl.Float64)))) != first
    two = pl.concat([frame, frame.with_columns(identifier=pl.lit("b"))])
    assert provenance.table_hash(two.slice(1)) == provenance.table_hash(frame.with_columns(identifier=pl.lit("b")))


def test_hash_tells_null_from_empty():
    empty, null = pl.DataFrame({"x": [""]}), pl.DataFrame({"x": [None]}, schema={"x": pl.String})
    assert provenance.table_hash(empty) != provenance.table_hash(null)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.json"
    provenance.write_json(path, {"x": 1})
    with pytest.raises(ValueError):
        provenance.write_json(path, {"x": float("nan")})
    assert '"x": 1' in path.read_text()


def test_a_disk_that_refuses_is_an_os_error_and_leaves_no_temporary_file(tmp_path, monkeypatch):
    def full(self, path, **_):
        path.write_bytes(b"half")
        raise pl.exceptions.ComputeError("underlying IO error: No space left on device (os error 28)")

    monkeypatch.setattr(pl.DataFrame, "write_parquet", full)
    with pytest.raises(OSError, match=r"x\.parquet.*No space left"):
        provenance.write_parquet(tmp_path / "x.parquet", pl.DataFrame({"x": [1]}))
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):
        provenance.write_json(tmp_path / "folder", {})
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
