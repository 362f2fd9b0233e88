"""An outsider's way: template → a file of predictions → score."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from mslitmus.cli.app import app
from mslitmus.cli.referee import _named
from mslitmus.data import store
from mslitmus.data.ledger import Ledger
from mslitmus.errors import ConfigError, PredictionError
from mslitmus.referee.submission import submission
from mslitmus.studies.runner import run

POOLS = "{kind: mass, size: 8, min_candidates: 1, fill: false, train_pools: 10}"
AT = ("--dataset", "tiny", "--split", "molecule")


@pytest.fixture
def stored(tiny: pl.DataFrame) -> None:
    store.save("tiny", tiny, Ledger(()), {"title": "tiny", "simulated": True})


def invoke(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize(("task", "ending"), [("retrieval", "csv"), ("fingerprint", "jsonl")])
def test_from_template_to_report(stored, tmp_path, task, ending):
    options = ("--task-options", POOLS) if task == "retrieval" else ()
    sheet = tmp_path / f"queries.{ending}"
    invoke("template", sheet, "--task", task, *AT, *options, "--training", tmp_path / "learn")
    assert pl.read_parquet(tmp_path / "learn" / "train.parquet")["smiles"].null_count() == 0
    readme = json.loads(sheet.with_name(f"{sheet.name}.readme.json").read_text())
    assert readme["task"] == task
    filled = tmp_path / f"mine.{ending}"
    if task == "retrieval":
        queries = pl.read_csv(sheet)
        queries.with_columns(score=pl.col("smiles").str.len_chars().cast(pl.Float64)).write_csv(filled)
    else:
        queries = pl.read_ndjson(sheet)
        queries.select("identifier").with_columns(bits=pl.lit([1, 5, 80])).write_ndjson(filled)
    shown = invoke("score", filled, "--task", task, *AT, *options, "--out", tmp_path / "runs", "--controls", "blind")
    assert "mine" in shown
    folder = tmp_path / "runs" / "score-mine"
    summary = pl.read_parquet(folder / "summary.parquet")
    mine = summary.filter((pl.col("model") == "mine") & (pl.col("fold") == "test"))
    assert mine["coverage"].unique().to_list() == [1.0]
    assert "val" not in summary.filter(pl.col("model") == "mine")["fold"].to_list()
    assert (folder / "report.html").stat().st_size > 10_000


def test_a_missing_answer_is_refused_unless_allowed(stored, tmp_path):
    sheet = tmp_path / "queries.parquet"
    invoke("template", sheet, "--task", "fingerprint", *AT)
    queries = pl.read_parquet(sheet)
    file = tmp_path / "few.parquet"
    queries.head(2).select("identifier").with_columns(bits=pl.lit([3])).write_parquet(file)
    arguments = ({"few": file}, "fingerprint", "tiny", {"method": "molecule"})
    with pytest.raises(PredictionError, match=r"few\.parquet: model 'few', split molecule: .*no prediction"):
        run(submission(*arguments, controls="none"), tmp_path / "strict", progress=lambda _: None)
    allowed = submission(*arguments, controls="none", allow_missing=True)
    summary = pl.read_parquet(run(allowed, tmp_path / "lenient", progress=lambda _: None) / "summary.parquet")
    assert summary.filter(pl.col("average") == "spectrum")["coverage"][0] == pytest.approx(2 / queries.height)


def test_what_was_not_asked_is_counted_and_queries_too(stored, tmp_path):
    sheet = tmp_path / "queries.parquet"
    invoke("template", sheet, "--task", "fingerprint", *AT)
    asked = pl.read_parquet(sheet)["identifier"].to_list()
    file = tmp_path / "mine.parquet"
    names = [*asked, "X1", "X2", "X3", "X4"]
    pl.DataFrame({"identifier": names, "bits": [[3]] * len(names)}).write_parquet(file)
    lines: list[str] = []
    study = submission({"mine": file}, "fingerprint", "tiny", {"method": "molecule"}, controls="none")
    run(study, tmp_path / "run", progress=lines.append)
    left_out = "4 of {} rows left out, of 4 identifiers that were not asked, e.g. 'X1', 'X2', 'X3'"
    assert f"mine.parquet: {left_out.format(len(names))}" in lines
    assert [line for line in lines if line.startswith(f"answering {len(asked)} test and ")]


def test_rows_have_names(tmp_path):
    (tmp_path / "k=v.csv").touch()
    assert _named(["a/b.v1.csv", "ours=x.csv", str(tmp_path / "k=v.csv"), "./c=d.csv"]) == {
        "b": Path("a/b.v1.csv"), "ours": Path("x.csv"), "k=v": tmp_path / "k=v.csv", "c=d": Path("./c=d.csv"),
    }  # fmt: skip
    with pytest.raises(ConfigError, match=r"'b': a/b\.csv and c/b\.csv\n.*'b 1=a/b\.csv' 'b 2=c/b\.csv'"):
        _named(["a/b.csv", "c/b.csv"])
    with pytest.raises(ConfigError, match="NAME=PATH"):
        _named(["=b.csv"])


def test_what_cannot_be_scored_is_named(tmp_path):
    with pytest.raises(ConfigError, match="no predictions of 'x'"):
        submission({"x": tmp_path / "none.csv"}, "fingerprint", "tiny", {"method": "molecule"})
    file = tmp_path / "mine.csv"
    file.write_text("identifier,finger\nQ,1\n")
    at = ("tiny", {"method": "molecule"})
    with pytest.raises(PredictionError, match="no column fingerprint"):
        submission({"x": file}, "fingerprint", *at)
    with pytest.raises(ConfigError, match="is the name of a control"):
        submission({"mean-fingerprint": file}, "fingerprint", *at)
    for task, options in (("fingerprint", {"formulas": "given"}), ("retrieval", {"sise": 3})):
        with pytest.raises(ConfigError, match=r"--task-options, task '.*unknown option .*\n.*did you mean"):
            submission({}, task, *at, task_options=options)
    with pytest.raises(ConfigError, match=r"--data: unknown key 'data\.min_peak'\n.*'min_peaks'"):
        submission({}, "fingerprint", *at, data={"min_peak": 3})
    with pytest.raises(ConfigError, match=r"splits\.0"):
        submission({}, "fingerprint", "tiny", {"method": "moleculee"})
    with pytest.raises(ConfigError, match="does not measure"):
        submission({}, "fingerprint", "tiny", {"method": "molecule"}, metrics=["hit@1"])
