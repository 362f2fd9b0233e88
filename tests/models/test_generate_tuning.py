"""Test-time tuning and re-ranking of the generator, on tiny nets and made-up spectra."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch

from mslitmus import train
from mslitmus.errors import ConfigError
from mslitmus.models import MODELS
from mslitmus.models.generate.near import Exact, clusters, limit_of, pool_of, scaled
from mslitmus.models.generate.rerank import Asked, Reranker, RerankOptions, open_predictor
from mslitmus.models.generate.tuning import TunedSpectrumToSmiles
from mslitmus.models.protocol import FitContext
from mslitmus.report.board import Entry
from mslitmus.tasks.generation import Generation

TINY = {
    "network": {"size": "tiny"},
    "beams": 3,
    "top": 10,
    "training": {"epochs": 1, "batch_size": 16, "val_limit": 2, "learning_rate": 0.003},
}


def test_clusters_and_neighbours():
    rng = np.random.default_rng(0)
    middles = np.eye(8, dtype=np.float32)[:3]
    points = scaled(np.repeat(middles, [10, 5, 3], axis=0) + rng.normal(0, 0.03, (18, 8)).astype(np.float32))
    own, centre = clusters(points, 3, seed=1)
    assert [int((own == k).sum()) for k in range(3)] == [10, 5, 3]
    assert all(own[c] == k for k, c in enumerate(centre))
    assert len(clusters(points[:2], 5, seed=0)[1]) == 2
    numbers, cosines = Exact(points).nearest(points[4:5], 3)
    assert numbers[0, 0] == 4
    assert (np.diff(cosines[0]) <= 0).all()
    assert set(numbers[0]) <= set(range(10))
    equal = np.repeat(middles[:2], [3, 40], axis=0)
    assert Exact(equal).nearest(middles[1:2], 5)[0].tolist() == [[3, 4, 5, 6, 7]]  # in the order of the pool


def test_faiss_finds_what_exact_finds():
    pytest.importorskip("faiss")
    pool = scaled(np.random.default_rng(0).random((50, 16)).astype(np.float32))
    near = pool_of(pool, exact_up_to=10)
    assert near.name == "faiss"
    assert near.nearest(pool[:5], 1)[0][:, 0].tolist() == list(range(5))


def test_the_limit_tells_relevant_neighbours_from_others():
    cosines, relevant = np.array([0.9, 0.8, 0.7, 0.2, 0.1]), np.array([True, True, True, False, False])
    assert limit_of(cosines, relevant) == 0.7
    assert limit_of(cosines, np.ones(5, bool)) == -1.0
    assert limit_of(cosines[:0], relevant[:0]) == -1.0


@pytest.fixture(scope="module")
def plain(world, tmp_path_factory):
    """The folder of a fitted generator."""
    folder = tmp_path_factory.mktemp("plain")
    model = MODELS["spectrum-to-smiles"](**TINY)
    model.fit(world["train"], world["val"], FitContext(folder, device="cpu", threads=1))
    model.save(folder)
    return folder


def tuned(plain, world, tmp_path, **tuning):
    model = TunedSpectrumToSmiles(**TINY, learn=False, tuning={"batch": 6, "learning_rate": 0.01, **tuning})
    model.check_start(MODELS["spectrum-to-smiles"].load(plain), "keep")
    model.start_from(plain)
    context = FitContext(tmp_path / "tuned", device="cpu", threads=1)
    return model, train.fit(model, world["train"], world["val"], context)


def shown(frame: pl.DataFrame) -> list[tuple]:
    return [(i, s, round(v, 3)) for i, s, v in frame.sort("identifier", "score", "smiles").iter_rows()]


def test_tuning_on_all_is_transductive_and_independent_of_order(plain, world, tmp_path):
    model, report = tuned(plain, world, tmp_path, per_sample=False, clusters=3, refresh=1, limit=-1.0)
    assert report.notes["transductive"] is True
    assert report.notes["limit_from"] == "given"
    queries = Generation().queries(world["test"]).gather_every(2)
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    found = model.predict(queries)
    assert found["identifier"].unique(maintain_order=True).to_list() == queries["identifier"].to_list()
    assert all(torch.equal(value, before[name]) for name, value in model.network.state_dict().items())
    assert model.inference_notes["steps"] == 3
    assert model.inference_notes["dark"] == 0
    assert 0 < model.inference_notes["tuning_seconds_per_spectrum"] < 60
    assert shown(model.predict(queries.reverse())) == shown(found)
    assert shown(found) != shown(MODELS["spectrum-to-smiles"].load(plain).predict(queries))
    model.save(tmp_path / "saved")
    assert shown(TunedSpectrumToSmiles.load(tmp_path / "saved").predict(queries)) == shown(found)


def test_tuning_per_sample_answers_each_by_itself(plain, world, tmp_path):
    model, report = tuned(plain, world, tmp_path)
    assert report.notes["transductive"] is False
    assert report.notes["limit_from"] == "validation"
    assert report.stopped.startswith("not trained")
    model.limit = -1.0
    queries = Generation().queries(world["test"])[:4]
    together = model.predict(queries)
    alone = pl.concat([model.predict(queries[k : k + 1]) for k in range(4)])
    assert shown(alone) == shown(together)


def test_fingerprints_of_other_weights_are_forgotten(plain, world, tmp_path):
    """As a loop leaves them that asks the model between epochs: neighbours are those of the weights of now."""
    model, _ = tuned(plain, world, tmp_path, limit=-1.0)
    queries = Generation().queries(world["test"])[:2]
    model.predict(queries)
    before = model._pool.base
    model.predict(queries)
    assert model._pool.base is before
    with torch.no_grad():
        next(model.network.parameters()).add_(0.1)
    model.predict(queries)
    assert model._pool.base is not before
    assert model.predict(queries.clear()).is_empty()


def test_where_nothing_is_near_nothing_is_tuned(plain, world, tmp_path):
    model, _ = tuned(plain, world, tmp_path, limit=1.0)
    queries = Generation().queries(world["test"])[:3]
    far = queries.with_columns(precursor_mz=pl.col("precursor_mz") + 400.0)
    model.limit = 1.1
    found = model.predict(far)
    assert model.inference_notes["dark"] == 1.0
    assert model.inference_notes["steps"] == 0
    assert shown(found) == shown(MODELS["spectrum-to-smiles"].load(plain).predict(far))


def test_what_tuning_needs():
    with pytest.raises(ConfigError, match="fingerprint head"):
        TunedSpectrumToSmiles(fingerprint_weight=0.0)
    with pytest.raises(ConfigError, match="needs a predictor"):
        MODELS["spectrum-to-smiles"](rerank={"spectrum": "validation"})
    with pytest.raises(ConfigError, match="0 or more"):
        MODELS["spectrum-to-smiles"](rerank={"fingerprint": -1.0})


def test_no_network_to_tune(world, tmp_path):
    with pytest.raises(ConfigError, match="no network to tune"):
        TunedSpectrumToSmiles(**TINY, learn=False).fit(world["train"], world["val"], FitContext(tmp_path))


def test_weights_are_chosen_by_the_first_answer():
    """Likelihood prefers the wrong one of two by 3, the fingerprint the right one by 0.4: a weight above 7.5."""
    reranker = Reranker(RerankOptions(fingerprint="validation"))
    asked = Asked(("CCN", "CCO"), np.array([-1.0, -4.0]), np.array([[0.2, 0.0], [0.6, 0.0]]))
    assert reranker.to_choose
    assert not reranker.used.any()  # in the epochs before: nothing is looked at
    reranker.choosing = True
    assert reranker.used.tolist() == [True, False]
    reranker.choose([asked], ["OCC"])
    assert reranker.chosen["fingerprint"] == 8.0
    assert reranker.chosen["spectrum"] == 0.0
    assert [text for text, _ in reranker.ranked(asked)] == ["CCO", "CCN"]
    again = Reranker(RerankOptions(fingerprint="validation"))
    again.recall(reranker.told())
    assert again.ranked(asked) == reranker.ranked(asked)
    again.forget()
    assert again.to_choose
    assert [text for text, _ in again.ranked(asked)] == ["CCN", "CCO"]


def test_answers_under_several_formulae_are_molecules_each_once():
    """Two tautomers of pyridone have one first block of the InChIKey: the likelier one stays."""
    answers = (("Oc1ccccn1", -3.0), ("O=c1cccc[nH]1", -2.0))
    parts = [Asked((text,), np.array([score]), np.zeros((1, 2))) for text, score in answers]
    assert Asked.merged(parts).smiles == ("O=c1cccc[nH]1",)


def test_reranking_by_predicted_spectra(plain, world, tmp_path):
    """A fitted predictor answers for each structure; what it refuses scores 0."""
    predictor = MODELS["neural"](trunk={"width": 16, "layers": 1}, training={"epochs": 1, "batch_size": 16})
    predictor.fit(world["train"], world["val"], FitContext(tmp_path / "predictor", device="cpu", threads=1))
    predictor.save(tmp_path / "predictor" / "model")
    options = {"fingerprint": 1.0, "spectrum": "validation", "predictor": str(tmp_path / "predictor")}
    model = MODELS["spectrum-to-smiles"](**TINY, rerank=options)
    model.start_from(plain)
    report = train.fit(model, world["train"], world["val"], FitContext(tmp_path / "again", device="cpu", threads=1))
    assert report.notes["rerank"]["queries"] == 2
    queries = Generation().queries(world["test"])[:3]
    found = model.predict(queries)
    model.save(tmp_path / "ranked")
    assert shown(MODELS["spectrum-to-smiles"].load(tmp_path / "ranked").predict(queries)) == shown(found)
    with pytest.raises(ConfigError, match="no fitted predictor"):
        open_predictor(tmp_path)


def test_transductive_models_are_ranked_apart():
    rest = dict.fromkeys(Entry.__dataclass_fields__, None) | {"seeds": (), "model": "tuned", "kind": "trained"}
    assert Entry(**{**rest, "transductive": False}).trained
    apart = Entry(**{**rest, "transductive": True})
    assert not apart.trained
    assert not apart.control
