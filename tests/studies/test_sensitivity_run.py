"""A finished study scored in other ways, from its files alone; and the page of what a study says beyond its board."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from mslitmus import report
from mslitmus.audits import Evidence
from mslitmus.audits.evidence import CellKey
from mslitmus.audits.finding import RunTables
from mslitmus.cli.app import app
from mslitmus.data import store
from mslitmus.data.candidates import CandidateSet
from mslitmus.data.ledger import Ledger, LedgerEntry
from mslitmus.errors import RunError
from mslitmus.report.protocols import verdicts
from mslitmus.schemas import (
    AGREEMENT,
    BUDGET_SCORES,
    FACTORS,
    FLIPS,
    NORMALISED_RANKS,
    OPERATING_POINTS,
    ORDERINGS,
    SENSITIVITY,
    TEST_QUERIES,
)
from mslitmus.studies import runner
from mslitmus.studies import sensitivity as module
from mslitmus.studies.config import StudyConfig
from mslitmus.studies.sensitivity import sensitivity
from mslitmus.tasks.retrieval import Retrieval

TABLES = {
    "normalised_ranks": NORMALISED_RANKS,
    "factors": FACTORS,
    "orderings": ORDERINGS,
    "agreement": AGREEMENT,
    "budget_scores": BUDGET_SCORES,
    "operating_points": OPERATING_POINTS,
    "test_queries": TEST_QUERIES,
}
STUDY = {
    "name": "t",
    "data": {"name": "few"},
    "splits": [{"method": "molecule", "parameters": {"fractions": [0.5, 0.2, 0.3]}}],
    "models": [
        "precursor-only",
        "nearest-molecule",
        {"model": "nearest-molecule", "name": "nearest + precursor", "options": {"precursor": "replace"}},
    ],
    "metrics": ["cosine@0.1Da", "entropy@0.1Da"],
    "primary_metric": "cosine@0.1Da",
    "statistics": {"resamples": 100},
}


@pytest.fixture
def run(tiny, tmp_path) -> Path:
    store.save("few", tiny, Ledger((LedgerEntry("made", tiny.height),)), {"title": "few"})
    return runner.run(StudyConfig.model_validate(STUDY), tmp_path / "run", progress=lambda line: None)


def silent(line: str) -> None:
    return None


def test_a_run_writes_every_table_and_the_page_shows_them(run, tmp_path):
    for name, schema in TABLES.items():
        assert dict(pl.read_parquet(run / f"{name}.parquet").schema) == dict(schema), name
    queries = pl.read_parquet(run / "test_queries.parquet")
    assert queries["identifier"].is_unique().all()
    assert queries.select("heavy_atoms", "rotatable_bonds", "peaks", "survival").null_count().row(0) == (0,) * 4
    assert queries["survival"].is_between(0, 1).all()
    strata = set(pl.read_parquet(run / "strata.parquet")["stratum"])
    assert {"heavy atoms", "rotatable bonds", "measured peaks", "precursor survival"} <= strata
    page = report.build(run).read_text(encoding="utf-8")
    for section in ("ranks", "stability", "operating", "strata"):
        assert f'<section id="{section}"' in page
    assert "orderings hold in at least 95 % of resamples" in page
    assert '<section id="sensitivity"' not in page
    old = shutil.copytree(run, tmp_path / "old")
    for name in TABLES:
        (old / f"{name}.parquet").unlink()
    page = report.build(old).read_text(encoding="utf-8")
    assert all(f'<section id="{section}"' not in page for section in ("ranks", "stability", "operating"))


def test_the_same_predictions_are_scored_in_other_ways(run, tmp_path):
    asked = CliRunner().invoke(app, ["sensitivity", str(run), "--out", str(tmp_path / "out")])
    assert asked.exit_code == 0, asked.output
    assert "molecule split:" in asked.output
    assert not (run / "sensitivity.parquet").exists()
    boards, flips = (pl.read_parquet(tmp_path / "out" / f"{name}.parquet") for name in ("sensitivity", "flips"))
    assert dict(boards.schema) == dict(SENSITIVITY)
    assert dict(flips.schema) == dict(FLIPS)
    assert boards.select("metric", "energies", "average").unique().height == 6 * 4 * 2 * 2 * 2
    summary = pl.read_parquet(run / "summary.parquet").filter(
        (pl.col("fold") == "test") & pl.col("seed").is_null()
    )  # what the run scored itself is found again
    same = boards.filter(pl.col("energies") == "single").join(
        summary, on=["split", "model", "metric", "average"], suffix="_run"
    )
    assert same.height == 3 * 2 * 2
    assert (same["mean"] - same["mean_run"]).abs().max() < 1e-9
    assert boards.filter("headline").height == 3


def test_the_page_tells_of_it_and_knows_stale_tables(run):
    boards, flips = sensitivity(run, silent, flips=99)
    boards.write_parquet(run / "sensitivity.parquet")
    flips.write_parquet(run / "flips.parquet")
    page = report.build(run).read_text(encoding="utf-8")
    assert "of 3 pairs of models change order" in page or "None of 3 pairs" in page
    boards.with_columns(pl.col("mean") + 0.01).write_parquet(run / "sensitivity.parquet")
    assert "made of an earlier state of the run" in report.build(run).read_text(encoding="utf-8")


def test_rankings_are_scored_over_smaller_pools(tiny, tmp_path, monkeypatch):
    known = tiny.unique("inchikey14").sort("inchikey14").head(12).select("inchikey14", "smiles", "formula")
    pools = known.select(molecule="inchikey14").join(known.rename({"inchikey14": "candidate"}), how="cross")
    task = Retrieval().with_pools(CandidateSet.make("all", "mass", {}, pools.with_columns(origin=pl.lit("dataset"))))
    test = tiny.join(known, on="inchikey14", how="semi")
    asked = task.truth(test).select("identifier", "inchikey14", candidate="candidates").explode("candidate")
    truth = pl.col("candidate") == pl.col("inchikey14")
    answers = {"right": truth.cast(pl.Float64), "even": pl.lit(0.0)}
    summary = pl.DataFrame({"metric": ["mrr"]})
    tables = RunTables(summary, summary, {"right": "trained", "even": "blind"}, {"s": {}}, "mrr")
    evidence = Evidence(
        tables,
        task=task,
        cells={CellKey("s", model, 0): {} for model in answers},
        read_folds=lambda split: {"test": test},
        read_predictions=lambda key: asked.select("identifier", "candidate", score=answers[key.model]),
    )
    monkeypatch.setattr(module, "evidence_of", lambda root, progress: evidence)
    boards, flips = sensitivity(tmp_path, silent, flips=99)
    assert flips.is_empty()
    assert set(boards["pool"]) == {None, 8}
    mean = {(r["model"], r["metric"], r["pool"]): r["mean"] for r in boards.iter_rows(named=True)}
    assert mean["right", "hit@1", 8] == 1.0
    assert mean["even", "hit@1", 8] == pytest.approx(1 / 8)
    assert mean["even", "hit@1", None] == pytest.approx(1 / 12)
    assert ("even", "hit@20", None) not in mean  # no pool is that large
    assert boards.filter("headline").select("metric", "average", "pool").unique().row(0) == ("mrr", "molecule", None)
    [verdict] = verdicts(boards, flips)
    assert verdict.sentence.startswith("None of 1 pairs of models changes order")


def test_no_finished_run_is_an_error(tmp_path):
    with pytest.raises(RunError, match="no finished run"):
        sensitivity(tmp_path, silent)
