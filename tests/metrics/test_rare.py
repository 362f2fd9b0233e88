"""Intervals where hits are rare: the exact ends against scipy, coverage by simulation, and what stays as it was."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy import stats

from mslitmus.metrics import cluster_bootstrap, stratify, summarise
from mslitmus.metrics.groups import worst_group
from mslitmus.metrics.rare import FEW, exact_interval, few_differ
from mslitmus.metrics.tables import unit_range

UNIT = np.array([True])


def interval(values, clusters=None, **options):
    values = np.asarray(values, float)
    clusters = np.arange(len(values)) if clusters is None else clusters
    found = cluster_bootstrap(values, clusters, 300, unit_range=UNIT, **options)
    return found.low[0], found.high[0]


@pytest.mark.parametrize(("hits", "n"), [(0, 30), (1, 30), (4, 60), (29, 30), (30, 30)])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_exact_ends_are_those_of_scipy(hits, n, level):
    low, high = exact_interval(np.array([hits / n]), np.ones(n), level)
    theirs = stats.binomtest(hits, n).proportion_ci(level, method="exact")
    assert (low[0], high[0]) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_no_hit_is_no_proof_of_zero():
    assert interval(np.zeros(30)) == pytest.approx((0, 1 - 0.025 ** (1 / 30)))
    assert interval(np.ones(30)) == pytest.approx((0.025 ** (1 / 30), 1))
    plain = cluster_bootstrap(np.zeros(30), np.arange(30), 300)
    assert (plain.low[0], plain.high[0]) == (0, 0)  # nobody said that the values lie in [0, 1]


@pytest.mark.parametrize(("n", "rate"), [(20, 0.05), (60, 0.03), (200, 0.01), (60, 0.95)])
def test_coverage_of_rare_hits(n, rate):
    rng = np.random.default_rng(0)
    inside = plain = 0
    for _ in range(300):
        values = (rng.random(n) < rate).astype(float)
        low, high = interval(values)
        inside += low <= rate <= high
        bare = cluster_bootstrap(values, np.arange(n), 300)
        plain += bare.low[0] <= rate <= bare.high[0]
    assert inside / 300 > 0.94
    assert inside >= plain


def test_spectra_of_one_molecule_count_as_one_answer():
    """30 molecules of 1 to 9 spectra, none right: Kish's effective number of clusters decides, not the spectra."""
    sizes = np.arange(30) % 9 + 1
    clusters = np.repeat(np.arange(30), sizes)
    values = np.zeros(clusters.size)
    effective = sizes.sum() ** 2 / (sizes**2).sum()
    assert interval(values, clusters)[1] == pytest.approx(1 - 0.025 ** (1 / effective))
    assert interval(values, clusters, average="molecule")[1] == pytest.approx(1 - 0.025 ** (1 / 30))


def test_families_that_stand_or_fall_together_are_covered():
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(200):
        clusters = np.repeat(np.arange(40), rng.integers(1, 6, 40))
        values = (rng.random(40) < 0.04).astype(float)[clusters]
        low, high = interval(values, clusters)
        inside += low <= 0.04 <= high
    assert inside / 200 > 0.93


def test_when_few_differ():
    n = 40
    columns = np.zeros((n, 7))
    columns[: FEW - 1, 0] = 1  # few hits
    columns[:FEW, 1] = 1  # enough
    columns[:, 2] = 1
    columns[:3, 2] = 0.5  # few that are no full hit
    columns[:, 3] = 1 / 64  # a scorer that cannot tell: no rarity
    columns[0, 4] = 2  # no average between 0 and 1
    columns[:, 5] = np.linspace(0.1, 0.9, n)
    assert few_differ(columns, np.ones(n)).tolist() == [True, False, True, False, False, False, True]
    assert few_differ(columns[:4, :1], np.ones(4)).tolist() == [True]  # all four are hits
    assert few_differ(np.array([[0.0], [1.0]]), np.ones(2)).tolist() == [False]  # neither is the exception


def test_other_columns_keep_their_bootstrap():
    values = np.random.default_rng(2).random((50, 2))
    plain = cluster_bootstrap(values, np.arange(50), 300)
    told = cluster_bootstrap(values, np.arange(50), 300, unit_range=np.array([True, True]))
    assert (told.low.tolist(), told.high.tolist()) == (plain.low.tolist(), plain.high.tolist())
    alone = cluster_bootstrap(np.zeros(3), np.zeros(3), 300, unit_range=UNIT)
    assert np.isnan([alone.low[0], alone.high[0]]).all()  # one cluster has no interval


def test_widening_never_narrows():
    rng = np.random.default_rng(3)
    for hits in range(10):
        values = np.zeros(60)
        values[rng.permutation(60)[:hits]] = 1
        low, high = interval(values)
        bare = cluster_bootstrap(values, np.arange(60), 300)
        assert low <= bare.low[0] <= bare.high[0] <= high


def test_which_metrics_lie_between_0_and_1():
    inside = ["hit@1", "mrr", "top-1%", "normalised-rank", "tanimoto@1", "absence-auc", "cosine@0.1Da", "fp-cosine"]
    outside = ["rank", "mces@1", "predicted-entropy", "not a metric"]
    assert unit_range(inside).tolist() == [True] * len(inside)
    assert unit_range(outside).tolist() == [False] * len(outside)


def test_the_tables_know_their_metrics():
    rows = pl.DataFrame(
        {
            "split": "s", "model": "unlucky", "seed": 0, "fold": "test",
            "identifier": [f"q{k:02d}" for k in range(60)], "inchikey14": [f"M{k // 2:02d}" for k in range(60)],
            "predicted": True, "hit@1": 0.0, "mces@1": 0.0,
            "adduct": ["[M+H]+", "[M+H]+", "[M+Na]+", "[M+Na]+"] * 15,
        },
        schema_overrides={"seed": pl.Int64},
    )  # fmt: skip
    scores = rows.drop("adduct")
    high = dict(summarise(scores, resamples=20).filter(average="molecule", seed=0).select("metric", "high").iter_rows())
    assert high == {"hit@1": pytest.approx(1 - 0.025 ** (1 / 30)), "mces@1": 0.0}
    strata = stratify(scores, rows.select("identifier", "adduct"), ["hit@1"], resamples=20)
    assert strata["high"].to_list() == pytest.approx([1 - 0.025 ** (1 / 15)] * 2)
    worst = worst_group(strata, least=10).row(0, named=True)
    assert (worst["low"], worst["high"]) == (0.0, pytest.approx(0.255, abs=0.001))  # wider again, inside 0 and 1
    full = stratify(scores.with_columns(pl.lit(1.0).alias("hit@1")), rows.select("identifier", "adduct"), ["hit@1"])
    assert worst_group(full, least=10)["high"].to_list() == [1.0]
