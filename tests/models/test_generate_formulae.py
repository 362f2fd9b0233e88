"""The generator with formulae that are given, predicted or absent."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
import torch  # noqa: F401 - where it is absent this file is left out, see conftest

from mslitmus.chem.molecule import formulas
from mslitmus.errors import ConfigError, ModelError
from mslitmus.models import MODELS
from mslitmus.models.formula_guess import FormulaPrior, GuessOptions, guess
from mslitmus.models.generate.formulae import Formulae
from mslitmus.models.generate.rerank import Asked
from mslitmus.models.generate.spectrum_to_smiles import SpectrumToSmiles
from mslitmus.models.generate.tuning import TunedSpectrumToSmiles
from mslitmus.models.protocol import FitContext
from mslitmus.tasks.generation import Generation

TINY = {"network": {"size": "tiny"}, "beams": 4, "top": 10, "longest": 40, "training": {"epochs": 1, "val_limit": 2}}
WIDE = {"ppm": 100.0}  # small molecules are alone within less
KNOWN = ("C2H6O", "C3H8O", "C4H10N2O", "C6H6O", "C7H8", "C7H7NO", "C8H9NO2", "C3H7NO2", "C9H11NO2", "C6H12O6")


def test_where_formulae_come_from(world):
    hidden = Generation(formula="hidden").queries(world["test"])
    given = Generation().queries(world["test"])
    with pytest.raises(ModelError, match="do not name their formula"):
        Formulae("given", GuessOptions()).asked(hidden)
    assert Formulae("given", GuessOptions()).asked(given).equals(given)
    odd = given.with_columns(formula=pl.lit("unknown"))
    assert Formulae("given", GuessOptions()).asked(odd)["formula"].null_count() == given.height
    spelled = given.with_columns(formula=pl.lit("C6H6NCl"))
    assert set(Formulae("given", GuessOptions()).asked(spelled)["formula"]) == {"C6H6ClN"}  # as answers spell it
    assert "formula" not in Formulae("absent", GuessOptions()).asked(given).columns
    source = Formulae("predicted", GuessOptions(**WIDE), guesses=3)
    source.known = KNOWN
    lost = given.with_columns(adduct=pl.when(pl.int_range(pl.len()) != 1).then("adduct"))
    asked = source.asked(lost)
    first = guess(hidden, FormulaPrior.of(KNOWN), GuessOptions(**WIDE)).to_list()
    assert asked["formula"].to_list() == [None if k == 1 else each for k, each in enumerate(first)]
    weights = asked["log_weights"].to_list()
    assert all(np.exp(each).sum() == pytest.approx(1.0) for each in weights if each)
    own, rows, spread = source.spread(asked)
    assert set(own) == set(range(given.height))
    assert np.bincount(own).tolist() == [max(len(each), 1) for each in asked["formulae"]]
    assert len(spread) == rows.height > given.height
    assert rows["formula"][int(np.flatnonzero(own == 1)[0])] is None
    source.believes = True
    assert source.asked(lost)["formula"].to_list() == given["formula"].to_list()
    assert source.asked(hidden)["formula"].to_list() == first


def test_a_guess_is_judged_on_validation(world):
    source = Formulae("predicted", GuessOptions(), guesses=2)
    source.known = tuple(world["train"]["formula"].unique())
    notes = source.accuracy(world["train"], world["train"]["formula"])
    assert 0.9 < notes["formula_accuracy_on_validation"] <= notes["formula_among_guesses_on_validation"] <= 1
    assert notes["formula_guessed_for"] == world["train"].height
    assert Formulae("given", GuessOptions()).accuracy(world["val"], world["val"]["formula"]) == {"formula": "given"}


def test_answers_under_several_formulae_are_merged():
    one = Asked(("CCO", "COC"), np.array([-1.0, -3.0]), np.zeros((2, 2)))
    other = Asked(("CCN",), np.array([-0.5]), np.ones((1, 2)))
    merged = Asked.merged([one, other.weighed(-1.0)])
    assert merged.smiles == ("CCO", "CCN", "COC")
    assert merged.likelihoods.tolist() == [-1.0, -1.5, -3.0]
    assert merged.similar[:, 0].tolist() == [0.0, 1.0, 0.0]
    assert Asked.merged([]).smiles == ()


@pytest.fixture(scope="module")
def predicted(world, tmp_path_factory):
    """A fitted generator that guesses two formulae a query, its folder and its fit."""
    model = MODELS["spectrum-to-smiles"](**TINY, formula="predicted", guesses=2, guess=WIDE)
    folder = tmp_path_factory.mktemp("predicted")
    report = model.fit(world["train"], world["val"], FitContext(folder, device="cpu", threads=1))
    model.save(folder)
    return model, folder, report


def test_strings_have_the_guessed_formulae(predicted, world):
    model, folder, report = predicted
    assert report.notes["formula"] == "predicted"
    assert 0 <= report.notes["formula_accuracy_on_validation"] <= 1
    model.check_task(Generation(formula="hidden"))
    hidden = Generation(formula="hidden").queries(world["test"]).gather_every(3)
    hidden = hidden.with_columns(adduct=pl.when(pl.int_range(pl.len()) != 0).then("adduct"))
    found = model.predict(hidden)
    assert found["identifier"].unique(maintain_order=True).to_list() == hidden["identifier"].to_list()
    assert found.filter(identifier=hidden["identifier"][0])["smiles"].to_list() == [None]
    lists = dict(model.formulae.asked(hidden).select("identifier", "formulae").iter_rows())
    named = found.drop_nulls("smiles")
    written = formulas(named["smiles"].to_list())
    assert all(formula in lists[name] for name, formula in zip(named["identifier"], written, strict=True))
    assert len(set(zip(named["identifier"], written, strict=True))) > named["identifier"].n_unique()
    told = hidden.with_columns(formula=pl.lit("C2H6O"))
    assert model.predict(told).equals(found)  # what a study's queries name is not looked at
    assert MODELS["spectrum-to-smiles"].load(folder).predict(hidden).equals(found)
    assert model.predict(hidden.clear()).is_empty()


def test_beams_are_shared_where_several_formulae_are_asked(predicted, world, monkeypatch):
    """Four beams: two each for two guesses, all for a formula that is told or that is the only guess."""
    model, folder, _ = predicted
    hidden = Generation(formula="hidden").queries(world["test"]).gather_every(3)
    used: dict[str, int] = {}

    def decoded(self, states, there, part, beams):
        used.update(dict.fromkeys(part["identifier"], beams))
        return plain(self, states, there, part, beams)

    plain = SpectrumToSmiles._decoded
    monkeypatch.setattr(SpectrumToSmiles, "_decoded", decoded)
    guesses = dict(model.formulae.asked(hidden).select("identifier", pl.col("formulae").list.len()).iter_rows())
    assert {1, 2} <= set(guesses.values())
    model.predict(hidden)
    assert used == {name: 4 // number for name, number in guesses.items() if number}
    used.clear()
    again = MODELS["spectrum-to-smiles"].load(folder)
    again.formulae.believes = True
    again.predict(hidden.with_columns(formula=pl.lit("C3H8O")))
    assert set(used.values()) == {4}


def test_odd_queries_cost_themselves_alone(predicted, world):
    """No peak, peaks without height, no precursor, no adduct or one that nobody reads: answered or not, no crash."""
    model, _, _ = predicted
    hidden = Generation(formula="hidden").queries(world["test"])[:6]
    empty, flat = [[]], [[0.0, 0.0]]
    odd = pl.concat(
        [
            hidden[0:1].with_columns(
                mzs=pl.Series(empty, dtype=pl.List(pl.Float64)), intensities=pl.Series(empty, dtype=pl.List(pl.Float32))
            ),
            hidden[1:2].with_columns(
                mzs=pl.Series([[50.0, 60.0]]), intensities=pl.Series(flat, dtype=pl.List(pl.Float32))
            ),
            hidden[2:3].with_columns(precursor_mz=pl.lit(float("nan"))),
            hidden[3:4].with_columns(adduct=pl.lit("[M+Xx]+")),
            hidden[4:5].with_columns(precursor_mz=pl.lit(None, pl.Float64)),
            hidden[5:6],
        ]
    )
    found = model.predict(odd)
    assert found["identifier"].unique(maintain_order=True).to_list() == odd["identifier"].to_list()
    answered = set(found.drop_nulls("smiles")["identifier"])
    assert answered == set(odd["identifier"][[0, 1, 5]])
    given = model.formulae.asked(hidden)["formula"]
    told = MODELS["spectrum-to-smiles"](**TINY)
    told.network, told.vocabulary = model.network, model.vocabulary
    assert told.predict(odd.with_columns(formula=given)).drop_nulls("smiles")["identifier"].n_unique() == 6
    lost = hidden.with_columns(formula=pl.Series(["C40000H2", "H2", "Hg", "", "CH100", None]))
    assert told.predict(lost)["smiles"].to_list() == [None] * 6


def test_tuned_on_neighbours_under_the_guessed_formula(predicted, world, tmp_path):
    options = {**TINY, "formula": "predicted", "guess": WIDE, "learn": False}
    queries = Generation(formula="hidden").queries(world["test"]).gather_every(5)
    for per_sample in (True, False):
        model = TunedSpectrumToSmiles(**options, tuning={"per_sample": per_sample, "batch": 4, "clusters": 2})
        model.start_from(predicted[1])
        report = model.fit(world["train"], world["val"], FitContext(tmp_path, device="cpu", threads=1))
        assert report.notes["formula"] == "predicted"
        found = model.predict(queries)
        assert found["identifier"].unique(maintain_order=True).to_list() == queries["identifier"].to_list()
        assert found["smiles"].null_count() < found.height


def test_a_masked_network_guesses_without_peaks(predicted, world):
    _, folder, _ = predicted
    model = MODELS["spectrum-to-smiles"](**TINY, formula="predicted", guess=WIDE, blind=True)
    model.start_from(folder)
    queries = Generation(formula="hidden").queries(world["test"]).gather_every(5)
    blank = queries.with_columns(mzs=pl.lit([50.0]), intensities=pl.lit([1.0], pl.List(pl.Float32)))
    found, again = model.predict(queries), model.predict(blank)
    assert again["smiles"].equals(found["smiles"])
    assert np.allclose(again["score"].to_numpy(), found["score"].to_numpy(), atol=1e-4)


def test_what_cannot_be_asked():
    with pytest.raises(ConfigError, match="a constraint needs the formula"):
        MODELS["spectrum-to-smiles"](formula="absent")
    with pytest.raises(ConfigError, match="5 guesses share 4 beams"):
        MODELS["spectrum-to-smiles"](formula="predicted", beams=4, guesses=5)
    with pytest.raises(ConfigError, match="looks at the spectrum"):
        MODELS["spectrum-to-smiles"](blind=True, rerank={"spectrum": 1.0, "predictor": "somewhere"})
    with pytest.raises(ConfigError, match="the task hides the formula"):
        MODELS["spectrum-to-smiles"]().check_task(Generation(formula="hidden"))


def test_older_models_say_true_or_false(predicted, world, tmp_path):
    _, folder, _ = predicted
    for name in ("vocabulary.json", "weights.pt", "formulas.json"):
        (tmp_path / name).symlink_to(folder / name)
    saved = json.loads((folder / "options.json").read_text())
    older = {key: value for key, value in saved.items() if key not in ("guess", "guesses")}
    for told, means in ((True, "given"), (False, "absent")):
        (tmp_path / "options.json").write_text(
            json.dumps({**older, "formula": told, "constraint": told, "longest": 12})
        )
        loaded = MODELS["spectrum-to-smiles"].load(tmp_path)
        assert loaded.options.formula == means
        assert loaded.described()["formula"] == means
    queries = Generation().queries(world["test"]).head(2)
    assert loaded.predict(queries).equals(loaded.predict(queries.drop("formula")))


def test_models_that_could_have_looked_twice(predicted, tmp_path):
    """Saved with `second_look`, which is no option any more: false is dropped, true is refused."""
    _, folder, _ = predicted
    for name in ("vocabulary.json", "weights.pt", "formulas.json"):
        (tmp_path / name).symlink_to(folder / name)
    saved = json.loads((folder / "options.json").read_text())
    for looked in (False, True):
        network = {**saved["network"], "second_look": looked}
        (tmp_path / "options.json").write_text(json.dumps({**saved, "network": network}))
        if looked:
            with pytest.raises(ModelError, match="encodes each spectrum twice"):
                MODELS["spectrum-to-smiles"].load(tmp_path)
        else:
            assert MODELS["spectrum-to-smiles"].load(tmp_path).described() == saved
    with pytest.raises(ConfigError, match="second_look"):
        MODELS["spectrum-to-smiles"](network={"second_look": False})


def test_weights_belong_to_the_identity_of_a_cell(tmp_path):
    with pytest.raises(ConfigError, match="no weights here"):
        SpectrumToSmiles.inputs({"weights": str(tmp_path)})
    (tmp_path / "weights.pt").write_bytes(b"one")
    first = SpectrumToSmiles.inputs({"weights": str(tmp_path), "rerank": {"predictor": str(tmp_path)}})
    (tmp_path / "weights.pt").write_bytes(b"two")
    again = SpectrumToSmiles.inputs({"weights": str(tmp_path), "rerank": {"predictor": str(tmp_path)}})
    assert set(first) == {"weights", "predictor"}
    assert first["weights"] != again["weights"] != ""
    assert SpectrumToSmiles.inputs({}) == {}
