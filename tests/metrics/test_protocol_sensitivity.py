"""Flips between protocols on scores whose truth is known."""

from __future__ import annotations

import numpy as np
import polars as pl

from mslitmus.metrics.sensitivity import firm, flipped, rankings, taus

METRICS = ["cosine@0.1Da", "entropy@0.1Da", "cosine@1Da"]
KEY = {"split": "s", "energies": "single", "pool": None}
HEADLINE = {"metric": METRICS[0], "energies": "single", "pool": None, "average": "molecule"}


def values(molecules: int = 80) -> tuple[np.ndarray, np.ndarray]:
    """a leads by cosine and b by entropy; c is far behind; under the third metric a and b are equal but for noise."""
    rng = np.random.default_rng(1)
    codes = np.repeat(np.arange(molecules), 2)
    hard = rng.uniform(-0.1, 0.1, codes.size)
    means = np.array([[0.6, 0.4, 0.5], [0.5, 0.5, 0.5], [0.1, 0.1, 0.1]])  # (models, metrics)
    noise = rng.normal(0, 0.02, (codes.size, 3, 3))
    return np.clip(means[None] + hard[:, None, None] + noise, 0, 1), codes


def test_a_flip_is_found_and_is_firm_where_both_orders_are():
    scored, codes = values()
    boards, tests = rankings(scored, codes, ["a", "b", "c"], METRICS, KEY, flips=999)
    assert boards.height == 3 * 3 * 2
    assert tests.height == 3 * 3 * 2
    marked = boards.with_columns(headline=(pl.col("metric") == METRICS[0]) & (pl.col("average") == "molecule"))
    found = flipped(tests, HEADLINE)
    sure = found.filter(firm())
    assert set(sure["metric"]) == {"entropy@0.1Da"}
    assert set(sure.select("model_a", "model_b").iter_rows()) == {("a", "b")}  # a before b as reported
    assert (sure["difference"] > 0).all()
    assert (sure["headline_difference"] > 0.05).all()
    tau = {(r["metric"], r["average"]): r["tau"] for r in taus(marked).iter_rows(named=True)}
    assert tau["cosine@0.1Da", "spectrum"] == 1.0
    assert abs(tau["entropy@0.1Da", "molecule"] - 1 / 3) < 1e-12


def test_averages_differ_where_molecules_have_unlike_numbers_of_spectra():
    codes = np.array([0, 0, 0, 1])
    scored = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 0.9]])[:, :, None]
    boards, _ = rankings(scored, codes, ["many", "one"], METRICS[:1], KEY, flips=99)
    mean = {(r["model"], r["average"]): (r["mean"], r["rank"]) for r in boards.iter_rows(named=True)}
    assert mean["many", "molecule"] == (0.5, 1)
    assert mean["one", "molecule"][0] == 0.45
    assert mean["many", "spectrum"] == (0.75, 1)


def test_one_model_has_no_pairs():
    scored, codes = values(5)
    boards, tests = rankings(scored[:, :1], codes, ["a"], METRICS, KEY)
    assert tests.is_empty()
    assert boards["rank"].to_list() == [1] * 6
