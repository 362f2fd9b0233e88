"""fingerprint-blend: weights found on validation, the cut, and what it refuses."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from mslitmus.errors import ConfigError, ModelError
from mslitmus.models import MODELS
from mslitmus.models.fingerprint.blend import _moved
from mslitmus.models.protocol import FitContext

LOOK_UPS = {
    "members": [
        {"model": "mean-fingerprint"},
        {"model": "nearest-spectrum"},
        {"model": "nearest-spectrum", "options": {"score": "entropy"}},
    ],
    "rounds": 4,
}


@pytest.fixture
def folds(ranking):
    return [ranking[part].drop("candidates", "candidate_smiles") for part in ("train", "val", "queries")]


def closeness(predictions: pl.DataFrame, truth: pl.DataFrame) -> float:
    """Prefers the second member: minus the distance to what it says."""
    values = predictions["fingerprint"].list.explode().to_numpy().reshape(predictions.height, -1)
    return -float(np.abs(values - truth["wanted"].list.explode().to_numpy().reshape(values.shape)).mean())


def test_the_member_that_helps_gets_the_weight(folds, tmp_path):
    train, val, queries = folds
    wanted = MODELS["nearest-spectrum"]()
    wanted.fit(train, val, FitContext(tmp_path))
    val = val.filter(pl.col("smiles").is_not_null())
    val = val.with_columns(wanted=wanted.predict(val)["fingerprint"])
    model = MODELS["fingerprint-blend"](**LOOK_UPS)
    report = model.fit(train, val, FitContext(tmp_path / "blend", score=closeness))
    assert model.weights == (0.0, 1.0, 0.0)
    assert report.notes["weights"] == [0.0, 1.0, 0.0]
    said = model.predict(queries)["fingerprint"].list.explode().to_numpy()
    alone = wanted.predict(queries)["fingerprint"].list.explode().to_numpy()
    assert ((said > 0.5) == (alone > 0.5)).all()
    model.save(tmp_path / "saved")
    assert MODELS["fingerprint-blend"].load(tmp_path / "saved").predict(queries).equals(model.predict(queries))


def test_the_cut_becomes_one_half():
    p = np.array([[0.0, 0.1, 0.3, 0.31, 1.0]])
    moved = _moved(p, 0.3)
    assert moved[0, 2] == pytest.approx(0.5)
    assert (np.diff(moved[0]) > 0).all()


def test_refusals(folds):
    with pytest.raises(ConfigError, match="task 'spectrum-prediction'"):
        MODELS["fingerprint-blend"](members=[{"model": "nearest-spectrum"}, {"model": "precursor-only"}])
    with pytest.raises(ConfigError, match="between 0 and 1"):
        MODELS["fingerprint-blend"](cuts=[0.5, 1.0])
    with pytest.raises(ModelError, match="not fitted"):
        MODELS["fingerprint-blend"](**LOOK_UPS).predict(folds[2])
