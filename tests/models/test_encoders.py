"""What every encoder owes: one row a molecule, whatever the numbering of atoms and the company in the batch."""

from __future__ import annotations

import multiprocessing
import os

import numpy as np
import pytest
import torch
from rdkit import Chem

from mslitmus.chem.graph import ATOM_FIELDS, molecule_graph, molecule_graphs
from mslitmus.chem.paths import SHARE_STEPS, SHARES, UNREACHABLE, shortest_paths
from mslitmus.errors import ChemistryError, ConfigError
from mslitmus.models import ENCODERS, MODELS
from mslitmus.models.predict import parallel
from mslitmus.models.predict.batching import tensors
from mslitmus.models.predict.encoders.graphormer import GraphormerEncoder, GraphormerOptions, like_sizes
from mslitmus.models.predict.features import FeatureStore
from mslitmus.models.predict.graph_features import GraphFeaturiser, PathFeaturiser
from mslitmus.models.predict.parallel import compute_many

SMILES = (
    "CCO", "C", "CC(=O)Oc1ccccc1C(=O)O", "C[N+](C)(C)CC(=O)[O-].[Na+]", "OCC1OC(O)C(O)C(O)C1O", "N#Cc1ccc2[nH]ccc2c1",
    "CCCCCCCCCCCCCCCCCC(=O)OCC(O)CO", "O=S(=O)(N)c1ccc(Cl)cc1",
)  # fmt: skip


def encoder(name, **options):
    """(encoder, featuriser) of a tiny size, in evaluation mode."""
    kind = ENCODERS[name]
    chosen = kind.Options(**{"width": 24, "layers": 2, **options})
    torch.manual_seed(0)
    return kind(chosen).eval(), kind.featuriser(chosen)


def encode(part, featuriser, smiles):
    with torch.no_grad():
        return part(tensors(featuriser.collate(featuriser.compute(list(smiles))), "cpu"))


@pytest.mark.parametrize("name", list(ENCODERS))
def test_shapes(name):
    part, featuriser = encoder(name)
    out = encode(part, featuriser, SMILES)
    atoms = [Chem.MolFromSmiles(s).GetNumAtoms() for s in SMILES]
    if "graph" in part.provides:
        assert out.graph.shape == (len(SMILES), part.width)
        assert torch.isfinite(out.graph).all()
    if "atoms" in part.provides:
        assert out.atoms.shape[0] == sum(atoms)
        assert out.owner.tolist() == np.repeat(np.arange(len(SMILES)), atoms).tolist()
        assert torch.isfinite(out.atoms).all()


@pytest.mark.parametrize("name", list(ENCODERS))
def test_a_molecule_is_encoded_the_same_alone_and_in_any_company(name):
    part, featuriser = encoder(name)
    together, backwards = encode(part, featuriser, SMILES), encode(part, featuriser, SMILES[::-1])
    torch.testing.assert_close(backwards.graph.flip(0), together.graph, atol=1e-5, rtol=1e-5)
    for number, smiles in enumerate(SMILES):  # a batch of one, one of them a molecule of one atom
        alone = encode(part, featuriser, [smiles])
        torch.testing.assert_close(alone.graph[0], together.graph[number], atol=1e-5, rtol=1e-5)
        if alone.atoms is not None:
            torch.testing.assert_close(alone.atoms, together.atoms[together.owner == number], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", [name for name in ENCODERS if name != "molconv"])  # its conformers are drawn by SMILES
def test_the_numbering_of_atoms_makes_no_difference(name):
    part, featuriser = encoder(name)
    rng = np.random.default_rng(0)
    for smiles in SMILES[2:]:
        molecule = Chem.MolFromSmiles(smiles)
        order = [int(i) for i in rng.permutation(molecule.GetNumAtoms())]
        renumbered = Chem.RenumberAtoms(molecule, order)
        text = Chem.MolToSmiles(renumbered, canonical=False)
        written = [order[i] for i in map(int, renumbered.GetProp("_smilesAtomOutputOrder")[1:-1].strip(",").split(","))]
        ours, theirs = encode(part, featuriser, [smiles]), encode(part, featuriser, [text])
        torch.testing.assert_close(theirs.graph, ours.graph, atol=1e-5, rtol=1e-5)
        if ours.atoms is not None:
            torch.testing.assert_close(theirs.atoms, ours.atoms[written], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", list(ENCODERS))
def test_every_weight_of_the_encoder_takes_part(name):
    part, featuriser = encoder(name)
    out = part.train()(tensors(featuriser.collate(featuriser.compute(list(SMILES))), "cpu"))
    total = (out.graph * torch.randn_like(out.graph)).sum()
    if out.atoms is not None:
        total = total + (out.atoms * torch.randn_like(out.atoms)).sum()
    total.backward()
    assert [n for n, p in part.named_parameters() if p.requires_grad and p.grad is None] == []


def test_bonds_reach_gcn_gat_and_graphormer():
    for name in ("gcn", "gat", "gin", "graphormer"):
        part, featuriser = encoder(name)
        arrays = featuriser.collate(featuriser.compute(["CCC=C"]))
        changed = {k: (v if k not in ("bonds", "shares") else np.roll(v, 2, axis=0)) for k, v in arrays.items()}
        with torch.no_grad():
            gap = part(tensors(arrays, "cpu")).atoms - part(tensors(changed, "cpu")).atoms
        assert gap.abs().max() > 1e-6, name
    plain, featuriser = encoder("gcn", bond_order=False)
    arrays = featuriser.collate(featuriser.compute(["CCC=C"]))
    with torch.no_grad():
        same = (
            plain(tensors(arrays, "cpu")).atoms - plain(tensors({**arrays, "bonds": arrays["bonds"] * 0}, "cpu")).atoms
        )
    assert same.abs().max() == 0


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("gat", {"heads": 5}, "'heads': Value error, must divide the width 128"),
        ("graphormer", {"width": 100}, "8 heads do not divide the width 100"),
        ("graphormer", {"size": "huge"}, "'size'"),
    ],
)
def test_heads_that_do_not_fit_are_refused(name, options, message):
    with pytest.raises(ConfigError, match=message):
        MODELS["neural"](encoder={"name": name, **options})


def test_massformer_is_a_preset_whose_choices_can_be_changed():
    described = MODELS["massformer"](encoder={"size": "slim"}, training={"epochs": 3}).described()
    assert described["encoder"]["name"] == "graphormer"
    assert described["encoder"]["size"] == "slim"
    assert described["head"]["name"] == "bidirectional"
    assert described["training"]["epochs"] == 3
    assert described["training"]["clip"] == 5.0
    assert GraphormerOptions(size="base").shape == (12, 768, 32)


# -- graphormer: the blocked attention against a plain one ------------------------------------------------------------


def plain_graphormer(part: GraphormerEncoder, smiles: str) -> torch.Tensor:
    """One molecule, every bias written out in loops, the tokens from RDKit's own matrices: (1 + n, width)."""
    molecule, graph = Chem.MolFromSmiles(smiles), molecule_graph(smiles)
    codes = torch.from_numpy(graph.atoms).long()
    degree = codes[:, list(ATOM_FIELDS).index("degree")]
    x = torch.cat([part.readout[None], part.atoms(codes) + part.in_degree(degree) + part.out_degree(degree)])
    n = molecule.GetNumAtoms()
    length = Chem.GetDistanceMatrix(molecule)
    bias = torch.zeros(n + 1, n + 1, part.biases.virtual.shape[0])
    for i in range(n + 1):
        for j in range(n + 1):
            if i == 0 or j == 0:
                bias[i, j] = part.biases.virtual
                continue
            far = length[i - 1, j - 1]
            cap = part.biases.max_distance
            code = cap + 2 if far > 1e6 else min(int(far), cap + 1)
            bias[i, j] = part.biases.distance.weight[code]
            if i != j and far < 1e6:
                bias[i, j] += part.biases.bonds(torch.tensor(path_shares(molecule, i - 1, j - 1, length)))
    for layer in part.layers:
        query, key, value = layer.project(layer.before_attention(x)).view(n + 1, 3, layer.heads, -1).unbind(1)
        score = torch.einsum("ihd,jhd->ijh", query, key) / query.shape[-1] ** 0.5 + bias
        mixed = torch.einsum("ijh,jhd->ihd", score.softmax(1), value).reshape(n + 1, -1)
        x = x + layer.join(mixed)
        x = x + layer.inner(layer.before_inner(x))
    return part.norm(x)


def path_shares(molecule, start, end, length) -> list[float]:
    """Mean over all shortest paths, each of them walked, of the share of each kind of bond."""

    def walk(atom):
        if atom == end:
            return [[]]
        nearer = [a.GetIdx() for a in molecule.GetAtomWithIdx(atom).GetNeighbors()]
        return [
            [molecule.GetBondBetweenAtoms(atom, other), *rest]
            for other in nearer if length[other, end] == length[atom, end] - 1
            for rest in walk(other)
        ]  # fmt: skip

    def kinds(bond):
        order = bond.GetBondTypeAsDouble()
        return [order == 1, order == 2, order == 3, order == 1.5, bond.GetIsConjugated(), bond.IsInRing()]

    shares = np.mean([np.mean([kinds(b) for b in path], axis=0) for path in walk(start)], axis=0)
    return (np.round(shares * SHARE_STEPS) / SHARE_STEPS).astype(np.float32).tolist()


@pytest.mark.parametrize("max_distance", [3, 20])
def test_graphormer_equals_one_written_out(max_distance):
    part, featuriser = encoder("graphormer", max_distance=max_distance)
    out = encode(part, featuriser, SMILES)
    with torch.no_grad():
        for number, smiles in enumerate(SMILES):
            expected = plain_graphormer(part, smiles)
            torch.testing.assert_close(out.graph[number], expected[0], atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(out.atoms[out.owner == number], expected[1:], atol=1e-5, rtol=1e-5)


def test_blocks_hold_every_molecule_once_and_waste_little():
    sizes = np.random.default_rng(0).integers(1, 90, 300).tolist()
    blocks = like_sizes(sizes)
    assert sorted(k for block in blocks for k in block) == list(range(300))
    assert all(max(sizes[k] for k in b) <= 1.3 * min(sizes[k] for k in b) + 3 for b in blocks)
    assert len(blocks) < 12


# -- features ---------------------------------------------------------------------------------------------------------


ODD = (
    "[Na+]", "CC~O", "C->[Pt]", "[H][H]", "C[S@](=O)c1ccccc1", "O=P(O)(O)OC=C", "C1CC2CC1C=C2", "[CH2]C=C",
    "NS(=O)(=O)C=C", "C1CCCCCCCCC1", "*CC", "[O-][N+](=O)c1ccco1", "CN1C=NC2=C1C(=O)N(C)C(=O)N2C", "C[Se]C=O",
)  # fmt: skip


def test_graphs_in_batches_equal_asking_rdkit_atom_by_atom():
    every = (*SMILES, *ODD)
    graphs = molecule_graphs(every)
    for k, smiles in enumerate(every):
        one, rows = molecule_graph(smiles), slice(graphs.edge_offsets[k], graphs.edge_offsets[k + 1])
        assert np.array_equal(graphs.atoms[graphs.atom_offsets[k] : graphs.atom_offsets[k + 1]], one.atoms), smiles
        assert np.array_equal(graphs.edges[rows], one.edges), smiles
        assert np.array_equal(graphs.bonds[rows], one.bonds), smiles
    assert len(molecule_graphs([]).atoms) == 0
    with pytest.raises(ChemistryError, match="C1CC"):
        molecule_graphs(["CC", "C1CC"])


def test_shortest_paths_know_salts_and_both_ways_round_a_ring():
    paths = shortest_paths(molecule_graphs(["[Na+].[Cl-]", "C1=CC=CCC1", "C"]))
    assert paths.distances[:3].tolist() == [0, UNREACHABLE, 0]
    assert paths.offsets.tolist() == [0, 3, 24, 25]
    opposite = 3 + 3 * 4 // 2 + 0  # atoms 3 and 0 of the ring: C=C-C=C and C-C-C=C... over 1, 2 and over 5, 4
    assert paths.distances[opposite] == 3
    share = dict(zip(SHARES, paths.shares[opposite] / SHARE_STEPS, strict=True))
    one, other = 1 / 3, 3 / 3  # single bonds on C0=C1-C2=C3 and on C0-C5-C4-C3
    assert share["single"] == pytest.approx((one + other) / 2, abs=1 / SHARE_STEPS)
    assert share["ring"] == 1.0


@pytest.mark.parametrize("featuriser", [GraphFeaturiser(), PathFeaturiser()])
def test_features_in_processes_equal_those_computed_here(featuriser, monkeypatch):
    monkeypatch.setattr(parallel, "FEW", 100)
    monkeypatch.setattr(parallel, "START", 0.0)
    smiles = [f"{'C' * (1 + k % 40)}{'O' * (1 + k // 40 % 3)}" for k in range(1100)]
    here = featuriser.compute(smiles)
    for processes in (1, 2):
        store = FeatureStore(featuriser, processes=processes)
        found = store.get(smiles)
        assert all(np.array_equal(found.arrays[k], here.arrays[k]) for k in here.arrays)
        assert all(np.array_equal(found.offsets[k], here.offsets[k]) for k in here.offsets)
    with pytest.raises(ChemistryError, match="C1CC"):
        compute_many(featuriser, [*smiles, "C1CC"], processes=2)


class Dies(GraphFeaturiser):
    """A featuriser that ends its process, unless that is the first one."""

    def compute(self, smiles):
        if multiprocessing.parent_process() is not None:
            os._exit(1)
        return super().compute(smiles)


def test_features_are_computed_here_where_processes_die(monkeypatch):
    monkeypatch.setattr(parallel, "FEW", 100)
    monkeypatch.setattr(parallel, "START", 0.0)
    monkeypatch.setattr(parallel, "_SILENT", -1.0)
    lines: list[str] = []
    parts = compute_many(Dies(), ["CCO"] * 1100, processes=2, progress=lines.append)
    assert sum(map(len, parts)) == 1100
    assert "going on in this one" in lines[0]
    assert lines[-1] == "features of molecules: 1,100 of 1,100"


@pytest.mark.parametrize("name", ["gat", "graphormer"])
def test_training_repeats_exactly(name):
    part, featuriser = encoder(name, dropout=0.2)
    arrays = tensors(featuriser.collate(featuriser.compute(list(SMILES))), "cpu")
    gradients = []
    torch.use_deterministic_algorithms(True)
    try:
        for _ in range(2):
            torch.manual_seed(1)
            part.zero_grad()
            part.train()(arrays).graph.square().sum().backward()
            gradients.append([p.grad.clone() for p in part.parameters() if p.grad is not None])
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))
