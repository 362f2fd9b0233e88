"""`mslitmus markers`, `audit` and `report` on the run folder of a cohort, and the made-up study."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import polars as pl
import pytest

from mslitmus.cli import main
from mslitmus.schemas import SPECTRA


@pytest.fixture
def call(monkeypatch, capsys):
    def run(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["mslitmus", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out + err

    return run


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """Eight samples, cases in one batch and controls in the other; one ion that cases alone have, one that all have."""
    names = [f"s{k}" for k in range(8)]
    group = ["case"] * 4 + ["control"] * 4
    (tmp_path / "spectra").mkdir()
    for k, name in enumerate(names):
        rows = [(250.0, [60.0, 90.0]), (150.0, [55.0, 70.0])][: 2 if k < 4 else 1]
        frame = pl.DataFrame({
            "identifier": [f"{name}:{n}" for n in range(len(rows))], "precursor_mz": [mz for mz, _ in rows],
            "mzs": [mzs for _, mzs in rows], "intensities": [[1.0, 0.5]] * len(rows), "ms_level": [2] * len(rows),
            "ion_mode": ["positive"] * len(rows), "base_peak_intensity": [1e5 + k] * len(rows),
        })  # fmt: skip
        have = [pl.col(n).cast(t) if n in frame.columns else pl.lit(None, t).alias(n) for n, t in SPECTRA.items()]
        frame.select(have).write_parquet(tmp_path / "spectra" / f"{name}.parquet")
    pl.DataFrame({
        "sample": names, "unit": names, "file": names, "role": ["sample"] * 8, "batch": group, "group": group,
        "n_spectra": [2] * 4 + [1] * 4, "n_peaks": range(8), "total_intensity": [1e5 * k for k in range(8)],
    }).write_parquet(tmp_path / "samples.parquet")  # fmt: skip
    return tmp_path


def test_markers_audit_and_report(run_folder, call):
    code, text = call("markers", run_folder)
    assert code == 0, text
    assert "group: " in text
    found = pl.read_parquet(run_folder / "markers.parquet").sort("p")
    assert found["precursor_mz"].to_list() == [150.0, 250.0]
    assert found["direction"][0] == "case"
    code, text = call("audit", run_folder)
    assert code == 1, text
    assert "the batch decides group" in text
    assert json.loads((run_folder / "findings.json").read_text())[0]["severity"] == "fatal"
    code, text = call("report", run_folder)
    assert code == 0, text
    assert "the batch decides group" in (run_folder / "report.html").read_text()


def test_a_bad_option_is_refused(run_folder, call):
    code, text = call("markers", run_folder, "--normalise", "tottal")
    assert code == 1
    assert "one of none, total" in text


def test_a_sheet_or_a_study_is_needed(call):
    code, text = call("cohort")
    assert code == 1
    assert "septic-shock" in text
    code, text = call("cohort", "--study", "septic-shok", "--data", "/nowhere")
    assert code == 1
    assert "did you mean 'septic-shock'" in text


def test_the_example_is_written(tmp_path, call):
    options = ("--subjects", 2, "--molecules", 6, "--planted", 2)
    code, text = call("cohort-example", tmp_path / "made", *options)
    assert code == 0, text
    sheet = pl.read_csv(tmp_path / "made" / "samples.tsv", separator="\t")
    assert sheet.height == 8  # four blanks
    assert all((tmp_path / "made" / "runs" / name).is_file() for name in sheet["file"])
    truth = pl.read_csv(tmp_path / "made" / "truth.tsv", separator="\t")
    assert (truth["effect"] != 0).sum() == 2
