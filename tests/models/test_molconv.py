"""molconv: shape alone counts. Neighbours against plain numpy; rotated, padded and accompanied molecules."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mslitmus.chem.conformer import ConformerSettings, PointCloud
from mslitmus.chem.graph import molecule_graph
from mslitmus.errors import ConfigError
from mslitmus.models import ENCODERS
from mslitmus.models.options import parse_options
from mslitmus.models.predict.encoders import molconv
from mslitmus.models.predict.encoders.molconv import CloudFeaturiser, MolConvOptions, neighbourhood
from mslitmus.models.predict.features import FeatureStore, Ragged
from mslitmus.models.predict.parallel import compute_many

SMILES = ["CC(=O)Oc1ccccc1C(=O)O", "CCO", "[Na+]", "CC(=O)[O-].[Na+]", "Cn1cnc2c1c(=O)n(C)c(=O)n2C", "O"]


def encoder(**options):
    torch.manual_seed(0)
    return ENCODERS["molconv"](MolConvOptions(width=24, layers=3, **options)).eval()


def batch(smiles, hydrogens=True):
    featuriser = CloudFeaturiser(ConformerSettings(hydrogens=hydrogens))
    arrays = featuriser.collate(featuriser.compute(smiles))
    return {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in arrays.items()}


def rotation(seed: int) -> torch.Tensor:
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return torch.from_numpy((q * np.sign(np.linalg.det(q))).astype(np.float32))


def close(a, b, atol=1e-4):
    torch.testing.assert_close(a, b, rtol=0, atol=atol)


@pytest.mark.parametrize("flat", [False, True], ids=["embedded", "drawn flat"])
@pytest.mark.parametrize("seed", range(3))
def test_rotation_and_translation_change_nothing(seed, flat, monkeypatch):
    if flat:  # regular hexagons: all neighbours at equal distances
        monkeypatch.setattr("mslitmus.chem.conformer._embed", lambda *_: "flat")
    molecules, model = batch(SMILES), encoder()
    moved = {**molecules, "coordinates": molecules["coordinates"] @ rotation(seed).T + torch.tensor([9.0, -5.0, 3.0])}
    with torch.no_grad():
        before, after = model(molecules), model(moved)
    close(before.graph, after.graph)
    close(before.atoms, after.atoms)


def test_order_of_the_points_does_not_matter():
    molecules, model = batch(["CC(=O)Nc1ccc(O)cc1"]), encoder()
    order = torch.randperm(len(molecules["coordinates"]))
    shuffled = {**molecules, **{name: molecules[name][order] for name in ("coordinates", "atoms")}}
    with torch.no_grad():
        close(model(molecules).graph, model(shuffled).graph, atol=1e-5)


def test_company_and_padding_do_not_matter():
    model = encoder()
    with torch.no_grad():
        together = model(batch([*SMILES, "C" * 40]))
        alone = [model(batch([text])) for text in SMILES]
    close(together.graph[: len(SMILES)], torch.cat([one.graph for one in alone]), atol=1e-5)
    atoms = torch.cat([one.atoms for one in alone])
    close(together.atoms[: len(atoms)], atoms, atol=1e-5)


@pytest.mark.parametrize("hydrogens", [True, False])
def test_atoms_are_those_of_the_smiles(hydrogens):
    encoded = encoder()(batch(SMILES, hydrogens))
    counts = [len(molecule_graph(text).atoms) for text in SMILES]
    assert encoded.atoms.shape == (sum(counts), 24)
    assert encoded.graph.shape == (len(SMILES), encoder().width)
    assert torch.bincount(encoded.owner).tolist() == counts


def test_shape_counts():
    """Two conformers of one molecule differ; so do molecules with the same atoms elsewhere."""
    model, other = encoder(), CloudFeaturiser(ConformerSettings(seed=5))
    arrays = other.collate(other.compute(["CCOC(=O)CCN"]))
    with torch.no_grad():
        first = model(batch(["CCOC(=O)CCN"])).graph
        second = model({name: torch.from_numpy(np.ascontiguousarray(v)) for name, v in arrays.items()}).graph
    assert (first - second).abs().max() > 1e-3


@pytest.mark.parametrize("pairs", [1 << 22, 100])
def test_neighbours_follow_a_plain_search(pairs, monkeypatch):
    monkeypatch.setattr(molconv, "_PAIRS", pairs)
    rng = np.random.default_rng(0)
    sizes = np.array([1, 9, 3, 17, 9, 2])
    points = rng.normal(size=(sizes.sum(), 3)).astype(np.float32)
    k = 5
    near = neighbourhood(torch.from_numpy(points), torch.from_numpy(sizes), k)
    owner = np.repeat(np.arange(len(sizes)), sizes)
    for i, point in enumerate(points):
        others = np.flatnonzero((owner == owner[i]) & (np.arange(len(points)) != i))
        gaps = np.linalg.norm(points[others] - point, axis=1)
        order = np.argsort(gaps)
        found = min(k, len(others))
        assert near.index[i, :found].tolist() == others[order][:found].tolist()
        assert (near.weight[i, found:] == 0).all()
        edge = gaps[order][k] if len(others) > k else np.inf
        weight = 1 - (gaps[order][:found] / edge) ** 6
        assert near.weight[i, :found].numpy() == pytest.approx(weight, abs=1e-5)
        towards = points[others[order][:found]] - point
        gram = np.zeros((found, k))
        gram[:, :found] = towards @ (towards * weight[:, None]).T
        assert near.shape[i, :found, 1:].numpy() == pytest.approx(np.sort(gram, axis=1) / 4, abs=1e-4)
        assert near.shape[i, :found, 0].numpy() == pytest.approx(gaps[order][:found], abs=1e-5)


def test_published_widths_and_refusals():
    assert MolConvOptions(layers=6, width=1024).widths == (64, 64, 128, 256, 512, 1024)
    assert MolConvOptions(layers=2, width=24).widths == (24, 24)
    with pytest.raises(ConfigError, match="unknown option 'neighbors'") as caught:
        parse_options(MolConvOptions, {"neighbors": 3}, where="encoder 'molconv'")
    assert "neighbours" in caught.value.remedy


def test_gradients_reach_every_weight():
    model = encoder().train()
    torch.use_deterministic_algorithms(True)
    try:
        encoded = model(batch(SMILES))
        (encoded.graph.square().sum() + encoded.atoms.sum()).backward()
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_processes_give_the_same_and_clouds_come_from_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(CloudFeaturiser, "portion", 2)
    featuriser = CloudFeaturiser(ConformerSettings())
    here, there = featuriser.compute(SMILES), Ragged.join(compute_many(featuriser, SMILES, processes=2))
    assert all(np.array_equal(here.arrays[name], there.arrays[name]) for name in here.arrays)
    store = FeatureStore(featuriser, tmp_path)
    store.get(SMILES)
    store.flush()
    monkeypatch.setattr(molconv, "point_cloud", lambda *_: pytest.fail("computed again"))
    again = FeatureStore(CloudFeaturiser(ConformerSettings()), tmp_path).get(SMILES)
    assert np.array_equal(again.arrays["coordinates"], here.arrays["coordinates"])
    assert set(again.arrays["method"].tolist()) == {0}


def test_an_added_hydrogen_has_the_codes_of_one():
    row = molconv._row("C", PointCloud(np.zeros((5, 3), np.float32), np.arange(5) > 0, "etkdg"))
    assert row["atoms"].shape == (5, len(molconv.ATOM_FIELDS))
    written = molecule_graph("[2H]C").atoms[0]
    assert row["atoms"][1].tolist() == written.tolist()
