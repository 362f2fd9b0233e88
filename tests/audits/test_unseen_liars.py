"""Liars and honest models that were written blind: each runs, and each trick pays. What the audits say is not asked."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest
from liar_world import source as small_source

from mslitmus.audits.liars import HONEST, LIARS
from mslitmus.audits.liars.unseen import UNSEEN_HONEST, UNSEEN_LIARS
from mslitmus.models import MODELS
from mslitmus.studies import liars as lab

ABSTAINS = "abstaining ranking"


@pytest.fixture(scope="module")
def world():
    return small_source().world(0, 60)


@pytest.fixture(autouse=True)
def planted(monkeypatch):
    """The models of liars are known for the time of a test."""
    monkeypatch.setattr(MODELS, "_targets", dict(MODELS._all()))
    monkeypatch.setattr(lab, "RESAMPLES", 100)


@pytest.fixture(scope="module")
def other_world():
    """Where a mean over twins pays, as it does in most worlds: with ten test molecules chance has a say."""
    return small_source().world(1, 60)


@pytest.mark.parametrize("group", lab.together("simulated", UNSEEN_LIARS), ids=lambda group: group[0].name)
def test_every_unseen_liar_runs_and_its_trick_pays(group, world, other_world, tmp_path):
    world = other_world if group[0].name == "pool twin" else world
    root, _ = lab.liar_trial(group, world, tmp_path / "it", controls=False)
    scores = pl.read_parquet(root / "scores.parquet").filter(pl.col("fold") == "test")
    metric = lab.STUDIES[group[0].task][1][0]
    for liar in group:
        found = lab.gain(root, liar)
        print(f"{liar.name}: {found}")
        if liar.gains == "row":
            assert found["liar"] > found["honest"], liar.name
        elif liar.gains == "":
            [claim] = liar.claims(scores, liar.name, metric, liar.dose)
            true = _mean(scores, claim)
            print(f"    claims {claim.metric} {claim.value}, true {true:.4f}")
            assert claim.model == liar.name
            assert claim.value.value > true, liar.name


def _mean(scores, claim):
    """True mean over test spectra, or over molecules, as the claim says; seeds alike."""
    rows = scores.filter(pl.col("model") == claim.model)
    if claim.average == "molecule":
        rows = rows.group_by("inchikey14").agg(pl.col(claim.metric).mean())
    return rows[claim.metric].mean()


@pytest.mark.parametrize("liar", [each for each in UNSEEN_LIARS if each.gains == "world"], ids=lambda liar: liar.name)
def test_what_is_planted_unseen_in_the_world_pays(liar, world, tmp_path):
    means = []
    for dose in (0.0, liar.dose):
        root, _ = lab.liar_trial([liar], world, tmp_path / f"dose{dose:g}", dose, controls=False)
        means.append(lab.gain(root, liar)["liar"])
    print(f"{liar.name}: {means}")
    assert means[1] > means[0]


@pytest.mark.parametrize("task", sorted({each.task for each in UNSEEN_HONEST}))
def test_every_unseen_honest_model_runs(task, world, tmp_path, monkeypatch):
    monkeypatch.setitem(lab.STUDIES, task, ((), lab.STUDIES[task][1]))
    root = lab.honest_trial(task, world, tmp_path / "honest", UNSEEN_HONEST)
    summary = pl.read_parquet(root / "summary.parquet").filter(pl.col("fold") == "test")
    assert {each.name for each in UNSEEN_HONEST if each.task == task} <= set(summary["model"])
    print(summary.filter(metric=lab.STUDIES[task][1][0], average="molecule").select("model", "mean", "coverage").rows())
    coverage = dict(summary.select("model", "coverage").iter_rows())
    assert all(share == 1.0 for model, share in coverage.items() if model != ABSTAINS)
    assert coverage.get(ABSTAINS, 0.9) > 0.5


def test_doses_change_what_is_planted(world):
    for liar in UNSEEN_LIARS:
        assert set(liar.doses) <= {dose for dose in liar.doses if 0 < dose <= 1}, liar.name
        full, none = liar.plant(world, liar.dose), liar.plant(world, 0.0)
        assert replace(full, lists=()).folds["identifier"].n_unique() == full.folds.height
        if liar.plant(world, liar.dose) is not world:
            same = full.spectra.equals(none.spectra) and full.folds.equals(none.folds)
            pools = {kind: held.hash for kind, held in full.pools.items()}
            assert not same or pools != {kind: held.hash for kind, held in none.pools.items()}, liar.name


def test_unseen_names_are_nobodys_part():
    rows = [each.name for each in (*LIARS, *HONEST, *UNSEEN_LIARS, *UNSEEN_HONEST)]
    assert len(set(rows)) == len(rows)
    assert len(UNSEEN_LIARS) >= 8
    assert len(UNSEEN_HONEST) >= 4
    assert {each.task for each in UNSEEN_LIARS} == {"retrieval", "fingerprint", "spectrum-prediction"}
