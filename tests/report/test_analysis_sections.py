"""The sections beyond the leaderboard: whole pages from hand-made tables, and the charts they draw."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest
from make_run import METRICS, SPLITS, make_run
from outline import outline

from mslitmus.report import build
from mslitmus.report.bumps import Course, bump_chart
from mslitmus.report.levels import LevelRow, level_chart
from mslitmus.report.plot import Axis
from mslitmus.report.scatter import Point, cost_chart
from mslitmus.schemas import AGREEMENT, BUDGET_SCORES, FACTORS, NORMALISED_RANKS, OPERATING_POINTS, ORDERINGS, conform

MODELS = ("gin × binned", "gin × formula", "gcn × binned", "gcn × formula")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The fabricated run with its models renamed to a grid, and every table of the analyses."""
    folder = make_run(tmp_path / "run")
    names = dict(zip(("gin × binned", "NEIMS", "nearest-molecule", "precursor-only"), MODELS, strict=True))
    for table in ("summary", "strata"):
        path = folder / f"{table}.parquet"
        pl.read_parquet(path).with_columns(pl.col("model").replace(names)).write_parquet(path)
    ranks = [
        {"split": split, "model": model, "mean": k / 3, "best": max(k / 3 - 0.1, 0), "worst": min(k / 3 + 0.1, 1)}
        for split in (*SPLITS, None)
        for k, model in enumerate(MODELS)
    ]
    write(folder, "normalised_ranks", NORMALISED_RANKS, ranks, n_rankings=3, n_models=4)
    margins = [
        {"split": split, "metric": METRICS[0], "factor": factor, "place": place, "level": level, "mean": 0.4}
        for split in SPLITS
        for place, (factor, levels) in enumerate({"encoder": ("gin", "gcn"), "head": ("binned", "formula")}.items())
        for level in levels
    ]
    write(folder, "factors", FACTORS, margins, low=0.39, high=0.41, n_cells=2, n_molecules=50)
    pairs = [
        {"split": split, "model_a": MODELS[i], "model_b": MODELS[j], "place": i + 1, "apart": j - i,
         "resamples_kept": 0.6 if i == 1 else 1.0, "p_holm": 0.6 if i == 1 else 0.001}
        for split in SPLITS for i in range(4) for j in range(i + 1, 4)
    ]  # fmt: skip
    more = {"trainings_kept": 1.0, "n_trainings": 9, "settled": 0.25, "splits_kept": 1, "n_splits": 1}
    write(folder, "orderings", ORDERINGS, pairs, metric=METRICS[0], difference=0.02, **more)
    like = [
        {"split": s, "against": a, "setting": t} for s in SPLITS for a, t in (("budget", "25 %"), ("seed", "seed 1"))
    ]
    write(folder, "agreement", AGREEMENT, like, tau=0.5, n_kept=4, n_pairs=6)
    course = [
        {"split": split, "model": model, "share": share, "rank": 1.0 + (k + (share < 1)) % 4, "score": 0.3 + share / 10}
        for split in SPLITS
        for k, model in enumerate(MODELS)
        for share in (0.25, 0.5, 0.75, 1.0)
    ]
    write(folder, "budget_scores", BUDGET_SCORES, course, seconds=10.0, n_seeds=1)
    points = [
        {"split": split, "model": model, "mean": 0.5 - k / 20, "parameters": 10.0 ** (6 - 2 * k), "kind": "trained"}
        for split in SPLITS
        for k, model in enumerate(MODELS)
    ]
    fronts = {f"front_{name}": True for name in ("parameters", "seconds_fit", "queries_per_second")}
    cost = {"low": 0.1, "high": 0.9, "seconds_fit": 9.0, "queries_per_second": 50.0, "threads": 2, "device": "cpu"}
    write(folder, "operating_points", OPERATING_POINTS, points, metric=METRICS[0], **cost, **fronts)
    return folder


def write(folder: Path, name: str, schema, rows: list[dict], **constant) -> None:
    table = pl.DataFrame([{**row, **constant} for row in rows], infer_schema_length=None)
    conform(table, schema).write_parquet(folder / f"{name}.parquet")


def test_every_section_is_there_and_the_page_is_sound(run: Path) -> None:
    page = build(run).read_text(encoding="utf-8")
    found = outline(page)
    assert {"ranks", "stability", "operating"} <= set(found.ids)
    assert "sensitivity" not in found.ids
    assert len(found.ids) == len(set(found.ids))
    assert found.unlabelled == 0
    assert "3 of 6 orderings" not in page
    assert "4 of 6 orderings hold in at least 95 % of resamples" in page
    assert "of the 3 between neighbours in the ranking 2" in page
    assert "inference on cpu with 2 threads" in page


def test_the_grid_marks_the_best_of_rows_and_columns(run: Path) -> None:
    page = build(run).read_text(encoding="utf-8")
    cells = re.findall(
        r'<td class="cell num" style="--w: (\d+)" title="([^:]+):[^>]*>([^<]*)<span class="best">([^<]*)<', page
    )
    first = {name: (int(weight), marks) for weight, name, _, marks in cells[:4]}
    assert first["gin × binned"] == (42, "◀▲")
    assert first["gcn × formula"][0] == 0
    assert first["gcn × formula"][1] == ""
    assert "encoder ↓ head →" in page


@pytest.mark.parametrize("name", ["orderings", "operating_points", "normalised_ranks"])
def test_what_is_absent_leaves_its_section_out(run: Path, name: str) -> None:
    (run / f"{name}.parquet").unlink()
    section = {"orderings": "stability", "operating_points": "operating", "normalised_ranks": "ranks"}[name]
    found = outline(build(run).read_text(encoding="utf-8"))
    assert section not in found.ids


def test_charts_draw_zero_cost_escape_names_and_give_nothing_for_nothing() -> None:
    points = [
        Point("free <b>", 0.0, 0.3, "control", True, "free"),
        Point("dear", 1e6, 0.5, "trained", True, "dear"),
        Point("worse", 1e6, 0.4, "trained", False, "worse"),
    ]
    chart = cost_chart(points, label="l", title="t", foot="parameters")
    assert "free &lt;b&gt;" in chart
    assert chart.count('class="front"') == 1
    assert ">worse</text>" not in chart  # only the front is named
    assert cost_chart([], label="l", title="t", foot="f") == ""
    assert bump_chart([], ["25 %"], label="l", title="t") == ""
    many = [Course(f"m{k}", (float(k), float(k)), "tip", False) for k in range(1, 21)]
    drawn = bump_chart(many, ["25 %", "100 %"], label="l", title="t")
    assert ">m8</text>" in drawn
    assert ">m9</text>" not in drawn
    rows = [LevelRow("a", 3, (0.5, None, None), None, ()), LevelRow("b", 4, (None, None, None), 0.2, (("o", 0.1),))]
    assert level_chart(rows, Axis(0, 1), title="x", lead="m", trivial="t").count("<circle") == 2
