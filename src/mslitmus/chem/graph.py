"""Atom and bond features of a molecule as small integer codes: an encoder embeds each field and adds them up.

Codes rather than one-hot columns keep a molecule at some 10 bytes an atom. Code 0 of `element` is "another element";
counts beyond the last code share it. Stereo is left out: tandem spectra of small molecules hardly show it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .molecule import parse

ELEMENTS = ("C", "H", "B", "N", "O", "F", "Na", "Si", "P", "S", "Cl", "K", "As", "Se", "Br", "I", "Li", "Sn", "Pt")
_ELEMENT = {symbol: code for code, symbol in enumerate(ELEMENTS, start=1)}
_HYBRIDISATIONS = 9  # RDKit's enumeration: UNSPECIFIED, S, SP, SP2, SP3, SP2D, SP3D, SP3D2, OTHER

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


@dataclass(frozen=True)
class MoleculeGraph:
    """A molecule with n atoms and m bonds (hydrogens implicit).

    Attributes:
        atoms: (n, len(ATOM_FIELDS)) codes.
        edges: (2m, 2) atom numbers, each bond in both directions, from → to.
        bonds: (2m, len(BOND_FIELDS)) codes of each edge.
    """

    atoms: NDArray[np.uint8]
    edges: NDArray[np.int32]
    bonds: NDArray[np.uint8]


def molecule_graph(smiles: str) -> MoleculeGraph:
    """Graph of one SMILES. Raises ChemistryError if it does not parse."""
    molecule = parse(smiles)
    rings = molecule.GetRingInfo()
    atoms = [
        (
            _ELEMENT.get(atom.GetSymbol(), 0),
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
    edges, bonds = [], []
    for bond in molecule.GetBonds():
        start, end = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        code = (
            _ORDER.get(bond.GetBondTypeAsDouble(), 0),
            int(bond.GetIsConjugated()),
            int(rings.NumBondRings(bond.GetIdx()) > 0),
        )
        edges += [(start, end), (end, start)]
        bonds += [code, code]
    return MoleculeGraph(
        np.array(atoms, np.uint8).reshape(-1, len(ATOM_FIELDS)),
        np.array(edges, np.int32).reshape(-1, 2),
        np.array(bonds, np.uint8).reshape(-1, len(BOND_FIELDS)),
    )
