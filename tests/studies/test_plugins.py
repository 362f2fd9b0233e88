"""Models from elsewhere: the example of CONTRIBUTING as a row of a study, and models that do not keep their word."""

from __future__ import annotations

import re
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

import polars as pl
import pytest
import yaml

from mslitmus import models, registry
from mslitmus.data import store
from mslitmus.data.ledger import Ledger, LedgerEntry
from mslitmus.errors import ConfigError, MslitmusError
from mslitmus.models.bridges import bridge
from mslitmus.registry import PLUGIN_GROUP, Registry
from mslitmus.studies import config, files, runner

ROOT = Path(__file__).parents[2]
STUDY = {
    "name": "t",
    "data": {"name": "few"},
    "splits": ["random"],
    "metrics": ["cosine@0.1Da"],
    "primary_metric": "cosine@0.1Da",
    "statistics": {"resamples": 100},
}


@pytest.fixture
def example(monkeypatch):
    """The class of CONTRIBUTING.md in a module of its own, offered by its own entry point."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    code = re.search(r"```python\n(# my_package/adduct_mean\.py\n.*?)```", text, re.DOTALL)
    line = re.search(r'^"(model\.adduct-mean)" = "(.+)"$', text, re.MULTILINE)
    assert code
    assert line
    name, target = line.groups()
    package, module = ModuleType("my_package"), ModuleType(target.partition(":")[0])
    exec(code[1], module.__dict__)
    monkeypatch.setitem(sys.modules, "my_package", package)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    offered = Registry("model", dict(models.MODELS._targets))
    monkeypatch.setattr(registry, "entry_points", lambda group: [EntryPoint(name, target, PLUGIN_GROUP)])
    for user in (models, config, bridge):
        monkeypatch.setattr(user, "MODELS", offered)
    return module.AdductMean


@pytest.fixture
def study(tiny, tmp_path):
    """Runs a study of these models; returns its summary on test, per spectrum."""
    store.save("few", tiny, Ledger((LedgerEntry("made", tiny.height),)), {"title": "few"})

    def run(rows: list) -> pl.DataFrame:
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump({**STUDY, "models": rows}))
        folder = runner.run(files.load(path), tmp_path / "run", progress=lambda _: None)
        table = pl.read_parquet(folder / "summary.parquet")
        return table.filter((pl.col("fold") == "test") & (pl.col("average") == "spectrum") & pl.col("seed").is_null())

    return run


def test_the_example_of_contributing_is_a_row_of_a_study(example, study):
    text = (ROOT / "CONTRIBUTING.md").read_text()
    rows = yaml.safe_load(re.search(r"```yaml\n(models:.*?)```", text, re.DOTALL)[1])["models"]
    board = study(rows)
    row = board.filter(pl.col("model") == "adduct-mean").row(0, named=True)
    assert row["coverage"] == 1.0
    assert row["mean"] > 0
    with pytest.raises(ConfigError, match="peeks"):
        study([{"model": "adduct-mean", "options": {"peeks": 3}}])


def test_unanswered_queries_count_as_failures(example, study, monkeypatch):
    whole = study(["adduct-mean"]).row(0, named=True)
    answer = example.predict
    monkeypatch.setattr(example, "predict", lambda self, queries: answer(self, queries).head(1))
    few = study([{"model": "adduct-mean", "name": "few", "allow_missing": True}]).row(0, named=True)
    assert few["coverage"] < 0.2
    assert few["n_queries"] == whole["n_queries"]
    assert few["mean"] < whole["mean"]


def spoilt(expression: pl.Expr):
    return lambda answer: answer.with_columns(expression)


WRONG = {
    "NaN": (spoilt(pl.col("intensities").list.eval(pl.element() * float("nan"))), "not a spectrum"),
    "descending m/z": (spoilt(pl.col("mzs").list.reverse()), "not ascending"),
    "other queries": (spoilt(pl.col("identifier") + "x"), "not among the queries"),
    "twice": (lambda answer: pl.concat([answer, answer]), "more than once"),
    "no table": (lambda answer: answer.to_dicts(), "predicted a list"),
    "nothing": (lambda answer: None, "predicted a NoneType"),
}


@pytest.mark.parametrize("case", WRONG)
def test_answers_that_are_none_are_refused_and_the_model_named(example, study, monkeypatch, case):
    change, message = WRONG[case]
    answer = example.predict
    monkeypatch.setattr(example, "predict", lambda self, queries: change(answer(self, queries)))
    with pytest.raises(MslitmusError, match=message) as caught:
        study(["adduct-mean"])
    assert "cells/random/adduct-mean/seed0" in str(caught.value)


def test_models_that_lack_something_are_refused_before_any_work(example, study, monkeypatch):
    monkeypatch.setattr(example, "kind", "Blind")
    with pytest.raises(ConfigError, match=r"study\.yaml:\d+: model 'adduct-mean' is of kind 'Blind'"):
        study(["adduct-mean"])
    monkeypatch.delattr(example, "save")
    with pytest.raises(ConfigError, match="model 'adduct-mean' has no save"):
        study(["adduct-mean"])
