from __future__ import annotations

import polars as pl
import pytest

from mslitmus.errors import PredictionError
from mslitmus.tasks import TASKS


@pytest.fixture
def task():
    return TASKS["spectrum-prediction"]()


def predictions(**change):
    row = {"identifier": ["q1", "q2"], "mzs": [[50.0, 60.0], [70.0]], "intensities": [[1.0, 0.2], [1.0]]}
    return pl.DataFrame({**row, **change})


QUERIES = pl.DataFrame({"identifier": ["q1", "q2", "q3"]})


def test_good_predictions_pass(task):
    assert task.check(predictions(), QUERIES).height == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"identifier": ["q1", "q1"]}, "more than once: 'q1'"),
        ({"identifier": ["q1", "zz"]}, "not among the queries: 'zz'"),
        ({"mzs": [[50.0], [70.0]]}, "not a spectrum .*'q1'"),
        ({"intensities": [[1.0, float("nan")], [1.0]]}, "not a spectrum .*'q1'"),
        ({"intensities": [[1.0, 0.1], [-1.0]]}, "not a spectrum .*'q2'"),
        ({"mzs": [[50.0, float("inf")], [70.0]]}, "not a spectrum .*'q1'"),
        ({"mzs": [[60.0, 50.0], [70.0]]}, "not ascending: 'q1'"),
        ({"mzs": [None, [70.0]]}, "not a spectrum .*'q1'"),
        ({"mzs": ["many", "peaks"]}, "does not cast|not a spectrum"),
    ],
)
def test_bad_predictions_are_named(task, change, message):
    with pytest.raises(PredictionError, match=message):
        task.check(predictions(**change), QUERIES)


def test_a_missing_column_is_named(task):
    with pytest.raises(PredictionError, match="columns absent: mzs"):
        task.check(predictions().drop("mzs"), QUERIES)


def test_queries_hide_the_truth(task, tiny):
    shown = task.queries(tiny)
    assert not set(task.target) & set(shown.columns)
    assert task.eligible(tiny).height == tiny.height
    assert task.eligible(tiny.with_columns(smiles=pl.lit(None, pl.String))).is_empty()
