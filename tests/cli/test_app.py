"""The command as a user meets it: exit codes, messages on standard error, results on standard output."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from mslitmus import __version__
from mslitmus.data import store
from mslitmus.data.ledger import Ledger, LedgerEntry

STUDY = """
name: t
data: {name: few}
splits: [random]
models: [precursor-only, nearest-molecule]
metrics: ["cosine@0.1Da"]
primary_metric: "cosine@0.1Da"
statistics: {resamples: 100}
"""


@pytest.fixture
def few(tiny):
    return store.save("few", tiny, Ledger((LedgerEntry("made", tiny.height),)), {"title": "few"})


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text(STUDY)
    return path


def test_version_and_help(call):
    assert call("--version")[:2] == (0, f"mslitmus {__version__}\n")
    code, out, _ = call("--help")
    assert code == 0
    assert all(name in out for name in ("run", "report", "list", "data", "split", "annotate"))


def test_run_then_report(call, few, study, tmp_path):
    code, out, err = call("run", study, "--out", tmp_path / "runs")
    assert code == 0, err
    assert "precursor-only" in out
    assert f"report: {tmp_path / 'runs' / 't' / 'report.html'}" in out
    assert "spectra of" in err  # progress does not mix with results
    (tmp_path / "runs" / "t" / "report.html").unlink()
    code, out, _ = call("report", tmp_path / "runs" / "t")
    assert code == 0
    assert (tmp_path / "runs" / "t" / "report.html").exists()


def test_check_computes_nothing(call, study, tmp_path):
    code, out, _ = call("run", study, "--check", "--out", tmp_path / "runs")
    assert code == 0
    assert "no complaint" in out
    assert not (tmp_path / "runs").exists()


def test_a_known_error_is_a_message(call, study):
    study.write_text(STUDY.replace("metrics:", "metrcis:"))
    code, out, err = call("run", study)
    assert (code, out) == (1, "")
    assert "unknown key 'metrcis'" in err
    assert "did you mean 'metrics'" in err
    assert "Traceback" not in err


def test_interrupted(call, few, study, tmp_path, monkeypatch):
    from mslitmus.models.baselines.nearest_molecule import NearestMolecule

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(NearestMolecule, "fit", interrupted)
    code, _, err = call("run", study, "--out", tmp_path)
    assert code == 130
    assert "the same command continues" in err


def test_usage_errors_keep_their_code(call):
    code, _, err = call("bogus")
    assert code == 2
    assert "No such command" in err


def test_list_parts(call):
    assert "nearest-molecule" in call("list", "models")[1]
    assert call("list", "encoder")[0] == 1


def test_splits_side_by_side(call, few, tmp_path):
    code, out, err = call("split", "few", "--method", "random", "--method", "molecule", "--out", tmp_path)
    assert code == 0, err
    assert "random" in out
    assert (tmp_path / "molecule.json").exists()
    assert call("split", "few", "--method", "molecules")[0] == 1
    assert call("split", "few", "--method", "random", "--parameters", "[1")[0] == 1


def test_annotate(call, few, tmp_path):
    code, out, err = call("annotate", "few", tmp_path / "a.parquet")
    assert code == 0, err
    assert "simulated" in out
    assert pl.read_parquet(tmp_path / "a.parquet")["is_best"].any()


def test_a_closed_pipe_is_no_error():
    command = f"{sys.executable} -m mslitmus.cli list | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert "Traceback" not in done.stderr


def test_a_path_that_cannot_be_written_is_told_before_the_work(call, few, tmp_path: Path):
    code, _, err = call("annotate", "few", tmp_path / "absent" / "x.parquet")
    assert code == 1
    assert "Traceback" not in err
    assert "folder that exists" in err


def test_a_disk_that_refuses_ends_in_a_message(call, few, tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    code, _, err = call("split", "few", "--method", "random", "--out", tmp_path / "file")
    assert code == 1
    assert "Traceback" not in err
    assert "check the path" in err
