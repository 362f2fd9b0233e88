"""Rankings as arrays: whatever the order of a predictions file, and first places as a plain count has them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from mslitmus.audits.evidence import CellKey, Evidence
from mslitmus.audits.finding import RunTables
from mslitmus.audits.rankings import align, laid_scores, layout, share_of_best, tops

KEY = CellKey("molecule", "net", 0)


@pytest.fixture
def run() -> tuple[Evidence, pl.DataFrame]:
    """Two queries of A (a pool of 4, the truth third), one of B (3, without its truth), one of C (no pool)."""
    pools = pl.DataFrame(
        {"molecule": list("AAAABBB"), "candidate": ["x", "y", "A", "z", "x", "A", "w"]}
    )  # fmt: skip
    folds = {
        "test": pl.DataFrame({"identifier": ["a1", "b1", "c1", "a2"], "inchikey14": ["A", "B", "C", "A"]}),
        "val": pl.DataFrame({"identifier": ["a3"], "inchikey14": ["A"]}),
    }
    predictions = pl.DataFrame(
        {
            "identifier": ["a3"] * 4 + ["a1"] * 4 + ["b1"] * 3 + ["a2"] * 4,
            "candidate": ["x", "y", "A", "z"] * 2 + ["x", "A", "w"] + ["x", "y", "A", "z"],
            "score": [9.0, 8, 7, 6, 1, 3, 3, 0, 5, 5, 1, 4, 2, 1, 0],
        }
    )
    tables = RunTables(pl.DataFrame(), pl.DataFrame(), {"net": "trained"}, {"molecule": {}}, "mrr")
    task = SimpleNamespace(name="retrieval", pools=SimpleNamespace(pools=pools))
    given = Evidence(tables, task=task, read_folds=lambda split: folds, read_predictions=lambda key: predictions)  # type: ignore[arg-type]
    return given, predictions


def test_scores_lie_along_the_pools_in_any_order(run):
    given, predictions = run
    laid = layout(given, "molecule")
    assert laid.rows["identifier"].to_list() == ["a1", "b1", "a2"]  # c1 has no pool
    assert laid.truth.tolist() == [2, -1, 9]
    straight = laid_scores(given, KEY)
    assert straight.tolist() == [1, 3, 3, 0, 5, 5, 1, 4, 2, 1, 0]
    assert laid_scores(given, KEY, "val").tolist() == [9, 8, 7, 6]
    for seed in range(5):
        shuffled = predictions.sample(fraction=1.0, shuffle=True, seed=seed)
        assert align(laid, shuffled).tolist() == straight.tolist()


def test_what_is_missing_or_strange_is_no_score(run):
    given, predictions = run
    laid = layout(given, "molecule")
    less = predictions.filter(~((pl.col("identifier") == "a1") & (pl.col("candidate") == "y")))
    odd = pl.DataFrame({"identifier": ["a1", "nobody"], "candidate": ["unheard of", "x"], "score": [99.0, 99.0]})
    found = align(laid, pl.concat([odd, less]))
    assert np.isnan(found[1])
    assert found[[0, *range(2, 11)]].tolist() == [1, 3, 0, 5, 5, 1, 4, 2, 1, 0]
    twice = pl.concat([less, pl.DataFrame({"identifier": ["a1"], "candidate": ["x"], "score": [7.0]})])
    assert align(laid, twice)[0] == 1  # the first of two
    assert np.isnan(align(laid, predictions.head(0))).all()


def test_first_places_are_those_of_a_plain_count(run):
    laid = layout(run[0], "molecule")
    random = np.random.default_rng(0)
    for _ in range(50):
        scores = random.integers(0, 4, 11).astype(float)
        scores[random.random(11) < 0.3] = np.nan
        marked = random.random(11) < 0.5
        found, share = tops(laid, scores), share_of_best(laid, scores, marked)
        for q, (a, b) in enumerate(zip(laid.offsets[:-1], laid.offsets[1:], strict=True)):
            here = scores[a:b]
            known = np.sort(here[~np.isnan(here)])[::-1]
            if not len(known):
                assert np.isnan([found.best[q], found.second[q], share[q]]).all()
                continue
            assert (found.best[q], found.second[q]) == (known[0], known[min(1, len(known) - 1)])
            assert found.tied[q] == (known == known[0]).sum()
            assert share[q] == pytest.approx(marked[a:b][here == known[0]].mean())
        assert np.array_equal(found.own, [scores[2], np.nan, scores[9]], equal_nan=True)
