"""What a threshold promises: the Clopper–Pearson bound of what the calibration accepted."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from mslitmus.search import confidence
from mslitmus.search.evaluation import _thresholds
from mslitmus.search.promise import Promise, behind, needed, upper


def world(n: int, seed: int = 0) -> pl.DataFrame:
    """Answers of n molecules, one each; the score says how often they are right."""
    rng = np.random.default_rng(seed)
    score = rng.uniform(0.2, 1, n)
    right = rng.uniform(size=n) < 1 / (1 + np.exp(-12 * (score - 0.5)))
    names = [f"m{k:05d}" for k in range(n)]
    blank = pl.lit(None, pl.Float64)
    table = pl.DataFrame({"identifier": names, "inchikey14": names, "score": score, "lead": score - 0.2, "second": 0.2})
    return table.with_columns(
        matched_peaks=pl.lit(5, pl.Int32), right=pl.Series(right), explained=blank, explained_library=blank
    )


def test_the_bound_is_that_of_clopper_and_pearson():
    assert upper(59, 0) == pytest.approx(1 - 0.05 ** (1 / 59))
    assert (needed(0.05), needed(0.01)) == (59, 299)
    assert upper(58, 0) > 0.05 > upper(59, 0)
    assert upper(20, 1) == pytest.approx(0.2161, abs=1e-4)  # of the tables
    assert upper(0, 0) == upper(3, 3) == 1.0
    assert not Promise(0.05, 59, 0).few
    assert "too few to promise 5% (59 with none wrong could); no probability promises 5%" in Promise(0.05, 12, 0).told()
    p, right = np.array([0.9, 0.5, 0.9, 0.1]), np.array([1.0, 0.0, 0.0, 1.0])
    accepted, wrong = behind(np.array([0.1, 0.5, 0.9]), p, right, np.array([1.0, 0.5, 0.5, 1.0]))
    assert accepted == pytest.approx((3.0, 2.0, 1.5))
    assert wrong == pytest.approx((1.0, 1.0, 0.5))


def test_few_molecules_give_a_threshold_and_no_promise(tmp_path):
    few, many = confidence.fit(world(100)), confidence.fit(world(4000))
    assert few.threshold(0.1) is not None
    assert few.promise(0.05).few
    assert few.promise(0.05).sure_from is None
    found = many.promise(0.1)
    assert not found.few
    assert 0.08 < found.wrong / found.accepted < 0.1 < found.bound < 0.12
    assert many.threshold(0.1) < found.sure_from < 1  # what is promised accepts fewer than the best guess
    assert few.promise(0.001) is None
    few.save(tmp_path / "c.json")
    assert confidence.load(tmp_path / "c.json").promise(0.1) == few.promise(0.1)
    told = json.loads((tmp_path / "c.json").read_text())
    del told["accepted"], told["wrong"]  # a file of an earlier version does not tell
    (tmp_path / "c.json").write_text(json.dumps(told))
    old = confidence.load(tmp_path / "c.json")
    assert old.promise(0.1) is None
    assert old.threshold(0.1) == few.threshold(0.1)
    test = world(300, 1)
    rows = {row["wanted"]: row for row in _thresholds(few, test.with_columns(probability=few.probability(test)))}
    assert rows[0.05]["few"] is True
    assert "too few to promise 5%" in rows[0.05]["promise"]
    assert rows[0.01]["promise"] is None  # there is no threshold at all
