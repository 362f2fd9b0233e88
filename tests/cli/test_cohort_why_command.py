"""`mslitmus markers`, `audit` and `report` on the run folder of a cohort, and the made-up study."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mslitmus.cli import main
from mslitmus.schemas import SPECTRA, conform


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


def made_library(path: Path) -> None:
    """Pairs of isomers measured by two contributors, alike in half of their peaks; of every fourth molecule one
    spectrum alone, so that the library's best answer to it is wrong. The run's ion of m/z 250 is one of them."""
    rng = np.random.default_rng(5)
    rows = []
    for k in range(80):
        shared = np.random.default_rng(k // 2).uniform(50, 140, 3)
        mzs = [60.0, 90.0] if k == 0 else np.sort([*shared, *rng.uniform(141, 220, 3)]).tolist()
        for source in ("A", "B")[: 1 if k % 4 == 3 else 2]:
            noise = np.exp(rng.normal(0, 0.3, len(mzs)))
            rows.append({
                "identifier": f"L{k}{source}", "mzs": mzs, "intensities": (noise / noise.max()).tolist(),
                "precursor_mz": 250.0 + 3 * (k // 2), "ion_mode": "positive", "ms_level": 2, "source": source,
                "smiles": "C" * (k + 1), "name": f"alkane {k + 1}", "adduct": "[M+H]+",
                "inchikey14": f"{'ABCDEFGHIJ'[k // 10]}{'ABCDEFGHIJ'[k % 10]}AAAAAAAAAAAA",
            })  # fmt: skip
    conform(pl.DataFrame(rows, schema_overrides={"ms_level": pl.Int8})).write_parquet(path)


def test_the_confidence_of_a_marker(run_folder, call, tmp_path):
    """From a calibration of the library to the probability in the table, in the terminal and on the page."""
    made_library(tmp_path / "library.parquet")
    code, text = call("markers", run_folder, "--library", tmp_path / "library.parquet")
    assert code == 0, text
    assert "nothing was calibrated (--confidence)" in text
    assert "not calibrated" in (run_folder / "report.html").read_text()
    code, text = call(
        "confidence", tmp_path / "library.parquet", "--out", tmp_path / "sure.json", "--calibration", 0.9, "--quiet"
    )
    assert code == 0, text
    code, text = call(
        "markers", run_folder, "--library", tmp_path / "library.parquet", "--confidence", tmp_path / "sure.json"
    )
    assert code == 0, text
    assert "probability that the name is right" in text
    found = pl.read_parquet(run_folder / "markers.parquet").sort("precursor_mz")
    assert found["name"].to_list() == [None, "alkane 1"]
    sure = found["probability"].to_list()
    assert sure[0] is None
    assert 0.5 < sure[1] < 1
    assert 0 < found["q_value"][1] <= 1
    page = (run_folder / "report.html").read_text()
    assert "Probability</th>" in page
    assert f"probability {100 * sure[1]:.0f} %" in page.replace("\u202f", " ").replace("\xa0", " ")


def test_a_calibration_of_another_score_is_refused_before_any_work(run_folder, call, tmp_path):
    made_library(tmp_path / "library.parquet")
    options = ("--score", "cosine", "--calibration", 0.9, "--quiet")
    code, text = call("confidence", tmp_path / "library.parquet", "--out", tmp_path / "other.json", *options)
    assert code == 0, text
    code, text = call(
        "markers", run_folder, "-l", tmp_path / "library.parquet", "--confidence", tmp_path / "other.json"
    )
    assert code == 1
    assert "a calibration of another score" in text
    assert not (run_folder / "markers.parquet").exists()
    code, text = call("markers", run_folder, "--confidence", tmp_path / "other.json")
    assert code == 1
    assert "a calibration without a library" in text


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
