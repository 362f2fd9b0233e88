"""Ranking metrics: chance for constant scorers, indifference to order, and dropping anything can only worsen."""

from __future__ import annotations

from itertools import permutations
from statistics import mean

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mslitmus.errors import ConfigError, DataError, PredictionError, SchemaError
from mslitmus.metrics import parse_metric, ranking
from mslitmus.metrics.molecule import Distances, tanimoto_pairs

PLACE = ["hit@1", "hit@2", "hit@5", "mrr", "rank", "normalised-rank", "top-1%"]
OPTIMISTIC = [f"{name}:optimistic" for name in PLACE]
NAMES = [*PLACE, *OPTIMISTIC, "tanimoto@1", "mces@1", "absence-auc"]
#: Molecules A, B, …: alkanols of 1, 2, … carbons.
SMILES = {chr(65 + k): "C" * (k + 1) + "O" for k in range(26)}

TIED = st.sampled_from([-1.0, 0.0, 0.5, 2.0])
POOLS = st.lists(
    st.lists(st.sampled_from(sorted(SMILES)[:9]), min_size=1, max_size=6, unique=True).flatmap(
        lambda pool: st.tuples(st.just(pool), st.lists(TIED, min_size=len(pool), max_size=len(pool)))
    ),
    min_size=1,
    max_size=5,
)  # the first of a pool is its truth


@pytest.fixture(autouse=True)
def _distances(monkeypatch):
    """MCES of two unbranched alkanols is the difference of their lengths."""

    def pairs(truth, predicted, cache=None):
        values = [min(abs(len(a) - len(b)), 15.0) for a, b in zip(truth, predicted, strict=True)]
        return Distances(np.array(values, dtype=float), np.ones(len(values), dtype=bool))

    monkeypatch.setattr(ranking, "mces_pairs", pairs)


def truth_of(pools):
    return pl.DataFrame(
        {
            "identifier": [f"q{k}" for k in range(len(pools))],
            "inchikey14": [pool[0] for pool, _ in pools],
            "smiles": [SMILES[pool[0]] for pool, _ in pools],
            "candidates": [list(pool) for pool, _ in pools],
            "candidate_smiles": [[SMILES[c] for c in pool] for pool, _ in pools],
        },
        schema_overrides={"candidates": pl.List(pl.String), "candidate_smiles": pl.List(pl.String)},
    )


def scores_of(pools):
    rows = [(f"q{k}", c, s) for k, (pool, scores) in enumerate(pools) for c, s in zip(pool, scores, strict=True)]
    return pl.DataFrame(rows, schema=["identifier", "candidate", "score"], orient="row").cast({"score": pl.Float64})


def values(predictions, truth, names=NAMES, **options):
    return ranking.score(predictions, truth, names, **options).drop("identifier", "predicted")


def reference(pool, scores, name):
    """Mean over every order of the tied candidates of one pool, truth first in `pool`."""
    ranks, tops = [], []
    for order in permutations(range(len(pool))):
        ranked = sorted(range(len(pool)), key=lambda k: (-scores[k], order[k]))
        ranks.append(ranked.index(0) + 1)
        tops.append(pool[ranked[0]])
    if name.endswith(":optimistic"):
        name, ranks = name.removesuffix(":optimistic"), [min(ranks)]
    n = len(pool)
    if name.startswith("hit@"):
        return mean(r <= int(name[4:]) for r in ranks)
    lengths = [abs(len(SMILES[top]) - len(SMILES[pool[0]])) for top in tops]
    return {
        "mrr": lambda: mean(1 / r for r in ranks),
        "rank": lambda: mean(ranks),
        "normalised-rank": lambda: (mean(ranks) - 1) / (n - 1) if n > 1 else 0.0,
        "top-1%": lambda: mean(r <= -(-n // 100) for r in ranks),
        "mces@1": lambda: mean(lengths),
    }[name]()


@settings(max_examples=60, deadline=None)
@given(POOLS)
def test_closed_forms_equal_the_mean_over_all_orders_of_the_tied(pools):
    names = [*PLACE, *OPTIMISTIC, "mces@1"]
    result = values(scores_of(pools), truth_of(pools), names)
    for k, (pool, scores) in enumerate(pools):
        for name in names:
            assert result[name][k] == pytest.approx(reference(pool, scores, name), abs=1e-12), name


@settings(max_examples=60, deadline=None)
@given(POOLS, st.floats(-1e6, 1e6))
def test_a_constant_scorer_earns_chance(pools, constant):
    flat = [(pool, [constant] * len(pool)) for pool, _ in pools]
    result = values(scores_of(flat), truth_of(flat))
    for k, (pool, _) in enumerate(pools):
        n = len(pool)
        expected = {
            **{f"hit@{j}": min(1, j / n) for j in (1, 2, 5)},
            "mrr": sum(1 / r for r in range(1, n + 1)) / n,
            "rank": (n + 1) / 2,
            "normalised-rank": 0.5 if n > 1 else 0.0,
            "top-1%": 1 / n,
            "absence-auc": 0.5,
            "tanimoto@1": mean(tanimoto_pairs([SMILES[pool[0]]] * n, [SMILES[c] for c in pool])),
            "mces@1": mean(abs(len(SMILES[c]) - len(SMILES[pool[0]])) for c in pool),
        }
        for name, chance in expected.items():
            assert abs(result[name][k] - chance) < 1e-12, name


@settings(max_examples=60, deadline=None)
@given(POOLS, st.randoms(use_true_random=False))
def test_order_duplicates_and_scale_change_no_number(pools, random):
    truth, predictions = truth_of(pools), scores_of(pools)
    before = ranking.score(predictions, truth, NAMES)
    mixed = []
    for pool, scores in pools:
        order = random.sample(range(len(pool)), len(pool))
        again = [*order, random.choice(order)]  # one candidate listed twice
        mixed.append((again, pool, scores))
    shuffled = truth.with_columns(
        candidates=pl.Series([[pool[k] for k in again] for again, pool, _ in mixed]),
        candidate_smiles=pl.Series([[SMILES[pool[k]] for k in again] for again, pool, _ in mixed]),
    )
    rows = random.sample(range(predictions.height), predictions.height)
    moved = pl.concat([predictions[rows], predictions[rows[:2]]])
    assert before.equals(ranking.score(moved, shuffled, NAMES))
    queries = random.sample(range(truth.height), truth.height)
    assert before[queries].equals(ranking.score(moved, shuffled[queries], NAMES))
    stretched = predictions.with_columns(pl.col("score").exp() * 3 - 7)
    assert before.equals(ranking.score(stretched, truth, NAMES))


@settings(max_examples=150, deadline=None)
@given(POOLS, st.data())
def test_dropping_can_only_worsen(pools, data):
    lacking = data.draw(st.lists(st.booleans(), min_size=len(pools), max_size=len(pools)))
    truth = truth_of(pools).with_columns(
        inchikey14=pl.when(pl.Series(lacking)).then(pl.lit("Z")).otherwise("inchikey14")
    )
    predictions = scores_of(pools)
    kept = data.draw(st.lists(st.booleans(), min_size=predictions.height, max_size=predictions.height))
    fewer = predictions.filter(pl.Series(kept))
    spoiled = predictions.with_columns(score=pl.when(pl.Series(kept)).then("score").otherwise(float("nan")))
    full = values(predictions, truth, absent="fail")
    after = values(fewer, truth, missing="fail", absent="fail")
    assert after.equals(values(spoiled, truth, missing="fail", absent="fail"))  # NaN is as good as nothing
    again = data.draw(st.lists(st.booleans(), min_size=fewer.height, max_size=fewer.height))
    least = values(fewer.filter(pl.Series(again, dtype=pl.Boolean)), truth, missing="fail", absent="fail")
    for name in NAMES:
        sign = 1 if parse_metric(name).higher_is_better else -1
        for worse, better in ((after, full), (least, after)):
            assert (sign * (better[name] - worse[name]) >= -1e-12).all(), name


POOL = [(["A", "B", "C"], [1.0, 2.0, 1.0]), (["D", "E"], [3.0, 1.0])]


def test_by_hand():
    result = ranking.score(scores_of(POOL), truth_of(POOL), NAMES)
    assert result["identifier"].to_list() == ["q0", "q1"]
    assert result["predicted"].to_list() == [True, True]
    assert result.columns == ["identifier", "predicted", *NAMES]
    assert result["hit@1"].to_list() == [0, 1]
    assert result["hit@2"].to_list() == [0.5, 1]
    assert result["hit@2:optimistic"].to_list() == [1, 1]
    assert result["rank"].to_list() == [2.5, 1]
    assert result["mrr"].to_list() == pytest.approx([(1 / 2 + 1 / 3) / 2, 1])
    assert result["mces@1"].to_list() == [1, 0]
    assert result["tanimoto@1"][1] == 1
    assert 0 < result["tanimoto@1"][0] < 1
    assert result["absence-auc"].to_list() == [1, 1]  # 2 > 1 (E), 3 > 2 (B)


def test_the_best_and_the_worst_are_what_the_names_say():
    perfect = scores_of([(pool, [1.0] + [0.0] * (len(pool) - 1)) for pool, _ in POOL])
    nothing = perfect.head(0)
    for name in NAMES:
        metric = parse_metric(name)
        assert values(perfect, truth_of(POOL), [name])[name].to_list() == [metric.best] * 2
        failed = values(nothing, truth_of(POOL), [name], missing="fail")[name].to_list()
        assert failed == ([4, 3] if metric.worst is None else [metric.worst] * 2)
    assert not ranking.score(nothing, truth_of(POOL), NAMES, missing="fail")["predicted"].any()


def test_missing_rows_rank_against_the_truth():
    names = ["rank", "hit@1", "tanimoto@1", "mces@1"]
    rows = scores_of(POOL)
    no_truth = values(rows.filter(pl.col("candidate") != "A"), truth_of(POOL), names, missing="fail")
    assert no_truth.row(0)[:2] == (3, 0)  # behind C, with which it was tied
    no_decoy = values(rows.filter(pl.col("candidate") != "C"), truth_of(POOL), names, missing="fail")
    assert no_decoy.row(0) == (3, 0, 0, 15)
    infinite = rows.with_columns(score=pl.when(pl.col("candidate") == "D").then(float("inf")).otherwise("score"))
    assert values(infinite, truth_of(POOL), names, missing="fail").row(1)[:2] == (2, 0)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("q0", "A", 1.0), ("q0", "B", 2.0), ("q0", "C", 1.0)], "1 rows without a prediction: 'q1'"),
        ([("q0", "A", 1.0), ("q0", "B", 2.0), ("q1", "D", 1.0), ("q1", "E", 1.0)], "without a score: 'q0 / C'"),
        ([("q0", "A", 1.0), ("q0", "B", 2.0), ("q0", "C", 1.0), ("q1", "D", np.nan), ("q1", "E", 1.0)], "NaN"),
        ([("q0", "A", 1.0), ("q0", "B", 2.0), ("q0", "C", 1.0), ("q1", "D", np.inf), ("q1", "E", 1.0)], "'q1 / D'"),
        ([("q0", "A", 1.0), ("x", "B", 2.0)], "not among the queries: 'x'"),
        ([("q0", "A", 1.0), ("q0", "D", 2.0)], "not in the query's pool: 'q0 / D'"),
        ([("q0", "A", 1.0), ("q0", "A", 2.0)], "another score for the same candidate: 'q0 / A'"),
        ([("q0", "A", 1.0), ("q0", "A", np.nan)], "another score for the same candidate"),
        ([("q0", "A", 1.0), ("q0", None, np.nan)], "not in the query's pool"),
    ],
)
def test_bad_predictions_name_the_rows(rows, message):
    predictions = pl.DataFrame(rows, schema=["identifier", "candidate", "score"], orient="row")
    with pytest.raises(PredictionError, match=message) as caught:
        ranking.score(predictions, truth_of(POOL), PLACE)
    assert caught.value.remedy
    if "without" not in message and "NaN" not in message and "q1" not in message:
        with pytest.raises(PredictionError, match=message):
            ranking.score(predictions, truth_of(POOL), PLACE, missing="fail")


def test_other_refusals():
    truth, predictions = truth_of(POOL), scores_of(POOL)
    with pytest.raises(ConfigError, match="missing='skip'"):
        ranking.score(predictions, truth, PLACE, missing="skip")
    with pytest.raises(ConfigError, match="family 'spectrum'"):
        ranking.score(predictions, truth, ["cosine@0.01Da"])
    with pytest.raises(PredictionError, match="columns absent: score"):
        ranking.score(predictions.drop("score"), truth, PLACE)
    with pytest.raises(SchemaError, match="columns absent: candidates"):
        ranking.score(predictions, truth.drop("candidates"), PLACE)
    with pytest.raises(SchemaError, match="repeated"):
        ranking.score(predictions, pl.concat([truth, truth]), PLACE)
    with pytest.raises(SchemaError, match="columns absent: smiles"):
        ranking.score(predictions, truth.drop("smiles"), ["tanimoto@1"])
    with pytest.raises(SchemaError, match="unequal length"):
        ranking.score(predictions, truth.with_columns(candidate_smiles=pl.lit(["C"])), ["tanimoto@1"])
    assert ranking.score(predictions, truth.drop("smiles", "candidate_smiles"), PLACE).height == 2
    assert ranking.score(predictions.head(0), truth.head(0), NAMES).height == 0


def test_the_truth_absent_arm():
    absent = truth_of([POOL[0], (["E", "F"], None)]).with_columns(
        inchikey14=pl.Series(["A", "D"]), smiles=pl.Series([SMILES["A"], SMILES["D"]])
    )
    rows = [("q0", "A", 3.0), ("q0", "B", 2.0), ("q0", "C", 1.0), ("q1", "E", 2.5), ("q1", "F", 1.0)]
    predictions = pl.DataFrame(rows, schema=["identifier", "candidate", "score"], orient="row")
    with pytest.raises(DataError, match="lack the truth: 'q1'"):
        ranking.score(predictions, absent, NAMES)
    result = values(predictions, absent, absent="fail")
    assert result["hit@5"].to_list() == [1, 0]
    assert result["rank"].to_list() == [1, 4]
    assert result["mces@1"].to_list() == [0, 1]  # how near it came is still known
    assert result["absence-auc"].to_list() == [1, 1]  # 3 > 2.5 from either side
    empty = absent.with_columns(candidates=pl.Series([["A", "B", "C"], []]))
    assert values(predictions.head(3), empty, PLACE, absent="fail")["rank"].to_list() == [1, 2]


def test_scores_normalised_in_each_pool_tell_nothing_of_absence():
    rng = np.random.default_rng(0)
    names = sorted(SMILES)[:20]
    raw = rng.normal(size=(400, 20))
    raw[:, 0] += 4

    def auc(normalise):
        """Every other query is asked with a pool that lacks its truth, as its model then sees it."""
        pools = [(names[k % 2 :], list(normalise(row[k % 2 :]))) for k, row in enumerate(raw)]
        truth = truth_of(pools).with_columns(inchikey14=pl.lit("A"), smiles=pl.lit(SMILES["A"]))
        return values(scores_of(pools), truth, ["absence-auc"], absent="fail")["absence-auc"].mean()

    assert auc(lambda row: row) > 0.9
    assert auc(lambda row: (row - row.min()) / np.ptp(row)) == pytest.approx(0.5, abs=0.03)


def test_ties_above_twenty_take_the_first_in_hash_order():
    names = sorted(SMILES)
    pools = [(names, [1.0] * 26)]
    first = values(scores_of(pools), truth_of(pools), ["mces@1"])["mces@1"][0]
    back = [([names[0], *names[:0:-1]], [1.0] * 26)]
    assert values(scores_of(back), truth_of(back), ["mces@1"])["mces@1"][0] == first
    distances = [min(k, 15) for k in range(26)]
    assert abs(first - mean(distances)) < 3
