"""A whole run of the task generation, tiny: its page, its audit of company, and the tables of benchmarks/generation."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from mslitmus import report
from mslitmus.audits.batching import batching
from mslitmus.chem.formula import parse_formula
from mslitmus.data import store
from mslitmus.data.ledger import Ledger, LedgerEntry
from mslitmus.data.molecules import MOLECULES
from mslitmus.data.simulate import simulate
from mslitmus.studies import runner
from mslitmus.studies.config import StudyConfig
from mslitmus.studies.evidence import evidence_of

TINY = {"network": {"size": "tiny"}, "beams": 3, "longest": 40, "training": {"epochs": 1, "val_limit": 2}}
TUNED = {
    **TINY,
    "learn": False,
    "tuning": {"per_sample": False, "clusters": 2, "batch": 4, "learning_rate": 0.1, "limit": -1.0},
}
STUDY = {
    "name": "structures",
    "task": "generation",
    "task_options": {"formula": "given"},
    "data": {"name": "short", "max_queries_per_molecule": 1},
    "splits": [{"method": "molecule", "parameters": {"fractions": [0.6, 0.2, 0.2]}}],
    "models": [
        "random-structure",
        {"model": "spectrum-to-smiles", "name": "generator", "options": TINY},
        {"model": "tuned-spectrum-to-smiles", "name": "tuned", "start_from": "generator", "options": TUNED},
        {"model": "structure-blend", "name": "blend", "start_from": "generator", "options": {"structures": 4}},
    ],
    "metrics": ["mol-tanimoto@10", "mol-tanimoto@1", "mol-hit@1", "mol-hit@10", "mol-formula@10"],
    "primary_metric": "mol-tanimoto@10",
    "statistics": {"resamples": 100},
    "difficulty": False,
    "budget": {"threads": 1, "device": "cpu"},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The run's folder and the store that its data lie in."""
    home, folder = tmp_path_factory.mktemp("store"), tmp_path_factory.mktemp("made") / "run"
    short = [(name, smiles) for name, smiles in MOLECULES if len(smiles) < 19][:24]
    frame = simulate(molecules=short, energies=(20.0,), replicate_share=0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MSLITMUS_HOME", str(home))
        store.save("short", frame, Ledger((LedgerEntry("made", frame.height),)), {"title": "short"})
        runner.run(StudyConfig.model_validate(STUDY), folder, progress=lambda line: None)
        report.build(folder)
    return folder, home


@pytest.fixture
def run(made, monkeypatch):
    monkeypatch.setenv("MSLITMUS_HOME", str(made[1]))
    torch.set_num_threads(1)
    return made[0]


@pytest.fixture(scope="module")
def tables():
    spec = importlib.util.spec_from_file_location(
        "generation_tables", Path(__file__).parents[2] / "benchmarks" / "generation.py"
    )
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_says_what_answers_are_made_of(run):
    page = (run / "report.html").read_text("utf-8")
    assert 'id="structures"' in page
    section = page[page.index('id="structures"') :]
    section = section[: section.index("</section>")]
    rows = {
        line.split('scope="row"')[1].split("<")[0].split(">")[1]: line
        for line in section.split("\n")
        if '"row"' in line
    }
    assert set(rows) == {"random-structure", "generator", "tuned", "blend"}
    cell = json.loads((run / "cells/molecule/random-structure/seed0/cell.json").read_text())
    assert cell["inference"]["copied"] == 1.0
    assert ">100 %<" in rows["random-structure"]
    assert ">given<" in rows["generator"]
    assert " ms<" in rows["tuned"]
    assert "the structures that the model writes first" in page
    assert "structures with the model’s scores" in page


def test_a_declared_transductive_model_is_flagged_as_such(run, monkeypatch):
    monkeypatch.setattr("mslitmus.audits.batching.SINGLES", 3)
    found = [f for f in batching(evidence_of(run, live=True)) if "tuned" in f.claim]
    assert [f.severity for f in found if "transductive, as it says" in f.claim] == ["warning"]
    assert not [f for f in found if f.severity == "fatal"]


def test_changed_formulae(tables):
    rng = np.random.default_rng(0)
    for text in ("C8H10N4O2", "C6H6", "C2H6O"):
        changes = {tables.changed(text, rng) for _ in range(40)}
        assert text not in changes
        assert len(changes) > 2
        assert all(n >= 0 for each in changes for _, n in parse_formula(each).counts)
    assert tables.changed("C", rng) in {"CH2", "C2H2"}


def test_tables_of_a_run(run, tables, capsys):
    asked = tables.Run.of(run, limit=3)
    assert asked.split == "molecule"
    assert asked.rows("spectrum-to-smiles") == ["generator"]
    everything = asked.evidence.folds("molecule")["test"].height
    rows = tables.strata(asked, ["generator", "tuned"])
    assert rows.filter(stratum="mass", row="tuned")["queries"].sum() == everything
    assert rows.filter(stratum="similarity to train")["level"].unique().to_list() == ["unknown"]
    found = tables.noise(asked, "generator")
    assert found["wrong"].to_list()[:4] == [0.0, 0.0, pytest.approx(2 / 3), 1.0]
    assert found["mol-formula@10"][3] == 0.0
    assert found["mol-formula@10"][0] > 0
    found = tables.constraint(asked, "generator").rows(named=True)
    assert [row["decoding"] for row in found] == ["constraint", "rejection"]
    assert found[0]["valid"] == found[0]["right_formula"] == 1.0
    assert found[0]["answered"] >= found[1]["answered"]
    assert min(row["seconds_each"] for row in found) > 0
    costs = dict(tables.costs(asked, "generator", "tuned").select("what", "seconds").iter_rows())
    assert len(costs) == 7
    assert all(value >= 0 for value in costs.values())
    near = tables.neighbours(asked, "tuned").rows(named=True)
    assert near[0]["search"] == "exact"
    assert near[0]["agreement@32"] == 1.0
    dark = tables.dark(asked, "generator", "tuned")
    assert dict(dark.select("queries", "share").iter_rows())["dark"] == 0.0
    tables.show("dark", dark)
    assert "not dark" in capsys.readouterr().out


def test_one_molecule_has_no_interval(tables):
    assert tables.estimate([0.5, 0.7], ["a", "a"])["low"] is None
    assert tables.estimate([], [])["mean"] is None
    assert isinstance(pl.DataFrame([tables.estimate([0.5, 0.7], ["a", "b"])])["high"][0], float)
