"""Validation ranks over the budget from histories, and fronts of accuracy against cost."""

from __future__ import annotations

import polars as pl

from mslitmus.studies.analyses import factor_names
from mslitmus.studies.budget_scores import against_budget, budget_scores, settled
from mslitmus.studies.operating_points import operating_points

METRIC = "cosine@0.1Da"


def cell(model: str, scores: list[float | None], seconds: float = 10.0, **fields):
    history = [{"epoch": i, "score": s, "seconds": seconds} for i, s in enumerate(scores, 1)]
    base = {"split": "s", "model": model, "kind": "trained", "seed": 0, "parameters": 100, "options": {}}
    return {**base, "seconds": {"fit": seconds * len(scores), "predict": 2.0}, "fit": {"history": history}, **fields}


QUICK = cell("quick", [0.4, 0.41, 0.41, 0.42])
SLOW = cell("slow", [0.2, 0.3, 0.45, 0.5])
LATE = cell("late", [None, 0.3], seconds=20)


def test_scores_over_the_budget_are_the_best_so_far():
    table = budget_scores([QUICK, SLOW, LATE, {"fit": {}, "split": "s", "model": "control"}], METRIC, 40)
    at = {(r["model"], r["share"]): (r["score"], r["rank"]) for r in table.iter_rows(named=True)}
    assert at["quick", 0.25] == (0.4, 1.0)
    assert at["slow", 0.75] == (0.45, 1.0)
    assert at["late", 0.5] == (None, 3.0)  # an epoch ended, but none with a score
    assert at["late", 1.0] == (0.3, 3.0)
    rows = against_budget(table)
    assert rows["setting"].to_list() == ["25 %", "50 %", "75 %"]
    assert rows["n_kept"].to_list() == [2, 2, 3]
    order = {(r["model_a"], r["model_b"]): r["settled"] for r in settled(table).iter_rows(named=True)}
    assert order == {("slow", "quick"): 0.75, ("slow", "late"): 0.25, ("quick", "late"): 0.25}


def test_a_model_that_learns_by_another_metric_is_left_out():
    bridge = cell("bridge", [0.5, 0.6])
    bridge["fit"]["notes"] = {"inner_metric": "fp-tanimoto-soft"}
    assert budget_scores([bridge], METRIC, None).is_empty()
    assert against_budget(budget_scores([], METRIC, None)).is_empty()


def test_shares_are_of_each_cells_own_time_where_no_seconds_are_the_budget():
    table = budget_scores([LATE, cell("short", [0.1, 0.2, 0.3, 0.4], seconds=1)], METRIC, None)
    half = table.filter(pl.col("share") == 0.5)
    assert dict(half.select("model", "seconds").iter_rows()) == {"late": 20.0, "short": 2.0}


def summary_of(means: dict[str, float]) -> pl.DataFrame:
    rows = [{"split": "s", "model": m, "mean": v, "low": v, "high": v} for m, v in means.items()]
    return pl.DataFrame(rows).with_columns(
        fold=pl.lit("test"), metric=pl.lit(METRIC), average=pl.lit("molecule"), seed=pl.lit(None, pl.Int64)
    )


def test_fronts_hold_what_nothing_dominates():
    cells = [
        cell("big", [0.1], parameters=1000, inference={"queries": 10, "threads": 1, "device": "cpu"}),
        cell("small", [0.1], parameters=10),
        cell("worse", [0.1], parameters=20),
        {**cell("file", [0.1]), "parameters": 5},
        {**cell("knows", [0.1]), "kind": "oracle"},
    ]
    means = {"big": 0.6, "small": 0.5, "worse": 0.4, "file": 0.3, "knows": 1.0}
    table = operating_points(summary_of(means), cells, METRIC, {"s": 40}, unknown=["file"])
    rows = {r["model"]: r for r in table.iter_rows(named=True)}
    assert "knows" not in rows
    assert {m for m, r in rows.items() if r["front_parameters"]} == {"big", "small"}
    assert rows["file"]["parameters"] is None
    assert rows["big"]["queries_per_second"] == 5.0
    assert rows["small"]["queries_per_second"] == 20.0
    assert rows["file"]["seconds_fit"] is None
    assert not rows["file"]["front_queries_per_second"]
    assert (rows["big"]["threads"], rows["big"]["device"]) == (1, "cpu")


def test_training_seconds_are_those_of_all_that_was_trained():
    cells = [
        cell("parent", [0.1], seconds=50),
        cell("zero-shot", [0.1], seconds=1, start_from={"model": "parent"}),
        cell("scratch", [0.1], seconds=20),
        cell("fitted", [0.1], seconds=1),
    ]
    cells[-1]["fit"]["notes"] = {"fitted": "runs/matrix/cells/s/fitted/seed0/model"}
    table = operating_points(summary_of({c["model"]: 0.5 for c in cells}), cells, METRIC, {})
    rows = {r["model"]: r for r in table.to_dicts()}
    assert {m: r["seconds_fit"] for m, r in rows.items()} == {
        "parent": 50.0, "zero-shot": 51.0, "scratch": 20.0, "fitted": None,
    }  # fmt: skip
    assert [m for m, r in rows.items() if r["front_seconds_fit"]] == ["scratch"]


def test_factors_are_named_by_the_options_they_go_with():
    records = [
        {"model": f"{e} × {h}", "options": {"encoder": {"name": e, "width": 64}, "head": {"name": h}, "trunk": {}}}
        for e in ("gin", "gcn")
        for h in ("binned", "formula")
    ]
    assert factor_names(records) == ("encoder", "head")
    assert factor_names([{"model": r["model"], "options": {}} for r in records]) == ("row", "column")
