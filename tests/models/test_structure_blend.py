"""structure-blend: places and trust from validation, members of every kind, a generator taken from another row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mslitmus.errors import ConfigError, ModelError
from mslitmus.models.generate.blend import StructureBlend, merge, places_of
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


def test_lists_are_merged_by_places_each_molecule_once():
    lists = [[("CCO", 0.5), ("CCC", 0.4)], [("OCC", 0.6), ("CC", 0.7), ("C", 0.1)]]
    assert merge(lists, (0, 1)) == [("CC", 0.7), ("CCO", 0.6)]  # OCC is known: the next new one takes its place
    assert merge(lists, (0, 0, 0)) == [("CC", 0.7), ("CCO", 0.6), ("CCC", 0.4)]
    assert merge([[], [("no SMILES", 0.2)]], (0, 0)) == [("no SMILES", 0.2)]
    assert merge([], (0,)) == []


def test_it_answers_as_saved_and_no_worse_than_its_members_on_validation(folds, tmp_path: Path):
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
    assert answers.sort("score", descending=True, maintain_order=True).group_by("identifier").head(1).height
    own = score(model.predict(task.queries(val)), val)
    assert own == pytest.approx(report.best_score)
    model.save(tmp_path / "saved")
    again = StructureBlend.load(tmp_path / "saved")
    assert (
        again.predict(task.queries(test).reverse())
        .sort("identifier", "score")
        .equals(answers.sort("identifier", "score"))
    )


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
