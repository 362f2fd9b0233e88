"""Liars and honest models go through the ordinary pipeline, and every trick pays."""

from __future__ import annotations

from importlib.util import find_spec

import polars as pl
import pytest
from liar_world import source as small_source

from mslitmus.audits.liars import HONEST, LIARS
from mslitmus.audits.liars import liar as kinds
from mslitmus.models import MODELS
from mslitmus.studies import liars as lab
from mslitmus.studies import verdicts

TORCH = find_spec("torch") is not None
GROUPS = lab.together("simulated")


@pytest.fixture(scope="module")
def world():
    return small_source().world(0, 60)


@pytest.fixture(autouse=True)
def planted(monkeypatch):
    """The models of liars are known for the time of a test."""
    monkeypatch.setattr(MODELS, "_targets", dict(MODELS._all()))
    monkeypatch.setattr(lab, "RESAMPLES", 100)


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group[0].name)
def test_every_liar_runs_and_its_trick_pays(group, world, tmp_path):
    root, planted_world = lab.liar_trial(group, world, tmp_path / "it", controls=False)
    scores = pl.read_parquet(root / "scores.parquet")
    metric = lab.STUDIES[group[0].task][1][0]
    for liar in group:
        found = lab.gain(root, liar)
        if liar.gains == "row":
            assert found["liar"] > found["honest"], liar.name
        for claim in liar.claims(scores, liar.name, metric, liar.dose):
            assert claim.model == liar.name
    assert planted_world.seed == world.seed


@pytest.mark.parametrize("liar", [each for each in LIARS if each.gains == "world"], ids=lambda liar: liar.name)
def test_what_is_planted_in_the_world_pays(liar, world, tmp_path):
    means = []
    for dose in (0.0, liar.dose):
        root, _ = lab.liar_trial([liar], world, tmp_path / f"dose{dose:g}", dose, controls=False)
        means.append(lab.gain(root, liar)["liar"])
    assert means[1] > means[0]


@pytest.mark.parametrize("task", sorted({each.task for each in HONEST}))
def test_every_honest_model_runs(task, world, tmp_path, monkeypatch):
    few = {"epochs": 1, "batch_size": 64}
    chosen = [e for e in HONEST if e.task == task and (TORCH or "training" not in e.row.get("options", {}))]
    quick = [kinds.Honest(e.name, e.task, _quick(e.row, few), e.about, e.task_options) for e in chosen]
    monkeypatch.setattr(lab, "HONEST", tuple(quick))
    monkeypatch.setitem(lab.STUDIES, task, ((), lab.STUDIES[task][1]))
    root = lab.honest_trial(task, world, tmp_path / "honest")
    summary = pl.read_parquet(root / "summary.parquet")
    assert {each.name for each in quick} <= set(summary["model"])
    assert summary.filter(pl.col("fold") == "test")["coverage"].min() == 1.0


def _quick(row, few):
    return {**row, "options": {**row["options"], "training": few}} if "training" in row.get("options", {}) else row


def test_a_trial_is_examined_and_judged(world, tmp_path):
    liar = next(each for each in LIARS if each.name == "memoriser")
    root, planted_world = lab.liar_trial([liar], world, tmp_path / "it", controls=False)
    table = lab.examine_trial(root, planted_world, [liar], "simulated", names=["overlap", "denominators"])
    assert table.schema == pl.Schema(lab.FINDINGS)
    assert set(table["audit"]) == {"overlap", "denominators"}
    row = verdicts.verdicts(table).row(0, named=True)
    assert row["ran"] == ["overlap"]
    assert row["missed"] == (row["caught"] == [])
    assert liar.name in verdicts.detection_table(table)


def test_the_smaller_dose_is_part_of_the_larger():
    names = [f"m{k}" for k in range(50)]
    assert kinds.share(names, 0.1, "x") < kinds.share(reversed(names), 0.5, "x")
    assert kinds.share(names, 1.0, "x") == set(names)


def test_a_claim_names_whole_rows():
    models = ["perceptron", "ranking perceptron", "nearest-spectrum"]
    assert lab.named("ranking perceptron on split molecule", models) == ["ranking perceptron"]
    assert lab.named("nearest-spectrum, then perceptron", models) == ["nearest-spectrum", "perceptron"]
    assert lab.named("a multi-perceptron", models) == []


def _findings(rows):
    base = {"source": "simulated", "seed": 0, "dose": 1.0, "not_run": None, "error": None, "seconds": 0.0}
    return pl.DataFrame([{**base, **row} for row in rows], schema=lab.FINDINGS)


def test_verdicts_keep_to_their_rules():
    liar = {"subject": "position scorer", "honest": False}
    honest = {"subject": "fingerprint", "honest": True, "dose": 0.0}
    table = _findings(
        [
            {**liar, "audit": "candidates", "severity": "fatal", "claim": "c", "names": []},
            {**liar, "audit": "trivial", "severity": "warning", "claim": "c", "names": ["nearest-spectrum"]},
            {**liar, "audit": "ladder", "severity": "warning", "claim": "c", "names": ["position scorer"]},
            {**honest, "audit": "trivial", "severity": "warning", "claim": "c", "names": ["beginner"]},
            {**honest, "audit": "batching", "severity": "warning", "claim": "c", "names": ["perceptron"]},
            {**honest, "audit": "trivial", "severity": "fatal", "claim": "c", "names": ["mixed look-up"]},
            {**honest, "audit": "labels", "severity": "warning", "claim": "c", "names": []},
        ]
    )
    [row] = verdicts.verdicts(table).rows(named=True)
    assert (row["caught"], row["noticed"], row["missed"]) == (["candidates"], ["ladder"], False)
    accused = dict(verdicts.accusations(table).select("model", "audits").iter_rows())
    assert accused["perceptron"] == ["batching"]
    assert accused["mixed look-up"] == ["trivial"]
    assert accused["beginner"] == []
    alarms = verdicts.clean_alarms(table).filter(pl.col("alarms") > 0)
    assert alarms["audit"].to_list() == ["labels"]
    assert "labels" in verdicts.false_alarm_table(table)
    assert "1 / 1" in verdicts.power_table(table)
    assert verdicts.missed_by(table)["position scorer"] == (0, 1)


def test_names_are_nobodys_part():
    rows = [each.name for each in (*LIARS, *HONEST)]
    assert len(set(rows)) == len(rows)
    assert len(LIARS) >= 14
    assert len(HONEST) >= 6
