"""Which is best: only what every other is told apart from, on the samples that both have."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

pytest.importorskip("sklearn", reason="the extra cohort is not installed")

from mslitmus.cli.cohort import _leading
from mslitmus.cohort.asking import views
from mslitmus.cohort.leading import acquisitions, leaders, standing
from mslitmus.cohort.samples import read_sheet
from mslitmus.cohort.settings import CohortSettings
from mslitmus.cohort.tables import LEADERS, PREDICTIONS, RESULTS, TOGETHER, table

HOW = CohortSettings(seeds=2, bootstraps=200)
N = 60
NAMES = [f"s{k}" for k in range(N)]


def of_classes(wrong, representation="a", acquisition="all", n=N):
    """Predictions of two classes, a share of them wrong, the same in both seeds."""
    rng = np.random.default_rng(hash_of(representation, acquisition))
    missed = rng.random(n) < wrong
    rows = []
    for seed in "01":
        for k in range(n):
            sample = NAMES[k] if acquisition in ("all", TOGETHER) else f"{NAMES[k]}@{acquisition}"
            rows.append({
                "question": "classification", "target": "group", "acquisition": acquisition,
                "representation": representation, "seed": seed, "fold": k % 5, "sample": sample,
                "truth": "xy"[k % 2], "predicted": "xy"[(k + missed[k]) % 2],
            })  # fmt: skip
    return rows


def hash_of(*names):
    return sum(map(ord, "".join(names)))


def asked(rows, acquisition="all", p=0.005, names=NAMES):
    units = {f"{n}@{a}": n for n in NAMES for a in "AB"}
    wheres = {row["acquisition"] for row in rows}
    groups = {
        where: {n if where in ("all", TOGETHER) else f"{n}@{where}": k for k, n in enumerate(names)}
        for where in sorted(wheres)
    }
    about = {"question": "classification", "target": "group", "metric": "macro-f1"}
    results = [
        {**about, "seed": "all", "aggregation": "chosen", "acquisition": a, "representation": r, "p_permutation": p}
        for a, r in {(row["acquisition"], row["representation"]) for row in rows}
    ]
    found = leaders(table(rows, PREDICTIONS), table(results, RESULTS), groups, units, HOW)
    return table(found, LEADERS)


def test_a_clear_winner_and_two_that_are_alike():
    clear = asked([*of_classes(0.02, "good"), *of_classes(0.45, "bad"), *of_classes(0.5, "worse")])
    assert clear["representation"].unique().to_list() == ["good"]
    assert (clear["p_holm"] < 0.05).all()
    assert (clear["low"] > 0).all()
    assert standing(clear).startswith("the best of 3 (p ≤ ")
    near = asked([*of_classes(0.10, "good"), *of_classes(0.12, "alike"), *of_classes(0.5, "worse")])
    assert "not told apart from " in standing(near)
    assert "worse" not in standing(near)
    assert (near["p_holm"] >= near["p"]).all()


def test_what_chance_may_do_is_no_winner():
    found = asked([*of_classes(0.02, "good"), *of_classes(0.45, "bad")], p=0.4)
    assert standing(found) == "no better than chance (p = 0.4)"


def test_few_groups_tell_nothing_apart():
    """Sixty runs of four people are four."""
    rows = [*of_classes(0.02, "good"), *of_classes(0.45, "bad")]
    about = [{"question": "classification", "target": "group", "metric": "macro-f1", "seed": "all",
              "aggregation": "chosen", "acquisition": "all", "representation": r, "p_permutation": 0.005}
             for r in ("good", "bad")]  # fmt: skip
    groups = {"all": {n: k % 4 for k, n in enumerate(NAMES)}}
    found = table(leaders(table(rows, PREDICTIONS), table(about, RESULTS), groups, {}, HOW), LEADERS)
    assert found["n_groups"].to_list() == [4]
    assert standing(found) == "not told apart from bad"


def test_acquisitions_are_compared_on_the_samples_that_both_have():
    rows = [*of_classes(0.02, "f", "A"), *of_classes(0.45, "f", "B", n=40), *of_classes(0.03, "f", TOGETHER, n=40)]
    found = asked(rows)
    assert found["acquisition"].unique().to_list() in (["A"], [TOGETHER])
    assert found.filter(against_acquisition="B")["n_groups"].to_list() == [40]
    assert acquisitions(found) == list({"A", TOGETHER} - {found["acquisition"][0]})
    [line] = _leading("group", found)
    assert line.startswith("group: no acquisition separates best: ")
    clear = asked(rows[: 2 * N + 80])
    [line] = _leading("group", clear)
    assert "the acquisition that separates best is A (macro-f1" in line


def test_numbers_alone_and_all_together():
    rng = np.random.default_rng(0)
    rows = []
    for target in ("dose", "time"):
        truth = rng.normal(size=N)
        for name, noise in (("good", 0.1), ("bad", 1.0)):
            called = truth + rng.normal(0, noise, N)
            rows += [
                {"question": "regression", "target": target, "acquisition": "all", "representation": name, "seed": "0",
                 "fold": k % 5, "sample": NAMES[k], "truth": "", "predicted": "", "truth_value": truth[k],
                 "predicted_value": called[k]} for k in range(N)
            ]  # fmt: skip
    groups = {"all": {n: k for k, n in enumerate(NAMES)}}
    found = table(leaders(table(rows, PREDICTIONS), table([], RESULTS), groups, {}, HOW), LEADERS)
    assert found["target"].to_list() == ["dose", "time", "all targets"]
    assert found["representation"].unique().to_list() == ["good"]
    alone = found["value"][:2].mean()
    assert found["value"][2] == pytest.approx(alone)
    assert (found["p"] < 0.01).all()


def test_nothing_predicted_leads_nowhere():
    assert leaders(pl.DataFrame(schema=PREDICTIONS), table([], RESULTS), {}, {}, HOW) == []


def test_batches_of_any_acquisition_keep_samples_together(tmp_path):
    """RP batches 1, 1, 2, 2 and HILIC batches 3, 4, 4, 5: the first three samples hang together."""
    lines = ["file sample acquisition group batch"]
    for k, (rp, hilic) in enumerate([(1, 3), (1, 4), (2, 4), (6, 5)]):
        lines += [f"r{k} s{k} RP {'xy'[k % 2]} {rp}", f"h{k} s{k} HILIC {'xy'[k % 2]} {hilic}"]
    path = tmp_path / "samples.tsv"
    path.write_text("\n".join(lines).replace(" ", "\t") + "\n")
    whole = views(read_sheet(path))[-1]
    assert whole.acquisition == TOGETHER
    batch = whole.rows["batch"].to_list()
    assert batch[0] == batch[1] == batch[2] != batch[3]
