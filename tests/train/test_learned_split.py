"""Learning to Split: the losses are what they say, the gap grows with a planted bias and not without."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from mslitmus.cli.app import app
from mslitmus.data import store
from mslitmus.data.ledger import Ledger, LedgerEntry
from mslitmus.data.splits import make_split
from mslitmus.errors import ConfigError, SplitError
from mslitmus.train.learned_split import Settings, learn_split
from mslitmus.train.split_items import Items, fold_table, learned
from mslitmus.train.splitter import Splitter, SplitterOptions, gap_loss, label_loss, ratio_loss

QUICK = Settings(rounds=8, patience=4, splitter=SplitterOptions(hidden=16, rate=5e-3, steps=30, epochs=12))


@pytest.mark.parametrize("loss", ["ratio", "label", "gap"])
def test_gradients_are_those_of_the_losses(loss):
    rng = np.random.default_rng(0)
    p, labels, correct = rng.uniform(0.1, 0.9, 12), rng.integers(0, 3, 12), rng.integers(0, 2, 12).astype(float)
    of = {
        "ratio": lambda q: ratio_loss(q, 0.75), "label": lambda q: label_loss(q, labels, 3),
        "gap": lambda q: gap_loss(q, correct),
    }[loss]  # fmt: skip
    step = 1e-6
    for i in range(len(p)):
        more, less = p.copy(), p.copy()
        more[i] += step
        less[i] -= step
        assert of(p)[1][i] == pytest.approx((of(more)[0] - of(less)[0]) / (2 * step), abs=1e-5)


def test_losses_vanish_where_all_is_as_wanted():
    assert ratio_loss(np.full(8, 0.75), 0.75)[0] == pytest.approx(0)
    assert label_loss(np.full(8, 0.6), np.arange(8) % 2, 2)[0] == pytest.approx(0)
    assert gap_loss(np.array([1.0, 0.0]), np.array([1.0, 0.0]))[0] == pytest.approx(0, abs=1e-5)


def biased(planted: bool, n: int = 600, seed: int = 0):
    """Items of two kinds that x tells; a predictor answers right for the kind it saw more of in train, else by chance.
    Without the bias it is right by chance for all."""
    rng = np.random.default_rng(seed)
    kind = rng.random(n) < 0.3
    x = np.column_stack([kind, rng.normal(0, 1, (n, 3))]).astype(np.float32)
    luck = rng.random(n) < 0.6

    def predict(train: np.ndarray, asked: np.ndarray) -> np.ndarray:
        common = kind[train].mean() > 0.5
        known = kind[asked] == common
        return (known | (luck[asked] & (rng.random(len(asked)) < 0.3)) if planted else luck[asked]).astype(float)

    return x, rng.integers(0, 2, n), predict


@pytest.mark.parametrize("seed", range(3))
def test_the_gap_grows_with_a_planted_bias_and_not_without(seed):
    settings = replace(QUICK, threshold=0.5, seed=seed)
    found = learn_split(*biased(True, seed=seed), settings)
    assert abs(found.first.gap) < 0.15  # a random split shows nothing
    assert found.best.gap > 0.4
    assert np.bincount(found.folds, minlength=3).min() > 30
    without = learn_split(*biased(False, seed=seed), settings)
    assert without.best.gap < 0.25
    shuffled = learn_split(*biased(True, seed=seed), settings, shuffled=True)
    assert shuffled.best.gap < found.best.gap - 0.2


def test_the_same_seed_gives_the_same_split():
    one, two = (learn_split(*biased(True), replace(QUICK, threshold=0.5)) for _ in range(2))
    assert (one.folds == two.folds).all()


def test_a_side_that_runs_empty_costs_nothing(monkeypatch):
    """A splitter that sends everything to one side: the round is drawn by rank, the best so far is kept."""
    x, labels, predict = biased(True)
    honest = Splitter.probabilities
    asked = []

    def collapsing(self, rows):
        asked.append(honest(self, rows))
        return asked[-1] if len(asked) % 2 else np.full(len(rows), 0.0 if len(asked) % 4 else 1.0)

    monkeypatch.setattr(Splitter, "probabilities", collapsing)
    said: list[str] = []
    found = learn_split(x, labels, predict, replace(QUICK, threshold=0.5, patience=8), say=said.append)
    assert len(found.rounds) == QUICK.rounds
    assert [r.number for r in found.rounds if r.by_rank] == [2, 4, 6]
    assert all(len(x) / 8 < r.test_items < len(x) / 2 for r in found.rounds if r.by_rank)
    assert found.best.gap == max(r.gap for r in found.rounds) > 0.4
    assert np.bincount(found.folds, minlength=3).min() > 30
    assert sum("drawn by rank" in line for line in said) == 3


def test_a_ratio_that_leaves_no_test_side_is_refused():
    with pytest.raises(SplitError, match="empty by its ratio"):
        learn_split(*biased(False, n=24), replace(QUICK, ratio=0.99))


def test_too_few_items_are_refused():
    with pytest.raises(SplitError, match="too few"):
        learn_split(np.zeros((5, 2), np.float32), np.zeros(5, np.int64), lambda a, b: np.zeros(len(b)))


@pytest.mark.parametrize("unit", ["molecule", "spectrum"])
def test_folds_of_a_dataset_are_read_by_the_split_folds(tiny, tmp_path, unit):
    items = Items.of(tiny, unit)
    found, record = learned(items, "nearest", replace(QUICK, rounds=2), lambda line: None)
    fold_table(items, found).write_csv(tmp_path / "learned.csv")
    split = make_split(tiny, "folds", path=tmp_path / "learned.csv")
    split.check(tiny)
    assert split.disjoint == (("inchikey14",) if unit == "molecule" else ())
    assert set(record["beside"]) == {"linear", "nearest", "oracle"}
    assert 0 < record["beside"]["oracle"]["learned"] <= 1
    assert record["gap"] >= record["gap_random"]


def test_predictors_answer_what_they_were_shown(tiny):
    items = Items.of(tiny, "spectrum")
    rows = np.arange(len(items.keys))
    assert items.predictor("nearest")(rows, rows).mean() > 0.9
    assert items.predictor("linear")(rows, rows).mean() > 0.3
    assert items.oracle(rows, rows) == pytest.approx(np.ones(len(rows)))
    with pytest.raises(ConfigError, match="no predictor"):
        items.predictor("guess")


def test_the_command_writes_folds_and_record(tiny, tmp_path):
    from typer.testing import CliRunner

    store.save("few", tiny, Ledger((LedgerEntry("made", tiny.height),)), {"title": "few"})
    out = tmp_path / "learned.csv"
    done = CliRunner().invoke(app, ["learn-split", "few", "--out", str(out), "--rounds", "1", "--predictor", "nearest"])
    assert done.exit_code == 0, done.output
    assert pl.read_csv(out).columns == ["inchikey14", "fold"]
    assert out.with_suffix(".json").exists()
