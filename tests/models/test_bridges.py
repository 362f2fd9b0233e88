"""rank-by-fingerprint and rank-by-spectra: each pair against a plain computation, and what a bridge promises."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from mslitmus.chem import molecule
from mslitmus.errors import ConfigError, PredictionError
from mslitmus.metrics import spectrum
from mslitmus.models import MODELS
from mslitmus.models.baselines.precursor_only import PrecursorOnly
from mslitmus.models.bridges import as_ranker, rank_by_spectra
from mslitmus.models.bridges.bits import BITS, packed_bits, sums_over_bits
from mslitmus.models.controls.mean_fingerprint import MeanFingerprint, as_fingerprints
from mslitmus.models.protocol import FitContext
from mslitmus.spectra.flat import flatten


class Knower(MeanFingerprint):
    """An oracle: the true bits of every query whose truth it is shown; `skip` leaves out every second query."""

    name = "knower"
    kind = "oracle"
    skip = False

    def predict(self, queries):
        asked = queries[::2] if self.skip else queries
        return as_fingerprints(asked["identifier"], molecule.morgan(asked["truth_smiles"].to_list()).astype(np.float32))


class Skipper(Knower):
    skip = True


class Silent(Knower):
    """Gives every second query a null instead of an answer."""

    def predict(self, queries):
        odd = pl.int_range(pl.len()) % 2 == 0
        return super().predict(queries).with_columns(pl.when(odd).then("fingerprint").alias("fingerprint"))


class Short(Knower):
    def predict(self, queries):
        return as_fingerprints(queries["identifier"], np.zeros((queries.height, 8), np.float32))


class Guesser(Knower):
    """Probabilities from a hash of the identifier."""

    kind = "trained"

    def predict(self, queries):
        values = [np.random.default_rng(list(i.encode())).random(BITS) ** 4 for i in queries["identifier"]]
        return as_fingerprints(queries["identifier"], np.stack(values).astype(np.float32))


class Asked(PrecursorOnly):
    """Predicts the precursor and a loss that depends on the molecule and the energy; notes what it was asked."""

    kind = "trained"
    seen: list[pl.DataFrame] = []  # noqa: RUF012

    def predict(self, queries):
        self.seen.append(queries)
        loss = queries["formula"].hash(seed=1) % 3 + 1.0 + queries["collision_energy"].fill_null(0) / 100
        mzs = [[p - 18.01056 * x, p] for p, x in zip(queries["precursor_mz"], loss, strict=True)]
        keep = [m[0] > 15 for m in mzs]
        return pl.DataFrame(
            {"identifier": queries["identifier"], "mzs": [m if k else m[1:] for m, k in zip(mzs, keep, strict=True)],
             "intensities": [[0.5, 1.0] if k else [1.0] for k in keep]}
        )  # fmt: skip


@pytest.fixture(autouse=True)
def _registered(monkeypatch):
    targets = dict(MODELS._all())
    for model in (Knower, Skipper, Silent, Short, Guesser, Asked):
        targets[model.__name__.lower()] = model
    monkeypatch.setattr(MODELS, "_targets", targets)
    monkeypatch.setattr(Asked, "seen", [])


def fitted(name, ranking, folder, cache=None, **options):
    model = MODELS[name](**options)
    model.fit(ranking["train"], ranking["val"], FitContext(folder, cache=cache))
    return model


def with_truth(ranking):
    truth = ranking["truth"].select("identifier", truth_smiles="smiles", truth_inchikey14="inchikey14")
    return ranking["queries"].join(truth, on="identifier", maintain_order="left")


@pytest.mark.parametrize("similarity", ["tanimoto", "cosine", "loglik"])
def test_fingerprint_scores_are_the_documented_ones(similarity, ranking, tmp_path):
    model = fitted("rank-by-fingerprint", ranking, tmp_path, of="guesser", similarity=similarity)
    found = model.predict(ranking["queries"])
    predicted = dict(model.inner.predict(ranking["queries"]).iter_rows())
    expected = []
    for query in ranking["queries"].iter_rows(named=True):
        p = np.array(predicted[query["identifier"]], np.float64)
        for b in molecule.morgan(query["candidate_smiles"]).astype(np.float64):
            if similarity == "tanimoto":
                expected.append(np.minimum(p, b).sum() / np.maximum(p, b).sum())
            elif similarity == "cosine":
                expected.append(p @ b / np.sqrt((p @ p) * (b @ b)))
            else:
                q = np.clip(p, 1e-3, 1 - 1e-3)
                expected.append((b * np.log(q) + (1 - b) * np.log(1 - q)).sum())
    assert found["score"].to_list() == pytest.approx(expected, rel=1e-9)
    assert found["candidate"].to_list() == ranking["queries"]["candidates"].explode().to_list()


def test_true_bits_give_tanimoto_and_rank_the_truth_first(ranking, tmp_path):
    model = fitted("rank-by-fingerprint", ranking, tmp_path, of="knower")
    assert model.kind == "oracle"
    found = model.predict(with_truth(ranking))
    own = found.join(ranking["truth"], left_on=["identifier", "candidate"], right_on=["identifier", "inchikey14"])
    assert own["score"].to_list() == [1.0] * ranking["truth"].height
    row = with_truth(ranking).row(0, named=True)
    exact = molecule.tanimoto(molecule.morgan([row["truth_smiles"]]), molecule.morgan(row["candidate_smiles"]))[0]
    mine = found.filter(pl.col("identifier") == row["identifier"])["score"].to_list()
    assert mine == pytest.approx(exact.tolist(), rel=1e-6)


@pytest.mark.parametrize("of", ["skipper", "silent"])
def test_a_query_that_is_not_answered_gets_no_rows(of, ranking, tmp_path):
    model = fitted("rank-by-fingerprint", ranking, tmp_path, of=of)
    found = model.predict(with_truth(ranking))
    assert found["identifier"].unique(maintain_order=True).to_list() == ranking["queries"]["identifier"][::2].to_list()
    assert model.predict(with_truth(ranking)[:0]).height == 0


def test_a_fingerprint_of_another_length_is_refused(ranking, tmp_path):
    model = fitted("rank-by-fingerprint", ranking, tmp_path, of="short")
    with pytest.raises(PredictionError, match="another length"):
        model.predict(ranking["queries"])


def test_candidate_bits_come_from_the_cache_when_they_are_there(tmp_path, monkeypatch):
    smiles = pl.Series(["CCCO", "CCO", "c1ccccc1"])
    first = packed_bits(smiles, tmp_path / "features")
    monkeypatch.setattr(molecule, "morgan_packed", None)
    assert (packed_bits(smiles, tmp_path / "features") == first).all()
    values = np.random.default_rng(0).random((2, BITS))
    sums = sums_over_bits(values, first, np.array([0, 1, 1]), np.array([2, 0, 1]))
    bits = molecule.morgan(smiles.to_list())
    assert sums == pytest.approx([values[0] @ bits[2], values[1] @ bits[0], values[1] @ bits[1]])


@pytest.mark.parametrize(("options", "metric"), [
    ({}, "cosine-sqrt@0.1Da"),
    ({"precursor": "remove"}, "cosine-sqrt@0.1Da:no-precursor"),
    ({"similarity": "entropy@10ppm", "block": 20}, "entropy@10ppm"),
])  # fmt: skip
def test_spectra_scores_are_the_metric_of_each_pair(options, metric, ranking, tmp_path):
    model = fitted("rank-by-spectra", ranking, tmp_path, of="asked", **options)
    found = model.predict(ranking["queries"])
    recorded, asked = [], []
    for query in ranking["queries"].iter_rows(named=True):
        for key, smiles in zip(query["candidates"], query["candidate_smiles"], strict=True):
            name = f"{query['identifier']} {key}"
            recorded.append({**query, "identifier": name})
            asked.append({**query, "identifier": name, "smiles": smiles, "inchikey14": key,
                          "formula": molecule.identify(smiles).formula})  # fmt: skip
    schema = {c: t for c, t in ranking["queries"].schema.items() if not c.startswith("candidate")}
    truth = pl.DataFrame(recorded, schema_overrides=schema)
    predicted = Asked().predict(
        pl.DataFrame(asked, schema_overrides={**schema, "formula": pl.String}, infer_schema_length=None)
    )
    expected = spectrum.score(predicted, truth, [metric])
    assert found["score"].to_list() == pytest.approx(expected[metric].to_list(), abs=1e-12)
    assert found["candidate"].to_list() == ranking["queries"]["candidates"].explode().to_list()
    assert found["score"].n_unique() > 2


def test_equal_questions_are_asked_once(ranking, tmp_path):
    queries = ranking["queries"]
    copies = queries.with_columns(pl.format("copy {}", "identifier").alias("identifier"))
    model = fitted("rank-by-spectra", ranking, tmp_path, of="asked")
    once = model.predict(queries)
    asked = Asked.seen[0].height
    Asked.seen.clear()
    both = model.predict(pl.concat([queries, copies]))
    assert Asked.seen[0].height == asked
    assert set(Asked.seen[0].columns) == {"identifier", "smiles", "inchikey14", "formula", *rank_by_spectra.CONDITIONS}
    assert both["score"].to_list() == once["score"].to_list() * 2
    assert "mzs" not in Asked.seen[0].columns


def test_precursor_only_ties_every_candidate(ranking, tmp_path):
    model = fitted("rank-by-spectra", ranking, tmp_path, of="precursor-only")
    assert model.kind == "blind"
    spread = model.predict(ranking["queries"]).group_by("identifier").agg(pl.col("score").n_unique())
    assert spread["score"].unique().to_list() == [1]


def test_progress_tells_rate_and_time(ranking, tmp_path):
    lines = []
    model = MODELS["rank-by-spectra"](of="precursor-only", block=16)
    model.fit(ranking["train"], ranking["val"], FitContext(tmp_path, progress=lines.append))
    model.predict(ranking["queries"])
    assert len(lines) > 3
    assert "/s" in lines[-1]
    assert "0.0 min left" in lines[-1]


def test_take_gathers_spectra(world):
    flat = flatten(world["test"])
    taken = rank_by_spectra.take(flat, np.array([3, 0, 3]))
    expected = [m for row in (3, 0, 3) for m in world["test"]["mzs"][row]]
    assert taken.mzs.tolist() == expected
    assert taken.offsets.tolist() == np.cumsum([0, *(len(world["test"]["mzs"][r]) for r in (3, 0, 3))]).tolist()


def test_the_inner_model_is_chosen_by_its_own_headline(ranking, tmp_path):
    """Its context has a folder of its own, and the score is the mean over molecules of its task's metric."""
    seen = {}

    def fit(self, train, val, context):
        seen.update(train=train, val=val, context=context)
        return MeanFingerprint.fit(self, train, val, context)

    MODELS._targets["watched"] = type("Watched", (MeanFingerprint,), {"fit": fit})
    fitted("rank-by-fingerprint", ranking, tmp_path, of="watched")
    assert seen["context"].folder == tmp_path / "inner"
    assert not {"candidates", "candidate_smiles"} & set(seen["train"].columns)
    val = seen["val"]
    truth = as_fingerprints(val["identifier"], molecule.morgan(val["smiles"].to_list()).astype(np.float32))
    assert seen["context"].score(truth, val) == pytest.approx(1.0)
    assert seen["context"].score(truth.head(0), val) == 0.0


def test_as_ranker_wraps_by_task_and_refuses_by_name():
    assert as_ranker("mean-fingerprint", {}).name == "rank-by-fingerprint"
    wrapped = as_ranker("nearest-molecule", {"prefer": "instrument"}, {"similarity": "cosine@1Da"})
    assert (wrapped.name, wrapped.inner.options.prefer, wrapped.metric.name) == (
        "rank-by-spectra", "instrument", "cosine@1Da",
    )  # fmt: skip
    assert as_ranker("random-ranking", {"seed": 3}).options.seed == 3
    with pytest.raises(ConfigError, match="'random-ranking' needs no bridge"):
        as_ranker("random-ranking", {}, {"similarity": "cosine"})
    MODELS._targets["dreamer"] = type("Dreamer", (MeanFingerprint,), {"task": "generation"})
    with pytest.raises(ConfigError, match="'dreamer' does not serve the task 'retrieval'"):
        as_ranker("dreamer", {})


def test_impossible_bridges_are_refused_by_name():
    with pytest.raises(ConfigError, match="'nearest-molecule' is of the task 'spectrum-prediction'") as caught:
        MODELS["rank-by-fingerprint"](of="nearest-molecule")
    assert "'fingerprint'" in caught.value.remedy
    with pytest.raises(ConfigError, match="a bridge itself"):
        MODELS["rank-by-fingerprint"](of="rank-by-spectra", options={"of": "precursor-only"})
    with pytest.raises(ConfigError, match="unknown model 'mean-fingerprnt'"):
        MODELS["rank-by-fingerprint"](of="mean-fingerprnt")
    with pytest.raises(ConfigError, match="unknown option 'neighbous'"):
        MODELS["rank-by-fingerprint"](of="formula-fingerprint", options={"neighbous": 3})
    with pytest.raises(ConfigError, match="no similarity"):
        MODELS["rank-by-spectra"](of="precursor-only", similarity="predicted-entropy")
    with pytest.raises(ConfigError, match="family 'ranking'"):
        MODELS["rank-by-spectra"](of="precursor-only", similarity="hit@1")
