"""Rows from `vary`: which, under which names, and what is refused at which line."""

from __future__ import annotations

import pytest

from mslitmus.errors import ConfigError
from mslitmus.studies.files import load
from mslitmus.studies.grid import expand

ENTRY = {
    "model": "nearest-molecule",
    "options": {"precursor": "copy"},
    "vary": {"options": {"copy": {}, "moved": {"precursor": "replace"}}, "seeds": {"one": [0], "two": [0, 1]}},
}


def test_every_combination_has_a_name_and_its_settings():
    rows = list(expand(ENTRY))
    assert [row["name"] for row in rows] == ["copy × one", "copy × two", "moved × one", "moved × two"]
    assert rows[3] == {
        "model": "nearest-molecule",
        "name": "moved × two",
        "options": {"precursor": "replace"},
        "seeds": [0, 1],
    }
    assert list(expand("precursor-only")) == ["precursor-only"]


def test_rows_are_left_out_by_name():
    rows = list(expand({**ENTRY, "without": ["copy × two"]}))
    assert [row["name"] for row in rows] == ["copy × one", "moved × one", "moved × two"]
    with pytest.raises(ValueError, match="no row is named 'copy x two'; the rows are copy × one"):
        list(expand({**ENTRY, "without": ["copy x two"]}))


def test_values_of_a_list_are_labelled_by_their_key():
    entry = {"model": "neural", "name": "gin", "vary": {"options.training.learning_rate": [0.001, 0.003]}}
    rows = list(expand(entry))
    assert [row["name"] for row in rows] == ["gin × learning_rate 0.001", "gin × learning_rate 0.003"]
    assert rows[0]["options"] == {"training": {"learning_rate": 0.001}}


HEAD = "name: g\ndata: {name: simulated}\nsplits: [random]\nmetrics: [cosine@0.1Da]\nprimary_metric: cosine@0.1Da\n"


@pytest.mark.parametrize(
    ("models", "line", "says"),
    [
        ("- precursor-only\n- model: nearest-molecule\n  vary: [1]", 6, "vary: a mapping"),
        ("- model: nearest-molecule\n  vary: {options: []}\n- precursor-only", 6, "vary.options"),
        ("- {model: precursor-only, vary: {seeds: {a: [0], b: [0]}}}\n- {model: nearest-molekule}", 8, "molekule"),
        ("- model: nearest-molecule\n  vary: {options: {a: {precursor: copy}, b: {precursr: keep}}}", 8, "precursr"),
        ("- model: nearest-molecule\n  vary: {options: [{precursor: copy}]}", 6, "a label"),
    ],
)
def test_a_bad_grid_is_refused_at_its_line(tmp_path, models, line, says):
    path = tmp_path / "s.yaml"
    path.write_text(HEAD + "models:\n" + models)
    with pytest.raises(ConfigError, match=says) as caught:
        load(path)
    assert caught.value.where == f"{path}:{line}"
