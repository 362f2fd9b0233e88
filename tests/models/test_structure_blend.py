"""structure-blend: places and trust from validation; docs and `generate` with a fitted generator: tests/cli."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mslitmus.errors import ConfigError, ModelError
from mslitmus.models.generate.blend import StructureBlend
from mslitmus.models.generate.blend_places import Line, Places, bagged, judged, merge, places_of, ranked
from mslitmus.models.protocol import FitContext
from mslitmus.tasks import TASKS


@pytest.fixture
def folds(tiny: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    keys = tiny["inchikey14"].unique().sort()
    parts = [tiny.filter(pl.col("inchikey14").is_in(part.implode())) for part in (keys[:10], keys[10:15], keys[15:])]
    return parts[0], parts[1], parts[2]


def test_places_go_to_whoever_still_helps():
    best = np.array(
        [
            [[0.0, 0.9, 0.9, 0.9], [0.0, 0.2, 0.2, 0.2]],  # right at once for the first query, then nothing new
            [[0.0, 0.1, 0.1, 0.1], [0.0, 0.5, 0.7, 0.7]],
        ]
    )
    assert places_of(best, np.ones(2), 3) == (0, 1, 1)
    assert places_of(best, np.array([0.0, 1.0]), 2) == (1, 1)
    assert bagged(np.repeat(best[:, 1:], 50, axis=1), np.ones(50), 2) == (1, 1)  # one is better in every sample
    even = np.repeat(best[:, :1], 50, axis=1)
    even[:, 25:] = even[::-1, 25:]  # each is right for half of the queries
    assert sorted(bagged(even, np.ones(50), 4)) == [0, 0, 1, 1]


def test_lists_are_merged_by_places_each_molecule_once():
    lists = [[("CCO", 0.5), ("CCC", 0.4)], [("OCC", 0.6), ("CC", 0.7), ("C", 0.1)]]
    assert merge(lists, (0, 1)) == [("CC", 0.7), ("CCO", 0.6)]  # OCC is known: the next new one takes its place
    assert merge(lists, (0, 0, 0)) == [("CC", 0.7), ("CCO", 0.6), ("CCC", 0.4)]
    assert merge([[], [("no SMILES", 0.2)]], (0, 0)) == [("no SMILES", 0.2)]
    assert merge([], (0,)) == []


def test_it_answers_as_saved(folds, tmp_path: Path):
    train, val, test = folds
    task = TASKS["generation"](formula="given")
    heard: list[str] = []

    def score(predictions: pl.DataFrame, rows: pl.DataFrame) -> float:
        return float(task.score(predictions, task.truth(rows), ["mol-tanimoto@10"])["mol-tanimoto@10"].mean())  # type: ignore[arg-type]

    model = StructureBlend(structures=4)
    assert model.kind == "neighbour"
    with pytest.raises(ModelError, match="not fitted"):
        model.predict(task.queries(test))
    report = model.fit(train, val, FitContext(tmp_path / "fit", score=score, progress=heard.append))
    assert [len(places) for places in report.notes["places"].values()] == [4]
    assert any(line.startswith("places, m/z –: nearest-structure") for line in heard)
    answers = task.check(model.predict(task.queries(test)), task.queries(test))
    sizes = answers.drop_nulls("smiles").group_by("identifier").len()["len"]
    assert sizes.max() == 4
    assert answers["score"].is_between(-0.001, 1.0).all()
    assert report.best_score == pytest.approx(score(model.predict(task.queries(val)), val))  # too few for folds
    model.save(tmp_path / "saved")
    again = StructureBlend.load(tmp_path / "saved")
    assert (
        again.predict(task.queries(test).reverse())
        .sort("identifier", "score")
        .equals(answers.sort("identifier", "score"))
    )


def test_small_molecules_are_one_members_and_large_ones_the_others():
    """Two strata; in each another member is right, at a score that says so."""
    n = 100
    names, mzs = [f"q{i}" for i in range(n)], np.linspace(100, 900, n)
    val = pl.DataFrame({"identifier": names, "inchikey14": names, "smiles": ["CCO"] * n, "precursor_mz": mzs})
    right = mzs < 500

    def answers(good: np.ndarray, score: float) -> pl.DataFrame:
        smiles = ["CCO" if each else "c1ccccc1" for each in good]
        return judged(ranked(pl.DataFrame({"identifier": names, "smiles": smiles, "score": [score] * n})), val)

    answered = [answers(right, 0.3), answers(~right, -50.0)]
    places = Places.of(answered, val, 1, strata=4)
    assert list(places.named().values()) == [(0,), (1,)]
    found = places.merged(val.head(1).with_columns(precursor_mz=pl.lit(None, pl.Float64)).vstack(val[1:]), answered)
    assert found["smiles"].to_list() == ["CCO"] * n
    assert found["score"].is_between(0.0, 1.0).all()
    assert Places.read(json.loads(json.dumps(places.record()))) == places
    assert len(Places.of(answered, val.head(79), 1, strata=4).strata) == 1
    silent = places.merged(val.head(2), [each.clear() for each in answered])
    assert silent["smiles"].null_count() == 2


def test_trust_follows_score_and_mass_and_molecules_weigh_alike():
    rng = np.random.default_rng(0)
    score, mz = rng.uniform(-9, 0, 400), rng.uniform(100, 900, 400)
    rows = {"identifier": [f"q{i}" for i in range(400)], "score": score, "precursor_mz": mz, "weight": np.ones(400)}
    line = Line.of(pl.DataFrame({**rows, "likeness": 0.5 + 0.03 * score + 0.0003 * mz}))
    assert line(-5.0, 500.0) == pytest.approx(0.5, abs=0.001)
    assert line(-2.0, 800.0) == pytest.approx(0.68, abs=0.001)
    assert line(50.0, 9000.0) == pytest.approx(line(0.0, 900.0))  # nothing beyond what validation has
    noise = Line.of(pl.DataFrame({**rows, "likeness": rng.uniform(0, 1, 400)}))
    assert max(abs(slope * width) for slope, width in zip(noise.slopes, (9, 800), strict=True)) < 0.1
    two = {"identifier": ["a", "b", "b2"], "score": [0.0] * 3, "precursor_mz": [100.0] * 3, "likeness": [0.2, 0.8, 0.6]}
    assert Line.of(pl.DataFrame({**two, "weight": [1.0, 0.5, 0.5]}))(0.0, 100.0) == pytest.approx(0.45)
    assert Line.of(pl.DataFrame(schema={"score": pl.Float64}))(1.0, 100.0) == 0.0


def test_generators_that_it_refuses():
    pytest.importorskip("torch", reason="generators are networks")
    for options, why in (
        ({"members": [{"model": "structure-blend"}]}, "of the task 'generation'"),
        (
            {"members": [{"model": "tuned-spectrum-to-smiles", "options": {"tuning": {"per_sample": False}}}]},
            "together",
        ),
        ({"members": [{"model": "spectrum-to-smiles"}], "formula": "hidden"}, "takes the formula as given"),
        ({"members": [{"model": "spectrum-to-smiles", "options": {"formula": "predicted"}}]}, "takes the formula as"),
    ):
        with pytest.raises(ConfigError, match=why):
            StructureBlend(**options)


def test_what_it_refuses():
    with pytest.raises(ConfigError, match="of kind 'oracle'"):
        StructureBlend(members=[{"model": "best-structure"}])
    with pytest.raises(ConfigError, match="of the task 'spectrum-prediction'"):
        StructureBlend(members=[{"model": "precursor-only"}])
    with pytest.raises(ConfigError, match="hides the formula"):
        StructureBlend().check_task(TASKS["generation"](formula="hidden"))
    StructureBlend(formula="hidden").check_task(TASKS["generation"](formula="hidden"))
    with pytest.raises(ConfigError, match="starts from a row that writes"):
        StructureBlend().check_start(StructureBlend())
