"""What the fragment head sees of a molecule: its bond-cut fragments, which bonds set them free, their ions' masses.

Fragments of equal heavy-atom formula form a *group*; a group's ions differ by hydrogens alone, so they are laid out as
consecutive *slots*, one a hydrogen more than the last. The ion of fragment f with `shift` more hydrogens is slot
`slot[f] + shift`, of mass `slot_mass`: no list of ions is stored, and equal formulae meet in one slot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ....chem.formula import MASSES
from ....chem.fragmenter import Fragments, fragment, shift_limits
from ....chem.graph import BOND_FIELDS, MoleculeGraph, molecule_graph
from ....chem.molecule import RDKIT_VERSION
from ....errors import ChemistryError
from ..features import Array, Ragged
from ..ions import ELEMENTS
from .formula_ions import ElementFeaturiser

_H = MASSES["H"]
CODES = 4096  # of atom environments
GAINED = 2  # hydrogens at most
_RADIUS = 2  # bonds
_SEARCHED = 20_000  # fragments found before the best are chosen; a molecule has 390 in the median
#: Columns of `pieces`: broken bonds by kind, of all kinds (`cuts`), steps, atoms, hydrogens.
COLUMNS = ("single", "double", "triple", "aromatic", "ring", "hetero", "cuts", "depth", "atoms", "hydrogens")


@dataclass(frozen=True)
class FragmentFeaturiser:
    """Fragments of at most `max_fragments`, those that break the least bonds first; shifts to ±`max_shift`."""

    max_fragments: int
    max_shift: int
    depth: int = 3
    max_order: float = 4.5

    @property
    def key(self) -> str:
        size = f"{self.depth}-{self.max_order:g}-{self.max_fragments}-{self.max_shift}"
        return f"fragments-v6-{size}-rdkit{RDKIT_VERSION}"

    def compute(self, smiles: Sequence[str]) -> Ragged:
        """Rows of a molecule: see `_describe`. One that the fragmenter does not take has none."""
        pieces, whole = Ragged.stack([self._one(text) for text in smiles]), ElementFeaturiser().compute(smiles)
        return Ragged({**pieces.arrays, **whole.arrays}, {**pieces.offsets, **whole.offsets})

    def _one(self, smiles: str) -> dict[str, Array]:
        graph = molecule_graph(smiles)
        try:
            found = fragment(smiles, self.depth, _SEARCHED, max_order=self.max_order)
        except ChemistryError:  # more than MAX_ATOMS atoms, or an element without a mass
            return _unbroken(graph)
        order = np.lexsort((-found.mass, found.depth, found.broken_order))  # the molecule itself is first
        return _describe(found, order[: self.max_fragments], graph, self.max_shift)

    def collate(self, features: Ragged) -> dict[str, Array]:
        """All molecules as one, F fragments, numbered through the batch.

        fragments, slots (molecules + 1,) where each molecule's begin; pieces (F, 10) as in COLUMNS; low, high (F,)
        shifts; slot (F,) of shift 0; slot_mass (slots,) Da; members and member_start: atoms of each fragment;
        crossings and crossing_start: directed bonds that leave it; ends (directed bonds, 2) from → to and bonds, their
        codes; owner (F,) its molecule; size (molecules,) atoms; counts, mass and environments as computed.
        """
        arrays, offsets = features.arrays, features.offsets
        counts = np.diff(offsets["pieces"])
        owner = np.repeat(np.arange(len(features)), counts)
        total = arrays["atoms"].astype(np.int64)
        first_atom = np.concatenate([[0], np.cumsum(total)])
        pieces = arrays["pieces"].astype(np.int64)
        fragment_of, atom = _unpack(arrays["masks"], (total + 7) // 8, counts)
        cuts = pieces[:, COLUMNS.index("cuts")]
        first_bond = offsets["ends"][:-1] * 2
        ends = arrays["ends"].astype(np.int64) + np.repeat(first_atom[:-1], np.diff(offsets["ends"]))[:, None]
        return {
            "fragments": offsets["pieces"],
            "slots": offsets["slot_mass"],
            "pieces": pieces,
            "low": arrays["limits"][:, 0].astype(np.int64),
            "high": arrays["limits"][:, 1].astype(np.int64),
            "slot": arrays["slot"].astype(np.int64),
            "slot_mass": arrays["slot_mass"],
            "members": atom + first_atom[owner[fragment_of]],
            "member_start": _starts(pieces[:, COLUMNS.index("atoms")]),
            "crossings": arrays["crossings"].astype(np.int64) + np.repeat(first_bond[owner], cuts),
            "crossing_start": _starts(cuts),
            "ends": np.stack([ends, ends[:, ::-1]], axis=1).reshape(-1, 2),
            "bonds": np.repeat(arrays["bonds"].astype(np.int64), 2, axis=0),
            "size": total,
            "counts": arrays["counts"],
            "mass": arrays["mass"],
            "elements": arrays["elements"].astype(np.int64),
            "environments": arrays["environments"].astype(np.int64),
            "owner": owner,
        }


def _starts(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(lengths)])[:-1]


def _unpack(
    octets: NDArray[np.uint8], width: NDArray[np.int64], counts: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(fragment, atom of its molecule) of every set bit; a fragment of molecule m takes width[m] octets."""
    each = np.repeat(width, counts)
    byte, bit = np.nonzero(np.unpackbits(octets.reshape(-1, 1), axis=1, bitorder="little"))
    fragment_of = np.repeat(np.arange(len(each)), each)[byte]
    return fragment_of, (byte - _starts(each)[fragment_of]) * 8 + bit


def environments(graph: MoleculeGraph) -> NDArray[np.uint16]:
    """(n, 3): a code below CODES for each atom's surroundings within 0, 1 and 2 bonds, whatever the atoms' order.

    Hashed as Morgan's algorithm does: an atom's code, then with the codes of its neighbours and bonds.
    """
    word = np.zeros(len(graph.atoms), np.uint64)
    for column in graph.atoms.T:
        word = _mixed(word * np.uint64(31) + column.astype(np.uint64))
    bond = np.zeros(len(graph.edges), np.uint64)
    for column in graph.bonds.T:
        bond = bond * np.uint64(16) + column.astype(np.uint64)
    words = [word]
    for _ in range(_RADIUS):
        heard = np.zeros(len(word), np.uint64)
        np.add.at(heard, graph.edges[:, 0], _mixed(word[graph.edges[:, 1]] + bond))
        word = _mixed(_mixed(word) + heard)
        words.append(word)
    return (np.stack(words, axis=1) % np.uint64(CODES)).astype(np.uint16)


def _mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """splitmix64, elementwise."""
    words = words + np.uint64(0x9E3779B97F4A7C15)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def _unbroken(graph: MoleculeGraph) -> dict[str, Array]:
    """Rows of a molecule that is not cut, since it is too large or its elements are strange: no fragment."""
    return {
        "masks": np.zeros(0, np.uint8),
        "pieces": np.zeros((0, len(COLUMNS)), np.uint8),
        "limits": np.zeros((0, 2), np.int8),
        "slot": np.zeros(0, np.int32),
        "slot_mass": np.zeros(0),
        "crossings": np.zeros(0, np.uint16),
        "ends": np.zeros((0, 2), np.uint8),
        "bonds": np.zeros((0, len(BOND_FIELDS)), np.uint8),
        "atoms": np.array([len(graph.atoms)], np.uint16),
        "environments": environments(graph),
        "elements": np.zeros(len(graph.atoms), np.uint8),
    }


def _describe(found: Fragments, chosen: NDArray[np.int64], graph: MoleculeGraph, max_shift: int) -> dict[str, Array]:
    """Rows of one molecule with n chosen fragments, m bonds:

    pieces (n, 10) as in COLUMNS; limits (n, 2) shifts; masks: octets of the atom sets, little-endian, flat; slot (n,);
    slot_mass (slots,) Da; crossings: directed bonds, 2b from the first to the second atom of `ends` and 2b + 1 back,
    inside to outside, flat; ends (m, 2); bonds (m, fields) codes; atoms (1,) their number.
    """
    sets = found.atom_sets()[chosen]
    sizes, hydrogens = sets.sum(1), found.hydrogens[chosen].astype(np.int64)
    columns = [*found.breaks[chosen].T, found.cuts[chosen], found.depth[chosen], sizes, hydrogens]
    low, high = shift_limits(found, max_shift)
    low, high = np.maximum(low[chosen], -hydrogens), np.minimum(high[chosen] + 1, GAINED)
    slot, mass = _slots(found.counts[chosen], hydrogens, found.mass[chosen], low, high)
    ends = graph.edges[::2]
    from_in, to_in = sets[:, ends[:, 0]], sets[:, ends[:, 1]]  # (n, m)
    piece, bond = np.nonzero(from_in != to_in)
    return {
        "masks": np.packbits(sets, axis=1, bitorder="little").ravel(),
        "pieces": np.minimum(np.stack(columns, axis=1), 255).astype(np.uint8),
        "limits": np.stack([low, high], axis=1).astype(np.int8),
        "slot": slot.astype(np.int32),
        "slot_mass": mass,
        "crossings": (2 * bond + to_in[piece, bond]).astype(np.uint16),
        "ends": ends.astype(np.uint8),
        "bonds": graph.bonds[::2],
        "atoms": np.array([sets.shape[1]], np.uint16),
        "environments": environments(graph),
        "elements": np.array([ELEMENTS.index(e) for e in found.elements], np.uint8)[found.element],
    }


def _slots(
    counts: NDArray[np.int16],
    hydrogens: NDArray[np.int64],
    mass: NDArray[np.float64],
    low: NDArray[np.int64],
    high: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(slot of each fragment's unshifted ion (n,), mass of each slot in Da)."""
    heavy = np.round(mass - hydrogens * _H, 6)  # tells isotopes apart, which element counts do not
    _, first, group = np.unique(np.column_stack([counts, heavy]), axis=0, return_index=True, return_inverse=True)
    group = group.ravel()
    least = np.full(len(first), np.iinfo(np.int64).max)
    most = np.full(len(first), -1)
    np.minimum.at(least, group, hydrogens + low)
    np.maximum.at(most, group, hydrogens + high)
    spans = most - least + 1
    start = _starts(spans)
    in_group = np.repeat(np.arange(len(first)), spans)
    total = np.arange(spans.sum()) - start[in_group] + least[in_group]
    return start[group] + hydrogens - least[group], heavy[first][in_group] + total * _H
