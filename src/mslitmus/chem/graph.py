"""Atom and bond features of molecules as small integer codes: an encoder embeds each field and adds them up.

Codes rather than one-hot columns keep a molecule at some 10 bytes an atom. Code 0 of `element` is "another element";
counts beyond the last code share it. Stereo is left out: tandem spectra of small molecules hardly show it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rdkit.Chem import Atom, HybridizationType, rdmolops

from .molecule import Mol, parse

ELEMENTS = ("C", "H", "B", "N", "O", "F", "Na", "Si", "P", "S", "Cl", "K", "As", "Se", "Br", "I", "Li", "Sn", "Pt")
_NUMBERS = (6, 1, 5, 7, 8, 9, 11, 14, 15, 16, 17, 19, 33, 34, 35, 53, 3, 50, 78)
_HYBRIDISATIONS = 9  # RDKit's enumeration: UNSPECIFIED, S, SP, SP2, SP3, SP2D, SP3D, SP3D2, OTHER
_SP3 = int(HybridizationType.SP3)

#: Field → number of codes, in column order.
ATOM_FIELDS = {
    "element": len(ELEMENTS) + 1,
    "degree": 7,  # heavy neighbours, 6 and more together
    "charge": 7,  # formal, -3 … 3 shifted by 3
    "hydrogens": 5,  # 4 and more together
    "hybridisation": _HYBRIDISATIONS,
    "aromatic": 2,
    "ring": 9,  # smallest ring: 0 none, 3 … 7, 8 and more together
    "radicals": 3,
}
BOND_FIELDS = {
    "order": 5,  # other, single, double, triple, aromatic
    "conjugated": 2,
    "ring": 2,
}
_ORDER = {1.0: 1, 2.0: 2, 3.0: 3, 1.5: 4}

_ELEMENT_CODE = np.zeros(256, np.uint8)
_ELEMENT_CODE[list(_NUMBERS)] = np.arange(1, len(_NUMBERS) + 1)
_PORTION = 512  # molecules whose adjacency matrices are held at a time


@dataclass(frozen=True)
class MoleculeGraph:
    """A molecule with n atoms and m bonds (hydrogens implicit).

    Attributes:
        atoms: (n, len(ATOM_FIELDS)) codes.
        edges: (2m, 2) atom numbers, each bond in both directions, from → to: lower to higher atom, then back; bonds
            are in the order of their lower, then their higher atom.
        bonds: (2m, len(BOND_FIELDS)) codes of each edge.
    """

    atoms: NDArray[np.uint8]
    edges: NDArray[np.int32]
    bonds: NDArray[np.uint8]


@dataclass(frozen=True)
class MoleculeGraphs:
    """Graphs of k molecules, one after the other: rows as in `MoleculeGraph`, atom numbers counted in each molecule.

    Attributes:
        atoms, edges, bonds: joined rows.
        atom_offsets, edge_offsets: (k + 1,) molecule i owns rows offsets[i] … offsets[i + 1].
    """

    atoms: NDArray[np.uint8]
    edges: NDArray[np.int32]
    bonds: NDArray[np.uint8]
    atom_offsets: NDArray[np.int64]
    edge_offsets: NDArray[np.int64]


def molecule_graph(smiles: str) -> MoleculeGraph:
    """Graph of one SMILES, atom by atom and bond by bond. Raises ChemistryError if it does not parse."""
    molecule = parse(smiles)
    rings = molecule.GetRingInfo()
    atoms = [
        (
            _ELEMENT_CODE[atom.GetAtomicNum()],
            min(atom.GetDegree(), 6),
            min(max(atom.GetFormalCharge() + 3, 0), 6),
            min(atom.GetTotalNumHs(), 4),
            min(int(atom.GetHybridization()), _HYBRIDISATIONS - 1),
            int(atom.GetIsAromatic()),
            min(rings.MinAtomRingSize(atom.GetIdx()), 8),
            min(atom.GetNumRadicalElectrons(), 2),
        )
        for atom in molecule.GetAtoms()
    ]
    bonds = sorted(
        (
            *sorted((bond.GetBeginAtomIdx(), bond.GetEndAtomIdx())),
            _ORDER.get(bond.GetBondTypeAsDouble(), 0),
            int(bond.GetIsConjugated()),
            int(rings.NumBondRings(bond.GetIdx()) > 0),
        )
        for bond in molecule.GetBonds()
    )
    rows = np.array(bonds, np.int32).reshape(-1, 2 + len(BOND_FIELDS))
    return MoleculeGraph(
        np.array(atoms, np.uint8),
        rows[:, [0, 1, 1, 0]].reshape(-1, 2),
        np.repeat(rows[:, 2:].astype(np.uint8), 2, axis=0),
    )


def molecule_graphs(smiles: Sequence[str]) -> MoleculeGraphs:
    """What `molecule_graph` gives of each of many SMILES, in half the time.

    Most of the time is RDKit's parser and the making of its atom objects, one list a molecule, asked field by field;
    bonds come from the adjacency matrix. Raises ChemistryError for the first SMILES that does not parse.
    """
    parts = [_portion([parse(s) for s in smiles[at : at + _PORTION]]) for at in range(0, len(smiles), _PORTION)]
    atoms = np.concatenate([np.zeros((0, len(ATOM_FIELDS)), np.uint8), *(p.atoms for p in parts)])
    edges = np.concatenate([np.zeros((0, 2), np.int32), *(p.edges for p in parts)])
    bonds = np.concatenate([np.zeros((0, len(BOND_FIELDS)), np.uint8), *(p.bonds for p in parts)])
    counts = ([np.diff(p.atom_offsets) for p in parts], [np.diff(p.edge_offsets) for p in parts])
    return MoleculeGraphs(atoms, edges, bonds, _offsets(counts[0]), _offsets(counts[1]))


def _offsets(counts: Iterable[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(np.concatenate([np.zeros(0, np.int64), *counts]))]).astype(np.int64)


def _portion(molecules: Sequence[Mol]) -> MoleculeGraphs:
    rings = _Rings.of(molecules)
    atoms = _atoms(molecules, rings)
    cells, edges, bonds = _bonds(molecules, atoms, rings)
    owner = np.searchsorted(rings.cells, cells, side="right") - 1
    counts = 2 * np.bincount(owner, minlength=len(molecules))
    return MoleculeGraphs(atoms, edges, bonds, rings.atoms, _offsets([counts]))


@dataclass(frozen=True)
class _Rings:
    """Rings of k molecules, and where each molecule's atoms and cells of the adjacency matrix (n², row by row) begin.

    Attributes:
        atoms, cells: (k + 1,) offsets.
        members: (ring atoms,) in the numbering of all atoms; sizes: (ring atoms,) of the ring of each.
        bonds: (ring atoms,) cell (lower atom, higher atom) of the bond from each ring atom to the next one.
    """

    atoms: NDArray[np.int64]
    cells: NDArray[np.int64]
    members: NDArray[np.int64]
    sizes: NDArray[np.int64]
    bonds: NDArray[np.int64]

    @classmethod
    def of(cls, molecules: Sequence[Mol]) -> _Rings:
        n = np.array([m.GetNumAtoms() for m in molecules], np.int64)
        flat: list[int] = []
        lengths: list[int] = []
        counts = []
        for molecule in molecules:
            found = molecule.GetRingInfo().AtomRings()
            counts.append(len(found))
            for ring in found:
                lengths.append(len(ring))
                flat.extend(ring)
        length = np.array(lengths, np.int64)
        local, sizes = np.array(flat, np.int64), np.repeat(length, length)
        owner = np.repeat(np.repeat(np.arange(len(n)), counts), length)
        following = np.roll(local, -1)
        ends = np.cumsum(length) - 1
        following[ends] = local[ends - length + 1]
        atoms, cells = _offsets([n]), _offsets([n * n])
        low, high = np.minimum(local, following), np.maximum(local, following)
        bonds = (cells[owner] + low * n[owner] + high).astype(np.int64)
        return cls(atoms, cells, atoms[owner] + local, sizes, bonds)


def _atoms(molecules: Sequence[Mol], rings: _Rings) -> NDArray[np.uint8]:
    """(atoms, len(ATOM_FIELDS)) codes."""
    getters = (
        Atom.GetAtomicNum, Atom.GetDegree, Atom.GetFormalCharge, Atom.GetTotalNumHs, Atom.GetHybridization,
        Atom.GetIsAromatic, Atom.GetNumRadicalElectrons,
    )  # fmt: skip
    columns: list[list[Any]] = [[] for _ in getters]
    for molecule in molecules:
        listed = list(map(molecule.GetAtomWithIdx, range(molecule.GetNumAtoms())))
        for column, getter in zip(columns, getters, strict=True):
            column.extend(map(getter, listed))
    number, degree, charge, hydrogens, hybridisation, aromatic, radicals = (np.array(c, np.int64) for c in columns)
    smallest = np.full(len(number), 9, np.int64)
    np.minimum.at(smallest, rings.members, np.minimum(rings.sizes, 8))
    fields = (
        _ELEMENT_CODE[number],
        np.minimum(degree, 6),
        np.clip(charge + 3, 0, 6),
        np.minimum(hydrogens, 4),
        np.minimum(hybridisation, _HYBRIDISATIONS - 1),
        aromatic,
        smallest % 9,
        np.minimum(radicals, 2),
    )
    return np.stack(fields, axis=1).astype(np.uint8)


def _bonds(
    molecules: Sequence[Mol], atoms: NDArray[np.uint8], rings: _Rings
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.uint8]]:
    """Cell of each bond; edges and bond codes of each bond in both directions."""
    matrix = np.concatenate([np.zeros(0), *(_adjacency(m).ravel() for m in molecules)])
    cells = np.flatnonzero(matrix)
    n = np.diff(rings.atoms)
    owner = np.searchsorted(rings.cells, cells, side="right") - 1
    start, end = np.divmod(cells - rings.cells[owner], n[owner])
    kept = start < end
    cells, owner, start, end = cells[kept], owner[kept], start[kept], end[kept]
    value = matrix[cells]
    order = sum((code * (value == double) for double, code in _ORDER.items()), start=np.zeros(len(cells), np.int64))
    conjugated = order == _ORDER[1.5]
    # A bond at an sp3 atom is never conjugated (a test asks RDKit): only the others' bond objects are made.
    sp3 = atoms[:, list(ATOM_FIELDS).index("hybridisation")] == _SP3
    first = rings.atoms[owner]
    asked = np.flatnonzero(~conjugated & ~sp3[first + start] & ~sp3[first + end])
    triples = zip(owner[asked].tolist(), start[asked].tolist(), end[asked].tolist(), strict=True)
    conjugated[asked] = [molecules[k].GetBondBetweenAtoms(a, b).GetIsConjugated() for k, a, b in triples]
    codes = np.stack([order, conjugated, np.isin(cells, rings.bonds)], axis=1).astype(np.uint8)
    edges = np.stack([start, end, end, start], axis=1).reshape(-1, 2).astype(np.int32)
    return cells, edges, np.repeat(codes, 2, axis=0)


def _adjacency(molecule: Mol) -> NDArray[np.float64]:
    """(n, n) bond orders. RDKit gives a dative bond at one end only and none to `~`, which is -1 here."""
    matrix: NDArray[np.float64] = rdmolops.GetAdjacencyMatrix(molecule, useBO=True)
    if np.count_nonzero(matrix) != 2 * molecule.GetNumBonds():
        bonded = rdmolops.GetAdjacencyMatrix(molecule, force=True) != 0
        matrix = np.maximum(matrix, matrix.T)
        matrix = np.where(bonded & (matrix == 0), -1.0, matrix)
    return matrix
