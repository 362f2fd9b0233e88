"""Bad study files: each ends before any work with file, line and remedy."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from mslitmus.errors import ConfigError
from mslitmus.studies.files import dump, find, load

GOOD = {
    "name": "t",
    "data": {"name": "simulated"},
    "splits": ["molecule"],
    "models": ["precursor-only", {"name": "look-up", "model": "nearest-molecule"}],
    "metrics": ["cosine@0.1Da"],
    "primary_metric": "cosine@0.1Da",
}


def write(tmp_path, value):
    path = tmp_path / "study.yaml"
    path.write_text(value if isinstance(value, str) else yaml.safe_dump(value, sort_keys=False))
    return path


def test_a_good_study_and_its_dump_are_the_same(tmp_path):
    study = load(write(tmp_path, GOOD))
    assert [m.name for m in study.models] == ["precursor-only", "look-up"]
    assert load(write(tmp_path, dump(study))) == study


def test_packaged_and_example_studies_load():
    pytest.importorskip("torch", reason="these studies name neural models")
    assert load(find("quickstart")).name == "quickstart"
    assert load(Path(__file__).parents[2] / "configs" / "massbank.yaml").name == "massbank"


def test_the_models_of_the_documentation_load(tmp_path):
    pytest.importorskip("torch", reason="neural models are named")
    text = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
    models = yaml.safe_load(re.search(r"```yaml\n(models:.*?)```", text, re.DOTALL)[1])
    names = [model.name for model in load(write(tmp_path, {**GOOD, **models})).models]
    assert names == ["precursor-only", "nearest, precursor moved", "neural"]


BAD = {
    "top-level key": ({**GOOD, "metrcis": []}, r"study.yaml:\d+: unknown key 'metrcis'", "did you mean 'metrics'"),
    "nested key": ({**GOOD, "data": {"name": "simulated", "licence": []}}, "unknown key 'data.licence'", "'licenses'"),
    "split name": ({**GOOD, "splits": ["scafold"]}, "unknown split 'scafold'", "did you mean 'scaffold'"),
    "model name": ({**GOOD, "models": ["nearest"]}, "unknown model 'nearest'", "nearest-molecule|known"),
    "encoder name": (
        {**GOOD, "models": [{"model": "neural", "options": {"encoder": "gim", "head": "binned"}}]},
        "gim",
        "'gin'",
    ),
    "head name": (
        {**GOOD, "models": [{"model": "neural", "options": {"encoder": "gin", "head": "bined"}}]},
        "bined",
        "'binned'",
    ),
    "split parameter": (
        {**GOOD, "splits": [{"method": "molecule", "parameters": {"fraction": 1}}]},
        "fraction",
        "'fractions'",
    ),
    "split form": ({**GOOD, "splits": [{"method": "lab", "form": "new"}]}, "unknown form 'new'", "new-molecules"),
    "form of a split without": ({**GOOD, "splits": [{"method": "molecule", "form": "new-molecules"}]}, "no form", ""),
    "protocol": ({**GOOD, "splits": [{"method": "molecule", "protocol": "nguen"}]}, "nguen", "'nguyen'"),
    "option": ({**GOOD, "models": [{"model": "precursor-only", "options": {"depth": 3}}]}, "depth", ""),
    "metric": ({**GOOD, "metrics": ["cosin@0.1Da"]}, "cosin", "cosine"),
    "metric width": ({**GOOD, "metrics": ["cosine@-1Da"]}, "cosine@-1Da", ""),
    "primary metric": ({**GOOD, "primary_metric": "cosine@1Da"}, "cosine@1Da", "cosine@0.1Da"),
    "task": ({**GOOD, "task": "retrieve"}, "unknown task", ""),
    "missing key": ({k: v for k, v in GOOD.items() if k != "splits"}, "'splits' is missing", "configs/massbank.yaml"),
    "ion mode": ({**GOOD, "data": {"name": "simulated", "ion_modes": ["postive"]}}, "postive", "positive"),
    "two rows of one name": ({**GOOD, "models": ["precursor-only", "precursor-only"]}, "listed twice", ""),
    "folder name": ({**GOOD, "name": "a/b"}, "cannot be a folder name", ""),
    "no splits": ({**GOOD, "splits": []}, "splits", ""),
    "wrong type": ({**GOOD, "seeds": "many"}, "seeds", ""),
    "negative budget": ({**GOOD, "budget": {"max_seconds": -1}}, "budget.max_seconds", ""),
    "energy kind": ({**GOOD, "data": {"name": "simulated", "energy_kinds": ["ev"]}}, "unknown energy kind 'ev'", "eV"),
    "undirected primary": (
        {**GOOD, "metrics": ["predicted-entropy"], "primary_metric": "predicted-entropy"},
        "more of it is not better",
        "",
    ),
    "metric twice": ({**GOOD, "metrics": ["cosine@0.1Da"] * 2}, "metric 'cosine@0.1Da' is listed twice", ""),
    "seed twice": ({**GOOD, "seeds": [1, 1]}, "seed 1 is listed twice", ""),
    "a model's seed twice": ({**GOOD, "models": [{"model": "precursor-only", "seeds": [2, 2]}]}, "seed 2", ""),
    "negative seed": ({**GOOD, "seeds": [-1]}, r"seeds\.0", ""),
    "negative split seed": ({**GOOD, "splits": [{"method": "molecule", "seed": -1}]}, r"splits\.0\.seed", ""),
    "huge seed": ({**GOOD, "statistics": {"seed": 2**70}}, r"statistics\.seed", ""),
    "name of spaces": ({**GOOD, "name": "  "}, "cannot be a folder name", ""),
    "name too long": ({**GOOD, "models": [{"model": "precursor-only", "name": "a" * 300}]}, "folder name", ""),
    "key twice": ("name: a\nseeds: [1]\nseeds: [2]\n", r"study.yaml:3: key 'seeds' is written twice", "keep one"),
    "nested key twice": ("data:\n  name: a\n  name: b\n", r"study.yaml:3: key 'name' is written twice", "keep one"),
    "a knot of aliases": ("data: &x {name: a, b: *x}\n", "missing|unknown key", ""),
    "not YAML": ("name: [1, 2", "not YAML", "mend"),
    "a list": ("- 1\n- 2\n", "not a mapping", "massbank.yaml"),
    "empty": ("", "not a mapping", "massbank.yaml"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_studies_are_refused_by_name(tmp_path, case):
    value, message, remedy = BAD[case]
    if "neural" in str(value):
        pytest.importorskip("torch", reason="a neural model is named")
    with pytest.raises(ConfigError, match=message) as caught:
        load(write(tmp_path, value))
    assert "study.yaml" in (caught.value.where or "")
    assert caught.value.remedy

    assert re.search(remedy, str(caught.value))


def test_the_line_is_right(tmp_path):
    text = dump(load(write(tmp_path, GOOD))).replace("resamples: 2000", "resample: 2000")
    line = next(i for i, row in enumerate(text.splitlines(), 1) if "resample:" in row)
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, text))
    assert caught.value.where.endswith(f":{line}")


RANKED = """name: t
task: retrieval
task_options:
  kind: mass
  size: 8
data: {name: simulated}
splits: [molecule]
models:
  - random-ranking
  - {name: neighbours, model: nearest-spectrum, options: {tiers: [formula, all]}}
metrics:
  - mrr
  - hit@1
primary_metric: mrr
"""


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("size: 8", "sise: 8", 5, r"task_options\.sise: unknown option 'sise'\n.*did you mean 'size'"),
        ("size: 8", "size: many", 5, r"task_options\.size: option 'size'"),
        ("hit@1", "hitt@1", 13, r"metrics\.1: .*hitt@1"),
        ("hit@1", "cosine@0.1Da", 13, "does not measure the task 'retrieval'"),
        ("hit@1", "mrr", 13, "metric 'mrr' is listed twice"),
        ("primary_metric: mrr", "primary_metric: mr", 14, r"unknown primary_metric 'mr'\n.*'mrr'"),
        ("primary_metric: mrr", "primary_metric: hit@1", 10, "model 'neighbours': tier 'formula' needs the formula"),
        ("[formula, all]", "[mass, all], tiers2: 1", 10, "unknown option 'tiers2'"),
        ("- random-ranking", "- {model: external, options: {predictions: none.csv}}", 9, "none.csv: no such file"),
        ("  - random-ranking", "  - mean-spectrum", 9, "unknown model"),
        ("  - random-ranking", "  - {model: rank-by-fingerprint, options: {of: neims}}", 9, r"docs/controls\.md"),
    ],
)
def test_the_line_is_that_of_the_key_and_models_are_asked_before_the_work(tmp_path, old, new, line, said):
    if "neims" in new:
        pytest.importorskip("torch", reason="a neural model is named")
    with pytest.raises(ConfigError, match=said) as caught:
        load(write(tmp_path, RANKED.replace(old, new, 1)))
    assert caught.value.where.endswith(f"study.yaml:{line}")


def test_a_task_that_gives_the_formula_has_nothing_against_its_tier(tmp_path):
    assert load(write(tmp_path, RANKED.replace("kind: mass", "kind: formula"))).models[1].name == "neighbours"


def test_unknown_references(tmp_path):
    with pytest.raises(ConfigError, match="unknown study 'quickstrat'") as caught:
        find("quickstrat")
    assert "quickstart" in str(caught.value)
    with pytest.raises(ConfigError, match="no such file"):
        find("configs/none.yaml")
    binary = tmp_path / "b.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        load(binary)
