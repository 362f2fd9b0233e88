"""Encoders × heads: every pair learns and predicts; the parts of a batch against plain computations."""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl
import pytest
import torch

from mslitmus.chem.graph import ATOM_FIELDS, BOND_FIELDS, molecule_graph
from mslitmus.errors import ConfigError, ModelError
from mslitmus.models import ENCODERS, HEADS, MODELS
from mslitmus.models.predict import losses
from mslitmus.models.predict.batching import SpectrumTable, epoch_rows, flat_peaks, like_length, number_molecules
from mslitmus.models.predict.conditioning import ConditionVocabulary
from mslitmus.models.predict.features import FeatureStore, Ragged
from mslitmus.models.predict.parts import Encoded, check_pair
from mslitmus.models.protocol import FitContext, Trainable
from mslitmus.tasks.spectrum_prediction import SpectrumPrediction

SMALL = {"trunk": {"width": 32, "layers": 1}, "training": {"epochs": 2, "batch_size": 16, "learning_rate": 0.01}}
SPECTRUM_MODELS = [name for name in MODELS if getattr(MODELS[name], "task", None) == "spectrum-prediction"]
PAIRS = [(encoder, head) for encoder in ENCODERS for head in HEADS if HEADS[head].needs <= ENCODERS[encoder].provides]


def neural(encoder="fingerprint", head="bidirectional", **options):
    sized = {"encoder": {"name": encoder, "width": 24, "layers": 1}, "head": {"name": head, "min_molecules": 1}}
    return MODELS["neural"](**{**sized, **SMALL, **options})


def shared_peaks(predicted, truth) -> float:
    """A score that any test can compute: mean share of true intensity within 0.05 Da of a predicted peak."""
    rows = predicted.join(truth.select("identifier", t="mzs", i="intensities"), on="identifier")
    return float(np.mean([_share(*row) for row in rows.select("mzs", "t", "i").iter_rows()]))


def _share(mzs, true, intensities):
    near = np.abs(np.subtract.outer(np.array(true), np.array(mzs))).min(axis=1) < 0.05
    return float(np.sum(np.array(intensities) * near) / np.sum(intensities))


def fit(model, world, folder):
    report = model.fit(world["train"], world["val"], FitContext(folder, score=shared_peaks, device="cpu", threads=1))
    return model, report


@pytest.mark.parametrize(("encoder", "head"), PAIRS)
def test_every_pair_learns_and_predicts(encoder, head, world, tmp_path):
    model, report = fit(neural(encoder, head), world, tmp_path)
    assert isinstance(model, Trainable)
    assert report.parameters == model.parameters() > 0
    assert report.history[-1].loss < report.history[0].loss
    predicted = SpectrumPrediction().check(model.predict(world["queries"]), world["queries"])
    assert predicted["identifier"].to_list() == world["queries"]["identifier"].to_list()
    assert (predicted["mzs"].list.len() > 0).all()


@pytest.mark.parametrize("name", SPECTRUM_MODELS)
def test_every_model_ignores_order_and_company(name, world, tmp_path):
    options = (
        {}
        if name in ("precursor-only", "nearest-molecule")
        else SMALL | {"head": {"name": "binned", "min_molecules": 1}}
    )
    if name in ("neims", "massformer"):
        options["encoder"] = {"neims": {"width": 24, "layers": 1}, "massformer": {"size": "slim", "layers": 1}}[name]
    model, _ = fit(MODELS[name](**options), world, tmp_path)
    together = model.predict(world["queries"])
    shuffled = model.predict(world["queries"].sample(fraction=1.0, shuffle=True, seed=1))
    assert shuffled.sort("identifier").equals(together.sort("identifier"))
    alone = pl.concat([model.predict(world["queries"][i]) for i in range(world["queries"].height)])
    for one, many in zip(alone.iter_rows(), together.iter_rows(), strict=True):
        assert len(one[1]) == pytest.approx(len(many[1]), abs=1)  # a peak at the very threshold may tip
        assert max(one[2]) == max(many[2])
    assert model.predict(world["queries"].clear()).height == 0
    model.save(tmp_path / "model")
    assert MODELS[name].load(tmp_path / "model").predict(world["queries"]).equals(together)


def test_each_molecule_is_encoded_once_with_equal_results(world, tmp_path):
    model, _ = fit(neural("gin"), world, tmp_path)
    table = SpectrumTable.of(world["queries"], model.store, model.conditions)
    batch = table.batch(np.arange(len(table)))
    assert int(batch.molecules["molecules"]) == world["queries"]["smiles"].n_unique() < len(table)
    singles = dataclasses.replace(table, molecule=np.arange(len(table)), features=table.features.take(table.molecule))
    naive = singles.batch(np.arange(len(table)))
    assert int(naive.molecules["molecules"]) == len(table)
    with torch.no_grad():
        torch.testing.assert_close(model.network(batch), model.network(naive), rtol=1e-5, atol=1e-5)


def test_missing_conditions_are_a_state_not_a_dropped_row(world, tmp_path):
    model, _ = fit(neural(), world, tmp_path)
    blank = ["adduct", "instrument_type", "collision_energy", "collision_energy_kind"]
    queries = world["queries"].with_columns(pl.lit(None, dtype=world["queries"].schema[c]).alias(c) for c in blank)
    assert (model.predict(queries)["mzs"].list.len() > 0).all()
    odd = world["queries"].with_columns(adduct=pl.lit("[M+Cs]+"), instrument_type=pl.lit("Toaster"))
    assert model.predict(odd).height == odd.height


@pytest.mark.parametrize("left_out", ["adduct", "instrument", "energy", "precursor_mz"])
def test_a_condition_left_out_has_no_influence(left_out, world, tmp_path):
    kept = [c for c in ("adduct", "instrument", "energy", "precursor_mz") if c != left_out]
    model, _ = fit(neural(conditioning=kept), world, tmp_path)
    change = {"adduct": {"adduct": pl.lit("[M+K]+")}, "instrument": {"instrument_type": pl.lit("QqQ")},
              "energy": {"collision_energy": pl.lit(99.0, dtype=pl.Float32)}, "precursor_mz": {}}[left_out]  # fmt: skip
    assert model.predict(world["queries"].with_columns(**change)).equals(model.predict(world["queries"]))


def test_refusals_name_the_place(monkeypatch):
    for options, message in [
        ({"encoder": "gni"}, "unknown encoder 'gni'"),
        ({"head": "bined"}, "unknown head 'bined'"),
        ({"conditioning": ["aduct"]}, "unknown condition 'aduct'"),
        ({"trunk": {"widht": 3}}, "unknown option 'widht'"),
        ({"head": {"name": "binned", "width": -1.0}}, "'width'"),
        ({"training": {"epochs": "ten"}}, "'epochs'"),
        ({"encoder": {"layers": 2}}, "no name"),
        ({"epochs": 3}, "unknown option 'epochs'"),
    ]:
        with pytest.raises(ConfigError, match=message) as caught:
            MODELS["neural"](**options)
        assert caught.value.remedy
    monkeypatch.setattr(HEADS["binned"], "needs", frozenset({"atoms"}))
    with pytest.raises(ConfigError, match=r"head 'binned' needs atoms, which encoder 'fingerprint' does not") as caught:
        check_pair("fingerprint", "binned")
    assert "gin" in caught.value.remedy


def test_neims_is_a_preset_whose_choices_can_be_changed():
    model = MODELS["neims"](training={"epochs": 3}, head={"width": 0.1})
    described = model.described()
    assert described["encoder"]["bits"] == 4096
    assert described["head"]["name"] == "bidirectional"
    assert described["head"]["width"] == 0.1
    assert described["training"]["epochs"] == 3
    assert described["training"]["batch_size"] == 100
    assert MODELS["neims"](encoder="gin").described()["encoder"]["width"] == 128


def test_loading_something_else_says_so(tmp_path):
    with pytest.raises(ModelError, match="not a saved model"):
        MODELS["neural"].load(tmp_path)


# -- parts -----------------------------------------------------------------------------------------------------------


def test_graph_codes_are_in_range_and_edges_come_in_pairs():
    graph = molecule_graph("C[N+](C)(C)CC(=O)[O-].[Na+]")
    assert (graph.atoms < np.array(list(ATOM_FIELDS.values()))).all()
    assert (graph.bonds < np.array(list(BOND_FIELDS.values()))).all()
    assert {(b, a) for a, b in graph.edges} == {(a, b) for a, b in graph.edges}
    assert len(molecule_graph("[Na+]").edges) == 0


def test_features_come_from_disk_and_a_damaged_file_is_computed_anew(tmp_path):
    featuriser = ENCODERS["gin"].featuriser(ENCODERS["gin"].Options())
    first = FeatureStore(featuriser, tmp_path)
    wanted = first.get(["CCO", "c1ccccc1", "CCO"])
    first.flush()
    again = FeatureStore(featuriser, tmp_path)
    assert len(again) == 2
    found = again.get(["CCO", "c1ccccc1", "CCO"])
    assert all((found.arrays[k] == wanted.arrays[k]).all() for k in wanted.arrays)
    for path in tmp_path.glob("*.npz"):
        path.write_bytes(path.read_bytes()[:50])
    assert len(FeatureStore(featuriser, tmp_path)) == 0
    bounded = FeatureStore(featuriser, limit=1)
    assert len(bounded.get(["CCO", "CCN"])) == 2
    assert len(bounded) == 0
    bounded = FeatureStore(featuriser, memory=first.get(["CCO"]).nbytes)
    assert len(bounded.get(["CCO"])) == 1
    assert len(bounded.get(["CCN", "CCO"])) == 2
    assert len(bounded) == 1


def test_ragged_take_follows_a_loop():
    rng = np.random.default_rng(0)
    rows = [{"a": rng.random((n, 2))} for n in (3, 0, 2, 5)]
    table = Ragged.stack(rows)
    order = np.array([3, 1, 0, 3, 2])
    assert np.array_equal(table.take(order).arrays["a"], np.concatenate([rows[i]["a"] for i in order]))
    assert len(Ragged.join([table, table])) == 8


def test_an_epoch_holds_every_row_once_and_keeps_groups_together():
    molecule = np.repeat(np.arange(30), 7)
    batches = epoch_rows(molecule, batch_size=20, per_molecule=100, seed=3)
    rows = np.concatenate(batches)
    assert np.array_equal(np.sort(rows), np.arange(210))
    assert sum(len(np.unique(molecule[b])) for b in batches) <= 30 + len(batches)  # only borders cut a molecule
    assert any(not np.array_equal(a, b) for a, b in zip(batches, epoch_rows(molecule, 20, 100, 4), strict=True))
    plain = epoch_rows(molecule, 20, 1, 3)
    assert np.mean([len(np.unique(molecule[b])) for b in plain]) > 12


def test_batches_of_like_length_hold_every_row_once():
    lengths = np.random.default_rng(0).integers(1, 100, 500)
    rows = epoch_rows(np.arange(500), 20, 1, 3)
    batches = like_length(rows, lengths, 3, bucket=25)
    assert sorted(np.concatenate(batches)) == list(range(500))
    assert max(np.ptp(lengths[batch]) for batch in batches) < 15 < np.median([np.ptp(lengths[batch]) for batch in rows])
    assert not all(np.array_equal(a, b) for a, b in zip(batches, like_length(rows, lengths, 4, bucket=25), strict=True))


def dense(output, batch):
    """Predicted and measured spectra laid out on forward bins, for the plain losses."""
    p, first, second = output.exp().numpy(), batch.targets["first"].numpy(), batch.targets["second"].numpy()
    row, t = batch.targets["row"].numpy(), batch.targets["intensity"].numpy()
    for r in range(batch.size):
        here, off_target = row == r, p[r].astype(float)
        entries = list(zip(first[here], second[here], strict=True))
        q = [sum(p[r, e] for e in pair if e >= 0) for pair in entries]
        off_target[[e for pair in entries for e in pair if e >= 0]] = 0
        yield np.concatenate([q, off_target]), np.concatenate([t[here], np.zeros(len(off_target))])


@pytest.mark.parametrize("name", list(losses.LOSSES))
def test_sparse_losses_equal_dense_ones(name, world, tmp_path):
    model = MODELS["neural"](head={"name": "bidirectional", "min_molecules": 1, "loss": name}, **SMALL)
    torch.manual_seed(0)
    model.prepare(world["train"], FitContext(tmp_path))
    batch = next(iter(model.train_batches(0)))
    model.network.eval()
    with torch.no_grad():
        output = model.network(batch)
        loss = float(model.network.head.loss(output, batch))
    values = []
    for p, t in dense(output, batch):
        if name == "cosine":
            values.append(1 - p @ t / np.linalg.norm(p) / np.linalg.norm(t))
        elif name == "cross-entropy":
            values.append(-np.sum(t[t > 0] * np.log(p[t > 0])))
        elif name == "entropy":
            m = (p + t) / 2
            kl = [np.sum(x[x > 0] * np.log(x[x > 0] / m[x > 0])) for x in (p, t)]
            values.append(sum(kl) / 2 / np.log(2))
        else:
            values.append(np.sum((p / np.linalg.norm(p) - t / np.linalg.norm(t)) ** 2))
    assert loss == pytest.approx(np.mean(values), rel=1e-4)


def test_peaks_come_out_at_the_precursor_and_at_learned_losses(world, tmp_path):
    model, _ = fit(neural(training={"epochs": 40, "batch_size": 16, "learning_rate": 0.01}), world, tmp_path)
    predicted = model.predict(world["queries"]).join(
        world["test"].select("identifier", "precursor_mz"), on="identifier"
    )
    for row in predicted.iter_rows(named=True):
        gaps = row["precursor_mz"] - np.array(row["mzs"])
        assert np.abs(gaps).min() < 1e-9
        assert np.abs(gaps - 18.01056).min() < 1e-3


def test_nothing_is_predicted_above_the_precursor(world, tmp_path):
    head = {"name": "binned", "min_molecules": 1, "width": 1.0}
    model, _ = fit(MODELS["neural"](head=head, **SMALL), world, tmp_path)
    rows = model.predict(world["queries"]).join(world["queries"], on="identifier")
    assert (rows["mzs"].list.max() <= rows["precursor_mz"] + 3.0).all()


def test_encoded_without_a_graph_vector_is_a_value():
    assert Encoded(graph=None).atoms is None


def test_flat_peaks_keep_empty_spectra(world):
    frame = world["train"].with_columns(
        mzs=pl.when(pl.int_range(pl.len()) == 1).then(pl.lit([], dtype=pl.List(pl.Float64))).otherwise("mzs"),
        intensities=pl.when(pl.int_range(pl.len()) == 1)
        .then(pl.lit([], dtype=pl.List(pl.Float32)))
        .otherwise("intensities"),
    )
    _, molecule = number_molecules(frame["smiles"].to_list())
    peaks = flat_peaks(frame, molecule)
    assert np.diff(peaks.offsets).tolist() == frame["mzs"].list.len().to_list()
    assert ConditionVocabulary.of(frame).encode(frame)["energy"].shape == (frame.height, 9)
