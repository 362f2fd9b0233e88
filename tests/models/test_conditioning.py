"""Conditioning: hidden looks as missing, each condition of each spectrum by its own throw; FiLM against its formula."""

from __future__ import annotations

import polars as pl
import pytest
import torch

from mslitmus.errors import ConfigError
from mslitmus.models import MODELS
from mslitmus.models.predict import conditioning
from mslitmus.models.predict.conditioning import (
    CONDITIONS,
    Conditioning,
    ConditioningOptions,
    ConditionVocabulary,
    FiLM,
    FiLMTrunk,
)
from mslitmus.models.protocol import FitContext

ALL = (*CONDITIONS, "ion_mode")
MISSING = {
    "adduct": ["adduct"],
    "instrument": ["instrument_type"],
    "energy": ["collision_energy", "collision_energy_kind"],
    "ion_mode": ["ion_mode"],
}
SMALL = {
    "encoder": {"name": "fingerprint", "width": 24},
    "head": {"name": "bidirectional", "min_molecules": 1},
    "trunk": {"width": 32, "layers": 2},
    "training": {"epochs": 8, "batch_size": 16, "learning_rate": 0.003},
}


def blank(frame: pl.DataFrame, *conditions: str) -> pl.DataFrame:
    columns = [column for name in conditions for column in MISSING[name]]
    return frame.with_columns(pl.lit(None, dtype=frame.schema[column]).alias(column) for column in columns)


def vectors(module: Conditioning, vocabulary: ConditionVocabulary, frame: pl.DataFrame) -> torch.Tensor:
    encoded = {name: torch.from_numpy(values) for name, values in vocabulary.encode(frame).items()}
    with torch.no_grad():
        return module(encoded, frame.height)


def built(frame: pl.DataFrame, mask: float = 0.0, chosen=ALL) -> tuple[Conditioning, ConditionVocabulary]:
    torch.manual_seed(0)
    vocabulary = ConditionVocabulary.of(frame)
    return Conditioning(chosen, ConditioningOptions(width=8, mask=mask), vocabulary), vocabulary


@pytest.mark.parametrize("name", list(MISSING))
def test_hidden_in_training_looks_as_missing_in_prediction(name, world, monkeypatch):
    frame = world["train"]
    module, vocabulary = built(frame, mask=0.5)
    missing = vectors(module.eval(), vocabulary, blank(frame, name))
    shown = vectors(module.eval(), vocabulary, frame)
    monkeypatch.setattr(conditioning.torch, "rand", lambda *size, **_: torch.zeros(*size))  # hides everything
    hidden = vectors(module.train(), vocabulary, frame)
    at = slice(8 * ALL.index(name), 8 * ALL.index(name) + 8)
    torch.testing.assert_close(hidden[:, at], missing[:, at])
    assert not torch.allclose(shown[:, at], missing[:, at])
    others = torch.ones(module.width, dtype=torch.bool)
    others[at] = False
    torch.testing.assert_close(shown[:, others], missing[:, others])  # blanking one condition touches no other


def test_each_condition_of_each_spectrum_is_hidden_by_its_own_throw(world):
    frame = pl.concat([world["train"][:1]] * 4000)
    module, vocabulary = built(frame, mask=0.3)
    shown = vectors(module.eval(), vocabulary, frame).view(4000, len(ALL), 8)
    drawn = vectors(module.train(), vocabulary, frame).view(4000, len(ALL), 8)
    hidden = (drawn - shown).abs().amax(dim=2) > 1e-6
    assert hidden.float().mean(dim=0).numpy() == pytest.approx([0.3] * len(ALL), abs=0.03)
    assert torch.corrcoef(hidden.T.float()).triu(1).abs().max() < 0.06
    assert torch.equal(vectors(module.eval(), vocabulary, frame).view_as(shown), shown)  # never in prediction


def test_no_condition_is_an_empty_vector(world):
    module, vocabulary = built(world["train"], chosen=())
    assert vectors(module, vocabulary, world["train"]).shape == (world["train"].height, 0)


def test_film_scales_and_shifts():
    torch.manual_seed(0)
    film, x, c = FiLM(5, 3), torch.randn(4, 5), torch.randn(4, 3)
    torch.testing.assert_close(film(x, c), x)  # at first it does nothing
    torch.nn.init.normal_(film.linear.weight)
    torch.nn.init.normal_(film.linear.bias)
    gamma = c @ film.linear.weight[:5].T + film.linear.bias[:5]
    beta = c @ film.linear.weight[5:].T + film.linear.bias[5:]
    torch.testing.assert_close(film(x, c), x * (1 + gamma) + beta)


def test_every_block_of_the_trunk_is_modulated():
    torch.manual_seed(0)
    trunk, x, c = FiLMTrunk(6, 2, 0.0, 3), torch.randn(4, 6), torch.randn(4, 3)
    plain = trunk(x, c)
    for film in trunk.films:
        torch.nn.init.normal_(film.linear.weight)
        assert not torch.allclose(trunk(x, c), plain)
        torch.nn.init.zeros_(film.linear.weight)
    assert len(trunk.films) == 3
    assert FiLMTrunk(6, 0, 0.0, 3)(x, c).shape == (4, 6)


@pytest.mark.parametrize("how", ["concat", "film"])
def test_both_ways_train_use_the_energy_and_come_back_from_disk(how, world, tmp_path):
    model = MODELS["neural"](**SMALL, conditions={"how": how})
    report = model.fit(
        world["train"], world["val"], FitContext(tmp_path, score=lambda p, t: 0.0, device="cpu", threads=1)
    )
    assert report.history[-1].loss < report.history[0].loss
    queries = world["queries"]
    predicted = model.predict(queries)
    assert not model.predict(queries.with_columns(collision_energy=pl.lit(99.0, dtype=pl.Float32))).equals(predicted)
    assert (model.predict(blank(queries, *MISSING))["mzs"].list.len() > 0).all()
    model.save(tmp_path / "model")
    again = MODELS["neural"].load(tmp_path / "model")
    assert again.described()["conditions"]["how"] == how
    assert again.predict(queries).equals(predicted)


def test_film_without_conditions_is_the_plain_trunk(world, tmp_path):
    parameters = []
    for how in ("concat", "film"):
        model = MODELS["neural"](**SMALL, conditioning=[], conditions={"how": how})
        model.prepare(world["train"], FitContext(tmp_path))
        parameters.append({name: value.shape for name, value in model.network.state_dict().items()})
    assert parameters[0] == parameters[1]


def test_refusals():
    with pytest.raises(ConfigError, match="'how'"):
        MODELS["neural"](conditions={"how": "flim"})
    with pytest.raises(ConfigError, match="'how'"):  # a fingerprint predictor has no molecule to modulate
        MODELS["binned-mlp"](conditions={"how": "film"})


def test_an_unknown_precursor_is_a_number(world):
    vocabulary = ConditionVocabulary.of(world["train"])
    for unknown in (None, float("nan")):
        frame = world["test"].with_columns(precursor_mz=pl.lit(unknown, dtype=pl.Float64))
        for values in vocabulary.encode(frame).values():
            assert torch.isfinite(torch.from_numpy(values)).all()
