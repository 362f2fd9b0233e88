"""What a row trains on: fractions that nest, mislabelled spectra, classes and conditions; and what a split asks."""

from __future__ import annotations

import json

import polars as pl
import pytest
from test_runner import STUDY

from mslitmus.chem.classes import compound_classes
from mslitmus.data import store
from mslitmus.data.ledger import Ledger, LedgerEntry
from mslitmus.errors import ConfigError, DataError
from mslitmus.models.baselines.nearest_molecule import NearestMolecule
from mslitmus.studies import runner
from mslitmus.studies.config import ModelConfig, SplitConfig, StudyConfig
from mslitmus.studies.files import load
from mslitmus.studies.train_on import LABELS, TrainOn

MOLECULE = {"method": "molecule", "parameters": {"fractions": [0.6, 0.2, 0.2]}}


def apply(frame, seed=0, **keys):
    return TrainOn.model_validate(keys).apply(frame, seed)


def test_fractions_are_of_molecules_and_nest(tiny):
    molecules = [set(apply(tiny, fraction=f)[0]["inchikey14"]) for f in (0.25, 0.5, 1.0)]
    assert [len(m) for m in molecules] == [5, 10, 20]
    assert molecules[0] < molecules[1] < molecules[2]
    assert set(apply(tiny, seed=1, fraction=0.25)[0]["inchikey14"]) != molecules[0]
    part, counts = apply(tiny, fraction=0.25)
    assert part.height == tiny.filter(pl.col("inchikey14").is_in(molecules[0])).height  # all spectra of a molecule
    assert counts == {
        "fold": {"spectra": tiny.height, "molecules": 20},
        "fraction": {"spectra": part.height, "molecules": 5},
    }
    assert apply(tiny.reverse(), fraction=0.25)[0].reverse().equals(part)


def test_label_noise_exchanges_molecules_of_near_mass_and_leaves_what_was_measured(tiny):
    noisy, counts = apply(tiny, label_noise=0.4)
    assert noisy.drop(LABELS).equals(tiny.drop(LABELS))
    changed = noisy["inchikey14"] != tiny["inchikey14"]
    assert counts["label_noise"]["spectra"] == changed.sum() > 0
    assert counts["label_noise"]["drawn"] == round(0.4 * tiny.height) >= changed.sum()
    assert counts["label_noise"]["median_da"] >= 0
    for column in ("inchikey14", "smiles"):  # exchanged in pairs: nobody gains or loses a spectrum
        assert sorted(noisy[column]) == sorted(tiny[column])
    whole = dict(tiny.select("inchikey14", "formula").iter_rows())
    assert all(whole[key] == formula for key, formula in noisy.select("inchikey14", "formula").iter_rows())
    by_adduct = [f.group_by("adduct").agg(pl.col("inchikey14").sort()).sort("adduct") for f in (noisy, tiny)]
    assert by_adduct[0].equals(by_adduct[1])
    less = apply(tiny, label_noise=0.2)[1]["label_noise"]
    assert less["drawn"] < counts["label_noise"]["drawn"]
    assert apply(tiny, label_noise=0.4)[0].equals(noisy)


def test_classes_and_conditions_leave_records_out(tiny):
    with_class = tiny.with_columns(
        own=tiny["smiles"].map_elements(compound_classes, return_dtype=pl.List(pl.String))
    ).explode("own")
    name = with_class["own"].value_counts(sort=True)["own"][0]
    inside = set(with_class.filter(pl.col("own") == name)["inchikey14"])
    assert set(apply(tiny, without_classes=[name])[0]["inchikey14"]) == set(tiny["inchikey14"]) - inside
    assert set(apply(tiny, where={"classes": [name]})[0]["inchikey14"]) == inside
    low = apply(tiny, where={"max_energy": 25, "ion_modes": ["positive"]})[0]
    assert set(low["ion_mode"]) == {"positive"}
    assert low["collision_energy"].max() <= 25
    part, counts = apply(tiny, where={"laboratories": [tiny["source"][0]]}, fraction=0.5)
    assert set(part["source"]) == {tiny["source"][0]}
    assert list(counts) == ["fold", "where.laboratories", "fraction"]
    with pytest.raises(DataError, match=r"nothing .* is left to train on after where\.adducts"):
        apply(tiny, where={"adducts": ["[M+K]+"]})


@pytest.fixture
def few(tiny, monkeypatch):
    monkeypatch.setattr(runner, "aggregate", lambda *_: None)  # cells only: no tables, no page
    return store.save("few", tiny, Ledger((LedgerEntry("made", tiny.height),)), {"title": "few"})


def run(folder, **change):
    study = StudyConfig.model_validate({**STUDY, "splits": [MOLECULE], "difficulty": False, **change})
    runner.run(study, folder, progress=lambda line: None)
    return study


def test_a_grid_over_fractions_trains_on_so_much_and_says_so(few, tmp_path, monkeypatch):
    seen = []
    fit = NearestMolecule.fit

    def watched(self, train, val, context):
        seen.append((train["inchikey14"].n_unique(), val.height))
        return fit(self, train, val, context)

    monkeypatch.setattr(NearestMolecule, "fit", watched)
    grid = {"model": "nearest-molecule", "vary": {"train_on.fraction": [0.25, 0.5, 1.0]}}
    run(tmp_path / "run", models=[grid])
    assert seen[0][0] < seen[1][0] < seen[2][0]
    assert len({val for _, val in seen}) == 1
    cells = tmp_path / "run" / "cells" / "molecule"
    records = {p.parent.parent.name: json.loads(p.read_text()) for p in cells.rglob("cell.json")}
    assert sorted(records) == ["fraction 0.25", "fraction 0.5", "fraction 1.0"]
    assert records["fraction 0.25"]["train_on"]["fraction"]["molecules"] == seen[0][0]
    identity = json.loads((cells / "fraction 1.0" / "seed0" / "identity.json").read_text())
    assert "train_on" not in identity  # the whole fold: the same cell as a row without the key
    run(tmp_path / "run", models=[{"model": "nearest-molecule", "name": "fraction 1.0"}])
    assert len(seen) == 3


def test_studies_that_say_nothing_of_it_keep_their_files():
    assert "train_on" not in ModelConfig(model="nearest-molecule").model_dump()
    assert "start_from" not in ModelConfig(model="nearest-molecule").model_dump()
    assert "test_on" not in SplitConfig(method="molecule").model_dump()


def test_a_split_asks_some_of_its_queries_only(few, tmp_path):
    asked = {**MOLECULE, "test_on": {"max_energy": 25}}
    run(tmp_path / "all", models=["precursor-only"])
    run(tmp_path / "some", models=["precursor-only"], splits=[asked])
    every, some = (
        pl.read_parquet(tmp_path / name / "cells/molecule/precursor-only/seed0/scores.parquet")
        for name in ("all", "some")
    )
    assert 0 < some.height < every.height
    ledger = json.loads((tmp_path / "some" / "ledger.json").read_text())
    assert [row["rule"] for row in ledger if "queries of" in row["note"]] == ["test_on"] * 2


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"fraction": 0}, "train_on.fraction"),
        ({"fractoin": 0.5}, "did you mean 'fraction'"),
        ({"without_classes": ["steroid"]}, "did you mean 'steroids'"),
        ({"where": {}}, "no condition"),
        ({"where": {"instrument_types": ["orbitrap"]}}, "Orbitrap"),
        ({"where": {"min_energy": 40, "max_energy": 20}}, "above max_energy"),
    ],
)
def test_mistakes_are_refused_with_their_line(tmp_path, keys, says):
    head = "name: g\ndata: {name: simulated}\nsplits: [random]\nmetrics: [cosine@0.1Da]\nprimary_metric: cosine@0.1Da\n"
    path = tmp_path / "study.yaml"
    path.write_text(f"{head}models:\n- precursor-only\n- model: nearest-molecule\n  train_on: {json.dumps(keys)}\n")
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert says in str(caught.value)
    assert f"{path}:9" in str(caught.value)
