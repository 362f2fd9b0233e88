"""A made-up series of dilutions: what is true, spurious or judged neither way."""

from __future__ import annotations

import polars as pl
import pytest
from typer.testing import CliRunner

from mslitmus.chem.molecule import identify
from mslitmus.cli.app import app
from mslitmus.data import store
from mslitmus.data.ledger import Ledger, LedgerEntry
from mslitmus.errors import DataError, SchemaError
from mslitmus.schemas import SPECTRA, conform
from mslitmus.search.dilution import dilution


@pytest.fixture
def samples() -> pl.DataFrame:
    rows = [(f"{level}-{number}", number, float(level)) for level in (100, 50, 0) for number in (1, 2, 3)]
    return pl.DataFrame(rows, schema=["file", "replicate", "level"], orient="row")


@pytest.fixture
def hits() -> pl.DataFrame:
    """A and B of the reference (B fades), M of the matrix, X spurious at a low score, Y of one pure run."""
    rows = []
    for number in (1, 2, 3):
        rows += [(f"100-{number}", name, 0.9, 6) for name in "AB"]
        rows += [(f"50-{number}", "A", 0.8, 5), (f"50-{number}", "B", 0.4, 2), (f"50-{number}", "M", 0.9, 6)]
        rows += [(f"0-{number}", "M", 0.9, 6), (f"50-{number}", "X", 0.3, 2)]
    rows.append(("100-1", "Y", 0.6, 6))
    rows += [("100-1", "M", 0.95, 6), ("50-1", None, 0.99, 9)]
    return pl.DataFrame(rows, schema=["file", "molecule", "score", "matched_peaks"], orient="row")


def at(table: pl.DataFrame, **values) -> dict:
    return table.filter(pl.all_horizontal(pl.col(key) == value for key, value in values.items())).row(0, named=True)


def test_hits_are_true_spurious_or_judged_neither_way(hits, samples):
    found = dilution(hits, samples, thresholds=(0.2, 0.5), matched=(1, 3))
    low = at(found.runs, file="50-2", threshold=0.2, matched_peaks=1)
    assert (low["true"], low["spurious"], low["listed"], low["hits"]) == (2, 1, 2, 4)
    assert (low["precision"], low["true_rate"], low["f1"]) == pytest.approx((2 / 3, 1.0, 0.8))
    high = at(found.runs, file="50-2", threshold=0.5, matched_peaks=1)
    assert (high["true"], high["spurious"], high["shared"]) == (
        1,
        0,
        2,
    )  # A is listed; M is in a pure run and elsewhere
    assert at(found.runs, file="50-2", threshold=0.2, matched_peaks=3)["true"] == 1


def test_the_list_can_be_of_the_reference_alone(hits, samples):
    rows = [(f"100-{number}", "M", 0.9, 6) for number in (2, 3)]
    more = pl.concat([hits, pl.DataFrame(rows, schema=hits.columns, orient="row")])
    listed = {
        alone: at(dilution(more, samples, (0.5,), (1,), alone).runs, file="50-1", threshold=0.5)["listed"]
        for alone in (False, True)
    }
    assert listed == {False: 3, True: 2}


def test_a_replicate_makes_no_list_for_itself(hits, samples):
    found = dilution(hits, samples, thresholds=(0.5,), matched=(1,))
    own = at(found.runs, file="100-1", threshold=0.5)
    assert (own["true"], own["spurious"]) == (2, 1)  # Y is in no other undiluted run
    assert at(found.runs, file="100-2", threshold=0.5)["spurious"] == 0


def test_thresholds_come_from_other_replicates(hits, samples):
    odd = hits.with_columns(
        score=pl.when((pl.col("file") == "50-1") & (pl.col("molecule") == "X")).then(0.85).otherwise("score")
    )
    found = dilution(odd, samples, thresholds=(0.2, 0.5, 0.88), matched=(1,))
    levels = {row["chosen"]: row for row in found.levels.filter(pl.col("level") == 50).iter_rows(named=True)}
    assert levels["in-sample"]["f1"] >= levels["held-out"]["f1"]
    assert levels["held-out"]["files"] == 3
    assert set(found.levels["level"]) == {100.0, 50.0}


def test_a_replicate_does_not_choose_its_own_threshold(hits, samples):
    """Nothing in the runs of replicate 1, undiluted ones included, moves the threshold that it is judged at."""
    one = pl.col("file").str.ends_with("-1")
    more = pl.DataFrame([("100-1", name, 0.95, 6) for name in "XZ"], schema=hits.columns, orient="row")
    weak = hits.with_columns(score=pl.when(one).then(0.21).otherwise("score"))
    named = samples.with_columns(level=pl.when(pl.col("file") == "50-1").then(40.0).otherwise("level"))
    for table in (hits, weak, hits.filter(~one), pl.concat([hits, more])):
        found = dilution(table, named, thresholds=(0.2, 0.5, 0.7, 0.88), matched=(1,))
        assert at(found.levels, chosen="held-out", level=40.0)["threshold"] == 0.2


def test_the_command_reads_runs_and_samples(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    who = {"A": identify("CCCO"), "B": identify("CCN")}
    peaks = {"A": [40.0, 50.0, 60.0, 70.0], "B": [41.0, 52.0, 63.0, 74.0]}
    rows = [
        {"identifier": name, "mzs": peaks[name], "intensities": [1.0, 0.5, 0.4, 0.3], "precursor_mz": 200.0,
         "ion_mode": "positive", "adduct": "[M+H]+", "smiles": who[name].smiles, "inchikey14": who[name].inchikey14}
        for name in peaks
    ]  # fmt: skip
    frame = conform(pl.DataFrame(rows), SPECTRA)
    store.save("made", frame, Ledger((LedgerEntry("made", frame.height),)), {"title": "made"})
    table = ["Filename\tTriplicate_number\tshare"]
    for level, found in ((100, "AB"), (50, "A"), (0, "")):
        for number in (1, 2, 3):
            spectra = [
                f"BEGIN IONS\nTITLE={name}\nPEPMASS=200.0\nCHARGE=1+\n"
                + "\n".join(f"{mz} {height}" for mz, height in zip(peaks[name], (10, 5, 4, 3), strict=True))
                + "\nEND IONS\n"
                for name in found
            ]
            blank = "BEGIN IONS\nTITLE=x\nPEPMASS=150.0\nCHARGE=1+\n33.0 1\nEND IONS\n"
            (tmp_path / f"run{level}-{number}.mgf").write_text("\n".join([*spectra, blank]))
            table.append(f"run{level}-{number}.mzML\t{number}\t{level}")
    (tmp_path / "samples.tsv").write_text("\n".join(table) + "\n")
    command = ["dilution", str(tmp_path), "--samples", str(tmp_path / "samples.tsv"), "--library", "made", "--quiet"]
    done = CliRunner().invoke(app, [*command, "--level", "share", "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    runs = pl.read_parquet(tmp_path / "out" / "runs.parquet")
    half = at(runs, file="run50-1", threshold=0.5, matched_peaks=3)
    assert (half["listed"], half["true"], half["precision"], half["true_rate"]) == (2, 1, 1.0, 0.5)
    wrong = CliRunner().invoke(app, [*command, "--level", "percent"])
    assert "columns absent: percent" in str(wrong.exception)


def test_what_is_no_series_is_refused(hits, samples):
    with pytest.raises(DataError, match="no series of dilutions"):
        dilution(hits, samples.filter(pl.col("replicate") < 3))
    with pytest.raises(DataError, match="no series of dilutions"):
        dilution(hits, samples.filter(pl.col("level") != 50))
    with pytest.raises(SchemaError, match="level"):
        dilution(hits, samples.drop("level"))
