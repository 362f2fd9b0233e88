"""Conformers: repeatable, in the order of the SMILES, with a fallback that says so and a limit that holds."""

from __future__ import annotations

import time

import numpy as np
import pytest

from mslitmus.chem import conformer
from mslitmus.chem.conformer import ConformerSettings, point_cloud
from mslitmus.chem.graph import molecule_graph
from mslitmus.errors import ChemistryError

FULLERENE = (
    "c12c3c4c5c1c1c6c7c2c2c8c3c3c9c4c4c%10c5c5c1c1c6c6c%11c7c2c2c7c8c3c3c8c"
    "9c4c4c9c%10c5c5c1c1c6c6c%11c2c2c7c3c3c8c4c4c9c5c1c1c6c2c3c41"
)


def distances(cloud) -> np.ndarray:
    return np.linalg.norm(cloud.coordinates[:, None] - cloud.coordinates[None], axis=2)


def test_bonds_have_the_length_of_bonds():
    smiles = "CC(=O)Oc1ccccc1C(=O)O"
    cloud = point_cloud(smiles)
    edges = molecule_graph(smiles).edges
    lengths = distances(cloud)[edges[:, 0], edges[:, 1]]
    assert cloud.method == "etkdg"
    assert ((lengths > 1.1) & (lengths < 1.7)).all()
    assert np.abs(cloud.coordinates.mean(axis=0)).max() < 1e-4
    assert cloud.coordinates[:, 2].std() > 0.1  # not flat


def test_the_same_twice_and_another_seed_is_another():
    first, again = (point_cloud("CCOC(=O)CCN") for _ in range(2))
    assert np.array_equal(first.coordinates, again.coordinates)
    other = point_cloud("CCOC(=O)CCN", ConformerSettings(seed=1))
    assert not np.allclose(distances(first), distances(other), atol=0.05)


def test_hydrogens_come_after_the_atoms_of_the_smiles_or_go():
    cloud, bare = (point_cloud("[2H]C(O)C", ConformerSettings(hydrogens=kept)) for kept in (True, False))
    assert cloud.added.tolist() == [False] * 4 + [True] * 5
    assert bare.added.tolist() == [False] * 4
    assert np.allclose(distances(bare), distances(cloud)[:4, :4], atol=1e-5)


def test_parts_of_a_salt_lie_apart():
    cloud = point_cloud("CC(=O)[O-].[Na+]")
    acetate = np.arange(len(cloud.added)) != 4
    assert distances(cloud)[4][acetate].min() >= conformer._GAP


def test_force_field_changes_the_cloud_and_passes_over_what_it_does_not_know():
    plain, relaxed = point_cloud("OCC1CCCCC1"), point_cloud("OCC1CCCCC1", ConformerSettings(optimise=100))
    assert not np.allclose(distances(plain), distances(relaxed), atol=1e-3)
    assert point_cloud("C[Se]C.[Pt]", ConformerSettings(optimise=100)).method == "etkdg"


@pytest.mark.parametrize("smiles", [FULLERENE, "C" * 300])
def test_what_cannot_be_embedded_is_drawn_flat_soon(smiles):
    start = time.perf_counter()
    cloud = point_cloud(smiles, ConformerSettings(attempts=1, seconds=1))
    assert cloud.method == "flat"
    assert np.isfinite(cloud.coordinates).all()
    assert cloud.coordinates[~cloud.added, 2].std() < 1e-4
    assert np.array_equal(cloud.coordinates, point_cloud(smiles, ConformerSettings(attempts=1, seconds=1)).coordinates)
    assert time.perf_counter() - start < 10


def test_random_coordinates_are_tried_before_the_drawing(monkeypatch):
    embed = conformer.rdDistGeom.EmbedMolecule
    monkeypatch.setattr(conformer.rdDistGeom, "EmbedMolecule", lambda m, p: embed(m, p) if p.useRandomCoords else -1)
    assert point_cloud("CCO").method == "random"

    def fail(molecule, embedding):
        raise RuntimeError("Invariant Violation")

    monkeypatch.setattr(conformer.rdDistGeom, "EmbedMolecule", fail)
    assert point_cloud("CCO").method == "flat"


@pytest.mark.parametrize("smiles", ["", "C1CC", "N(C)(C)(C)(C)C"])
def test_what_does_not_parse_is_named(smiles):
    with pytest.raises(ChemistryError, match="does not parse"):
        point_cloud(smiles)


def test_one_atom_is_a_cloud():
    assert point_cloud("[Na+]").coordinates.tolist() == [[0.0, 0.0, 0.0]]


def test_every_setting_names_another_cache():
    changes = [{"seed": 1}, {"hydrogens": False}, {"optimise": 5}, {"attempts": 3}, {"seconds": 2.5}, {"max_atoms": 9}]
    keys = {ConformerSettings(**change).key for change in [{}, *changes]}
    assert len(keys) == 7
