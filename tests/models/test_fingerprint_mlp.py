"""binned-mlp: bins against a loop, losses against plain formulas, the cut against all subsets, the model's promises."""

from __future__ import annotations

import itertools

import numpy as np
import polars as pl
import pytest
import torch

from mslitmus.chem.molecule import morgan
from mslitmus.errors import ConfigError, ModelError
from mslitmus.models import MODELS
from mslitmus.models.fingerprint import losses
from mslitmus.models.fingerprint.binned_mlp import BITS
from mslitmus.models.fingerprint.binning import BinningOptions, binned, dimension
from mslitmus.models.fingerprint.decision import best_cut, recentre
from mslitmus.models.predict.batching import epoch_rows
from mslitmus.models.protocol import AsksItself, FitContext, Trainable
from mslitmus.schemas import PREDICTED_FINGERPRINTS

SMALL = {
    "bins": {"width": 1.0},
    "mlp": {"width": 32, "dropout": 0.0, "hide": 0.0},
    "training": {"epochs": 3, "batch_size": 16, "learning_rate": 0.01},
}


def model(**options):
    return MODELS["binned-mlp"](**{**SMALL, **options})


def unpack(predicted: pl.DataFrame) -> np.ndarray:
    return predicted["fingerprint"].explode().to_numpy().reshape(-1, BITS)


def tanimoto(predicted: pl.DataFrame, truth: pl.DataFrame) -> float:
    """Mean Tanimoto similarity of the bits above 0.5."""
    bits = unpack(predicted) >= 0.5
    true = morgan(truth["smiles"].to_list()).astype(bool)
    return float(np.mean((bits & true).sum(1) / (bits | true).sum(1)))


def fit(which, world, folder, **context):
    options = {"score": tanimoto, "device": "cpu", "threads": 1, **context}
    return which, which.fit(world["train"], world["val"], FitContext(folder, **options))


@pytest.fixture
def blind(world) -> pl.DataFrame:
    """Test spectra without structures."""
    return model().queries(world["test"])


# -- the model -------------------------------------------------------------------------------------------------------


def test_it_learns_the_training_molecules(world, tmp_path):
    last = itertools.count()
    longer = model(training={**SMALL["training"], "epochs": 30})
    trained, report = fit(longer, world, tmp_path, score=lambda predicted, truth: next(last))
    assert isinstance(trained, Trainable)
    assert isinstance(trained, AsksItself)
    assert (trained.task, trained.kind) == ("fingerprint", "trained")
    assert report.parameters == trained.parameters() > 0
    assert report.history[-1].loss < report.history[0].loss / 2
    queries = trained.queries(world["train"])
    predicted = trained.predict(queries)
    assert dict(predicted.schema) == dict(PREDICTED_FINGERPRINTS)
    assert predicted["identifier"].to_list() == queries["identifier"].to_list()
    values = unpack(predicted)
    assert values.min() >= 0
    assert values.max() <= 1
    frequent = morgan(world["train"]["smiles"].unique().to_list()).mean(axis=0) > 0.25
    true = morgan(world["train"]["smiles"].to_list()).astype(bool)
    trivial = np.mean((frequent & true).sum(1) / (frequent | true).sum(1))
    assert tanimoto(predicted, world["train"]) > trivial + 0.05


def test_before_training_a_prediction_is_the_frequency_of_the_bits(world, tmp_path, blind):
    fresh = model(cut="none")
    fresh.prepare(world["train"], FitContext(tmp_path))
    bits = morgan(world["train"]["smiles"].unique().to_list())
    expected = (bits.sum(axis=0) + 0.5) / (len(bits) + 1)
    assert unpack(fresh.predict(blind)) == pytest.approx(np.tile(expected, (blind.height, 1)), abs=1e-6)


def test_what_it_is_shown_in_validation_holds_no_structure(world, tmp_path):
    seen: list[pl.DataFrame] = []
    spied = model()
    spied.predict = lambda queries: (seen.append(queries), type(spied).predict(spied, queries))[1]
    unknown = world["val"].with_columns(smiles=pl.when(pl.col("identifier") == "vs0000").then(None).otherwise("smiles"))
    _, report = fit(spied, {**world, "val": unknown}, tmp_path)
    assert not {"smiles", "inchikey14", "formula", "name"} & set(seen[0].columns)
    assert {"mzs", "intensities"} <= set(seen[0].columns)
    assert seen[0].height == world["val"].height - 1 == report.notes["validation_spectra_scored"]


def test_the_same_seed_gives_the_same_fingerprints_also_after_a_kill(world, tmp_path, blind):
    def die(line: str) -> None:
        if line.startswith("epoch 2/"):
            raise KeyboardInterrupt

    options = {"mlp": {"width": 32}, "at_most": 2}
    first, _ = fit(model(**options), world, tmp_path / "a", seed=3)
    with pytest.raises(KeyboardInterrupt):
        fit(model(**options), world, tmp_path / "b", seed=3, progress=die)
    second, _ = fit(model(**options), world, tmp_path / "b", seed=3)
    other, _ = fit(model(**options), world, tmp_path / "c", seed=4)
    assert first.predict(blind).equals(second.predict(blind))
    assert not first.predict(blind).equals(other.predict(blind))


def test_order_company_and_files_change_nothing(world, tmp_path, blind):
    trained, _ = fit(model(), world, tmp_path)
    together = trained.predict(blind)
    assert trained.predict(blind.reverse()).reverse().equals(together)
    alone = np.concatenate([unpack(trained.predict(blind[i])) for i in range(blind.height)])
    np.testing.assert_allclose(alone, unpack(together), atol=1e-6)
    assert trained.predict(blind.clear()).height == 0
    trained.save(tmp_path / "model")
    assert MODELS["binned-mlp"].load(tmp_path / "model").predict(blind).equals(together)
    with pytest.raises(ModelError, match="not a saved model"):
        MODELS["binned-mlp"].load(tmp_path)


def test_missing_metadata_and_empty_spectra_are_answered(world, tmp_path, blind):
    trained, _ = fit(model(), world, tmp_path)
    unknown = ("adduct", "ion_mode", "instrument_type", "collision_energy", "collision_energy_kind")
    bare = blind.with_columns(pl.lit(None, dtype=blind.schema[name]).alias(name) for name in unknown)
    assert np.isfinite(unpack(trained.predict(bare))).all()
    empty = blind.with_columns(pl.col("mzs", "intensities").list.head(0))
    assert np.isfinite(unpack(trained.predict(empty))).all()


@pytest.mark.parametrize("name", list(losses.LOSSES))
def test_every_loss_trains(name, world, tmp_path):
    _, report = fit(model(loss=name), world, tmp_path)
    assert report.history[-1].loss < report.history[0].loss


def test_refusals(world, tmp_path, blind):
    for options, message in [
        ({"losss": "cosine"}, "unknown option 'losss'"),
        ({"bins": {"widht": 1.0}}, "unknown option 'widht'"),
        ({"conditioning": ["aduct"]}, "unknown condition 'aduct'"),
    ]:
        with pytest.raises(ConfigError, match=message):
            MODELS["binned-mlp"](**options)
    with pytest.raises(ModelError, match="not trained"):
        model().predict(blind)
    with pytest.raises(ModelError, match="no training spectrum"):
        fit(model(), {**world, "train": world["train"].clear()}, tmp_path)
    with pytest.raises(ModelError, match="validation fold is empty"):
        fit(model(), {**world, "val": world["val"].with_columns(smiles=pl.lit(None, pl.String))}, tmp_path)


def test_only_the_cut_decides_which_bits_are_set(world, tmp_path, blind):
    sharp, _ = fit(model(sharpness=4.0), world, tmp_path)
    sharp.save(tmp_path / "model")
    soft = MODELS["binned-mlp"].load(tmp_path / "model")
    soft.options = soft.options.model_copy(update={"sharpness": 1.0})
    plain = MODELS["binned-mlp"].load(tmp_path / "model")
    plain.options = plain.options.model_copy(update={"cut": "none"})
    values = [unpack(which.predict(blind)) for which in (sharp, soft, plain)]
    assert np.array_equal(values[0] >= 0.5, values[1] >= 0.5)
    assert np.abs(values[0] - 0.5).mean() > np.abs(values[1] - 0.5).mean()
    for cut, probability in zip(values[0] >= 0.5, values[2], strict=True):  # the highest probabilities are set
        assert probability[cut].min() > probability[~cut].max()


# -- parts -----------------------------------------------------------------------------------------------------------


def slow_bins(row: dict, options: BinningOptions) -> np.ndarray:
    """One spectrum by a loop."""
    size = int(np.ceil(options.max_mz / options.width))
    blocks = [np.zeros(size)]
    for mz, intensity in zip(row["mzs"], row["intensities"], strict=True):
        if mz < options.max_mz:
            blocks[0][int(mz // options.width)] += intensity
    if options.losses:
        blocks.append(np.zeros(size))
        for mz, intensity in zip(row["mzs"], row["intensities"], strict=True):
            at = int(np.floor((row["precursor_mz"] - mz) / options.width + 0.5))
            if 0 <= at < size:
                blocks[1][at] += intensity
    if options.precursor:
        blocks.append(np.zeros(size))
        if row["precursor_mz"] < options.max_mz:
            blocks[-1][int(row["precursor_mz"] // options.width)] = 1
    powered = [b**options.power for b in blocks]
    return np.concatenate([b / (np.linalg.norm(b) or 1.0) for b in powered])


@pytest.mark.parametrize(
    "options", [{}, {"losses": False}, {"precursor": False, "width": 3.0}, {"max_mz": 60.0, "power": 1.0}]
)
def test_bins_follow_a_loop(options, world):
    options = BinningOptions(**options)
    empty = world["train"].head(1).with_columns(pl.col("mzs", "intensities").list.head(0))
    frame = pl.concat([world["train"].head(20), empty, world["test"].head(3)])
    rows = binned(frame, options)
    for number, row in enumerate(frame.iter_rows(named=True)):
        dense = np.zeros(dimension(options))
        here = slice(rows.offsets[number], rows.offsets[number + 1])
        dense[rows.index[here]] = rows.value[here]
        np.testing.assert_allclose(dense, slow_bins(row, options), atol=1e-6)
    taken = rows.take(np.array([5, 0]))
    assert np.array_equal(taken.index[: taken.offsets[1]], rows.index[rows.offsets[5] : rows.offsets[6]])


def test_losses_equal_plain_formulas():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 40, generator=generator)
    bits = (torch.rand(5, 40, generator=generator) < 0.3).float()
    p, y = torch.sigmoid(logits).numpy().astype(float), bits.numpy().astype(float)
    of_truth = np.where(y == 1, p, 1 - p)
    shared = (p * y).sum(1)
    plain = {
        "cross-entropy": -np.log(of_truth).sum(1),
        "focal": -((1 - of_truth) ** 2 * np.log(of_truth)).sum(1),
        "tanimoto": 1 - shared / (p.sum(1) + y.sum(1) - shared),
        "cosine": 1 - shared / np.linalg.norm(p, axis=1) / np.linalg.norm(y, axis=1),
    }
    assert set(plain) == set(losses.LOSSES)
    for name, expected in plain.items():
        np.testing.assert_allclose(losses.LOSSES[name](logits, bits).numpy(), expected, rtol=1e-5)


def test_the_cut_holds_the_best_of_all_subsets():
    p = torch.rand(20, 7, generator=torch.Generator().manual_seed(1))
    logits = torch.logit(p)
    chosen = torch.sigmoid(recentre(logits, best_cut(p))) >= 0.5
    for row, mine in zip(p.numpy().astype(float), chosen.numpy(), strict=True):
        subsets = [np.array(s, bool) for s in itertools.product([0, 1], repeat=7) if any(s)]
        ratio = [row[s].sum() / (s.sum() + row[~s].sum()) for s in subsets]
        assert np.array_equal(subsets[int(np.argmax(ratio))], mine)


def test_the_cut_stands_for_extreme_rows():
    p = torch.tensor([[0.0] * 6, [1.0] * 6, [1e-9, 1e-9, 1.0, 0.0, 0.0, 1.0]])
    moved = torch.sigmoid(recentre(torch.logit(p, eps=1e-6), best_cut(p)))
    assert torch.isfinite(moved).all()
    assert (moved[2] >= 0.5).tolist() == [False, False, True, False, False, True]


def test_an_epoch_holds_at_most_so_many_spectra_of_a_molecule():
    molecule = np.repeat([0, 1, 2], [1, 5, 30])
    rows = np.concatenate(epoch_rows(molecule, 8, 4, 0, at_most=5))
    assert np.bincount(molecule[rows]).tolist() == [1, 5, 5]
    assert len(np.unique(rows)) == 11
    assert set(rows) != set(np.concatenate(epoch_rows(molecule, 8, 4, 1, at_most=5)))
