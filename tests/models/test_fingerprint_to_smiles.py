"""fingerprint-to-smiles: what the decoder is told, what is refused, and what is saved."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from mslitmus import train
from mslitmus.chem.molecule import formulas, morgan
from mslitmus.data.molecules import MOLECULES
from mslitmus.errors import ConfigError, ModelError
from mslitmus.models import MODELS
from mslitmus.models.fingerprint.formula_network import fold
from mslitmus.models.generate.fingerprint_to_smiles import FingerprintToSmiles
from mslitmus.models.generate.inputs import InputTable
from mslitmus.models.predict.conditioning import ConditionVocabulary
from mslitmus.models.protocol import FitContext
from mslitmus.studies.chosen_model import choose
from mslitmus.tasks.generation import Generation

SMILES = [smiles for _, smiles in MOLECULES[::20]]
TINY = {"network": {"size": "tiny"}, "beams": 3, "training": {"val_limit": 2}}
LOOK_UP = {"fingerprint": {"model": "nearest-spectrum"}}


def fitted(world, decoder, folder, **options):
    model = FingerprintToSmiles(**{**TINY, **LOOK_UP, "weights": str(decoder), **options})
    return model, train.fit(model, world["train"], world["val"], FitContext(folder, device="cpu", threads=1))


@pytest.mark.parametrize("bits", [128, 1024])
def test_a_smaller_fingerprint_is_a_folded_one(bits):
    folded = fold(torch.from_numpy(morgan(SMILES).astype(np.float32)), bits)
    assert np.array_equal(folded.numpy().astype(np.uint8), morgan(SMILES, bits=bits))


def test_inputs_without_a_spectrum():
    known = np.zeros((3, 16), np.float32)
    known[1, 3], known[2, 5] = 0.25, 1.0
    table = InputTable.blank(["C2H6O", "CH4", None], known, ConditionVocabulary(("[M+H]+",)))
    batch = table.batch(np.array([0, 1, 2]), 16, "cpu")
    assert batch.told.tolist() == [False, True, True]
    assert np.array_equal(batch.known.numpy(), known)
    assert not batch.present.any()
    assert not any(code.any() for name, code in batch.conditions.items() if name in ("adduct", "instrument"))
    assert batch.formula[2].eq(0).all()
    packed = InputTable.blank(["CH4"], np.packbits(known[2:] > 0, axis=1), ConditionVocabulary(()))
    assert np.array_equal(packed.batch(np.array([0]), 16, "cpu").known.numpy(), known[2:])


def test_the_decoder_is_told_the_neighbours_fingerprint(world, decoder, tmp_path):
    model, report = fitted(world, decoder, tmp_path, rerank={"fingerprint": "validation"})
    assert model.kind == "trained"
    assert report.notes["inner"] == "nearest-spectrum"
    assert report.notes["rerank"]["queries"] == 2
    queries = Generation().queries(world["test"])[::3]
    neighbour = model.inner.predict(queries)["fingerprint"].explode().to_numpy().reshape(-1, 2048)
    asked = model._asked(queries)
    wanted = fold(torch.from_numpy(neighbour.copy()), 128).numpy()
    assert np.array_equal(asked["told"].to_numpy(), wanted)
    stored = torch.load(decoder / "weights.pt", weights_only=True)
    assert all(torch.equal(value, stored[name]) for name, value in model.network.state_dict().items())
    with model._predicting():
        inputs = model._inputs(model._tabulate(asked), np.arange(asked.height))
        _, bits = model._strings(inputs, asked, np.ones(asked.height, np.int64))
    assert np.array_equal(bits, wanted)

    found = model.predict(queries)
    for smiles, formula in found.join(queries, on="identifier").drop_nulls("smiles").select("smiles", "formula").rows():
        assert formulas([smiles]) == [formula]
    assert model.predict(queries.clear()).is_empty()
    model.save(tmp_path / "saved")
    chosen = choose(tmp_path / "saved", task="generation")
    assert chosen.registered == "fingerprint-to-smiles"
    again = chosen.load()
    assert again.parameters() == model.parameters()
    assert again.predict(queries).equals(found)


def test_what_is_not_predicted_is_not_told(world, decoder, tmp_path):
    """With `skip` and the tier of the formula alone, a query of a new formula has no neighbour."""
    options = {"model": "nearest-spectrum", "options": {"tiers": ["formula"], "skip": True}}
    model, _ = fitted(world, decoder, tmp_path, fingerprint=options)
    queries = Generation().queries(pl.concat([world["train"].head(3), world["test"].head(3)]))
    new = ~queries["formula"].is_in(world["train"]["formula"].unique().to_list())
    told = model._asked(queries)["told"].to_numpy().any(axis=1)
    assert 0 < new.sum() < queries.height
    assert told.tolist() == (~new).to_list()
    assert model.predict(queries.filter(new)[:2])["identifier"].n_unique() == 2


def test_soft_bits_and_guessed_formulae(world, decoder, tmp_path):
    options = {"formula": "predicted", "guesses": 2, "cut": "none", "fingerprint": {"model": "mean-fingerprint"}}
    model, report = fitted(world, decoder, tmp_path, **options, guess={"ppm": 100.0})
    assert report.notes["inner_metric"] == "fp-tanimoto-soft"
    queries = Generation(formula="hidden").queries(world["test"])[::5]
    told = model._asked(queries)["told"].to_numpy()
    assert ((told > 0) & (told < 1)).any()
    found = model.predict(queries)
    assert found["identifier"].unique(maintain_order=True).to_list() == queries["identifier"].to_list()


def test_a_blend_and_a_fitted_one(world, decoder, tmp_path):
    """Fitted in `inner`; a row that was fitted elsewhere is loaded."""
    members = [{"model": "nearest-spectrum"}, {"model": "mean-fingerprint"}]
    options = {"fingerprint": {"model": "fingerprint-blend", "options": {"members": members, "rounds": 2}}}
    model, report = fitted(world, decoder, tmp_path / "model", **options)
    assert report.notes["weights"]
    model.save(tmp_path / "model")
    again = FingerprintToSmiles(**TINY, weights=str(decoder), **options)
    context = FitContext(tmp_path / "again", device="cpu", threads=1, fitted=tmp_path / "model")
    assert train.fit(again, world["train"], world["val"], context).stopped == "fitted before"
    queries = Generation().queries(world["test"])[:2]
    assert again.predict(queries).equals(model.predict(queries))


def test_a_blind_fingerprint_makes_a_blind_row(decoder):
    blind = {**TINY, "weights": str(decoder), "fingerprint": {"model": "formula-fingerprint"}}
    assert FingerprintToSmiles(**blind).kind == "blind"
    assert FingerprintToSmiles(**blind, formula="predicted").kind == "trained"
    assert FingerprintToSmiles(weights=str(decoder)).options.fingerprint.model == "fingerprint-blend"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": "random"}, "pretrain decoder"),
        ({"blind": True}, "formula-fingerprint"),
        ({"at_most": 2}, "leave out at_most"),
        ({"training": {"epochs": 4}}, "leave out training.epochs"),
        ({"network": {"bits": 136}}, "does not divide"),
        ({"fingerprint": {"model": "precursor-only"}}, "of the task 'spectrum-prediction'"),
        ({"fingerprint": {"model": "best-molecule"}}, "best-molecule"),
        ({"cut": 1.5}, "cut"),
    ],
)
def test_refusals(options, message):
    with pytest.raises(ConfigError, match=message):
        FingerprintToSmiles(**{"weights": "somewhere", **LOOK_UP, **options})


def test_a_hidden_formula_is_refused_before_any_work(decoder):
    needs = {"fingerprint": {"model": "fingerprint-transformer"}}
    for formula in ("predicted", "given"):
        model = FingerprintToSmiles(weights=str(decoder), **needs, formula=formula)
        with pytest.raises(ConfigError, match="hides"):
            model.check_task(Generation(formula="hidden"))
    model.check_task(Generation())
    unseen = FingerprintToSmiles(weights=str(decoder), **needs, formula="predicted")
    with pytest.raises(ConfigError, match="formula 'given' needs the formula"):
        unseen.check_task(Generation())
    with pytest.raises(ConfigError, match="leave out start_from"):
        model.check_start(MODELS["spectrum-to-smiles"]())


def test_the_decoder_must_fit(world, decoder, tmp_path):
    with pytest.raises(ConfigError, match=r"network\.bits 256"):
        fitted(world, decoder, tmp_path, network={"size": "tiny", "bits": 256})
    with pytest.raises(ModelError, match="not a saved model"):
        fitted(world, tmp_path / "nowhere", tmp_path)


def test_the_decoder_must_have_seen_molecules_alone(world, decoder, tmp_path):
    """A generator trained on spectra fits as well; so does a decoder that was trained on. Told before any work."""
    copied = Path(shutil.copytree(decoder, tmp_path / "decoder"))
    FingerprintToSmiles.inputs({**LOOK_UP, "weights": str(copied)})
    (copied / "weights.pt").write_bytes((decoder / "weights.pt").read_bytes() + b"more")
    changed = {**LOOK_UP, "weights": str(copied)}
    with pytest.raises(ConfigError, match="no decoder that was trained on molecules alone") as caught:
        FingerprintToSmiles.inputs(changed)
    assert "pretrain decoder" in caught.value.remedy
    shutil.copy(decoder / "weights.pt", copied)
    (copied / "pretraining.json").unlink()
    with pytest.raises(ConfigError, match="molecules alone"):
        fitted(world, copied, tmp_path)
