"""MCES distance against brute force, the integer programme, known values and its own axioms."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import polars as pl
import pytest

from mslitmus.chem.distance import Bounds, mces, mces_bounds
from mslitmus.chem.distance.graph import Graph, assemble, graph
from mslitmus.chem.distance.programme import solve_programme
from mslitmus.chem.distance.screen import near_pairs, profile_bound, profiles
from mslitmus.chem.distance.solve import _Pair, bounds
from mslitmus.data.molecules import MOLECULES
from mslitmus.errors import ChemistryError

CYCLOHEXANE, BENZENE = "C1CCCCC1", "c1ccccc1"


def brute_force(a: Graph, b: Graph) -> float:
    """The definition, word by word: the minimum over all injective partial mappings that keep the element."""
    best = math.inf

    def extend(image: list[int]) -> None:
        nonlocal best
        i = len(image)
        if i == len(a):
            cost, mapped = 0.0, np.zeros_like(b.matrix, dtype=bool)
            for p, q in combinations(range(len(a)), 2):
                x, y = image[p], image[q]
                if x >= 0 and y >= 0:
                    cost += abs(a.matrix[p, q] - b.matrix[x, y])
                    mapped[x, y] = mapped[y, x] = True
                else:
                    cost += a.matrix[p, q]
            best = min(best, cost + np.triu(np.where(mapped, 0, b.matrix)).sum())
            return
        for x in [-1, *(x for x in range(len(b)) if b.elements[x] == a.elements[i] and x not in image)]:
            extend([*image, x])

    extend([])
    return best


def random_graph(rng: np.random.Generator, most: int = 6) -> Graph:
    n = int(rng.integers(1, most + 1))
    weights = rng.choice([1.0, 1.0, 1.5, 2.0, 3.0], (n, n)) * (rng.random((n, n)) < rng.uniform(0.2, 0.8))
    return assemble(rng.choice([6, 6, 7], n).tolist(), np.triu(weights, 1) + np.triu(weights, 1).T)


@pytest.mark.parametrize("seed", range(60))
def test_equals_brute_force_on_random_graphs(seed):
    rng = np.random.default_rng(seed)
    a, b = random_graph(rng), random_graph(rng)
    truth = brute_force(a, b)
    found = bounds(a, b, threshold=None)
    assert found.exact
    assert found.lower == truth
    for threshold in (0.0, truth - 0.5, truth, truth + 3):
        near = bounds(a, b, threshold)
        if truth <= threshold:
            assert near.exact
            assert near.lower == truth
        else:
            assert threshold < near.lower <= truth <= near.upper
        side = bounds(a, b, threshold, decide=True)
        assert side.lower <= truth <= side.upper
        assert (side.upper <= threshold) == (truth <= threshold) != (side.lower > threshold)
    saved = solve_programme(a, b, a.elements[:, None] == b.elements[None, :], 0.0, 10.0)[1] or 0.0
    assert a.total + b.total - saved == truth


def test_agrees_with_the_integer_programme_on_molecules():
    rng = np.random.default_rng(1)
    small = [smiles for _, smiles in MOLECULES if len(graph(smiles)) <= 16]
    for i, j in rng.integers(0, len(small), (12, 2)):
        a, b = graph(small[i]), graph(small[j])
        saved = solve_programme(a, b, a.elements[:, None] == b.elements[None, :], 0.0, 60.0)[1] or 0.0
        assert mces(small[i], small[j], threshold=None) == (a.total + b.total - saved, True)


@pytest.mark.parametrize(
    ("a", "b", "distance"),
    [
        ("CCO", "OCC", 0.0),
        ("CCO", "CCN", 2.0),
        ("CC", "C=C", 1.0),
        ("CCC", "CC", 1.0),
        (BENZENE, CYCLOHEXANE, 3.0),
        ("C", "O", 0.0),  # no bond, no cost: MCES counts edges
        ("CC.O", "CCO", 1.0),  # components are one graph
        ("CC(=O)[O-].[Na+]", "CC(=O)O", 0.0),  # charges play no part
        ("[2H]C([2H])C", "CC", 0.0),  # nor do hydrogens of any kind
        ("[H][H]", "CC", 1.0),  # a graph without heavy atoms
    ],
)
def test_known_distances(a, b, distance):
    assert mces(a, b) == mces(b, a) == (distance, True)


def test_a_distance_of_molecules():
    """Identity, symmetry and the triangle inequality, on exact values."""
    some = [smiles for _, smiles in MOLECULES if 6 <= len(graph(smiles)) <= 18][::9][:8]
    matrix = np.zeros((len(some), len(some)))
    for i, j in combinations(range(len(some)), 2):
        forth, back = mces(some[i], some[j], None), mces(some[j], some[i], None)
        assert forth == back
        assert forth[1]
        matrix[i, j] = matrix[j, i] = forth[0]
    assert all(mces(s, s) == (0.0, True) for s in some)
    assert (matrix[:, :, None] <= matrix[:, None, :] + matrix.T[None, :, :] + 1e-9).all()


def test_above_the_threshold_a_bound_is_enough():
    value, exact = mces("CCCCCCCCCCCC", "c1ccc2ccccc2c1", threshold=2)
    assert value > 2
    assert value <= mces("CCCCCCCCCCCC", "c1ccc2ccccc2c1", threshold=None)[0]
    assert not exact or value == mces("CCCCCCCCCCCC", "c1ccc2ccccc2c1", threshold=None)[0]


def test_without_time_the_bounds_hold():
    a, b = "CCC(C)c1ccccc1OC(=O)NC", "Cc1cc(C2CCCCC2)n(O)c(=O)c1"
    found = mces_bounds(a, b, time_limit=0.0)
    assert found.lower <= 14.0 <= found.upper
    assert found.lower <= 15
    assert mces(a, b) == (14.0, True)


def test_huge_molecules_are_answered():
    peptide, other = "NCC(=O)" * 60 + "O", "NC(C)C(=O)" * 50 + "O"
    assert len(graph(peptide)) > 200
    assert mces(peptide, peptide) == (0.0, True)
    found = mces_bounds(peptide, other, time_limit=1.0)
    assert 15 < found.lower <= found.upper


def test_many_neighbours():
    """A metal with ten bonds, as ferrocene is often written."""
    star, fewer = (
        assemble([26] + [6] * n, np.pad(np.zeros((n, n)), ((1, 0), (1, 0)), constant_values=1.0) * (1 - np.eye(n + 1)))
        for n in (10, 8)
    )
    assert bounds(star, fewer) == Bounds(2.0, 2.0)


def test_bad_smiles_are_named():
    with pytest.raises(ChemistryError, match="C1CC"):
        mces("CCO", "C1CC")


def test_screening_bounds_hold_and_lose_no_pair():
    some = [smiles for _, smiles in MOLECULES if len(graph(smiles)) <= 14][::6][:16]
    graphs = [graph(s) for s in some]
    p = profiles(graphs)
    near = set(zip(*(x.tolist() for x in near_pairs(p, 9.5)[:2]), strict=True))
    for i, j in combinations(range(len(some)), 2):
        distance = mces(some[i], some[j], None)[0]
        atoms = [slice(p.atom_starts[k], p.atom_starts[k + 1]) for k in (i, j)]
        bonds = [slice(p.bond_starts[k], p.bond_starts[k + 1]) for k in (i, j)]
        for kinds, sizes, (x, y) in ((p.atom_kinds, p.atom_sizes, atoms), (p.bond_kinds, p.bond_sizes, bonds)):
            assert profile_bound(kinds[x], sizes[x], kinds[y], sizes[y], np.inf) <= distance
        assert distance > 9.5 or (i, j) in near


@pytest.mark.real
def test_holds_against_the_reference_distances(real_data):
    """The published values were made with threshold 10, and all lie above it: bounds, which ours must reach."""
    rows = pl.read_csv(real_data("mces/reference-distances.csv"))
    for a, b, published in rows.iter_rows():
        assert bounds(graph(a), graph(b), None, time_limit=0.0).upper >= published
        assert bounds(graph(a), graph(b), threshold=published - 0.5).lower >= published


@pytest.mark.real
def test_the_first_bound_is_that_of_myopic_mces(real_data):
    """Above its threshold myopic-mces gives its neighbourhood bound: ours before the first shift is the same number."""
    for a, b, published in pl.read_csv(real_data("mces/reference-distances.csv")).iter_rows():
        pair = _Pair(graph(a), graph(b), -1.0)
        pair._tighten(1, 0)
        shared = sum(pair.worth[i, j] for i, j in enumerate(pair.image) if j >= 0)
        assert pair.total - shared == pytest.approx(published, abs=1e-9)
