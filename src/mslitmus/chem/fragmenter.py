"""Bond-cut fragments of a molecule: every connected atom set that a few cuts leave, found on bitmasks.

One step cuts either one bond that no ring contains, or two bonds of one ring, so that the piece falls in two. `depth`
steps are taken (fragments of fragments) while the broken bonds stay few. The search itself is in `bond_cuts`;
docs/fragmenter.md has measured figures.

Combinatorial fragmentation for MS/MS: Heinonen et al. 2008 (FiD); Wolf et al. 2010 (MetFrag); Ridder et al. 2012
(MAGMa).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ChemistryError
from .bond_cuts import describe, enumerate_pieces
from .formula import ELECTRON, MASSES, Adduct, Formula, parse_adduct
from .molecule import Mol, parse

MAX_ATOMS = 256
#: Columns of `Fragments.breaks`: bonds that the cuts broke, by order, and of these the ring and the C-heteroatom ones.
BREAKS = ("single", "double", "triple", "aromatic", "ring", "hetero")
_ORDERS = np.array([1.0, 2.0, 3.0, 1.5])
_METALS = ("Na", "K", "Li", "Ag", "Cs")
_H = MASSES["H"]


@dataclass(frozen=True)
class Fragments:
    """All fragments of one molecule, one row each, the whole molecule first, then by depth.

    `n` fragments, `w` = ceil(atoms / 64) words, `e` elements. Atom numbers are RDKit's for the SMILES given.
    """

    elements: tuple[str, ...]
    masks: NDArray[np.uint64]  # (n, w): bit `a % 64` of word `a // 64` = atom a belongs to the fragment
    counts: NDArray[np.int16]  # (n, e): heavy atoms by element, as in `elements`
    hydrogens: NDArray[np.int16]  # (n,): hydrogens these atoms carry in the molecule
    mass: NDArray[np.float64]  # (n,): Da, heavy atoms and hydrogens, neutral
    cuts: NDArray[np.int16]  # (n,): bonds between the fragment and the rest
    depth: NDArray[np.int8]  # (n,): fewest steps that lead here
    breaks: NDArray[np.int16]  # (n, 6): broken bonds by kind, see BREAKS
    element: NDArray[np.int16]  # (atoms,): of each atom, its place in `elements`
    truncated: bool = field(default=False)  # True: `max_fragments` stopped the search

    def __len__(self) -> int:
        return len(self.mass)

    @property
    def atoms(self) -> int:
        """Heavy atoms of the molecule."""
        return len(self.element)

    @property
    def broken_order(self) -> NDArray[np.float64]:
        """(n,): total order of the broken bonds; an aromatic one counts 1.5."""
        order: NDArray[np.float64] = self.breaks[:, :4] @ _ORDERS
        return order

    def formula(self, index: int) -> Formula:
        """Formula of one fragment with the hydrogens it carried."""
        heavy = [(e, int(c)) for e, c in zip(self.elements, self.counts[index], strict=True)]
        return Formula.of([*heavy, ("H", int(self.hydrogens[index]))])

    def atom_sets(self) -> NDArray[np.bool_]:
        """(n, atoms): which atoms belong to which fragment."""
        octets = self.masks.astype("<u8").view(np.uint8).reshape(len(self), -1)
        return np.unpackbits(octets, axis=1, bitorder="little")[:, : self.atoms].astype(bool)

    def ion_mzs(
        self, adduct: str | Adduct = "[M+H]+", max_shift: int = 4, *, by_cuts: bool = True
    ) -> tuple[NDArray[np.float64], NDArray[np.int32], NDArray[np.int8]]:
        """m/z of the singly charged ions of every fragment: (mzs, fragment index, hydrogen shift), unsorted.

        The ion is the fragment with its own hydrogens, plus the charge carrier of the adduct (`carrier`), plus `shift`
        hydrogens, |shift| ≤ max_shift. With `by_cuts` a fragment shifts no more than `shift_limits` allows.
        """
        low, high = shift_limits(self, max_shift) if by_cuts else _constant_limits(self, max_shift)
        shifts = np.arange(-max_shift, max_shift + 1)
        allowed = (shifts >= low[:, None]) & (shifts <= high[:, None])
        allowed &= self.hydrogens[:, None] + shifts >= 0
        index, column = np.nonzero(allowed)
        shift = shifts[column]
        mzs = self.mass[index] + shift * _H + carrier(adduct)
        return mzs, index.astype(np.int32), shift.astype(np.int8)


def shift_limits(fragments: Fragments, max_shift: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Fewest and most hydrogens that a fragment may lose or gain: (low, high), each (n,).

    From -(cuts + 1), one for each broken bond and one for the charge, to +1, or 0 for the whole molecule. Of the ranges
    tried on Eawag, UFZ and BAFG, this one separates a molecule best from decoys of its mass (docs/fragmenter.md).
    """
    cuts = fragments.cuts.astype(np.int64)
    return -np.minimum(max_shift, cuts + 1), np.minimum(max_shift, np.minimum(cuts, 1))


def _constant_limits(fragments: Fragments, max_shift: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return np.full(len(fragments), -max_shift), np.full(len(fragments), max_shift)


def carrier(adduct: str | Adduct) -> float:
    """Mass that the charge adds to a fragment, Da: a metal stays on it, else it is a proton gained or lost.

    Multiply charged and non-covalent adducts (`[M+2H]2+`, `[M+NH4]+`, `[M+Cl]-`) fall apart into singly protonated or
    deprotonated fragments; `[M]+` and `[M]-` lose or gain an electron only.
    """
    ion = parse_adduct(adduct) if isinstance(adduct, str) else adduct
    sign = 1 if ion.charge > 0 else -1
    if not ion.delta.counts:
        return -sign * ELECTRON
    metal = next((e for e, n in ion.delta.counts if e in _METALS and n > 0), None) if sign > 0 else None
    return (MASSES[metal] if metal else sign * _H) - sign * ELECTRON


def fragment(
    molecule: str | Mol,
    depth: int = 3,
    max_fragments: int = 50_000,
    *,
    max_order: float = 4.5,
    ring_cuts: bool = True,
) -> Fragments:
    """All fragments that `depth` steps leave, each atom set once.

    Args:
        molecule: SMILES, or an RDKit molecule without explicit hydrogens.
        depth: steps taken; 0 gives the molecule itself.
        max_fragments: stop the search there and say so in `truncated`.
        max_order: total order of the bonds that set a fragment free, an aromatic one counting 1.5. Fragments above it
            are dropped and not cut further: they explain decoys as well as the truth (docs/fragmenter.md).
        ring_cuts: also cut pairs of bonds within one ring.

    Raises ChemistryError where the SMILES does not parse or has more than MAX_ATOMS heavy atoms.
    """
    mol = parse(molecule) if isinstance(molecule, str) else molecule
    graph = _graph(mol)
    if len(graph.masses) > MAX_ATOMS:
        raise ChemistryError(
            f"{len(graph.masses)} heavy atoms; the fragmenter takes {MAX_ATOMS} at most",
            where=molecule if isinstance(molecule, str) else None,
            remedy="leave this molecule out, or give its fragments from elsewhere",
        )
    masks, levels, truncated = enumerate_pieces(
        graph.starts,
        graph.neighbours,
        graph.bonds_at,
        _ORDERS[graph.kinds[:, 0]],
        depth,
        float(max_order),
        max_fragments,
        ring_cuts,
    )
    counts, hydrogens, mass, breaks = describe(
        masks, graph.element, len(graph.elements), graph.hydrogens, graph.masses, graph.ends, graph.kinds
    )
    cuts = breaks[:, :4].sum(1, dtype=np.int16)
    return Fragments(
        graph.elements, masks, counts, hydrogens, mass, cuts, levels, breaks, graph.element, bool(truncated)
    )


def explain(
    mzs: NDArray[np.float64],
    fragments: Fragments,
    adduct: str | Adduct = "[M+H]+",
    ppm: float = 10.0,
    *,
    max_shift: int = 4,
    by_cuts: bool = True,
) -> NDArray[np.bool_]:
    """Which peaks some fragment ion explains within `ppm`: (peaks,) of bool. `mzs` in any order."""
    ions = np.sort(fragments.ion_mzs(adduct, max_shift, by_cuts=by_cuts)[0])
    peaks = np.asarray(mzs, np.float64)
    if not len(ions):
        return np.zeros(len(peaks), bool)
    right = np.searchsorted(ions, peaks)
    near = np.minimum(
        np.abs(ions[np.minimum(right, len(ions) - 1)] - peaks), np.abs(ions[np.maximum(right - 1, 0)] - peaks)
    )
    explained: NDArray[np.bool_] = near <= peaks * ppm * 1e-6
    return explained


@dataclass(frozen=True)
class _Graph:
    elements: tuple[str, ...]
    element: NDArray[np.int16]  # (a,) index into `elements`
    hydrogens: NDArray[np.int16]  # (a,)
    masses: NDArray[np.float64]  # (a,) with hydrogens
    ends: NDArray[np.int32]  # (b, 2)
    kinds: NDArray[np.int8]  # (b, 3): order class 0..3, in a ring, heteroatom
    starts: NDArray[np.int32]  # (a + 1,) CSR over atoms
    neighbours: NDArray[np.int32]  # (2b,)
    bonds_at: NDArray[np.int32]  # (2b,)


def _graph(mol: Mol) -> _Graph:
    symbols = [_symbol(atom) for atom in mol.GetAtoms()]
    elements = tuple(sorted(set(symbols)))
    hydrogens = np.array([atom.GetTotalNumHs() for atom in mol.GetAtoms()], np.int16)
    masses = np.array([_mass(a, s) for a, s in zip(mol.GetAtoms(), symbols, strict=True)]) + hydrogens * _H
    bonds = list(mol.GetBonds())
    ends = np.array([(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in bonds], np.int32).reshape(-1, 2)
    kinds = np.array(
        [
            (_order_class(b), b.IsInRing(), symbols[i] != "C" or symbols[j] != "C")
            for b, (i, j) in zip(bonds, ends, strict=True)
        ],
        np.int8,
    ).reshape(-1, 3)
    source = np.concatenate([ends[:, 0], ends[:, 1]])
    order = np.argsort(source, kind="stable")
    starts = np.searchsorted(source[order], np.arange(len(symbols) + 1)).astype(np.int32)
    neighbours = np.concatenate([ends[:, 1], ends[:, 0]])[order].astype(np.int32)
    bonds_at = np.tile(np.arange(len(ends), dtype=np.int32), 2)[order]
    element = np.array([elements.index(s) for s in symbols], np.int16)
    return _Graph(elements, element, hydrogens, masses, ends, kinds, starts, neighbours, bonds_at)


def _symbol(atom: Any) -> str:
    symbol = "D" if atom.GetAtomicNum() == 1 and atom.GetIsotope() == 2 else atom.GetSymbol()
    if symbol not in MASSES:
        raise ChemistryError(f"no mass for atom {symbol!r}", remedy="fragment whole molecules, without query atoms")
    return str(symbol)


def _mass(atom: Any, symbol: str) -> float:
    # RDKit's GetMass is the labelled isotope's mass where one is written, else the average
    return float(atom.GetMass()) if atom.GetIsotope() and symbol != "D" else MASSES[symbol]


def _order_class(bond: Any) -> int:
    return 3 if bond.GetIsAromatic() else {2.0: 1, 3.0: 2}.get(bond.GetBondTypeAsDouble(), 0)
