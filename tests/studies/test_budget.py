"""A larger budget continues a cell; a smaller one is refused where more was used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mslitmus.data import store
from mslitmus.data.ledger import Ledger, LedgerEntry
from mslitmus.errors import RunError
from mslitmus.provenance import write_json
from mslitmus.studies.budget import continues
from mslitmus.studies.config import BudgetConfig, StudyConfig
from mslitmus.studies.runner import run

CELL = Path("cells/molecule/gin/seed0")


def record(stopped: str = "out of budget (2 epochs)", **budget: float) -> dict:
    history = [{"epoch": 1, "seconds": 5.0}, {"epoch": 2, "seconds": 5.0}]
    return {"budget": budget, "report": {"stopped": stopped, "history": history, "notes": {"steps": 20}}}


@pytest.mark.parametrize(
    ("made", "allowed", "goes_on"),
    [
        (record(max_epochs=2), {"max_epochs": 2}, False),
        (record(max_epochs=2), {"max_epochs": 3}, True),
        (record(max_epochs=2), {}, True),
        (record(max_epochs=2), {"max_epochs": 3, "max_steps": 20}, False),
        (record("all 2 epochs", max_epochs=4), {}, False),
        (record("out of budget (10 s)", max_seconds=10), {"max_seconds": 60}, True),
        ({"report": {"stopped": "nothing to train"}}, {"max_seconds": 60}, False),
        (record("all 2 epochs"), {"max_epochs": 5}, False),
    ],
)
def test_which_cells_go_on(made, allowed, goes_on):
    assert continues(made, BudgetConfig(**allowed), CELL) is goes_on


def test_less_than_was_used_is_refused():
    with pytest.raises(RunError, match="max_epochs 2, of which 2 were used; the study now allows 1") as caught:
        continues(record(max_epochs=2), BudgetConfig(max_epochs=1), CELL)
    assert "--fresh" in caught.value.remedy
    with pytest.raises(RunError, match="no limit"):
        continues(record("all 2 epochs"), BudgetConfig(max_seconds=4), CELL)


def test_a_refused_budget_leaves_the_run_as_it_was(tiny, tmp_path):
    store.save("few", tiny, Ledger((LedgerEntry("made", tiny.height),)), {"title": "few"})
    study = {
        "name": "t",
        "data": {"name": "few"},
        "splits": ["random"],
        "models": ["precursor-only"],
        "metrics": ["cosine@0.1Da"],
        "primary_metric": "cosine@0.1Da",
        "difficulty": False,
        "statistics": {"resamples": 100},
    }
    run(StudyConfig.model_validate(study), tmp_path, progress=lambda line: None)
    fit = tmp_path / "cells/random/precursor-only/seed0/fit.json"
    write_json(fit, {**json.loads(fit.read_text()), **record(max_epochs=2)})
    config = (tmp_path / "config.yaml").read_text()
    with pytest.raises(RunError, match="the study now allows 1"):
        run(StudyConfig.model_validate({**study, "budget": {"max_epochs": 1}}), tmp_path, progress=lambda line: None)
    assert (tmp_path / "config.yaml").read_text() == config
