"""Embedders: what must not change a vector, files, contrast, pretraining, nearest vectors, the DreaMS checkpoint."""

from __future__ import annotations

import argparse
import pickle

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mslitmus.data.simulate import simulated_dataset
from mslitmus.errors import ConfigError, ModelError
from mslitmus.models import MODELS
from mslitmus.models.embed.contrastive import ContrastOptions, Labels, contrast, epoch, windows
from mslitmus.models.embed.dreams import load_dreams
from mslitmus.models.embed.embedder import Design, DesignOptions, SpectrumEmbedder, batch_of
from mslitmus.models.embed.files import VectorFile, read_vectors
from mslitmus.models.embed.nearest import nearest
from mslitmus.models.embed.opening import open_embedder
from mslitmus.models.embed.pair_features import in_pool
from mslitmus.models.embed.peaks import PeakTable, length_batches
from mslitmus.models.embed.trees import Linear, Trees, platt
from mslitmus.models.predict.conditioning import ConditionVocabulary
from mslitmus.models.protocol import FitContext

VOCABULARY = ConditionVocabulary(("[M+H]+", "[M+Na]+"))
NETWORKS = {"transformer": {"name": "transformer", "size": "tiny", "out": 32}, "mlp": {"name": "mlp", "out": 32}}


def spectra(seed: int, count: int = 12, most: int = 30) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, most, count)
    return pl.DataFrame(
        {
            "identifier": [f"s{k}" for k in range(count)],
            "mzs": [np.sort(rng.uniform(50, 600, n)).tolist() for n in sizes],
            "intensities": [rng.uniform(0.01, 1, n).tolist() for n in sizes],
            "precursor_mz": rng.uniform(100, 700, count),
            "adduct": rng.choice(["[M+H]+", "[M+Na]+", "[M+K]+"], count).tolist(),
            "collision_energy": rng.uniform(5, 60, count).tolist(),
        }
    )


def embedder(kind: str) -> SpectrumEmbedder:
    torch.manual_seed(0)
    design = Design.of(DesignOptions(network=NETWORKS[kind]))
    network = design.build(VOCABULARY)
    return SpectrumEmbedder(design, VOCABULARY, network)


MADE = {kind: embedder(kind) for kind in NETWORKS}


@pytest.mark.parametrize("kind", list(NETWORKS))
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 1000))
def test_company_padding_and_order_change_no_vector(kind, seed):
    """Batch size, batch order, padding (the company sets it) and the order of peaks: nothing moves a vector."""
    made, frame = MADE[kind], spectra(seed)
    whole = made.embed(frame)
    assert np.allclose(np.linalg.norm(whole, axis=1), 1, atol=1e-5)
    alone = np.concatenate([made.embed(frame[k : k + 1]) for k in range(0, frame.height, 3)])
    assert np.abs(alone - whole[::3]).max() < 1e-5
    order = np.random.default_rng(seed).permutation(frame.height)
    assert np.abs(made.embed(frame[order]) - whole[order]).max() < 1e-5
    turned = frame.with_columns(pl.col("mzs", "intensities").list.reverse())
    assert np.abs(made.embed(turned) - whole).max() < 1e-5
    longer = pl.concat([frame, spectra(seed + 1, 3, most=200)])  # longer company pads more
    table = made.design.table(longer, VOCABULARY)
    with torch.no_grad():
        together = made.network(batch_of(table, np.arange(len(table)), "cpu")).numpy()
    assert np.abs(together[: frame.height] - whole).max() < 1e-5


def test_a_vector_reads_peaks_precursor_and_conditions():
    made, frame = MADE["transformer"], spectra(3)
    whole = made.embed(frame)
    for changed in (
        pl.col("precursor_mz") + 1.0,
        pl.lit("[M+Na]+").alias("adduct"),
        pl.lit(33.0).alias("collision_energy"),
        pl.col("mzs").list.eval(pl.element() + 0.01),
        pl.col("intensities").list.eval(pl.element() ** 2),
    ):
        assert np.abs(made.embed(frame.with_columns(changed)) - whole).max() > 1e-4
    bare = frame.select("identifier", "mzs", "intensities")
    assert np.isfinite(made.embed(bare)).all()
    none = frame.with_columns(mzs=pl.lit([], dtype=pl.List(pl.Float64)), intensities=pl.lit([], pl.List(pl.Float64)))
    assert np.isfinite(made.embed(none)).all()


def test_the_most_intense_peaks_are_read():
    frame = pl.DataFrame(
        {"identifier": ["a"], "mzs": [[50.0, 60.0, 70.0, 80.0]], "intensities": [[1.0, 0.1, 0.5, 0.5]]}
    )
    table = PeakTable.of(frame, VOCABULARY, 2)
    assert table.mzs.tolist() == [50.0, 70.0]  # of equal ones the lower m/z
    batches = length_batches(np.array([5, 1, 9, 2]), 6, 10)
    assert sorted(np.concatenate(batches).tolist()) == [0, 1, 2, 3]
    assert batches[0].tolist()[:2] == [1, 3]


def test_embedders_and_vectors_come_back_from_disk(tmp_path):
    made, frame = MADE["transformer"], spectra(1)
    made.save(tmp_path / "one")
    again = open_embedder(tmp_path / "one")
    vectors = made.embed(frame)
    assert np.array_equal(again.embed(frame), vectors)
    with VectorFile(tmp_path / "v.parquet", made.width) as file:
        for part, found in made.stream(frame.iter_slices(5)):
            file.write(part["identifier"], found)
    names, found = read_vectors(tmp_path / "v.parquet")
    assert names == frame["identifier"].to_list()
    assert np.abs(found - vectors).max() < 1e-5
    with pytest.raises(ModelError, match="no embedder here"):
        open_embedder(tmp_path)
    with pytest.raises(ConfigError, match="unknown network"):
        Design.of(DesignOptions(network="transfomer"))
    with pytest.raises(ConfigError, match="parquet"):
        VectorFile(tmp_path / "v.csv", 3)


def test_windows_and_epochs_hold_isomers_together():
    rows = pl.DataFrame(
        {
            "inchikey14": ["A", "A", "B", "B", "C", "A", "D"],
            "precursor_mz": [200.0, 200.0005, 200.001, 200.0, 300.0, 222.0, 400.0],
            "adduct": ["[M+H]+"] * 5 + ["[M+Na]+", "[M+H]+"],
            "source": ["x", "y", "x", "x", "x", "x", "x"],
        }
    )
    assert len(set(windows(rows, 10.0)[:4].tolist())) == 1
    assert len(set(windows(rows, 10.0).tolist())) == 4
    labels = Labels.of(rows, 10.0)
    options = ContrastOptions()
    drawn = np.concatenate(epoch(labels, options, 4, 0))
    assert sorted(drawn.tolist()) == [0, 1, 2, 3]  # the others have neither partner nor rival
    many = pl.concat([rows] * 20)
    one, two = (np.concatenate(epoch(Labels.of(many, 10.0), options, 8, seed)) for seed in (0, 1))
    assert one.tolist() != two.tolist()
    assert len(one) == len(set(one.tolist()))


@pytest.mark.parametrize("positives", ["mean", "any"])
def test_the_contrast_is_what_its_equation_says(positives):
    rng = np.random.default_rng(0)
    vectors = torch.nn.functional.normalize(torch.from_numpy(rng.normal(size=(5, 4))), dim=1)
    molecule, window, source = (torch.tensor(v) for v in ([0, 0, 0, 1, 1], [0, 0, 0, 0, 1], [0, 1, 0, 0, 0]))
    options = ContrastOptions(temperature=0.5, positives=positives, window=1.0)
    s = (vectors @ vectors.T / 0.5).numpy()
    partners = {0: [1], 1: [0, 2], 2: [1]}  # of another source where there is one; 3 and 4 have no rival with a partner
    expected = []
    for i, found in partners.items():
        against = np.exp(s[i, 3])
        if positives == "mean":
            expected.append(np.mean([np.log1p(against / np.exp(s[i, p])) for p in found]))
        else:
            expected.append(np.log1p(against / np.mean(np.exp(s[i, found]))))
    rival = [0, 1, 2]
    top = np.exp(s[3, rival]).sum()
    expected.append(np.log1p(top / np.exp(s[3, 4])))
    assert float(contrast(vectors, molecule, window, source, options)) == pytest.approx(np.mean(expected), rel=1e-6)


def test_nearest_is_exact_and_faiss_agrees():
    rng = np.random.default_rng(0)
    library, queries = (rng.normal(size=(n, 8)).astype(np.float32) for n in (200, 9))
    library /= np.linalg.norm(library, axis=1, keepdims=True)
    rows, cosine = nearest(queries, library, 5)
    assert rows.tolist() == np.argsort(-(queries @ library.T), axis=1)[:, :5].tolist()
    assert (np.diff(cosine, axis=1) <= 0).all()
    pytest.importorskip("faiss")
    through = nearest(queries, library, 5, "faiss")
    assert through[0].tolist() == rows.tolist()
    assert np.abs(through[1] - cosine).max() < 1e-5
    with pytest.raises(ConfigError, match="unknown engine"):
        nearest(queries, library, 5, "annoy")


def test_learners_answer_as_scikit_learn_does(tmp_path):
    ensemble = pytest.importorskip("sklearn.ensemble")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3)).astype(np.float32)
    y = x[:, 0] + 0.3 * rng.normal(size=400) > 0
    signs = np.array([1, 0, 0])
    trees = Trees.fit(x, y, np.ones(400), signs, 4, 20, 0.1, 1.0, 0)
    theirs = ensemble.HistGradientBoostingClassifier(
        max_leaf_nodes=4, max_iter=20, learning_rate=0.1, l2_regularization=1.0, min_samples_leaf=20,
        monotonic_cst=[1, 0, 0], early_stopping=False, random_state=0,
    ).fit(x.astype(np.float64), y, sample_weight=np.ones(400))  # fmt: skip
    assert np.allclose(trees.margin(x), theirs.decision_function(x.astype(np.float64)))
    np.savez(tmp_path / "t.npz", **trees.first(7).arrays())
    with np.load(tmp_path / "t.npz") as file:
        assert np.array_equal(Trees.of(dict(file)).margin(x), trees.first(7).margin(x))
    linear = Linear.fit(x, y, np.ones(400), 1.0)
    assert linear.coefficients[0] > 1
    a, b = platt(linear.margin(x), y)
    assert a > 0
    p = 1 / (1 + np.exp(-(a * linear.margin(x) + b)))
    assert p.mean() == pytest.approx(y.mean(), abs=0.03)
    a, b = platt(np.array([1e4, 1e4 + 1, 1e4 + 2, 1e4 + 3]), np.array([False, False, True, True]))
    assert 0 < a < 200
    assert 1 / (1 + np.exp(-(a * (1e4 + 1.5) + b))) == pytest.approx(0.5, abs=0.05)
    assert platt(np.zeros(3), np.ones(3, bool)) == (1.0, 0.0)


def test_places_in_a_pool():
    ahead, place = in_pool(np.array([0.9, 0.5, 0.5, 0.1, 0.7]), np.array([0, 0, 0, 0, 2]))
    assert ahead == pytest.approx([0.4, -0.4, -0.4, -0.8, 0.7])
    assert place == pytest.approx([0, 1 / 3, 1 / 3, 1, 0])


class Preprocessor:
    """Stands for a class of the package that wrote a checkpoint; building it must never happen in a reader."""

    def __setstate__(self, state):
        raise AssertionError("code of the checkpoint ran")


class Trap:
    def __reduce__(self):
        return (exec, ("raise AssertionError('code of the checkpoint ran')",))


def dreams_checkpoint(path, head: bool = True, **change):
    """A checkpoint of the published structure, small: 2 layers, 2 heads, 8 + 8 wide."""
    torch.manual_seed(1)
    layers, width, waves = 2, 16, 6
    state = {"fourier_enc.b": torch.rand(1, waves), "ff_peak.ff.0.weight": torch.randn(8, 2)}
    state["fourier_enc.Fourier frequencies"] = state["fourier_enc.b"]
    state["ff_peak.ff.0.bias"] = torch.randn(8)
    for k, (a, b) in zip((0, 3), ((2 * waves, 5), (5, 8)), strict=True):
        state[f"ff_fourier.ff.{k}.weight"], state[f"ff_fourier.ff.{k}.bias"] = torch.randn(b, a), torch.randn(b)
    for k in range(layers):
        state[f"transformer_encoder.atts.{k}.weights"] = 0.2 * torch.randn(4 * width, width)
        state[f"transformer_encoder.ffs.{k}.in_proj.weight"] = 0.2 * torch.randn(4 * width, width)
        state[f"transformer_encoder.ffs.{k}.out_proj.weight"] = 0.2 * torch.randn(width, 4 * width)
    for k in range(2 * layers + 1):
        state[f"transformer_encoder.scales.{k}.weight"] = torch.rand(width)
        state[f"transformer_encoder.scales.{k}.bias"] = torch.rand(width)
    state |= {"ff_out.ff.0.weight": torch.randn(3, width), "ro_out.weight": torch.randn(1, 2 * width)}
    if head:
        state = {f"backbone.{name}": value for name, value in state.items()}
        state |= {"head.weight": torch.randn(width, width), "head.bias": torch.randn(width)}
    state |= {k: v for k, v in change.items() if v is not None}
    for name in [k for k, v in change.items() if v is None]:
        del state[name]
    arguments = argparse.Namespace(n_heads=2, pre_norm=True, graphormer_mz_diffs=True, attn_mech="dot-product")
    extra = Preprocessor()
    extra.n = 3
    torch.save({"state_dict": state, "hyper_parameters": {"args": arguments, "spec_preproc": extra}}, path)
    return state


def test_a_dreams_checkpoint_gives_the_numbers_of_its_equations(tmp_path):
    state = dreams_checkpoint(tmp_path / "embedding_model.ckpt")
    made = load_dreams(tmp_path / "embedding_model.ckpt")
    assert (made.peaks, made.width, made.network.settings.heads) == (100, 16, 2)
    frame = spectra(5, 3)
    found = made.embed(frame)
    w = {name.removeprefix("backbone."): value.double().numpy() for name, value in state.items()}
    for k in range(frame.height):
        assert np.abs(plain_dreams(w, frame.row(k, named=True), 100, 2) - found[k]).max() < 2e-3
    assert open_embedder(tmp_path / "embedding_model.ckpt").width == 16


def plain_dreams(w, row, length, heads):
    """One spectrum by the paper's equations, in numpy."""
    x = np.zeros((length + 1, 2))
    x[0] = row["precursor_mz"], 1.1
    n = len(row["mzs"])
    x[1 : n + 1, 0], x[1 : n + 1, 1] = row["mzs"], np.array(row["intensities"]) / max(row["intensities"])
    padding = x[:, 0] == 0
    turn = 2 * np.pi * x[:, :1] @ w["fourier_enc.b"]
    wave = np.concatenate([np.cos(turn), np.sin(turn)], 1)
    for k in (0, 3):
        wave = np.maximum(wave @ w[f"ff_fourier.ff.{k}.weight"].T + w[f"ff_fourier.ff.{k}.bias"], 0)
    peak = np.maximum(x / [1000.0, 1.0] @ w["ff_peak.ff.0.weight"].T + w["ff_peak.ff.0.bias"], 0)
    h, total = np.concatenate([peak, wave], 1), wave.sum(1)

    def norm(h, k):
        z = (h - h.mean(1, keepdims=True)) / np.sqrt(h.var(1, keepdims=True) + 1e-5)
        return z * w[f"transformer_encoder.scales.{k}.weight"] + w[f"transformer_encoder.scales.{k}.bias"]

    for layer in range(2):
        q, k, v, o = np.split(w[f"transformer_encoder.atts.{layer}.weights"], 4)
        z, mixed = norm(h, 2 * layer), []
        for part in np.split(np.arange(16), heads):
            a = (z @ q.T)[:, part] @ (z @ k.T)[:, part].T / np.sqrt(16 / heads) + total[:, None] - total[None, :]
            a[padding] = -1e9
            a = np.exp(a - a.max(1, keepdims=True))
            mixed.append(a / a.sum(1, keepdims=True) @ (z @ v.T)[:, part])
        h = h + np.concatenate(mixed, 1) @ o.T
        z = np.maximum(norm(h, 2 * layer + 1) @ w[f"transformer_encoder.ffs.{layer}.in_proj.weight"].T, 0)
        h = h + z @ w[f"transformer_encoder.ffs.{layer}.out_proj.weight"].T
    out = norm(h, 4)[0] @ w["head.weight"].T + w["head.bias"]
    return out / np.linalg.norm(out)


def test_a_dreams_checkpoint_runs_no_code_and_names_what_is_wrong(tmp_path):
    path = tmp_path / "ssl_model.ckpt"
    dreams_checkpoint(path, head=False)
    assert load_dreams(path).peaks == 60
    dreams_checkpoint(path, head=False, **{"transformer_encoder.ffs.1.in_proj.weight": None})
    with pytest.raises(ModelError, match=r"absent: 'transformer_encoder.ffs.1.in_proj.weight'"):
        load_dreams(path)
    dreams_checkpoint(path, head=False, **{"decoder.weight": torch.zeros(1)})
    with pytest.raises(ModelError, match=r"unknown: 'decoder.weight'"):
        load_dreams(path)
    dreams_checkpoint(path, head=False, **{"fourier_enc.b": None})
    with pytest.raises(ModelError, match=r"'fourier_enc.b' is absent"):
        load_dreams(path)
    torch.save({"state_dict": {}, "hyper_parameters": Trap()}, path)
    with pytest.raises(ModelError, match=r"cannot be read safely|is absent"):
        load_dreams(path)
    path.write_bytes(pickle.dumps({"state_dict": {}}))
    with pytest.raises(ModelError):
        load_dreams(path)


def test_a_study_may_name_a_pretraining_that_is_not_there_yet(tmp_path):
    model = MODELS["library-embedding"](pretrained=str(tmp_path / "later"))
    with pytest.raises(ModelError, match="not a saved model"):
        model.prepare(simulated_dataset().frame().head(40), FitContext(tmp_path))
