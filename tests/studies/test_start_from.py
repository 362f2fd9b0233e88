"""Rows that start from other rows: order, refusals at load, weights taken over, what happens when a parent changes."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
import torch
from test_runner import STUDY

from mslitmus.data import store
from mslitmus.data.ledger import Ledger, LedgerEntry
from mslitmus.errors import ConfigError, RunError
from mslitmus.models.fingerprint.binned_mlp import BinnedMLP
from mslitmus.models.predict.predictor import NeuralPredictor
from mslitmus.models.protocol import FitContext, Starts
from mslitmus.studies import runner
from mslitmus.studies.cells import Cell, compute
from mslitmus.studies.config import StudyConfig
from mslitmus.studies.files import load
from mslitmus.studies.start_from import in_order

OPTIONS = {
    "encoder": {"name": "fingerprint", "bits": 64, "width": 16, "layers": 0},
    "head": {"name": "binned", "min_molecules": 1},
    "trunk": {"width": 16, "layers": 0},
    "training": {"epochs": 2, "batch_size": 16},
}
SOURCE = {"model": "neural", "name": "source", "options": OPTIONS, "train_on": {"where": {"ion_modes": ["positive"]}}}
CHILD = {"model": "neural", "name": "child", "options": OPTIONS, "start_from": "source"}
ZERO = {**CHILD, "name": "zero-shot", "start_from": {"model": "source", "fine_tune": False}}
ANEW = {**CHILD, "name": "anew", "start_from": {"model": "source", "head": "anew"}}
SPLIT = {"method": "molecule", "parameters": {"fractions": [0.6, 0.2, 0.2]}}


@pytest.fixture
def few(tiny, monkeypatch):
    monkeypatch.setattr(runner, "aggregate", lambda *_: None)  # cells only: no tables, no page
    return store.save("few", tiny, Ledger((LedgerEntry("made", tiny.height),)), {"title": "few"})


def study(*models, **change) -> StudyConfig:
    budget = {"threads": 1, "device": "cpu"}
    return StudyConfig.model_validate(
        {**STUDY, "splits": [SPLIT], "models": models, "difficulty": False, "budget": budget, **change}
    )


def run(folder: Path, *models, **change) -> list[str]:
    lines: list[str] = []
    runner.run(study(*models, **change), folder, progress=lines.append)
    return lines


def read(folder: Path, name: str, file: str, seed: int = 0) -> dict:
    return json.loads((folder / "cells" / "molecule" / name / f"seed{seed}" / file).read_text())


def answers(folder: Path, name: str) -> pl.DataFrame:
    return pl.read_parquet(folder / "cells" / "molecule" / name / "seed0" / "predictions.parquet")


def test_a_row_comes_after_the_row_it_starts_from():
    rows = study({**CHILD, "name": "grandchild", "start_from": "child"}, "precursor-only", CHILD, SOURCE).models
    assert [row.name for row in in_order(rows)] == ["source", "child", "grandchild", "precursor-only"]


def test_transfer_with_and_without_training(few, tmp_path):
    run(tmp_path, ZERO, ANEW, CHILD, SOURCE)
    assert answers(tmp_path, "zero-shot").equals(answers(tmp_path, "source"))
    assert not answers(tmp_path, "child").equals(answers(tmp_path, "source"))
    zero, child = (read(tmp_path, name, "cell.json") for name in ("zero-shot", "child"))
    assert zero["fit"]["history"] == []
    assert zero["parameters"] == read(tmp_path, "source", "cell.json")["parameters"]
    assert len(child["fit"]["history"]) == 2
    assert child["start_from"]["model"] == "source"
    folder = tmp_path / "cells" / "molecule"
    source, child, anew = (NeuralPredictor.load(folder / n / "seed0" / "model") for n in ("source", "child", "anew"))
    assert set(source.conditions.adducts) < set(child.conditions.adducts)  # negative ions join the vocabulary
    assert all((source.bins[key] == child.bins[key]).all() for key in source.bins)
    assert len(anew.bins["forward_bins"]) > len(source.bins["forward_bins"])


def test_a_parent_trained_further_is_taken_anew_and_a_changed_one_is_refused(few, tmp_path):
    budget = {"threads": 1, "device": "cpu"}
    run(tmp_path, SOURCE, CHILD, budget={**budget, "max_epochs": 1})
    before = read(tmp_path, "child", "identity.json")
    first = answers(tmp_path, "child")
    lines = run(tmp_path, SOURCE, CHILD, budget={**budget, "max_epochs": 1})
    assert not [line for line in lines if line.startswith("epoch")]
    fitted = tmp_path / "cells" / "molecule" / "source" / "seed0" / "fit.json"
    fitted.write_text(fitted.read_text().replace('"finished": "2', '"finished": "1'))  # as if it were fitted again
    lines = run(tmp_path, SOURCE, CHILD, budget={**budget, "max_epochs": 1})
    assert not [line for line in lines if line.startswith("epoch")]  # from the same weights: the checkpoint holds
    run(tmp_path, SOURCE, CHILD, budget={**budget, "max_epochs": 2})
    assert read(tmp_path, "child", "identity.json") == before  # a budget is no setting of the parent
    assert len(read(tmp_path, "child", "cell.json")["fit"]["history"]) == 2
    assert not answers(tmp_path, "child").equals(first)
    run(tmp_path / "whole", SOURCE, CHILD)
    assert answers(tmp_path, "child").equals(answers(tmp_path / "whole", "child"))
    other = {**SOURCE, "train_on": None}
    with pytest.raises(RunError, match="model 'source'"):
        run(tmp_path, other, CHILD)
    with pytest.raises(RunError, match="the row that it starts from changed"):
        run(tmp_path, CHILD, {**other, "name": "another"}, {**SOURCE, "seeds": [0], "train_on": {"fraction": 0.5}})


def test_a_cell_can_be_computed_alone_but_not_before_its_parent(few, tmp_path):
    run(tmp_path / "a", SOURCE)
    whole = study(SOURCE, CHILD)
    frame = store.load("few").frame()
    task = whole.build_task()
    folds = {"train": frame.head(60), "val": frame.slice(60, 20), "test": frame.tail(10)}
    cell = Cell(tmp_path / "b/cells/molecule/child/seed0", "molecule", "x", whole.models[1], 0, folds, task)
    with pytest.raises(RunError, match="'source', which 'child' starts from, is not fitted"):
        compute(cell, whole, lambda line: None)


def test_every_head_goes_on_from_its_own_weights(few, tmp_path):
    frame = store.load("few").frame()
    train, val = frame.head(70), frame.tail(20)
    for head in ("binned", "bidirectional", "formula", "fragment"):
        encoder = {"name": "gin", "width": 16, "layers": 1}
        options = {**OPTIONS, "encoder": encoder, "head": head, "training": {"epochs": 1}}
        parent, child = NeuralPredictor(**options), NeuralPredictor(**options)
        child.check_start(parent, "keep")
        parent.fit(train.filter(pl.col("ion_mode") == "positive"), val, FitContext(tmp_path / head / "parent"))
        parent.save(tmp_path / head / "model")
        child.start_from(tmp_path / head / "model", "keep")
        queries = val.drop("mzs", "intensities", "base_peak_intensity")
        assert child.predict(queries).equals(parent.predict(queries)), head
        child.prepare(train, FitContext(tmp_path / head / "child"))
        stored = torch.load(tmp_path / head / "model" / "weights.pt", weights_only=True)
        own = child.network.state_dict()
        assert all(torch.equal(own[key][: len(value)], value) for key, value in stored.items() if value.ndim), head
        assert child.fingerprint() != parent.fingerprint()


def test_a_fingerprint_predictor_starts_from_another(few, tmp_path):
    frame = store.load("few").frame()
    options = {"mlp": {"width": 16, "layers": 0}, "training": {"epochs": 1}}
    parent, child = BinnedMLP(**options), BinnedMLP(**options)
    parent.fit(frame.head(60), frame.tail(20), FitContext(tmp_path / "parent"))
    parent.save(tmp_path / "model")
    child.start_from(tmp_path / "model")
    assert isinstance(child, Starts)
    assert child.predict(frame).equals(parent.predict(frame))
    child.fit(frame.tail(60), frame.head(20), FitContext(tmp_path / "child"))
    with pytest.raises(ConfigError, match="no head"):
        child.check_start(parent, "anew")
    with pytest.raises(ConfigError, match=r"mlp\.width 8, the row it starts from 16"):
        BinnedMLP(mlp={"width": 8, "layers": 0}).check_start(parent)


NEURAL = "model: neural, options: {encoder: fingerprint, head: binned}"


@pytest.mark.parametrize(
    ("rows", "line", "says"),
    [
        ([f"{NEURAL}, name: a", f"{NEURAL}, name: b, start_from: c"], 8, "unknown row to start from 'c'"),
        ([f"{NEURAL}, name: a, start_from: b", f"{NEURAL}, name: b, start_from: a"], 7, "a → b → a"),
        ([f"{NEURAL}, name: a, start_from: a"], 7, "a → a"),
        ([f"{NEURAL}, name: a, seeds: [0]", f"{NEURAL}, name: b, start_from: a, seeds: [0, 1]"], 8, "seed 1 of 'b'"),
        (["model: precursor-only, name: a", f"{NEURAL}, name: b, start_from: a"], 8, "another kind of model"),
        ([f"{NEURAL}, name: a", "model: nearest-molecule, name: b, start_from: a"], 8, "learns nothing"),
        (
            [f"{NEURAL}, name: a", "model: neural, options: {encoder: gin, head: binned}, name: b, start_from: a"],
            8,
            "encoder.name 'gin', the row it starts from 'fingerprint'",
        ),
        (
            [f"{NEURAL}, name: a", f"{NEURAL}, name: b, start_from: {{model: a, fine_tune: false, head: anew}}"],
            8,
            "must be trained",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_its_line(tmp_path, rows, line, says):
    head = "name: g\ndata: {name: simulated}\nsplits: [random]\nmetrics: [cosine@0.1Da]\nprimary_metric: cosine@0.1Da\n"
    path = tmp_path / "study.yaml"
    path.write_text(head + "models:\n" + "".join(f"- {{{row}}}\n" for row in rows))
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert says in str(caught.value)
    assert f"{path}:{line}" in str(caught.value)
