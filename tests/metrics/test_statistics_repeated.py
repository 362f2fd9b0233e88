"""Models over seeds and folds: the ANOVA, Tukey's intervals, letters; against scipy and by simulation."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy import stats

from mslitmus.errors import ConfigError, SchemaError
from mslitmus.metrics import compare
from mslitmus.metrics.letters import LETTERS, compact_letters, letter
from mslitmus.metrics.repeated import REPEATED, _tukey, anova, compare_over_seeds
from mslitmus.metrics.tukey import studentized_range_quantile, studentized_range_sf

M = "hit@1"


def trained(means: dict[str, np.ndarray], splits=("molecule",), n=24) -> pl.DataFrame:
    """Scores whose mean over queries, and over molecules, is means[model][seed] exactly."""
    tilt = np.tile([-0.05, 0.05], n // 2)
    return pl.concat(
        pl.DataFrame(
            {
                "split": split, "model": model, "seed": seed, "fold": "test",
                "identifier": [f"q{k:02d}" for k in range(n)], "inchikey14": [f"M{k // 2}" for k in range(n)],
                "predicted": True, M: mean + tilt + (0.01 * place if model != "flat" else 0),
            },
            schema_overrides={"seed": pl.Int64},
        )
        for place, split in enumerate(splits) for model, row in means.items() for seed, mean in enumerate(row)
    )  # fmt: skip


@pytest.mark.parametrize("k", [2, 3, 10, 34])
@pytest.mark.parametrize("freedom", [1, 2, 8, 60, 2000])
def test_studentized_range_agrees_with_scipy(k, freedom):
    q = np.array([0.0, 0.5, 2.0, 3.7, 6.0, 30.0])
    assert studentized_range_sf(q, k, freedom) == pytest.approx(stats.studentized_range.sf(q, k, freedom), abs=1e-8)
    found = studentized_range_quantile(0.95, k, freedom)
    assert studentized_range_sf(np.array([found]), k, freedom)[0] == pytest.approx(0.05, abs=1e-9)


def test_two_models_are_a_paired_t_test():
    rng = np.random.default_rng(0)
    a, b = 0.5 + rng.normal(0, 0.02, 5), 0.53 + rng.normal(0, 0.02, 5)
    row = compare_over_seeds(trained({"a": a, "b": b})).row(0, named=True)
    t = stats.ttest_rel(a, b)
    interval = t.confidence_interval()
    assert row["p_tukey"] == pytest.approx(t.pvalue, abs=1e-8)
    assert row["p_anova"] == pytest.approx(t.pvalue)
    assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high))
    assert (row["difference"], row["n_blocks"]) == (pytest.approx((a - b).mean()), 5)


def test_without_block_effect_tukey_agrees_with_scipy():
    """Blocks that add up to the same leave only the freedom of scipy's one-way version different."""
    rng = np.random.default_rng(1)
    table = rng.normal([[0.4], [0.45], [0.5], [0.47]], 0.03, (4, 6))
    table += table.mean() - table.mean(axis=0)  # no block effect left
    found = anova(table)
    plain = stats.tukey_hsd(*table)
    assert found.freedom == 15
    q = np.abs(table.mean(axis=1)[:, None] - table.mean(axis=1)) / np.sqrt(found.error / 6)
    assert plain.pvalue == pytest.approx(
        stats.studentized_range.sf(q * np.sqrt(found.error * 20 / 15 / found.error), 4, 20)
    )
    rows = compare_over_seeds(trained({f"m{k}": row for k, row in enumerate(table)}))
    assert rows.schema == pl.Schema(REPEATED)
    expected = stats.studentized_range.sf(q[np.triu_indices(4, 1)], 4, 15)
    assert rows["p_tukey"].to_list() == pytest.approx(expected, abs=1e-8)
    assert rows["deviation"].unique().len() == 1


def test_blocks_take_out_what_all_models_share():
    rng = np.random.default_rng(2)
    shared = rng.normal(0, 0.1, 6)
    table = np.array([[0.4], [0.42], [0.44]]) + shared + rng.normal(0, 0.004, (3, 6))
    assert anova(table).error == pytest.approx(0.004**2, rel=0.8)
    assert anova(table).p < 1e-4
    assert stats.f_oneway(*table).pvalue > 0.5


def test_family_wise_false_alarms():
    """Five alike models over five seeds: any false alarm in about 5 %."""
    rng = np.random.default_rng(3)
    alarms = 0
    for _ in range(600):
        found = anova(0.5 + rng.normal(0, 0.02, (5, 5)) + rng.normal(0, 0.02, 5))
        reach = studentized_range_quantile(0.95, 5, found.freedom) * np.sqrt(found.error / 5)
        alarms += bool(np.ptp(found.means) > reach)
    assert alarms / 600 == pytest.approx(0.05, abs=0.025)


@pytest.mark.parametrize("share", [0.0, 0.96])
def test_false_alarms_against_a_deterministic_model(share):
    """Seeds that move both trained models together (`share` of the variance) do not move the deterministic one: their
    common part is no error between the two, but it is one against the third."""
    rng = np.random.default_rng(8)
    names, mixed, anovas = ("a", "b", "fixed"), 0, 0
    for _ in range(400):
        together = np.sqrt(share) * rng.normal(0, 1, 5)
        net = together + np.sqrt(1 - share) * rng.normal(0, 1, (2, 5))
        found = anova(np.vstack([net, np.zeros(5)]))
        pairs = {(r["model_a"], r["model_b"]): r["p_tukey"] for r in _tukey(names, found, 0.95, [])}
        mixed += min(pairs["a", "fixed"], pairs["b", "fixed"]) < 0.05
        anovas += found.p < 0.05
    assert mixed / 400 < 0.08
    assert anovas / 400 == pytest.approx(0.05, abs=0.035)


def test_one_pair_against_a_deterministic_model_is_a_t_test():
    net = 0.5 + np.random.default_rng(9).normal(0, 0.01, 5)
    row = compare_over_seeds(trained({"net": net, "rule": np.array([0.49])})).row(0, named=True)
    t = stats.ttest_1samp(net, 0.49)
    interval = t.confidence_interval()
    assert row["p_tukey"] == pytest.approx(t.pvalue, abs=1e-8)
    assert (row["low"] + 0.49, row["high"] + 0.49) == pytest.approx((interval.low, interval.high))
    assert row["deviation"] == pytest.approx(net.std(ddof=1))
    assert row["p_anova"] is None  # a single model varies


def test_deterministic_models_change_no_error():
    rng = np.random.default_rng(10)
    table = 0.5 + rng.normal(0, 0.02, 5) + rng.normal(0, 0.005, (3, 5))
    alone, among = anova(table), anova(np.vstack([table, np.full((4, 5), 0.4)]))
    assert (among.error, among.freedom, among.f, among.p) == (alone.error, alone.freedom, alone.f, alone.p)
    assert among.varies.tolist() == [True] * 3 + [False] * 4
    alike = anova(np.vstack([table[0], table[0] + 0.1, np.full(5, 0.4)]))  # the trained ones differ by a constant
    rows = list(_tukey("abc", alike, 0.95, []))
    assert np.isnan(rows[0]["p_tukey"])
    assert np.isfinite([rows[1]["p_tukey"], rows[2]["p_tukey"]]).all()


def test_deterministic_models():
    rng = np.random.default_rng(4)
    net = 0.5 + rng.normal(0, 0.01, 4)
    means = {"net": net, "flat": np.full(4, 0.45), "copy": np.array([0.4])}
    rows = compare_over_seeds(trained(means))
    by_pair = {(r["model_a"], r["model_b"]): r for r in rows.iter_rows(named=True)}
    none = by_pair["copy", "flat"]
    assert none["difference"] == pytest.approx(-0.05)
    assert (none["low"], none["high"], none["p_tukey"]) == (None, None, None)
    one = by_pair["copy", "net"]
    reach = studentized_range_quantile(0.95, 3, 3) / np.sqrt(2) * net.std(ddof=1) / 2
    assert one["n_blocks"] == 4
    assert (one["low"], one["high"]) == pytest.approx((one["difference"] - reach, one["difference"] + reach))
    short = compare_over_seeds(trained(means), kinds={"net": "trained", "flat": "blind", "copy": "trained"})
    assert short.filter(pl.col("p_tukey").is_null())["model_a"].to_list() == ["copy", "copy"]
    nothing = compare_over_seeds(trained({"a": np.array([0.4]), "b": np.array([0.5])}))
    assert nothing["low"].null_count() == nothing["p_anova"].null_count() == nothing.height == 1
    apart = trained({"a": np.array([0.4, 0.5]), "b": np.array([0.5, 0.6])}).filter(
        (pl.col("model") == "a") | (pl.col("seed") == 1)
    )
    assert compare_over_seeds(apart)["n_blocks"].to_list() == [2]  # b has one seed: deterministic unless kinds say no
    assert compare_over_seeds(trained({"a": np.array([0.4, 0.5])})).is_empty()


def test_blocks_are_the_seeds_that_all_share():
    rng = np.random.default_rng(5)
    scores = trained({"a": rng.normal(0.5, 0.01, 4), "b": rng.normal(0.5, 0.01, 4), "c": rng.normal(0.5, 0.01, 3)})
    assert compare_over_seeds(scores)["n_blocks"].unique().to_list() == [3]
    disjoint = scores.with_columns(seed=pl.col("seed") + 10 * (pl.col("model") == "c").cast(pl.Int64))
    rows = compare_over_seeds(disjoint)
    assert rows["n_blocks"].unique().to_list() == [0]
    assert rows["p_tukey"].null_count() == rows.height


def test_splits_as_blocks():
    rng = np.random.default_rng(6)
    splits = [f"fold{k}" for k in range(5)]
    scores = pl.concat(
        trained({"a": rng.normal(0.5, 0.01, 2), "flat": np.array([0.45 + 0.001 * k])}, (split,))
        for k, split in enumerate(splits)
    )
    row = compare_over_seeds(scores, blocks="split", average="spectrum").row(0, named=True)
    assert (row["split"], row["average"], row["n_blocks"]) == (None, "spectrum", 5)
    assert row["low"] < row["difference"] < row["high"]
    with pytest.raises(ConfigError, match="folds"):
        compare_over_seeds(scores, blocks="folds")


def test_letters():
    pairs = [("a", "b", 0.1, 0.5), ("a", "c", 0.3, 0.001), ("b", "c", 0.2, 0.2), ("c", "d", 0.5, 0.001)]
    pairs += [("a", "d", 0.8, 0.001), ("b", "d", 0.7, None)]
    table = pl.DataFrame(
        [{"split": "s", "metric": M, "model_a": a, "model_b": b, "difference": d, "p_holm": p} for a, b, d, p in pairs]
    )
    found = compact_letters(table)
    assert found.schema == pl.Schema(LETTERS)
    assert dict(found.select("model", "letters").iter_rows()) == {"a": "a", "b": "abc", "c": "b", "d": "c"}
    assert found["lead"].to_list() == pytest.approx([0.3, 0.2, 0.0, -0.5])
    lower = compact_letters(table.with_columns(metric=pl.lit("normalised-rank")))
    assert lower["model"].to_list() == ["d", "c", "b", "a"]
    assert letter(0) + letter(26) + letter(52) == "aAa′"
    with pytest.raises(SchemaError, match="p_tukey"):
        compact_letters(table, p="p_tukey")


def test_letters_share_exactly_where_no_difference_was_shown():
    rng = np.random.default_rng(7)
    names = [f"m{k:02d}" for k in range(12)]
    scores = trained({name: 0.3 + 0.004 * k + rng.normal(0, 0.006, 5) for k, name in enumerate(names)})
    pairs = compare_over_seeds(scores)
    shown = dict(compact_letters(pairs, p="p_tukey").select("model", "letters").iter_rows())
    for a, b, p in pairs.select("model_a", "model_b", "p_tukey").iter_rows():
        assert (p < 0.05) == (not set(shown[a]) & set(shown[b]))
    assert compact_letters(compare(scores, resamples=20)).height == 12
