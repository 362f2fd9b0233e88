"""Weights of pretraining in an encoder: loaded, frozen, partly anew, part of the identity; published ones computed as
their own network does."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
import torch

from mslitmus.chem import molecule
from mslitmus.data.candidates.lists import make_list
from mslitmus.data.molecules import MOLECULES
from mslitmus.data.simulate import simulate
from mslitmus.errors import ConfigError, ModelError
from mslitmus.models import ENCODERS, MODELS
from mslitmus.models.options import parse_options
from mslitmus.models.predict.batching import tensors
from mslitmus.models.predict.encoders.molebert import AtomNorm, MoleBERTLayer, bond_counts
from mslitmus.models.predict.encoders.pretrained import load_pretrained, weights_hash
from mslitmus.models.protocol import FitContext
from mslitmus.train.pretrain.folder import Setting
from mslitmus.train.pretrain.molecules import HeldOut
from mslitmus.train.pretrain.run import pretrain

SMILES = [smiles for _, smiles in MOLECULES[:40]]
GRAPH = [name for name in ENCODERS if name in ("molebert", "gin", "gcn", "gat", "graphormer")]
SIZES = {"width": 16, "layers": 3}


def built(name: str = "molebert", **options):
    chosen = parse_options(ENCODERS[name].Options, {**SIZES, **options}, where="test")
    encoder = ENCODERS[name](chosen)
    load_pretrained(encoder, name, chosen)
    return encoder.eval()


def batch(name: str, smiles=SMILES):
    featuriser = ENCODERS[name].featuriser(ENCODERS[name].Options())
    return tensors(featuriser.collate(featuriser.compute(smiles)), "cpu")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """name → the folder of a tiny pretraining of that encoder."""
    made = {}
    nobody = HeldOut(pl.DataFrame(schema={"inchikey14": pl.String, "smiles": pl.String}))
    listed = make_list("some", SMILES, processes=1)
    for name in GRAPH:
        options = {
            "encoder": {"name": name, **SIZES},
            "tokeniser": {"width": 8, "layers": 1, "codes": 32, "training": {"epochs": 1}},
            "training": {"epochs": 1},
        }
        made[name] = tmp_path_factory.mktemp(name)
        pretrain([listed], nobody, options, Setting(made[name], device="cpu", threads=1, processes=1), lambda _: None)
    return made


@pytest.mark.parametrize("name", GRAPH)
def test_every_graph_encoder_starts_from_pretrained_weights(name, folders):
    weights = str(folders[name])
    stored = torch.load(folders[name] / "weights.pt", weights_only=True)
    encoder = built(name, weights=weights)
    assert all(torch.equal(value, stored[key]) for key, value in encoder.state_dict().items())
    seen = encoder(batch(name))
    assert torch.isfinite(seen.graph).all()
    assert len(seen.atoms) == len(seen.owner)
    assert all(parameter.requires_grad for parameter in encoder.parameters())
    assert not any(p.requires_grad for p in built(name, weights=weights, freeze="all").parameters())
    some = {
        key for key, p in built(name, weights=weights, freeze="embeddings").named_parameters() if not p.requires_grad
    }
    assert "atoms.tables.0.weight" in some
    assert not any("norm" in key for key in some)
    partly = built(name, weights=weights, freeze="all", reinitialise=1)
    learn = {key for key, p in partly.named_parameters() if p.requires_grad}
    assert learn
    assert all(".2." in key for key in learn)
    same = {key for key, value in partly.state_dict().items() if torch.equal(value, stored[key])}
    assert any(key.startswith("layers.1.") for key in same)
    assert not any(key in same for key in learn if value_is_random(stored[key]))


def value_is_random(value) -> bool:
    """Not a bias or scale that starts at 0 or 1 and hardly moves in one epoch."""
    return value.ndim > 1


def test_weights_that_do_not_fit_are_refused(folders, tmp_path):
    weights = str(folders["molebert"])
    for name, options, message in [
        ("molebert", {"weights": str(tmp_path)}, "no pretrained weights here"),
        ("molebert", {"weights": weights, "width": 8}, "pretrained with other options"),
        ("molebert", {"weights": weights, "layers": 2}, "pretrained with other options"),
        ("gin", {"weights": weights}, "weights of the encoder 'molebert', not 'gin'"),
        ("molebert", {"weights": weights, "reinitialise": 4}, "4 layers to reinitialise"),
    ]:
        with pytest.raises(ConfigError, match=message) as caught:
            built(name, **options)
        assert caught.value.remedy
    assert built(weights=weights, dropout=0.7)  # changes no weight
    (tmp_path / "weights.pt").write_bytes((folders["molebert"] / "weights.pt").read_bytes()[:100])
    with pytest.raises(ModelError, match="cannot read the weights"):
        built(weights=str(tmp_path))
    torch.save([1, 2], tmp_path / "weights.pt")
    with pytest.raises(ModelError, match="no table of weights"):
        built(weights=str(tmp_path))
    with pytest.raises(ConfigError, match="'freeze'"):
        built(freeze="some")


def test_a_predictor_begins_with_them_and_keeps_its_own(folders, tmp_path):
    frame = simulate(molecules=MOLECULES[:30:3], replicate_share=0.0, sodium_share=0.0)
    weights = tmp_path / "weights"
    weights.mkdir()
    for name in ("weights.pt", "options.json"):
        (weights / name).write_bytes((folders["molebert"] / name).read_bytes())
    options = {
        "encoder": {"name": "molebert", **SIZES, "weights": str(weights), "freeze": "all"},
        "head": {"name": "binned", "min_molecules": 1},
        "trunk": {"width": 16},
        "training": {"epochs": 1},
    }
    model = MODELS["neural"](**options)
    model.fit(frame, frame, FitContext(tmp_path / "cell", device="cpu", threads=1))
    stored = torch.load(weights / "weights.pt", weights_only=True)
    assert all(torch.equal(value, stored[key]) for key, value in model.network.encoder.state_dict().items())
    other = MODELS["neural"](**options)
    other._data_hash = model._data_hash
    assert other.fingerprint() == model.fingerprint()
    assert model._data_hash.endswith(weights_hash(model.encoder_options))
    assert MODELS["neural"].inputs(options) == {"encoder.weights": weights_hash(model.encoder_options)}
    assert MODELS["neural"].inputs({"encoder": "gin"}) == {}
    model.save(tmp_path / "saved")
    (weights / "weights.pt").unlink()
    again = MODELS["neural"].load(tmp_path / "saved")
    assert again.predict(frame).equals(model.predict(frame))
    with pytest.raises(ConfigError, match="no pretrained weights here"):
        MODELS["neural"].inputs(options)


# -- the network and its published form ------------------------------------------------------------------------------


def test_a_layer_follows_its_formula():
    torch.manual_seed(0)
    layer = MoleBERTLayer(8).eval()
    molecules = batch("molebert", ["CC(=O)Nc1ccc(O)cc1", "C#N", "C"])
    state, edges, codes = torch.randn(len(molecules["atoms"]), 8), molecules["edges"], molecules["bonds"]
    expected = []
    for v in range(len(state)):
        total = state[v] + layer.loop.weight[0]
        for e in range(edges.shape[1]):
            if edges[1, e] == v:
                total = total + state[edges[0, e]] + layer.bonds(codes[e : e + 1])[0]
        expected.append(total)
    found = layer(state, edges, bond_counts(edges, codes, len(state)).float())
    torch.testing.assert_close(found, layer.norm(layer.mlp(torch.stack(expected))), rtol=1e-4, atol=1e-5)


def test_a_frozen_norm_does_not_drift_and_one_atom_is_no_problem():
    norm = AtomNorm(4).train()
    norm(torch.randn(1, 4))
    assert torch.equal(norm.running_mean, torch.zeros(4))
    norm(torch.randn(9, 4) + 3)
    moved = norm.running_mean.clone()
    assert moved.abs().sum() > 0
    norm.weight.requires_grad_(False)
    norm(torch.randn(9, 4) + 3)
    assert torch.equal(norm.running_mean, moved)


def checkpoint(width: int = 16, layers: int = 3) -> dict:
    """A state_dict with the names and shapes of the GIN of pretrain-gnns, which Mole-BERT.pth is."""
    rng = torch.Generator().manual_seed(0)

    def some(*shape: int):
        return torch.randn(*shape, generator=rng)

    out = {"x_embedding1.weight": some(120, width), "x_embedding2.weight": some(3, width)}
    for k in range(layers):
        out |= {
            f"gnns.{k}.mlp.0.weight": some(2 * width, width) / 4, f"gnns.{k}.mlp.0.bias": some(2 * width),
            f"gnns.{k}.mlp.2.weight": some(width, 2 * width) / 4, f"gnns.{k}.mlp.2.bias": some(width),
            f"gnns.{k}.edge_embedding1.weight": some(6, width), f"gnns.{k}.edge_embedding2.weight": some(3, width),
            f"batch_norms.{k}.weight": some(width), f"batch_norms.{k}.bias": some(width),
            f"batch_norms.{k}.running_mean": some(width), f"batch_norms.{k}.running_var": some(width).abs() + 0.5,
            f"batch_norms.{k}.num_batches_tracked": torch.tensor(7),
        }  # fmt: skip
    return out


def published_forward(weights: dict, numbers: list[int], bonds: list[tuple[int, int, int]], layers: int):
    """Atom states of one molecule, atom by atom: numbers are rows of x_embedding1, bonds (from, to, bond type)."""
    state = torch.stack([weights["x_embedding1.weight"][z] + weights["x_embedding2.weight"][0] for z in numbers])
    for k in range(layers):
        kind, direction = (weights[f"gnns.{k}.edge_embedding{i}.weight"] for i in (1, 2))
        around = [state[v] + kind[4] + direction[0] for v in range(len(numbers))]
        for a, b, order in bonds:
            around[b] = around[b] + state[a] + kind[order] + direction[0]
        names = (f"gnns.{k}.mlp.0", f"gnns.{k}.mlp.2")
        hidden = torch.stack(around)
        for step, name in enumerate(names):
            hidden = hidden @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]
            hidden = torch.relu(hidden) if step == 0 else hidden
        mean, var, scale, shift = (
            weights[f"batch_norms.{k}.{key}"] for key in ("running_mean", "running_var", "weight", "bias")
        )
        state = (hidden - mean) / torch.sqrt(var + 1e-5) * scale + shift
        state = torch.relu(state) if k < layers - 1 else state
    return state


@pytest.mark.parametrize("layers", [3, 2])
def test_published_weights_compute_what_their_network_computes(tmp_path, layers):
    weights = checkpoint()
    torch.save(weights, tmp_path / "Mole-BERT.pth")
    encoder = built(weights=str(tmp_path / "Mole-BERT.pth"), layers=layers)
    text = "CC(=O)Nc1ccc(Cl)cc1C#N"
    mol = molecule.parse(text)
    numbers = [atom.GetAtomicNum() - 1 for atom in mol.GetAtoms()]
    types = {1.0: 0, 2.0: 1, 3.0: 2, 1.5: 3}
    bonds = []
    for bond in mol.GetBonds():
        ends, kind = (bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()), types[bond.GetBondTypeAsDouble()]
        bonds += [(*ends, kind), (*ends[::-1], kind)]
    expected = published_forward(weights, numbers, bonds, layers)
    seen = encoder(batch("molebert", [text]))
    torch.testing.assert_close(seen.atoms, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(seen.graph[0], expected.mean(dim=0), rtol=1e-4, atol=1e-4)
    masked = batch("molebert", [text])  # the third atom and its bonds: row 119 and bond type 5 there
    masked["atoms"][2] = 0
    masked["bonds"][(masked["edges"] == 2).any(dim=0)] = 0
    hidden = [(a, b, 5 if 2 in (a, b) else kind) for a, b, kind in bonds]
    theirs = published_forward(weights, [*numbers[:2], 119, *numbers[3:]], hidden, layers)
    torch.testing.assert_close(encoder(masked).atoms, theirs, rtol=1e-4, atol=1e-4)


def test_published_weights_of_other_sizes_or_for_others_are_refused(tmp_path):
    torch.save(checkpoint(), tmp_path / "a.pth")
    for name, options, message in [
        ("molebert", {"width": 8}, "these weights have width 16 and 3 layers"),
        ("molebert", {"layers": 4}, "these weights have width 16 and 3 layers"),
        ("gin", {}, "not weights of the encoder 'gin'"),
    ]:
        with pytest.raises(ConfigError, match=message):
            built(name, weights=str(tmp_path / "a.pth"), **options)
    torch.save({"other": torch.zeros(1)}, tmp_path / "b.pth")
    with pytest.raises(ConfigError, match="not weights of the encoder 'molebert'"):
        built(weights=str(tmp_path / "b.pth"))


def test_the_record_beside_the_weights_names_encoder_and_molecules(folders):
    for name, folder in folders.items():
        record = json.loads((folder / "pretraining.json").read_text())
        assert record["asked"]["options"]["encoder"]["name"] == name
        assert record["weights_sha256"] == weights_hash({"weights": str(folder)})
        assert record["molecules"]["used"] == pl.read_parquet(folder / "molecules.parquet").height == len(SMILES)
        assert np.isfinite(record["stages"]["encoder"]["best_score"])
