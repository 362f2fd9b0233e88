"""Intervals, comparisons, summary, strata: against plain loops, scipy, and by simulation."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy import stats

from mslitmus import schemas
from mslitmus.errors import ConfigError, DataError, SchemaError
from mslitmus.metrics import add_skill, cluster_bootstrap, compare, stratify, summarise
from mslitmus.metrics import intervals as iv
from mslitmus.metrics.paired import effect_size, holm, sign_flip
from mslitmus.metrics.summary import skill

M = "cosine@0.01Da"


def table(models, n=60, molecules=20, seeds=(0,), folds=("val", "test"), split="molecule", noise=0.05, rng=None):
    """Scores of models (name → mean) that share each query's difficulty."""
    rng = rng or np.random.default_rng(0)
    parts = []
    for fold in folds:
        hard = rng.normal(0, 0.1, n)
        for name, mean in models.items():
            for seed in seeds:
                values = np.clip(mean + hard + rng.normal(0, noise, n), 0, 1)
                parts.append(
                    pl.DataFrame(
                        {
                            "split": split,
                            "model": name,
                            "seed": seed,
                            "fold": fold,
                            "identifier": [f"{fold}{k}" for k in range(n)],
                            "inchikey14": [f"M{k % molecules}" for k in range(n)],
                            "predicted": True,
                            M: values,
                            "predicted-entropy": rng.uniform(0, 3, n),
                        },
                        schema_overrides={"seed": pl.Int64},
                    )
                )
    return pl.concat(parts).sample(fraction=1, shuffle=True, seed=3)


def test_means_and_resampled_sums_equal_a_plain_loop():
    rng = np.random.default_rng(1)
    values, clusters = rng.random((50, 3)), rng.integers(0, 12, 50)
    labels = np.unique(clusters)
    per_spectrum = cluster_bootstrap(values, clusters, 200)
    per_molecule = cluster_bootstrap(values, clusters, 200, average="molecule")
    assert per_spectrum.mean == pytest.approx(values.mean(axis=0))
    assert per_molecule.mean == pytest.approx(np.mean([values[clusters == c].mean(axis=0) for c in labels], axis=0))
    assert (per_spectrum.n_queries, per_spectrum.n_clusters) == (50, labels.size)
    sums, _ = iv.cluster_sums(values, clusters)
    drawn = iv.resampled_sums(sums, 20, seed=7)
    plain = np.random.default_rng(7).integers(0, labels.size, size=(20, labels.size), dtype=np.int32)
    assert drawn == pytest.approx(np.array([sums[row].sum(axis=0) for row in plain]))


def test_blocks_do_not_change_the_draws(monkeypatch):
    sums = np.random.default_rng(1).random((30, 2))
    whole = iv.resampled_sums(sums, 50, seed=5)
    monkeypatch.setattr(iv, "BLOCK_ENTRIES", 100)
    assert iv.resampled_sums(sums, 50, seed=5) == pytest.approx(whole)


def test_bca_agrees_with_scipy():
    skewed = np.random.default_rng(2).exponential(1, 40)
    mine = cluster_bootstrap(skewed, np.arange(40), 20_000)
    theirs = stats.bootstrap((skewed,), np.mean, n_resamples=20_000, method="BCa", rng=np.random.default_rng(0))
    interval = theirs.confidence_interval
    assert (mine.low[0], mine.high[0]) == pytest.approx((interval.low, interval.high), abs=0.02)


def test_coverage_under_clustering():
    """Queries of one molecule are alike; the interval over molecules covers, the one over spectra would not."""
    rng = np.random.default_rng(4)
    inside = naive = 0
    for _ in range(300):
        sizes = rng.integers(1, 12, 40)
        clusters = np.repeat(np.arange(40), sizes)
        values = 0.5 + rng.normal(0, 0.1, 40)[clusters] + rng.normal(0, 0.03, clusters.size)
        good = cluster_bootstrap(values, clusters, 400)
        bad = cluster_bootstrap(values, np.arange(values.size), 400)
        inside += bool(good.low[0] <= 0.5 <= good.high[0])
        naive += bool(bad.low[0] <= 0.5 <= bad.high[0])
    assert inside / 300 > 0.89
    assert naive / 300 < 0.75


def test_degenerate_intervals():
    constant = cluster_bootstrap(np.full(10, 0.3), np.arange(10))
    assert (constant.low[0], constant.high[0]) == pytest.approx((0.3, 0.3))
    single = cluster_bootstrap(np.array([0.1, 0.3]), np.zeros(2))
    assert single.mean[0] == pytest.approx(0.2)
    assert np.isnan([single.low[0], single.high[0]]).all()
    two = cluster_bootstrap(np.array([0.0, 1.0]), np.arange(2))
    assert 0 <= two.low[0] <= two.high[0] <= 1
    assert cluster_bootstrap(np.empty((0, 2)), np.empty(0)).n_queries == 0
    with pytest.raises(DataError, match="NaN"):
        cluster_bootstrap(np.array([np.nan, 1.0]), np.arange(2))
    with pytest.raises(ConfigError, match="average"):
        cluster_bootstrap(np.ones(2), np.arange(2), average="molecul")


def test_sign_flip_exact_and_random():
    rng = np.random.default_rng(5)
    d = rng.normal(0.3, 1, (10, 2))
    result = sign_flip(d)
    for k in range(2):
        reference = stats.permutation_test((d[:, k],), np.mean, permutation_type="samples", n_resamples=2000)
        assert result[k] == pytest.approx(reference.pvalue, abs=1e-12)
    assert sign_flip(d, flips=1000) == pytest.approx(result, abs=0.05)
    assert sign_flip(np.zeros((50, 1)))[0] == 1.0
    assert sign_flip(np.ones((200, 1)))[0] == pytest.approx(1 / 10_000)
    null = sign_flip(rng.normal(0, 1, (40, 400)), flips=999)
    assert np.mean(null < 0.05) == pytest.approx(0.05, abs=0.035)
    assert np.isnan(sign_flip(np.ones((1, 1)))[0])


def test_holm_and_effect_size():
    assert holm(np.array([0.01, 0.04, 0.03, np.nan])) == pytest.approx([0.03, 0.06, 0.06, np.nan], nan_ok=True)
    d = np.array([[0.1, 1.0], [0.2, 1.0], [0.4, 1.0]])
    assert effect_size(d) == pytest.approx([d[:, 0].mean() / d[:, 0].std(ddof=1), np.nan], nan_ok=True)


def test_summary_has_seed_rows_and_a_row_over_seeds():
    scores = table({"a": 0.4, "b": 0.6}, seeds=(0, 1, 2))
    rows = summarise(scores, resamples=100)
    assert rows.schema == pl.Schema(schemas.SUMMARY)
    assert rows.height == 2 * 4 * 2 * 2 * 2  # models × (seeds + null) × folds × metrics × averages
    over = rows.filter(pl.col("seed").is_null() & (pl.col("metric") == M) & (pl.col("average") == "spectrum"))
    for row in over.iter_rows(named=True):
        part = scores.filter((pl.col("model") == row["model"]) & (pl.col("fold") == row["fold"]))
        assert row["mean"] == pytest.approx(part[M].mean())
        assert row["low"] < row["mean"] < row["high"]
        assert (row["n_queries"], row["n_molecules"], row["coverage"]) == (60, 20, 1.0)
    assert not rows.select(pl.col(pl.Float64).is_nan().any()).row(0).count(True)


def test_summary_of_one_molecule_has_null_intervals():
    rows = summarise(table({"a": 0.4}, molecules=1), resamples=10)
    assert rows["low"].null_count() == rows.height
    assert rows["mean"].null_count() == 0


def test_rows_without_molecule_are_their_own_cluster():
    scores = table({"a": 0.4}).with_columns(pl.lit(None, dtype=pl.String).alias("inchikey14"))
    assert summarise(scores, resamples=10)["n_molecules"].unique().to_list() == [60]


def test_uneven_seeds_and_absent_columns_are_refused():
    scores = table({"a": 0.4}, seeds=(0, 1))
    with pytest.raises(DataError, match="seeds"):
        summarise(scores.filter((pl.col("seed") == 0) | (pl.col("identifier") != "test3")))
    with pytest.raises(SchemaError, match="inchikey14"):
        summarise(scores.drop("inchikey14"))
    with pytest.raises(SchemaError, match="jss@1Da"):
        summarise(scores, ["jss@1Da"])


def test_comparisons_are_paired():
    scores = table({"b": 0.5, "a": 0.45, "c": 0.5}, noise=0.02)
    rows = compare(scores, resamples=200)
    assert rows.schema == pl.Schema(schemas.COMPARISONS)
    pair = rows.row(
        by_predicate=(pl.col("metric") == M) & (pl.col("model_a") == "a") & (pl.col("model_b") == "b"), named=True
    )
    assert pair["difference"] == pytest.approx(-0.05, abs=0.02)
    assert pair["high"] < 0
    assert pair["p"] < 0.001  # three pairs in the family
    assert pair["p_holm"] == pytest.approx(3 * pair["p"], rel=0.7)
    assert pair["effect_size"] < -1
    entropy = rows.filter(pl.col("metric") == "predicted-entropy")
    assert entropy["p_holm"].null_count() == entropy.height == 3


def test_identical_models_do_not_differ():
    scores = table({"a": 0.4})
    rows = compare(pl.concat([scores, scores.with_columns(pl.lit("b").alias("model"))]), resamples=50)
    assert rows["difference"].to_list() == [0.0, 0.0]
    assert rows["p"].to_list() == [1.0, 1.0]
    assert rows["effect_size"].null_count() == 2


def test_models_on_different_queries_are_refused():
    scores = table({"a": 0.4, "b": 0.5})
    with pytest.raises(DataError, match="different queries"):
        compare(scores.filter((pl.col("model") == "a") | (pl.col("identifier") != "test3")))


def test_skill_uses_the_control_chosen_on_validation():
    models = {"blind1": 0.2, "blind2": 0.25, "near": 0.4, "net": 0.6}
    kinds = {"blind1": "blind", "blind2": "blind", "near": "neighbour", "net": "trained"}
    scores = table(models)
    swap = (pl.col("model") == "blind1") & (pl.col("fold") == "test")
    scores = scores.with_columns(pl.when(swap).then(pl.col(M) + 0.2).otherwise(pl.col(M)).alias(M))
    rows = add_skill(summarise(scores, resamples=20), kinds, {"molecule": {M: {"spectrum": 0.8, "molecule": 0.8}}})
    assert rows.schema == pl.Schema(schemas.SUMMARY)
    at = (
        (pl.col("fold") == "test") & (pl.col("metric") == M) & (pl.col("average") == "spectrum") & (pl.col("seed") == 0)
    )
    mean = dict(rows.filter(at).select("model", "mean").iter_rows())
    got = rows.filter(at).rows_by_key("model", named=True, unique=True)
    control = mean["blind2"]  # better on validation, though blind1 is better on test
    assert got["net"]["skill_blind"] == pytest.approx((mean["net"] - control) / (0.8 - control))
    assert got["net"]["skill_neighbour"] == pytest.approx((mean["net"] - mean["near"]) / (0.8 - mean["near"]))
    assert got["blind2"]["skill_blind"] == pytest.approx(0)
    assert rows.filter(pl.col("metric") == "predicted-entropy")["skill_blind"].null_count() == 2 * 2 * 4 * 2
    no_val = add_skill(summarise(scores.filter(pl.col("fold") == "test"), resamples=20), kinds)
    assert no_val["skill_blind"].null_count() == no_val.height
    assert no_val.filter(pl.col("metric") == M)["bound"].unique().to_list() == [1.0]
    with pytest.raises(ConfigError, match="near"):
        add_skill(rows, {"blind1": "blind", "blind2": "blind", "net": "trained"})


def test_skill_is_undefined_without_room():
    assert skill(0.5, 0.49, 0.5) is None
    assert skill(0.5, None, 1.0) is None
    assert skill(0.5, 0.0, 1.0) == 0.5


def test_strata_add_up():
    scores = table({"a": 0.4, "b": 0.5}, seeds=(0, 1))
    ids = [f"test{k}" for k in range(60)]
    meta = pl.DataFrame(
        {
            "identifier": ids[:58],
            "collision_energy": ([10.0, 19.99, 20.0, 70.0, None] * 12)[:58],
            "collision_energy_kind": (["eV", "NCE", "eV", "eV", "eV"] * 12)[:58],
            "adduct": (["[M+H]+"] * 30 + [f"[M+X{k}]+" for k in range(28)]),
            "instrument_type": (["Orbitrap", None] * 29)[:58],
            "precursor_mz": np.linspace(100, 900, 58),
            "similarity_to_train": np.linspace(0, 1, 58),
        }
    )
    rows = stratify(scores, meta, resamples=50)
    assert rows.schema == pl.Schema(schemas.STRATA)
    totals = rows.filter(pl.col("metric") == M).group_by("stratum", "model").agg(pl.col("n_queries").sum())
    assert set(totals["n_queries"]) == {60}
    assert totals["stratum"].n_unique() == 5
    one = rows.filter((pl.col("model") == "a") & (pl.col("metric") == M))
    energy = one.filter(pl.col("stratum") == "energy")
    assert energy["level"].to_list() == ["10–20 eV", "20–30 eV", "≥ 60 eV", "10–20 eV (NCE)", "unknown"]
    assert energy["order"].is_sorted()
    adducts = one.filter(pl.col("stratum") == "adduct")["level"].to_list()
    assert adducts[0] == "[M+H]+"
    assert adducts[-2:] == ["other", "unknown"]
    assert len(adducts) == 8
    part = scores.filter((pl.col("model") == "a") & (pl.col("fold") == "test"))
    orbitrap = meta.filter(pl.col("instrument_type") == "Orbitrap")["identifier"].implode()
    shown = one.filter(pl.col("level") == "Orbitrap")["mean"][0]
    assert shown == pytest.approx(part.filter(pl.col("identifier").is_in(orbitrap))[M].mean())
    by_split = meta.select("identifier", "similarity_to_train").with_columns(pl.lit("another split").alias("split"))
    assert stratify(scores, by_split, resamples=5)["level"].unique().to_list() == ["unknown"]
    per_molecule = stratify(scores, meta.select("identifier", "adduct"), average="molecule", resamples=20)
    assert per_molecule["stratum"].unique().to_list() == ["adduct"]


def test_a_large_family_can_still_decide():
    """34 models make 561 pairs: 9,999 flips could never go below a Holm p of 0.056."""
    molecules = [f"m{i:03d}" for i in range(40)]
    rows = [
        {"split": "s", "model": f"model{k:02d}", "seed": 0, "fold": "test", "identifier": m, "inchikey14": m,
         "predicted": True, "cosine@1Da": k / 100 + (i % 7) / 1000}
        for k in range(34) for i, m in enumerate(molecules)
    ]  # fmt: skip
    found = compare(pl.DataFrame(rows), resamples=100)
    assert found.height == 561
    assert found["p_holm"].max() <= 0.011
