"""A whole study on simulated data with the torch-free models: from file to report, cut anywhere, and resumed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import polars as pl
import pytest

from mslitmus import report
from mslitmus.data import store
from mslitmus.data.ledger import Ledger, LedgerEntry
from mslitmus.errors import ConfigError, DataError, ModelError, PredictionError, RunError
from mslitmus.models.baselines.nearest_molecule import NearestMolecule
from mslitmus.schemas import COMPARISONS, EXAMPLES, STRATA, SUMMARY
from mslitmus.studies import examples, runner
from mslitmus.studies.config import StudyConfig

STUDY = {
    "name": "t",
    "data": {"name": "few"},
    "splits": [{"method": "molecule", "parameters": {"fractions": [0.6, 0.2, 0.2]}}, {"method": "random"}],
    "models": ["precursor-only", "nearest-molecule"],
    "metrics": ["cosine@0.1Da", "entropy@0.1Da"],
    "primary_metric": "cosine@0.1Da",
    "statistics": {"resamples": 100},
}


@pytest.fixture
def few(tiny):
    return store.save("few", tiny, Ledger((LedgerEntry("made", tiny.height),)), {"title": "few"})


def run(folder: Path, **change):
    lines: list[str] = []
    study = StudyConfig.model_validate({**STUDY, **change})
    runner.run(study, folder, progress=lines.append)
    return lines


def contents(folder: Path) -> dict[str, bytes]:
    kept = ("*.parquet", "cell.json", "findings.json")
    return {str(p.relative_to(folder)): p.read_bytes() for k in kept for p in sorted(folder.rglob(k))}


def test_a_study_leaves_every_file(few, tmp_path):
    run(tmp_path / "run")
    for name, schema in (
        ("summary", SUMMARY),
        ("comparisons", COMPARISONS),
        ("strata", STRATA),
        ("examples", EXAMPLES),
    ):
        table = pl.read_parquet(tmp_path / "run" / f"{name}.parquet")
        assert dict(table.schema) == dict(schema), name
        assert table.height, name
    scores = pl.read_parquet(tmp_path / "run" / "scores.parquet")
    assert set(scores["fold"]) == {"val", "test"}
    assert scores["predicted"].all()
    ledger = json.loads((tmp_path / "run" / "ledger.json").read_text())
    assert [row["rule"] for row in ledger][:2] == ["made", "eligible_for_spectrum-prediction"]
    assert report.build(tmp_path / "run").stat().st_size > 10_000


def test_validation_can_be_cut_down_and_test_is_whole(few, tmp_path):
    run(tmp_path / "all", splits=["random"])
    run(tmp_path / "few", splits=["random"], data={"name": "few", "max_val_molecules": 2})
    scores = {name: pl.read_parquet(tmp_path / name / "scores.parquet") for name in ("all", "few")}
    val = {name: table.filter(pl.col("fold") == "val") for name, table in scores.items()}
    assert val["few"]["inchikey14"].n_unique() == 2 < val["all"]["inchikey14"].n_unique()
    assert scores["few"].filter(pl.col("fold") == "test").equals(scores["all"].filter(pl.col("fold") == "test"))
    rules = [row["rule"] for row in json.loads((tmp_path / "few" / "ledger.json").read_text())]
    assert "keep_max_val_molecules" in rules


def test_what_follows_a_changed_stage_is_made_again(few, tmp_path):
    run(tmp_path / "run", splits=["molecule"])
    cell = tmp_path / "run" / "cells" / "molecule" / "nearest-molecule" / "seed0"
    scores = (cell / "scores.parquet").read_bytes()
    spoilt = pl.read_parquet(cell / "predictions.parquet").with_columns(mzs=pl.col("mzs").list.eval(pl.element() + 7))
    spoilt.write_parquet(cell / "predictions.parquet")
    run(tmp_path / "run", splits=["molecule"])
    assert (cell / "scores.parquet").read_bytes() != scores  # of the predictions that are there now
    (cell / "fit.json").unlink()
    run(tmp_path / "run", splits=["molecule"])
    assert (cell / "scores.parquet").read_bytes() == scores  # fitted, predicted and scored again


def test_clusters_of_molecules_can_be_resampled(few, tmp_path):
    run(tmp_path / "run", splits=["molecule"], statistics={"resamples": 100, "unit": "mces"})
    summary = pl.read_parquet(tmp_path / "run" / "summary.parquet")
    assert (summary["n_clusters"] <= summary["n_molecules"]).all()


def test_a_study_of_fingerprints_knows_its_oracle_and_its_gaps(few, tmp_path):
    skips = {"model": "nearest-spectrum", "name": "skips", "options": {"tiers": ["formula"], "skip": True}}
    models = ["mean-fingerprint", {"model": "nearest-spectrum", "options": {"tiers": ["all"]}}, "best-molecule"]
    study = {"task": "fingerprint", "task_options": {"formula": "given"}, "splits": ["molecule"]}
    metric = "fp-tanimoto-soft"
    measured = {"metrics": [metric], "primary_metric": metric}
    run(tmp_path / "run", models=[*models, {**skips, "allow_missing": True}], **study, **measured)
    summary = pl.read_parquet(tmp_path / "run" / "summary.parquet")
    test = summary.filter((pl.col("fold") == "test") & (pl.col("average") == "molecule") & pl.col("seed").is_null())
    mean = dict(zip(test["model"], test["mean"], strict=True))
    assert mean["best-molecule"] >= mean["nearest-spectrum"] > mean["skips"]
    assert dict(zip(test["model"], test["coverage"], strict=True))["skips"] < 1
    with pytest.raises(PredictionError, match="have no prediction"):
        run(tmp_path / "strict", models=[*models, skips], **study, **measured)


def test_a_model_of_another_task_is_refused_by_name(few, tmp_path):
    with pytest.raises(ConfigError, match="does not serve the task 'spectrum-prediction'"):
        runner.run(StudyConfig.model_validate({**STUDY, "models": ["random-ranking"]}), tmp_path / "run")


def test_equal_scores_show_no_particular_laboratory():
    names = []
    for k in range(4):  # the same scores under other identifiers: the worst of equals must not be the last by name
        scores = (
            pl.DataFrame({"identifier": [f"lab{j}-{k}{i}" for j in "AZ" for i in range(20)]})
            .with_columns(split=pl.lit("s"), model=pl.lit("m"), seed=0, fold=pl.lit("test"), predicted=True)
            .with_columns(pl.lit(0.0).alias("cosine@0.1Da"))
        )
        ranked = examples.ranked(scores, ["cosine@0.1Da"])
        names.append(ranked["identifier"][-1][:4])
    assert set(names) == {"labA", "labZ"}


def test_a_finished_run_is_not_computed_again(few, tmp_path, monkeypatch):
    run(tmp_path / "run")
    before = contents(tmp_path / "run")
    monkeypatch.setattr(NearestMolecule, "fit", None)  # would fail if it were called
    monkeypatch.setattr(NearestMolecule, "predict", None)
    lines = run(tmp_path / "run")
    assert not [line for line in lines if "predicting" in line]
    assert contents(tmp_path / "run") == before


@pytest.mark.parametrize("stage", ["fit", "predict"])
def test_a_killed_run_continues(few, tmp_path, monkeypatch, stage):
    run(tmp_path / "whole")
    with monkeypatch.context() as patch:

        def killed(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(NearestMolecule, stage, killed)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "cut")
    assert (tmp_path / "cut" / "cells" / "molecule" / "precursor-only" / "seed0" / "cell.json").exists()
    lines = run(tmp_path / "cut")
    assert not [line for line in lines if "molecule · precursor-only" in line]
    timed = ("cell.json", "operating_points.parquet")  # hold wall times
    whole, cut = ({k: v for k, v in contents(tmp_path / f).items() if not k.endswith(timed)} for f in ("whole", "cut"))
    assert whole == cut


def test_other_settings_are_refused_and_named(few, tmp_path):
    run(tmp_path / "run")
    models = ["precursor-only", {"model": "nearest-molecule", "options": {"precursor": "replace"}}]
    with pytest.raises(RunError, match="options"):
        run(tmp_path / "run", models=models)
    splits = [{**STUDY["splits"][0], "seed": 1}, STUDY["splits"][1]]
    with pytest.raises(RunError, match=r"seed \(0 → 1\)"):
        run(tmp_path / "run", splits=splits)


def everything(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_refused_study_changes_nothing(few, tmp_path):
    run(tmp_path / "run", models=["nearest-molecule"])
    before = everything(tmp_path)
    changed = {"model": "nearest-molecule", "options": {"prefer": "instrument"}}
    with pytest.raises(RunError, match="options"):  # named before the new first model is computed
        run(tmp_path / "run", models=["precursor-only", changed])
    with pytest.raises(RunError, match="records that take part changed"):
        run(tmp_path / "run", models=["nearest-molecule"], data={"name": "few", "adducts": ["[M+H]+"]})
    assert everything(tmp_path) == before


def test_a_fresh_study_that_cannot_begin_costs_nothing(few, tmp_path):
    run(tmp_path / "run")
    before = everything(tmp_path)
    absent = StudyConfig.model_validate({**STUDY, "data": {"name": "massbank"}})
    with pytest.raises(DataError, match="massbank"):
        runner.run(absent, tmp_path / "run", progress=lambda _: None, fresh=True)
    assert everything(tmp_path) == before


def test_every_session_counts(few, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:

        def killed(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(NearestMolecule, "predict", killed)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path)
    assert len(json.loads((tmp_path / "provenance.json").read_text())["sessions"]) == 1
    run(tmp_path)
    assert len(json.loads((tmp_path / "provenance.json").read_text())["sessions"]) == 2


def test_a_device_that_is_not_there_is_refused_at_once(few, tmp_path, monkeypatch):
    torch = pytest.importorskip("torch", reason="devices are torch's")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="'cuda' is not to be had"):
        run(tmp_path, budget={"device": "cuda"})
    assert not (tmp_path / "cells").exists()


def test_other_metrics_are_only_scored_again(few, tmp_path, monkeypatch):
    run(tmp_path / "run")
    monkeypatch.setattr(NearestMolecule, "predict", None)
    run(tmp_path / "run", metrics=["cosine@0.1Da", "cosine@1Da"])
    assert "cosine@1Da" in pl.read_parquet(tmp_path / "run" / "scores.parquet").columns


def test_fresh_forgets_and_spares_what_is_not_ours(few, tmp_path):
    run(tmp_path)
    mine = ("notes.txt", "mine.json", "mine.parquet")
    for name in mine:
        (tmp_path / name).write_text("mine")
    runner.run(StudyConfig.model_validate({**STUDY, "seeds": [3]}), tmp_path, progress=lambda _: None, fresh=True)
    assert all((tmp_path / name).read_text() == "mine" for name in mine)
    assert not (tmp_path / "cells" / "molecule" / "nearest-molecule" / "seed0").exists()


def test_filters_are_counted(few, tmp_path):
    run(tmp_path / "run", data={"name": "few", "adducts": ["[M+H]+"]}, splits=["random"])
    ledger = json.loads((tmp_path / "run" / "ledger.json").read_text())
    row = next(r for r in ledger if r["rule"] == "keep_adduct")
    assert row["dropped"] > 0
    with pytest.raises(DataError, match="no record of 'few' is left after keep_adduct"):
        run(tmp_path / "none", data={"name": "few", "adducts": ["[M+Ag]+"]})
    run(tmp_path / "licence", data={"name": "few", "licenses": ["CC0"]}, splits=["random"])
    rows = json.loads((tmp_path / "licence" / "ledger.json").read_text())
    assert [r["dropped"] for r in rows if r["rule"] == "keep_license"] == [few.frame()["license"].ne("CC0").sum()]
    with pytest.raises(DataError, match="licence 'GPL'"):
        run(tmp_path / "none", data={"name": "few", "licenses": ["GPL"]})


def test_an_absent_dataset_says_how_to_get_it(tmp_path):
    with pytest.raises(DataError, match="massbank") as caught:
        run(tmp_path / "run", data={"name": "massbank"})
    assert "mslitmus data get massbank" in str(caught.value)
    with pytest.raises(DataError, match="did you mean 'massbank'"):
        runner.run(StudyConfig.model_validate({**STUDY, "data": {"name": "masbank"}}), tmp_path / "run")


def test_a_protocol_wants_its_look_up(few, tmp_path):
    splits = [
        {"method": "random", "protocol": "nguyen", "protocol_parameters": {"min_spectra": 1, "fragmented_share": 0}}
    ]
    with pytest.raises(ConfigError, match="nearest-molecule"):
        run(tmp_path / "run", splits=splits, models=["precursor-only"])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder(few, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(RunError, match="cannot be written"):
        run(tmp_path / "run")


def test_damaged_cells_are_named(few, tmp_path):
    run(tmp_path)
    path = tmp_path / "cells" / "molecule" / "nearest-molecule" / "seed0" / "fit.json"
    path.write_text("{")
    with pytest.raises(RunError, match=r"fit\.json"):
        run(tmp_path)


@pytest.mark.parametrize("part", ["cells/molecule/nearest-molecule/seed0/scores", "splits/molecule/nearest"])
def test_damaged_tables_are_named_and_made_again(few, tmp_path, part):
    run(tmp_path)
    before = contents(tmp_path)
    path = tmp_path / f"{part}.parquet"
    path.write_bytes(b"no table")
    with pytest.raises(RunError, match=path.name) as caught:
        run(tmp_path)
    assert "delete it and run the study again" in str(caught.value)
    path.unlink()
    run(tmp_path)
    tables = {name for name in before if "cell.json" not in name}
    assert {name: value for name, value in contents(tmp_path).items() if name in tables} == {
        name: before[name] for name in tables
    }


def test_damaged_predictions_are_named(few, tmp_path):
    run(tmp_path)
    (tmp_path / "cells" / "molecule" / "nearest-molecule" / "seed0" / "predictions.parquet").write_bytes(b"no table")
    with pytest.raises(RunError, match=r"predictions\.parquet"):
        run(tmp_path)


def test_a_model_that_cannot_be_read_is_named(few, tmp_path):
    run(tmp_path)
    cell = tmp_path / "cells" / "molecule" / "nearest-molecule" / "seed0"
    (cell / "predict.json").unlink()
    (cell / "model" / "options.json").write_text("{")
    with pytest.raises(ModelError, match="cannot be read") as caught:
        run(tmp_path)
    assert str(cell) in str(caught.value)
