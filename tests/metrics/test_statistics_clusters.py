"""Units other than molecules, effective n, fractions and failures, skill where lower is better, the worst group."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scipy import stats
from scipy.special import ndtri

from mslitmus import schemas
from mslitmus.errors import ConfigError, DataError, SchemaError
from mslitmus.metrics import add_skill, cluster_bootstrap, compare, stratify, summarise
from mslitmus.metrics import comparisons as comparing
from mslitmus.metrics.groups import WORST_GROUPS, worst_group
from mslitmus.metrics.intervals import both_averages
from mslitmus.metrics.paired import mcnemar, sign_flip

M = "hit@1"


def scores_of(values: dict[str, np.ndarray], molecules: np.ndarray, metric: str = M, fold: str = "test"):
    """Scores of models on the same queries."""
    return pl.concat(
        pl.DataFrame(
            {
                "split": "molecule", "model": model, "seed": 0, "fold": fold,
                "identifier": [f"{fold}{k:05d}" for k in range(len(column))],
                "inchikey14": [f"M{c}" for c in molecules],
                "predicted": True, metric: column.astype(np.float64),
            },
            schema_overrides={"seed": pl.Int64},
        )
        for model, column in values.items()
    )  # fmt: skip


def of_molecules(molecules: np.ndarray, cluster_of: np.ndarray) -> pl.DataFrame:
    unique = np.unique(molecules)
    return pl.DataFrame({"inchikey14": [f"M{m}" for m in unique], "cluster": [f"C{cluster_of[m]}" for m in unique]})


def families(rng, clusters=40, spread=0.1):
    """Clusters of 1–5 molecules of 1–8 queries, all three random: values, molecules, the cluster of each molecule."""
    cluster_of = np.repeat(np.arange(clusters), rng.integers(1, 6, clusters))
    molecules = np.repeat(np.arange(cluster_of.size), rng.integers(1, 9, cluster_of.size))
    values = 0.5 + rng.normal(0, spread, clusters)[cluster_of[molecules]]
    values += rng.normal(0, 0.05, cluster_of.size)[molecules] + rng.normal(0, 0.03, molecules.size)
    return values, molecules, cluster_of


def test_the_average_stays_per_molecule_when_clusters_are_resampled():
    rng = np.random.default_rng(0)
    values, molecules, cluster_of = families(rng)
    got = both_averages(values, cluster_of[molecules], 3000, molecules=molecules)
    means = np.array([values[molecules == m].mean() for m in range(cluster_of.size)])
    assert got["molecule"].mean[0] == pytest.approx(means.mean())
    assert got["spectrum"].mean[0] == pytest.approx(values.mean())
    for average in got.values():
        assert (average.n_queries, average.n_molecules, average.n_clusters) == (values.size, cluster_of.size, 40)
    sums = np.bincount(cluster_of, weights=means)
    sizes = np.bincount(cluster_of).astype(float)
    theirs = stats.bootstrap(
        (sums, sizes), lambda s, n, axis: s.sum(axis=axis) / n.sum(axis=axis), paired=True, vectorized=True,
        n_resamples=9999, rng=np.random.default_rng(1),
    )  # fmt: skip
    interval = theirs.confidence_interval
    width = interval.high - interval.low
    assert got["molecule"].low[0] == pytest.approx(interval.low, abs=0.05 * width)
    assert got["molecule"].high[0] == pytest.approx(interval.high, abs=0.05 * width)
    alone = both_averages(values, molecules, 3000)["molecule"]
    assert alone.high[0] - alone.low[0] < 0.8 * width  # related molecules say less than independent ones


def test_effective_n():
    rng = np.random.default_rng(1)
    alike = cluster_bootstrap(np.repeat(rng.normal(0, 1, 50), 8), np.repeat(np.arange(50), 8), 10)
    assert alike.n_effective[0] == pytest.approx(50, rel=0.05)  # eight copies of each
    assert cluster_bootstrap(rng.normal(0, 1, 400), np.arange(400), 10).n_effective[0] == pytest.approx(400)
    free = cluster_bootstrap(rng.normal(0, 1, (400, 50)), np.repeat(np.arange(50), 8), 10).n_effective
    assert 250 < free.mean() <= 400
    assert free.max() <= 400  # never above n
    values, molecules, cluster_of = families(rng)
    got = both_averages(values, cluster_of[molecules], 4000, molecules=molecules)
    assert both_averages(values, molecules, 10)["molecule"].n_effective[0] == pytest.approx(cluster_of.size)
    means = np.array([values[molecules == m].mean() for m in range(cluster_of.size)])
    for average, units in (("spectrum", values), ("molecule", means)):
        interval = got[average]
        error = (interval.high[0] - interval.low[0]) / (2 * ndtri(0.975))
        assert interval.n_effective[0] == pytest.approx(units.var(ddof=1) / error**2, rel=0.15)
        assert interval.n_effective[0] < 60
    assert np.isnan(cluster_bootstrap(np.full(10, 0.3), np.arange(10), 10).n_effective[0])
    assert np.isnan(cluster_bootstrap(np.array([0.0, 1.0]), np.zeros(2), 10).n_effective[0])
    even = cluster_bootstrap(np.array([0.0, 1.0] * 5), np.repeat(np.arange(5), 2), 10)
    assert even.n_effective[0] == 10  # every cluster has the same mean: no error left between them


def test_coverage_over_clusters_of_molecules():
    """Skewed hit rates in families of molecules: about 95 % by clusters, far less by molecules."""
    rng = np.random.default_rng(2)
    inside = naive = 0
    for _ in range(300):
        cluster_of = np.repeat(np.arange(60), rng.integers(1, 6, 60))
        chance = np.where(rng.random(60) < 0.3, 0.9, 0.1)[cluster_of]  # mean .34
        values = (rng.random(cluster_of.size) < chance).astype(float)
        truth = 0.34
        good = both_averages(values, cluster_of, 400, molecules=np.arange(values.size))["molecule"]
        bad = both_averages(values, np.arange(values.size), 400)["molecule"]
        inside += bool(good.low[0] <= truth <= good.high[0])
        naive += bool(bad.low[0] <= truth <= bad.high[0])
    assert 0.91 < inside / 300 < 0.985
    assert naive / 300 < 0.86


def test_false_alarms_of_the_sign_flip_over_clusters():
    """Two alike models on queries of few families: 5 % false alarms by family, many by molecule."""
    rng = np.random.default_rng(3)
    cluster_of = np.repeat(np.arange(30), rng.integers(1, 9, 30))
    shared = rng.normal(0, 1, (30, 400))[cluster_of] + rng.normal(0, 0.3, (cluster_of.size, 400))
    sums = np.stack([np.bincount(cluster_of, weights=column) for column in shared.T], axis=1)
    by_cluster = np.mean(sign_flip(sums, 999) < 0.05)
    by_molecule = np.mean(sign_flip(shared, 999) < 0.05)
    assert by_cluster == pytest.approx(0.05, abs=0.03)
    assert by_molecule > 0.2


def test_compare_by_clusters_and_in_blocks(monkeypatch):
    rng = np.random.default_rng(4)
    values, molecules, cluster_of = families(rng)
    models = {name: np.clip(values + shift + rng.normal(0, 0.02, values.size), 0, 1)
              for name, shift in {"a": 0.0, "b": 0.02, "c": 0.02}.items()}  # fmt: skip
    scores, clusters = scores_of(models, molecules), of_molecules(molecules, cluster_of)
    rows = compare(scores, resamples=300, clusters=clusters)
    assert rows.schema == pl.Schema(schemas.COMPARISONS)
    assert rows["n_clusters"].unique().to_list() == [40]
    assert rows["n_molecules"].unique().to_list() == [cluster_of.size]
    assert rows["n_effective"].is_between(10, cluster_of.size).all()
    assert rows["p_mcnemar"].null_count() == 3
    first = rows.row(0, named=True)
    gaps = np.array([(models["a"] - models["b"])[molecules == m].mean() for m in range(cluster_of.size)])
    assert first["difference"] == pytest.approx(gaps.mean())
    assert first["effect_size"] == pytest.approx(gaps.mean() / gaps.std(ddof=1))
    sums = np.bincount(cluster_of, weights=gaps)[:, None]
    assert first["p"] == pytest.approx(sign_flip(sums, 9999)[0])
    monkeypatch.setattr(comparing, "BLOCK_ENTRIES", 1)
    assert_frame_equal(compare(scores, resamples=300, clusters=clusters), rows)
    plain = compare(scores, resamples=300)
    assert plain["n_clusters"].to_list() == plain["n_molecules"].to_list()


def test_clusters_that_do_not_fit_are_refused():
    molecules = np.arange(20) // 2
    scores = scores_of({"a": np.linspace(0, 1, 20), "b": np.linspace(0.1, 0.9, 20)}, molecules)
    clusters = of_molecules(molecules, np.arange(10) // 3)
    assert summarise(scores, resamples=20, clusters=clusters)["n_clusters"].unique().to_list() == [4]
    with pytest.raises(DataError, match=r"no cluster, e\.g\. M9"):
        summarise(scores, resamples=20, clusters=clusters.head(9))
    with pytest.raises(DataError, match=r"several clusters, e\.g\. M0"):
        compare(scores, clusters=pl.concat([clusters, clusters.head(1).with_columns(cluster=pl.lit("X"))]))
    with pytest.raises(SchemaError, match="cluster"):
        stratify(scores, pl.DataFrame({"identifier": ["x"], "adduct": ["[M+H]+"]}), clusters=clusters.drop("cluster"))
    with pytest.raises(DataError, match="two clusters"):
        cluster_bootstrap(np.ones(3), np.array([0, 1, 1]), molecules=np.array([0, 0, 1]))
    unknown = scores.with_columns(pl.lit(None, dtype=pl.String).alias("inchikey14"))
    assert summarise(unknown, resamples=20, clusters=clusters)["n_clusters"].unique().to_list() == [20]


@pytest.mark.parametrize("bad", [np.nan, np.inf, None])
def test_undefined_values_are_named(bad):
    scores = scores_of({"net": np.linspace(0, 1, 6)}, np.arange(6)).with_columns(
        pl.when(pl.col("identifier") == "test00003").then(bad).otherwise(pl.col(M)).alias(M)
    )
    with pytest.raises(DataError, match=r"hit@1 of 'net' is NaN.*1 queries, e\.g\. 'test00003'"):
        summarise(scores)


def test_mcnemar():
    rng = np.random.default_rng(5)
    a, b = (rng.random((60, 5)) < 0.6).astype(float), (rng.random((60, 5)) < 0.45).astype(float)
    b[:, 3] = a[:, 3]
    b[0, 4] = 0.5
    got = mcnemar(a, b)
    for k in range(3):
        lost, won = int((a[:, k] > b[:, k]).sum()), int((a[:, k] < b[:, k]).sum())
        assert got[k] == pytest.approx(stats.binomtest(lost, lost + won).pvalue)
    assert got[3] == 1
    assert np.isnan(got[4])
    scores = scores_of({"a": a[:, 0], "b": b[:, 0]}, np.arange(60))
    row = compare(scores, resamples=50, flips=99_999).row(0, named=True)
    assert row["p_mcnemar"] == pytest.approx(got[0])
    assert row["p"] == pytest.approx(got[0], abs=0.01)  # the flips of 0/1 differences are McNemar's binomial
    assert compare(scores_of({"a": a[:, 0], "b": b[:, 0]}, np.arange(60) // 2), resamples=50)["p_mcnemar"][0] is None
    assert compare(scores_of({"a": a[:, 4], "b": b[:, 4]}, np.arange(60)), resamples=50)["p_mcnemar"][0] is None


def test_fractions_of_hits_and_degenerate_columns():
    fractions = np.array([1.0, 0.5, 1 / 3, 0.0, 0.25, 1.0, 0.0, 0.125])
    same = np.full(8, 0.25)
    rows = compare(scores_of({"a": fractions, "b": same, "c": same}, np.arange(8)), resamples=200)
    ab, ac, bc = rows.iter_rows(named=True)
    assert ab["difference"] == pytest.approx(fractions.mean() - 0.25)
    assert ab["low"] < ab["difference"] < ab["high"]
    assert ab["p"] == ac["p"]  # all 256 patterns
    assert (bc["difference"], bc["low"], bc["high"], bc["p"]) == (0, 0, 0, 1)
    assert (bc["effect_size"], bc["n_effective"]) == (None, None)
    one = compare(scores_of({"a": fractions, "b": same}, np.zeros(8, int)), resamples=200).row(0, named=True)
    assert one["difference"] == pytest.approx(fractions.mean() - 0.25)
    assert [one[name] for name in ("low", "high", "p", "p_holm", "effect_size", "n_effective")] == [None] * 6


def test_skill_where_lower_is_better():
    rank, rng = "normalised-rank", np.random.default_rng(6)
    models = {"random": 0.5, "popular": 0.4, "near": 0.2, "net": 0.1}
    kinds = {"random": "blind", "popular": "blind", "near": "neighbour", "net": "trained"}
    parts = [
        scores_of({k: np.clip(v + rng.normal(0, 0.02, 50), 0, 1) for k, v in models.items()}, np.arange(50), rank, fold)
        for fold in ("val", "test")
    ]
    rows = add_skill(summarise(pl.concat(parts), resamples=20), kinds)
    test = rows.filter((pl.col("fold") == "test") & (pl.col("average") == "molecule") & pl.col("seed").is_null())
    got = test.rows_by_key("model", named=True, unique=True)
    c, m = got["popular"]["mean"], got["net"]["mean"]
    assert got["net"]["bound"] == 0
    assert got["net"]["skill_blind"] == pytest.approx((c - m) / c)
    assert got["net"]["skill_neighbour"] == pytest.approx((got["near"]["mean"] - m) / got["near"]["mean"])
    assert got["random"]["skill_blind"] < 0
    only_test = add_skill(summarise(parts[1], resamples=20), kinds)
    assert only_test["skill_blind"].null_count() == only_test["skill_neighbour"].null_count() == only_test.height
    compared = compare(parts[1], resamples=20)
    assert compared["p_holm"].null_count() == 0


def test_worst_group():
    levels = [("x", 0.5, 40), ("y", 0.3, 30), ("z", 0.8, 20), ("few", 0.1, 19), ("unknown", 0.0, 90)]
    rows = [
        {"split": "s", "model": "a", "metric": metric, "stratum": "adduct", "level": level, "order": k, "mean": mean,
         "low": mean - 0.1, "high": mean + 0.2, "n_queries": 3 * n, "n_molecules": n}
        for metric in (M, "normalised-rank", "predicted-entropy")
        for k, (level, mean, n) in enumerate(levels)
    ]  # fmt: skip
    strata = pl.DataFrame(rows, schema=dict(schemas.STRATA))
    found = worst_group(strata)
    assert found.schema == pl.Schema(WORST_GROUPS)
    hit, rank = found.iter_rows(named=True)
    assert (hit["metric"], hit["level"], hit["mean"], hit["n_groups"], hit["n_queries"]) == (M, "y", 0.3, 3, 90)
    factor = stats.t.ppf(1 - 0.025 / 3, 29) / stats.t.ppf(0.975, 29)
    assert (hit["low"], hit["high"]) == pytest.approx((0.3 - 0.1 * factor, 0.3 + 0.2 * factor))
    assert hit["spread"] == rank["spread"] == pytest.approx(0.5)
    assert rank["level"] == "z"
    assert worst_group(strata, least=1).row(0, named=True)["level"] == "few"
    single = worst_group(strata.filter(pl.col("level") == "y")).row(0, named=True)
    assert (single["low"], single["spread"], single["n_groups"]) == (pytest.approx(0.2), 0, 1)
    assert worst_group(strata.head(0)).is_empty()
    with pytest.raises(ConfigError, match="level"):
        worst_group(strata, level=95)


def test_the_widened_interval_covers_the_worst_of_many():
    """Eight equal groups: the plain interval of the worst misses the truth often, the widened one rarely."""
    rng = np.random.default_rng(7)
    plain = wide = 0
    factor = stats.t.ppf(1 - 0.025 / 8, 39) / stats.t.ppf(0.975, 39)
    for _ in range(500):
        values = np.clip(rng.normal(0.5, 0.2, (40, 8)), 0, 1)
        found = cluster_bootstrap(values, np.arange(40), 400)
        worst = int(found.mean.argmin())
        gap = found.high[worst] - found.mean[worst]
        plain += bool(found.high[worst] >= 0.5)
        wide += bool(found.mean[worst] + factor * gap >= 0.5)
    assert wide / 500 > 0.93
    assert plain / 500 < 0.88
