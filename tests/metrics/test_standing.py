"""Ranks, orderings and margins of a grid, against worked examples and simulated truth."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.stats import kendalltau

from mslitmus.metrics.factors import factors, grid_of
from mslitmus.metrics.orderings import orderings
from mslitmus.metrics.standing import kendall, kept, normalised_ranks

METRIC = "cosine@0.1Da"


def made(means: dict[str, float], molecules: int = 60, seeds: tuple[int, ...] = (0,), split: str = "s", noise=0.05):
    """Scores of models whose molecules share their difficulty; two spectra a molecule."""
    rng = np.random.default_rng(len(split))
    hard = rng.uniform(-0.2, 0.2, molecules)
    rows = []
    for model, mean in means.items():
        for seed in seeds:
            values = np.clip(np.repeat(mean + hard, 2) + rng.normal(0, noise, 2 * molecules), 0, 1)
            rows.append(
                pl.DataFrame({METRIC: values}).with_columns(
                    split=pl.lit(split),
                    model=pl.lit(model),
                    seed=pl.lit(seed, pl.Int64),
                    fold=pl.lit("test"),
                    identifier=pl.Series([f"q{i}" for i in range(2 * molecules)]),
                    inchikey14=pl.Series([f"m{i // 2}" for i in range(2 * molecules)]),
                    predicted=pl.lit(True),
                )
            )
    return pl.concat(rows)


def test_kendall_is_scipys_and_none_without_order():
    rng = np.random.default_rng(0)
    for _ in range(20):
        x, y = rng.integers(0, 5, 7), rng.integers(0, 5, 7)
        if len(set(x)) > 1 and len(set(y)) > 1:
            assert kendall(x, y) == pytest.approx(kendalltau(x, y).statistic)
    assert np.isnan(kendall(np.ones(3), np.arange(3)))
    assert kept(np.array([3.0, 2, 1]), np.array([3.0, 1, 2])) == (2, 3)


def test_normalised_ranks_span_0_to_1_and_turn_with_the_metric():
    rows = [
        ("s", "a", METRIC, 0.9), ("s", "b", METRIC, 0.5), ("s", "c", METRIC, 0.1),
        ("s", "a", "mces@1", 9.0), ("s", "b", "mces@1", 2.0), ("s", "c", "mces@1", 9.0),
        ("t", "a", METRIC, 0.9), ("t", "b", METRIC, 0.5), ("t", "c", METRIC, 0.1),
    ]  # fmt: skip
    summary = pl.DataFrame(rows, schema=["split", "model", "metric", "mean"], orient="row").with_columns(
        fold=pl.lit("test"), average=pl.lit("molecule"), seed=pl.lit(None, pl.Int64)
    )
    table = normalised_ranks(summary)
    found = {(r["split"], r["model"]): (r["mean"], r["best"], r["worst"]) for r in table.iter_rows(named=True)}
    assert found["s", "a"] == (0.375, 0.0, 0.75)  # first, and tied for last of three
    assert found["s", "b"] == (0.25, 0.0, 0.5)
    assert found[None, "a"] == pytest.approx((0.25, 0.0, 0.75))
    assert "c" not in normalised_ranks(summary, without=["c"])["model"].to_list()


def test_orderings_tell_firm_from_loose_and_count_trainings():
    means = {"good": 0.6, "twin": 0.599, "bad": 0.3}
    scores = pl.concat([made(means, seeds=(0, 1, 2)), made({"plain": 0.45})])
    pairs, agreement = orderings(scores, METRIC, resamples=400)
    assert pairs.height == 6
    assert (pairs["difference"] >= 0).all()
    by = {(r["model_a"], r["model_b"]): r for r in pairs.iter_rows(named=True)}
    twins = by.get(("good", "twin")) or by["twin", "good"]
    assert twins["resamples_kept"] < 0.95
    assert twins["n_trainings"] == 9
    sure = next(r for r in by.values() if r["model_b"] == "bad" and r["model_a"] in ("good", "twin"))
    assert sure["resamples_kept"] == 1.0
    assert sure["trainings_kept"] == 1.0
    alone = next(r for r in by.values() if r["model_a"] == "plain")  # once against three times
    assert alone["n_trainings"] == 3
    seeds = agreement.filter(pl.col("against") == "seed")
    assert seeds.height == 3
    [tau] = agreement.filter(pl.col("against") == "resamples")["tau"]
    assert tau == pytest.approx((2 * pairs["resamples_kept"] - 1).mean())


def test_orderings_look_at_the_other_splits():
    scores = pl.concat([made({"a": 0.6, "b": 0.4}), made({"a": 0.4, "b": 0.6}, split="other")])
    pairs, agreement = orderings(scores, METRIC, resamples=50)
    assert pairs["splits_kept"].to_list() == [0, 0]
    assert agreement.filter(pl.col("against") == "split")["tau"].to_list() == [-1.0, -1.0]
    assert orderings(scores, METRIC, without=["a"], resamples=50)[0].is_empty()


def test_a_grid_is_found_among_other_names():
    names = ["precursor-only", "x × gin × binned", "x × gin × formula", "x × gcn × binned", "x × gcn × formula"]
    grid = grid_of(names)
    assert grid is not None
    assert (grid.rows, grid.columns) == (("gin", "gcn"), ("binned", "formula"))
    assert grid_of(["gin × binned", "gcn × binned"]) is None  # one factor
    assert grid_of(["a × b", "c × d"]) is None  # too few cells
    assert grid_of([]) is None


def test_margins_of_a_grid_with_a_gap_are_those_of_the_additive_law():
    effects = {"gin": 0.0, "gcn": 0.1, "gat": 0.2}, {"binned": 0.0, "formula": 0.15}
    cells = {f"{e} × {h}": 0.3 + a + b for e, a in effects[0].items() for h, b in effects[1].items()}
    del cells["gat × formula"]  # the best cell: plain means would cost both its levels
    table = factors(made(cells, noise=1e-6), [METRIC], ("encoder", "head"), resamples=50)
    mean = {(r["factor"], r["level"]): r["mean"] for r in table.iter_rows(named=True)}
    assert mean["head", "formula"] - mean["head", "binned"] == pytest.approx(0.15, abs=1e-4)
    assert mean["encoder", "gat"] - mean["encoder", "gin"] == pytest.approx(0.2, abs=1e-4)
    assert dict(table.select("level", "n_cells").iter_rows())["gat"] == 1


def test_margins_need_a_connected_grid():
    cells = {f"{a} × {b}": 0.4 for a, b in ("ax", "ay", "bx", "by", "cz", "dz", "cw", "dw")}
    assert grid_of(list(cells)) is not None
    assert factors(made(cells, molecules=10), [METRIC], resamples=10).is_empty()
