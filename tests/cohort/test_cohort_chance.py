"""Chance in small studies: shuffles share folds, and what is fitted on them, without a change of the answer."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

pytest.importorskip("sklearn", reason="the extra cohort is not installed")

from mslitmus.cohort import learners, prediction
from mslitmus.cohort.asking import View, _blocks
from mslitmus.cohort.groups import Grouping, folds
from mslitmus.cohort.learners import classify, ridge
from mslitmus.cohort.pooled import Pooled, _drawn
from mslitmus.cohort.prediction import Asked, classification
from mslitmus.cohort.representation import Summary
from mslitmus.cohort.samples import Sheet
from mslitmus.cohort.settings import CohortSettings

HOW = CohortSettings(folds=5, inner_folds=2, seeds=1, permutations=39, bootstraps=100)
N = 20
LABELS = np.arange(N) % 2


def run(seed, shift=0.0, n=30, d=4):
    x = np.random.default_rng(seed).normal(shift, 1, (n, d)).astype(np.float32)
    low = np.quantile(x, (0.1, 0.5, 0.9), axis=0).astype(np.float32)
    return Summary(np.arange(d), x.sum(0), x.mean(0), x.max(0), n, low, x.astype(np.float16))


def asked(shift=0.0, aggregations=("mean",), how=HOW):
    rows = pl.DataFrame({"sample": [f"s{k}" for k in range(N)], "group": ["xy"[k] for k in LABELS]})
    pooled = Pooled([run(k, shift * LABELS[k]) for k in range(N)], False)
    about = {"acquisition": "all", "representation": "e"}
    return Asked(rows, Grouping(np.arange(N), ()), pooled, aggregations, about, how)


def shuffles(how=HOW):
    outer = folds(np.arange(N), LABELS, how, how.seed)
    return outer, list(prediction._mixed(LABELS, np.arange(N), outer, prediction._fold_of(outer, N), how))


def test_families_of_shuffles_share_folds_with_even_classes():
    outer, made = shuffles()
    assert len(made) == HOW.permutations
    partitions = {}
    for mixed, drawn in made:
        assert mixed.sum() == LABELS.sum()
        for _, test in drawn:
            assert mixed[test].sum() * 2 == test.size
        partitions.setdefault(tuple(prediction._fold_of(drawn, N)), []).append(tuple(mixed))
    assert sorted(map(len, partitions.values())) == [9, 10, 10, 10]  # the true labels are the tenth of the first
    assert len(partitions[tuple(prediction._fold_of(outer, N))]) == 9
    again = [tuple(mixed) for mixed, _ in shuffles()[1]]
    assert again == [tuple(mixed) for mixed, _ in made]


def test_clusters_are_fitted_once_for_each_training_side(monkeypatch):
    fitted = []
    original = Pooled._clusters
    monkeypatch.setattr(
        Pooled, "_clusters", lambda self, train: fitted.append(train.tobytes()) or original(self, train)
    )
    classification(asked(aggregations=("mean", "kmeans")), "group")
    assert len(fitted) == len(set(fitted))
    assert len(fitted) <= 4 * 5  # in place of 40 × 5


def test_p_of_nothing_is_even_and_of_something_small():
    found = [
        row["p_permutation"]
        for seed in range(12)
        for row in classification(asked(0.0, how=HOW.model_copy(update={"seed": seed})), "group").results
        if row["seed"] == "all"
        and row["aggregation"] == "chosen"
        and row["metric"] == "macro-f1"
        and "chance_mean" in row
    ]
    assert min(found) > 0.02
    clear = classification(asked(2.0), "group").results[0]
    assert clear["p_permutation"] <= 2 / 40


def test_few_columns_are_solved_to_the_same_answer(monkeypatch):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 8)), rng.normal(size=(20, 2))
    gram, train, test = x @ x.T, np.arange(20), np.arange(20, 30)
    weights = rng.uniform(0.2, 3, 20)
    labels = rng.integers(0, 3, 30)
    direct = ridge(gram, train, test, y, weights), classify(gram, train, test, labels, 3, "ridge")
    monkeypatch.setattr(learners, "_FEW", 0)
    turned = ridge(gram, train, test, y, weights), classify(gram, train, test, labels, 3, "ridge")
    for a, b in zip(direct, turned, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10)


def test_spectra_are_drawn_as_from_one_table(monkeypatch):
    from mslitmus.cohort import pooled

    rng = np.random.default_rng(0)
    parts = [rng.normal(size=(n, 3)).astype(np.float16) for n in (5, 0, 9, 4)]
    whole = np.concatenate(parts).astype(np.float32)
    assert (_drawn(parts, np.random.default_rng(1)) == whole).all()
    monkeypatch.setattr(pooled, "_FITTED_ON", 7)
    chosen = np.random.default_rng(1).choice(18, 7, replace=False)
    assert (_drawn(parts, np.random.default_rng(1)) == whole[chosen]).all()


def test_shares_of_clusters_do_not_depend_on_the_calls_they_come_from(monkeypatch):
    from mslitmus.cohort import pooled

    runs = [run(0), run(1), Summary(*vars(run(2)).values()), run(3)]
    train = np.arange(4)
    before = Pooled(runs, False).matrix("kmeans", train)
    monkeypatch.setattr(pooled, "_ASSIGNED", 1)
    np.testing.assert_allclose(Pooled(runs, False).matrix("kmeans", train), before)
    np.testing.assert_allclose((before**2).sum(axis=1), 1)


def test_only_one_answer_is_of_all_targets():
    """Numbers known of other samples are asked by themselves: two answers of one name could not be told apart."""
    rows = pl.DataFrame({
        "a": [1.0, 2, 3, None], "b": [2.0, 1, 3, None], "c": [1.0, 2, 5, None],
        "d": [1.0, 2, 3, 4], "e": [4.0, 2, 3, 1],
    })  # fmt: skip
    view = View("all", rows, (pl.Series(list("wxyz")),))
    blocks = _blocks(view, Sheet(rows, (), ("a", "b", "c", "d", "e")))
    assert [names for names, _, _ in blocks] == [("a", "b", "c"), ("d",), ("e",)]
