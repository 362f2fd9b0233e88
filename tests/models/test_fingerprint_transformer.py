"""fingerprint-transformer: features against plain formulas, invariances, sources of the formula, refusals."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch

from mslitmus.chem.formula import parse_formula
from mslitmus.chem.molecule import morgan
from mslitmus.errors import ConfigError, ModelError
from mslitmus.models import MODELS
from mslitmus.models.fingerprint.base import BITS
from mslitmus.models.fingerprint.formula_network import CountFeatures, GrowingFingerprint, PairBias, fold
from mslitmus.models.fingerprint.formula_tokens import ELEMENTS, PeakOptions, formula_counts, ions, tokens
from mslitmus.models.protocol import AsksItself, FitContext, Trainable
from mslitmus.schemas import PREDICTED_FINGERPRINTS
from mslitmus.tasks import TASKS

SMALL = {
    "network": {"width": 32, "layers": 2, "heads": 4, "pairs": 4, "dropout": 0.0, "hide": 0.0},
    "training": {"epochs": 2, "batch_size": 16, "learning_rate": 0.003},
}
GIVEN = {"formula": "given"}


def model(**options):
    return MODELS["fingerprint-transformer"](**{**SMALL, **options})


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


def no_table(n: int):
    return {}, np.zeros(n, np.int64), np.zeros((0, BITS // 8), np.uint8)


# -- the model -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("formula", ["given", "absent"])
def test_it_learns_the_training_molecules(formula, world, tmp_path):
    last = itertools.count()
    longer = model(formula=formula, training={**SMALL["training"], "epochs": 25, "learning_rate": 0.01})
    trained, report = fit(longer, world, tmp_path, score=lambda predicted, truth: next(last))
    assert isinstance(trained, Trainable)
    assert isinstance(trained, AsksItself)
    assert (trained.task, trained.kind) == ("fingerprint", "trained")
    assert report.parameters == trained.parameters() > 0
    queries = trained.queries(world["train"])
    assert ("formula" in queries.columns) == (formula == "given")
    assert not {"smiles", "inchikey14", "name"} & set(queries.columns)
    predicted = trained.predict(queries)
    assert dict(predicted.schema) == dict(PREDICTED_FINGERPRINTS)
    assert predicted["identifier"].to_list() == queries["identifier"].to_list()
    mean = MODELS["mean-fingerprint"]()
    mean.fit(world["train"], world["val"], FitContext(tmp_path / "mean"))
    trivial = max(tanimoto(mean.predict(queries), world["train"]), frequent(world["train"]))
    assert tanimoto(predicted, world["train"]) > trivial + 0.1


def frequent(frame: pl.DataFrame) -> float:
    """Tanimoto similarity of the best fixed set of bits of three."""
    share = morgan(frame["smiles"].unique().to_list()).mean(axis=0)
    true = morgan(frame["smiles"].to_list()).astype(bool)
    cuts = (share > cut for cut in (0.15, 0.25, 0.35))
    return max(float(np.mean((bits & true).sum(1) / (bits | true).sum(1))) for bits in cuts)


def test_before_training_a_prediction_is_the_frequency_of_the_bits(world, tmp_path):
    fresh = model(cut="none")
    fresh.prepare(world["train"], FitContext(tmp_path))
    bits = morgan(world["train"]["smiles"].unique().to_list())
    queries = fresh.queries(world["test"])
    expected = (bits.sum(axis=0) + 0.5) / (len(bits) + 1)
    assert unpack(fresh.predict(queries)) == pytest.approx(np.tile(expected, (queries.height, 1)), abs=1e-5)


def test_the_same_seed_gives_the_same_fingerprints_also_after_a_kill(world, tmp_path):
    def die(line: str) -> None:
        if line.startswith("epoch 1/"):
            raise KeyboardInterrupt

    network = {**SMALL["network"], "dropout": 0.2, "hide": 0.2}
    first, _ = fit(model(network=network), world, tmp_path / "a", seed=3)
    with pytest.raises(KeyboardInterrupt):
        fit(model(network=network), world, tmp_path / "b", seed=3, progress=die)
    second, _ = fit(model(network=network), world, tmp_path / "b", seed=3)
    queries = first.queries(world["test"])
    assert first.predict(queries).equals(second.predict(queries))


def test_a_predicted_formula_needs_none_of_the_task(world, tmp_path):
    which = model(formula="predicted")
    which.check_task(TASKS["fingerprint"]())
    which, report = fit(which, world, tmp_path)
    queries = which.queries(world["test"])
    assert "formula" not in queries.columns
    assert report.notes["formula"] == "predicted"
    assert 0 <= report.notes["formula_accuracy_on_validation"] <= 1
    before = which.predict(queries)
    which.save(tmp_path / "model")
    assert MODELS["fingerprint-transformer"].load(tmp_path / "model").predict(queries).equals(before)


def test_it_can_be_taught_with_the_formulae_it_will_be_told(world, tmp_path):
    taught, report = fit(model(formula="predicted", teach="guessed"), world, tmp_path / "a")
    assert 0 < report.notes["formula_accuracy_in_training"] < 1
    own, _ = fit(model(formula="predicted"), world, tmp_path / "b")
    queries = own.queries(world["test"])
    assert not taught.predict(queries).equals(own.predict(queries))
    taught.save(tmp_path / "model")
    again = MODELS["fingerprint-transformer"].load(tmp_path / "model")
    assert again.predict(queries).equals(taught.predict(queries))


@pytest.fixture
def trained(world, tmp_path):
    """Weights that make everything matter: a short training leaves pair biases near their zeros."""
    which, _ = fit(model(), world, tmp_path / "trained")
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in which.network.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return which


def uneven(queries: pl.DataFrame) -> pl.DataFrame:
    """Spectra of 0 to 4 peaks."""
    number = pl.int_range(queries.height) % 5
    return queries.with_columns(pl.col("mzs", "intensities").list.head(number))


def test_order_company_padding_and_files_change_nothing(trained, world, tmp_path):
    queries = uneven(trained.queries(world["train"]))
    together = trained.predict(queries)
    assert trained.predict(queries.reverse()).reverse().equals(together)
    alone = np.concatenate([unpack(trained.predict(queries[i])) for i in range(queries.height)])
    np.testing.assert_allclose(alone, unpack(together), atol=2e-5)
    table = trained._queries_table(queries)
    batch = table.batch(np.arange(queries.height), torch.device("cpu"))
    with torch.no_grad():
        padded = trained.network(batch)
        one = torch.cat([trained.network(table.batch(np.array([i]), torch.device("cpu"))) for i in range(len(padded))])
    assert (~batch.real).any()
    torch.testing.assert_close(padded, one, atol=1e-4, rtol=1e-4)
    assert trained.predict(queries.clear()).height == 0
    trained.save(tmp_path / "model")
    assert MODELS["fingerprint-transformer"].load(tmp_path / "model").predict(queries).equals(together)
    with pytest.raises(ModelError, match="not a saved model"):
        MODELS["fingerprint-transformer"].load(tmp_path)


def test_what_stands_on_padding_changes_nothing(trained, world):
    queries = uneven(trained.queries(world["train"]))
    batch = trained._queries_table(queries).batch(np.arange(queries.height), torch.device("cpu"))
    away = ~batch.real
    before = trained.network(batch)
    batch.scalars[away], batch.mz[away], batch.counts[away], batch.explained[away] = 7.0, 123.4, 9, True
    assert torch.equal(trained.network(batch), before)


def test_the_order_of_the_peaks_changes_nothing(trained, world):
    queries = trained.queries(world["test"])
    turned = queries.with_columns(pl.col("mzs", "intensities").list.reverse())
    assert trained.predict(turned).equals(trained.predict(queries))


def test_the_formula_and_the_pairs_matter(trained, world):
    queries = trained.queries(world["test"])
    before = unpack(trained.predict(queries))
    other = queries.with_columns(pl.col("formula").reverse())
    assert np.abs(unpack(trained.predict(other)) - before).max() > 1e-3
    with torch.no_grad():
        trained.network.bias.out.weight.zero_()
    assert np.abs(unpack(trained.predict(queries)) - before).max() > 1e-4


def test_missing_metadata_formulae_and_empty_spectra_are_answered(trained, world):
    queries = trained.queries(world["test"])
    unknown = ("adduct", "ion_mode", "instrument_type", "collision_energy", "collision_energy_kind", "formula")
    bare = queries.with_columns(pl.lit(None, dtype=queries.schema[name]).alias(name) for name in unknown)
    assert np.isfinite(unpack(trained.predict(bare))).all()
    odd = queries.with_columns(adduct=pl.lit("[M-C90+H]+"), formula=pl.lit("no formula"))
    assert np.isfinite(unpack(trained.predict(odd))).all()
    empty = queries.with_columns(pl.col("mzs", "intensities").list.head(0))
    assert np.isfinite(unpack(trained.predict(empty))).all()


@pytest.mark.parametrize("loss", ["cross-entropy", "focal", "tanimoto", "cosine"])
def test_every_loss_trains(loss, world, tmp_path):
    _, report = fit(model(loss=loss, peaks={"unannotated": "drop"}), world, tmp_path)
    assert report.history[-1].loss < report.history[0].loss


def test_refusals(world, tmp_path):
    for options, message in [
        ({"losss": "cosine"}, "unknown option 'losss'"),
        ({"network": {"widht": 32}}, "unknown option 'widht'"),
        ({"formula": "guessed"}, "option 'formula'"),
        ({"network": {"width": 30, "heads": 4}}, "does not divide"),
        ({"network": {"lowest": 300}}, "lowest"),
        ({"teach": "guessed"}, "teach: guessed, with formula: given"),
    ]:
        with pytest.raises(ConfigError, match=message):
            MODELS["fingerprint-transformer"](**options)
    hidden, given = TASKS["fingerprint"](), TASKS["fingerprint"](formula="given")
    with pytest.raises(ConfigError, match="formula 'given' needs the formula of the queries, which the task"):
        model().check_task(hidden)
    model().check_task(given)
    model(formula="absent").check_task(hidden)
    ranker = MODELS["rank-by-fingerprint"](of="fingerprint-transformer", options=SMALL)
    with pytest.raises(ConfigError, match="formula 'given'"):
        ranker.check_task(SimpleNamespace(name="retrieval", visible=("mzs",)))
    trained, _ = fit(model(), world, tmp_path)
    with pytest.raises(ConfigError, match="which these do not name"):
        trained.predict(trained.queries(world["test"]).drop("formula"))
    with pytest.raises(ModelError, match="not trained"):
        model().predict(model().queries(world["test"]))


# -- parts -----------------------------------------------------------------------------------------------------------


def test_tokens_hold_what_the_annotation_says(world):
    frame = world["train"].head(12)
    table = tokens(frame, frame["formula"], PeakOptions(), *no_table(12))
    assert table.known.all()
    for row in range(12):
        own = slice(table.offsets[row], table.offsets[row + 1])
        whole = table.mz[own].argmax()
        assert table.explained[own][whole]
        assert table.counts[own][whole].tolist() == table.ion[row].tolist()
        assert (table.counts[own] <= table.ion[row]).all()
    fewer = tokens(frame, frame["formula"], PeakOptions(max_peaks=2), *no_table(12))
    assert fewer.lengths.tolist() == np.minimum(table.lengths, 2).tolist()
    for row, heights in enumerate(frame["intensities"].to_list()):
        kept = fewer.scalars[fewer.offsets[row] : fewer.offsets[row + 1], 0] ** 2
        assert sorted(kept) == pytest.approx(sorted(heights)[-2:], abs=1e-6)


def test_peaks_without_a_formula_are_kept_or_dropped(world):
    frame = (
        world["train"]
        .head(3)
        .with_columns(
            mzs=pl.concat_list(pl.col("mzs"), pl.col("precursor_mz") + 5.5),
            intensities=pl.concat_list("intensities", 0.5),
        )
    )
    kept = tokens(frame, frame["formula"], PeakOptions(), *no_table(3))
    dropped = tokens(frame, frame["formula"], PeakOptions(unannotated="drop"), *no_table(3))
    assert (~kept.explained).sum() >= 3  # losses of what the molecule has not stay unexplained too
    assert dropped.lengths.sum() == kept.explained.sum()
    assert dropped.explained.all()
    without = tokens(frame, None, PeakOptions(unannotated="drop"), *no_table(3))
    assert without.lengths.tolist() == kept.lengths.tolist()
    assert not without.explained.any()
    assert not without.known.any()


def test_counts_of_formulae_and_ions():
    counts = formula_counts(pl.Series(["C6H12O6", "H2O", "C6H12O6", "CHg"]))
    assert counts[0].tolist() == counts[2].tolist()
    assert counts[0, : len("CHNO")].tolist() == [6, 12, 0, 6]
    assert counts[3, -1] == 1
    ion, known = ions(pl.Series(["H2O", "H2O", None, "CH4"]), pl.Series(["[M+Na]+", None, "[M+H]+", "[M-H2O-H]-"]))
    assert ion[0, ELEMENTS.index("Na")] == 1
    assert ion[1].tolist() == formula_counts(pl.Series(["H2O"]))[0].tolist()
    assert known.tolist() == [True, True, False, True]
    assert ion[3, 0] == parse_formula("CH4")["C"]


def test_pairs_see_the_difference_of_two_formulae():
    torch.manual_seed(0)
    features = CountFeatures()
    bias = PairBias(features.width, 5, 3)
    torch.nn.init.normal_(bias.out.weight)
    counts = torch.randint(0, 6, (2, 7, len(ELEMENTS)))
    out = bias(*features(counts))
    shifted = bias(*features(counts + 3))
    torch.testing.assert_close(out, shifted, atol=1e-4, rtol=1e-4)  # only the difference counts
    apart = counts.unsqueeze(2) - counts.unsqueeze(1) + 128  # 128 atoms: whole periods but for those of 3
    waves = torch.tensor(
        [p != 3 for name in ELEMENTS for p in ((2, 3, 4, 8, 16, 32, 64, 128) if name in "CHNO" else (2, 4, 8, 16))]
    )
    with torch.no_grad():
        bias.even[:, ~waves], bias.odd[:, ~waves] = 0.0, 0.0
    cosine, sine = features(apart)
    hidden = torch.einsum("nijf,hf->nijh", cosine, bias.even) + torch.einsum("nijf,hf->nijh", sine, bias.odd)
    slow = bias.out(torch.nn.functional.gelu(hidden + bias.shift))
    torch.testing.assert_close(bias(*features(counts)), slow, atol=1e-3, rtol=1e-3)


def test_resolutions_grow_from_folded_bits():
    bits = (torch.rand(6, BITS, generator=torch.Generator().manual_seed(0)) < 0.02).float()
    folded = fold(bits, 256)
    assert folded[:, 5].tolist() == bits[:, 5::256].amax(dim=1).tolist()
    head = GrowingFingerprint(8, 256)
    shares = [np.linspace(0.1, 0.9, size) for size in head.sizes]
    head.start_from(shares)
    for logits, share in zip(head(torch.randn(2, 8)), shares, strict=True):
        np.testing.assert_allclose(torch.sigmoid(logits)[1].detach().numpy(), share, atol=1e-5)
    assert head.sizes == [256, 512, 1024, 2048]
