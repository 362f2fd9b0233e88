"""A row that takes its fitted model from another study: same split and options, or a refusal."""

from __future__ import annotations

import json

import polars as pl
import pytest

from mslitmus.data import store
from mslitmus.data.ledger import Ledger, LedgerEntry
from mslitmus.errors import ConfigError, RunError
from mslitmus.studies import runner
from mslitmus.studies.config import StudyConfig
from mslitmus.studies.files import checked

DATA = {"name": "fitted", "require": ["adduct"]}
SPLIT = {"method": "molecule", "parameters": {"fractions": [0.6, 0.2, 0.2]}}
ROW = {"model": "nearest-molecule", "name": "copy", "options": {"precursor": "replace"}}
BASE = {"name": "t", "data": DATA, "splits": [SPLIT], "difficulty": False, "statistics": {"resamples": 100}}
RETRIEVAL = {
    "task": "retrieval",
    "task_options": {"size": 4, "min_candidates": 2, "train_pools": 0, "lists": [], "fill": True},
    "metrics": ["hit@1"],
    "primary_metric": "hit@1",
}


def run(folder, **change):
    runner.run(StudyConfig.model_validate({**BASE, **change}), folder, progress=lambda line: None)


@pytest.fixture
def fitted(tiny, tmp_path):
    store.save("fitted", tiny, Ledger((LedgerEntry("made", tiny.height),)), {"title": "fitted"})
    run(tmp_path / "spectra", models=[ROW], metrics=["cosine@0.1Da"], primary_metric="cosine@0.1Da")
    return tmp_path / "spectra"


def test_a_retrieval_study_ranks_by_what_was_fitted_elsewhere(fitted, tmp_path):
    run(tmp_path / "ranked", models=[{**ROW, "fitted": str(fitted)}], **RETRIEVAL)
    run(tmp_path / "again", models=[ROW], **RETRIEVAL)
    here, there = (next((tmp_path / name).glob("cells/*/*/*/predictions.parquet")) for name in ("ranked", "again"))
    assert pl.read_parquet(here).equals(pl.read_parquet(there))
    record = json.loads((here.parent / "cell.json").read_text())
    assert record["fit"]["stopped"] == "fitted before"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"models": [{**ROW, "name": "other"}]}, "no fitted model 'other'"),
        ({"models": [{**ROW, "options": {}}]}, "with another options"),
        ({"models": [{**ROW, "train_on": {"fraction": 0.5}}]}, "with another train_on"),
        ({"models": [ROW], "splits": [{**SPLIT, "seed": 1}]}, "with another split"),
        ({"models": [ROW], "splits": [SPLIT], "seeds": [3]}, "seed 3"),
    ],
)
def test_another_model_split_or_seed_is_refused(fitted, tmp_path, change, says):
    change["models"] = [{**row, "fitted": str(fitted)} for row in change["models"]]
    with pytest.raises(RunError, match=says) as caught:
        run(tmp_path / "ranked", **{**RETRIEVAL, **change})
    assert caught.value.remedy


def test_only_a_bridge_takes_it(fitted, tmp_path):
    change = {"metrics": ["cosine@0.1Da"], "primary_metric": "cosine@0.1Da"}
    with pytest.raises(ConfigError, match="only a bridge"):
        run(tmp_path / "ranked", models=[{**ROW, "fitted": str(fitted)}], **change)
    study = {**BASE, **change, "models": [{**ROW, "fitted": str(fitted)}]}
    with pytest.raises(ConfigError, match="only a bridge"):  # with --check already
        checked(study, "here")


def test_columns_that_must_be_known(fitted, tmp_path):
    with pytest.raises(ValueError, match="adukt"):
        run(tmp_path / "x", models=[ROW], data={**DATA, "require": ["adukt"]}, **RETRIEVAL)
    ledger = json.loads((fitted / "ledger.json").read_text())
    assert "require_adduct" in [entry["rule"] for entry in ledger]


def test_a_row_is_fitted_elsewhere_or_starts_from_another(fitted):
    row = {"model": "neims", "name": "child", "start_from": "copy", "fitted": str(fitted)}
    with pytest.raises(ValueError, match="leave out start_from or fitted"):
        StudyConfig.model_validate({**BASE, **RETRIEVAL, "models": [ROW, row]})
