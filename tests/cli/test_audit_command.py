"""`mslitmus audit` and `mslitmus card` as a user meets them: exit codes, what is kept, what a crash costs."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from pathlib import Path

import polars as pl
import pytest

from mslitmus.audits import AUDITS
from mslitmus.audits.audit import Audit
from mslitmus.audits.finding import Finding
from mslitmus.data import store
from mslitmus.data.ledger import Ledger, LedgerEntry

DOCS = Path(__file__).parents[2] / "docs" / "audits"
STUDY = """
name: small
task: fingerprint
data: {name: few}
splits: [molecule]
models: [mean-fingerprint, nearest-spectrum]
metrics: [fp-tanimoto@0.5]
primary_metric: fp-tanimoto@0.5
statistics: {resamples: 100}
"""


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture
def few(tiny):
    return store.save("few", tiny, Ledger((LedgerEntry("made", tiny.height),)), {"title": "few", "simulated": True})


@pytest.fixture(scope="module")
def made(tmp_path_factory, _tiny_once) -> Path:
    """A finished run, made once; each test audits a copy."""
    from mslitmus.studies.files import load
    from mslitmus.studies.runner import run

    home = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MSLITMUS_HOME", str(home / "home"))
        store.save("few", _tiny_once, Ledger((LedgerEntry("made", _tiny_once.height),)), {"title": "few"})
        (home / "study.yaml").write_text(STUDY)
        return run(load(home / "study.yaml"), home / "small", progress=lambda _: None)


@pytest.fixture
def run_folder(made, few, tmp_path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "small"))


@pytest.fixture
def planted(monkeypatch):
    """Audits of this test alone, as a plug-in would add them."""

    def plant(name: str, run) -> None:
        AUDITS._all()
        monkeypatch.setitem(AUDITS._targets, name, Audit("planted?", "files", run))

    return plant


def finding(severity: str) -> Finding:
    return Finding("planted", severity, "net leaks on split molecule", 7, "p = 0.001, n = 7", "mend it")


def crash(evidence):
    raise ZeroDivisionError("odd data")


def test_a_clean_run_ends_with_zero(call, run_folder):
    code, out, err = call("audit", run_folder, "--only", "denominators", "--only", "overlap")
    assert code == 0, err
    assert "[2/2] overlap" in err
    assert "passed" in out
    record = json.loads((run_folder / "audit.json").read_text())
    assert set(record["seconds"]) == {"denominators", "overlap"}
    assert record["environment"]["versions"]["mslitmus"]
    assert "Passed" in (run_folder / "report.html").read_text()


def test_a_fatal_finding_ends_with_one_and_a_crash_costs_one_audit(call, run_folder, planted):
    planted("planted", lambda evidence: [finding("fatal")])
    planted("broken", crash)
    code, out, err = call("audit", run_folder, "--only", "broken", "--only", "planted", "--only", "trivial")
    assert code == 1
    assert "fatal" in out
    assert "→ mend it" in out
    assert "failed: ZeroDivisionError: odd data" in err
    record = json.loads((run_folder / "audit.json").read_text())
    assert "in crash" in record["failed"]["broken"]["traceback"]
    assert set(record["seconds"]) == {"broken", "planted", "trivial"}
    page = (run_folder / "report.html").read_text()
    assert "net leaks on split molecule" in page
    assert "1 fatal" in page
    assert "Audits that failed" in page
    code, out, _ = call("audit", run_folder, "--only", "broken")
    assert code == 2
    assert "net leaks" not in out  # of another call: kept, not told again
    kept = json.loads((run_folder / "audit.json").read_text())
    assert [f["claim"] for f in kept["findings"] if f["severity"] == "fatal"] == ["net leaks on split molecule"]


def test_ctrl_c_keeps_what_was_found(call, run_folder, planted):
    def interrupted(evidence):
        raise KeyboardInterrupt

    planted("planted", lambda evidence: [finding("warning")])
    planted("slow", interrupted)
    code, out, _ = call("audit", run_folder, "--only", "planted", "--only", "slow", "--only", "overlap")
    assert code == 130
    assert "net leaks" in out
    assert list(json.loads((run_folder / "audit.json").read_text())["seconds"]) == ["planted"]


def test_errors_end_with_two(call, run_folder, tmp_path):
    code, _, err = call("audit", run_folder, "--only", "denominator")
    assert code == 2
    assert "did you mean 'denominators'" in err
    assert call("audit", tmp_path)[0] == 2  # no run
    code, _, err = call("audit", tmp_path / "absent")
    assert code == 2
    assert "no such run folder" in err
    (tmp_path / "list.smi").write_text("not-a-molecule\n")
    code, _, err = call("audit", run_folder, "--pretraining", tmp_path / "list.smi")
    assert code == 2
    assert "no molecule is readable" in err
    assert not (run_folder / "audit.json").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written_is_told_before_the_work(call, run_folder):
    run_folder.chmod(0o555)
    try:
        code, _, err = call("audit", run_folder)
        assert code == 2
        assert "--no-keep" in err
        assert "[1/" not in err
        assert call("audit", run_folder, "--no-keep", "--only", "overlap")[0] == 0
    finally:
        run_folder.chmod(0o755)


def test_a_folder_that_refuses_names_the_way_out(call, run_folder, monkeypatch):
    def refuse(self, *_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "touch", refuse)
    code, _, err = call("audit", run_folder)
    assert code == 2
    assert "Permission denied" in err
    assert "--no-keep" in err


def test_audits_of_another_state_are_not_shown(call, run_folder, planted):
    planted("planted", lambda evidence: [finding("fatal")])
    assert call("audit", run_folder, "--only", "planted")[0] == 1
    scores = pl.read_parquet(run_folder / "scores.parquet")
    scores.with_columns(pl.col("fp-tanimoto@0.5") * 0.5).write_parquet(run_folder / "scores.parquet")
    assert call("report", run_folder)[0] == 0
    page = (run_folder / "report.html").read_text()
    assert "earlier state" in page
    assert "net leaks" not in page


def test_the_card_tells_what_the_audits_found(call, run_folder, planted):
    claim = "mean-fingerprint leaks on split molecule"
    planted("planted", lambda evidence: [Finding("planted", "fatal", claim, 7, "p = 0.001", "mend it")])
    assert call("audit", run_folder, "--only", "planted")[0] == 1
    code, _, err = call("card", run_folder, "--model", "mean-fingerprint")
    assert code == 0, err
    text = (run_folder / "cards" / "mean-fingerprint.md").read_text()
    assert "**fatal** (planted) mean-fingerprint leaks" in text
    assert "mslitmus run small/config.yaml" in text
    assert "### molecule split" in text
    assert claim in (run_folder / "cards" / "mean-fingerprint.html").read_text()
    call("card", run_folder, "--model", "nearest-spectrum")
    assert "leaks" not in (run_folder / "cards" / "nearest-spectrum.md").read_text()
    code, _, err = call("card", run_folder, "--model", "nearest spectrum")
    assert code == 1
    assert "did you mean 'nearest-spectrum'" in err


def test_the_page_lists_every_audit(call):
    page = (DOCS / "index.md").read_text(encoding="utf-8")
    table = re.search(r"<!-- audits: .*?-->\n(.*?)<!-- end -->", page, re.S)
    wanted = ["| audit | cost | question |", "|---|---|---|"]
    wanted += [f"| `{name}` | {AUDITS[name].cost} | {AUDITS[name].about} |" for name in AUDITS]
    assert table is not None
    assert table[1].strip().splitlines() == wanted, "put these lines between the marks of docs/audits/index.md"
    shown = call("list", "audits")[1]
    assert all(name in shown for name in AUDITS)


def asks(evidence):
    """A live audit: one question."""
    [key] = evidence.first_seeds("trained")
    rows = evidence.require_task().queries(evidence.folds(key.split)["test"].head(3))
    answered = evidence.open_model(key)(rows).height
    return [Finding("asks", "note", f"{key.model} answers", answered, f"n = {answered}", "nothing to do")]


def test_an_outsider_follows_the_page(call, few, tmp_path, monkeypatch, planted):
    """The script and the commands of docs/audits/outsider.md, on a smaller dataset, with one short live audit."""
    planted("asks", asks)
    page = (DOCS / "outsider.md").read_text(encoding="utf-8")
    [script] = re.findall(r"```python\n(.*?)```", page, re.S)
    assert script.count("\n") <= 20
    template, audit, live, card, *frozen = re.findall(r"^    mslitmus (.*)$", page, re.M)
    assert [line.split()[0] for line in frozen] == ["template", "audit"]  # run by tests/referee/test_bench.py
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(script)
    code, _, err = call(*template.replace("simulated", "few").split())
    assert code == 0, err
    monkeypatch.setattr(sys, "argv", ["mine.py", "queries.parquet", "mine.parquet"])
    exec(compile(script, "mine.py", "exec"), {})
    code, _, err = call(*audit.replace("simulated", "few").split(), "--only", "overlap", "--only", "calibration")
    assert code == 0, err
    options, command = live.split(" --command ")
    code, _, err = call(*options.split(), "--command", command.strip('"'), "--only", "asks")
    assert code == 0, err
    record = json.loads(Path("runs/score-mine/audit.json").read_text())
    assert set(record["seconds"]) == {"overlap", "calibration", "asks"}
    assert any(f["claim"] == "mine answers" and f["affected"] == 3 for f in record["findings"])
    assert call(*card.split())[0] == 0
    assert Path("runs/score-mine/cards/mine.md").exists()
