"""Families and markers: what was planted is found, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from made_markers import made_ions, made_run
from scipy import stats

from mslitmus.cohort.association import associate, by_feature, false_discovery
from mslitmus.cohort.design import Weighing
from mslitmus.cohort.linear import coefficients
from mslitmus.cohort.markers import MARKERS, MarkerSettings, find
from mslitmus.cohort.simulated import Plan
from mslitmus.errors import RunError
from mslitmus.search.libraries import open_libraries

PLAN = Plan(cases=9, controls=9, planted=4, effect=5.0, noise=0.5, batches=3, blanks=2)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pl.DataFrame]:
    folder = tmp_path_factory.mktemp("cohort")
    truth = made_run(folder, PLAN)
    made_ions().write_parquet(folder / "library.parquet")
    return folder, truth


def test_families_and_markers_are_those_planted(run):
    folder, truth = run
    found = find(folder, libraries=open_libraries([str(folder / "library.parquet")]))
    assert list(found.columns) == list(MARKERS)
    families = pl.read_parquet(folder / "families.parquet")
    assert families.height == truth.height  # isomers of one precursor apart, runs and blanks together
    significant = found.filter(pl.col("q") <= 0.05)
    planted = truth.filter(pl.col("effect") != 0)
    assert set(significant["name"]) == set(planted["name"])
    signs = significant.join(planted.select("name", true="effect"), on="name")
    assert (signs["direction"] == pl.Series(["case" if e > 0 else "control" for e in signs["true"]])).all()
    assert (np.sign(signs["effect"]) == -np.sign(signs["true"])).all()  # 'control' is the second class
    assert (significant["score"] > 0.9).all()
    hits = pl.read_parquet(folder / "marker_hits.parquet")
    assert set(significant["library_identifier"]) <= set(hits["library_identifier"])
    background = found.join(truth.select("name", "background"), on="name").filter(pl.col("background"))
    assert background["blank_share"].max() > 0.3
    assert found.filter(pl.col("blank_share") == 0).height > truth.height // 2


def test_families_are_kept_and_made_anew_for_other_spectra(run):
    folder, _ = run
    find(folder)
    before = (folder / "families.parquet").stat().st_mtime_ns
    find(folder, MarkerSettings(weighing=Weighing("count", "total", "batch")))
    assert (folder / "families.parquet").stat().st_mtime_ns == before
    assert json.loads((folder / "markers.json").read_text())["settings"]["weighing"]["adjust"] == "batch"


def test_no_cohort_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"no samples\.parquet"):
        find(tmp_path)


def test_rank_tests_agree_with_scipy():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(30, 3)).round(1)
    three = np.repeat(["a", "b", "c"], 10)
    found = by_feature(values, three)
    for k in range(3):
        assert found.p[k] == pytest.approx(stats.kruskal(*(values[three == c, k] for c in "abc")).pvalue)
    pair = np.repeat(["a", "b"], [12, 18])
    found = by_feature(values, pair)
    for k in range(3):
        u = stats.mannwhitneyu(values[pair == "b", k], values[pair == "a", k], method="asymptotic")
        assert (found.effect[k], found.p[k]) == (pytest.approx(u.statistic / 108 - 1), pytest.approx(u.pvalue))
    assert (by_feature(values, pair, lost=3).p >= found.p).all()
    numbers = rng.normal(size=30)
    found = by_feature(values, numbers)
    for k in range(3):
        rho, p = stats.spearmanr(values[:, k], numbers)
        assert (found.effect[k], found.p[k]) == (pytest.approx(rho), pytest.approx(p))
    two = by_feature(np.array([[1.0, 5], [2, 5], [3, 5], [4, 5]]), np.array(["a", "a", "b", "b"]))
    assert two.effect.tolist() == [1.0, 0.0]
    assert two.p[1] == 1.0


def test_false_discovery_is_benjamini_hochberg():
    p = np.array([0.01, 0.5, 0.02, 0.04])
    assert false_discovery(p) == pytest.approx(stats.false_discovery_control(p))


def test_association_tells_and_does_not_tell():
    labels = np.repeat(["a", "b"], 12)
    assert associate(labels, labels, 199).p < 0.01
    assert associate(np.tile(["x", "y"], 12), labels, 199).p > 0.5
    assert associate(np.arange(24.0), labels, 199).effect > 0.8
    assert associate(np.repeat("x", 24), labels) is None


def test_coefficients_name_the_column_that_counts():
    rng = np.random.default_rng(1)
    values = rng.normal(size=(40, 300))
    weight, of = coefficients(values, np.where(values[:, 7] > 0, "up", "down"))
    assert np.abs(weight).argmax() == 7
    assert weight[7] > 0
    assert of[7] == "up"
    weight, of = coefficients(values, -values[:, 9])
    assert of is None
    assert np.abs(weight).argmax() == 9
    assert weight[9] < 0
