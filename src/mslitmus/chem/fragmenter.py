"""Bond-cut fragments of a molecule: every connected atom set that a few cuts leave, found on bitmasks.

One step cuts either one bond that no ring contains, or two bonds of one ring, so that the piece falls in two. `depth`
steps are taken (fragments of fragments). On a connected piece both kinds of cut are found in one depth-first search:
give each non-tree bond a random 64-bit label and each tree bond the XOR of the non-tree bonds that span it; then a
bond labelled 0 is a bridge, and two bonds of equal label form a two-edge cut (cycle-space sampling, Pritchard &
Thurimella, ACM Trans. Algorithms 2011, doi:10.1145/2000807.2000814). The pieces are XORs of subtree masks, so the work
is linear in atoms plus pieces.

Combinatorial fragmentation for MS/MS: Heinonen et al. 2008 (FiD); Wolf et al. 2010 (MetFrag); Ridder et al. 2012 (MAGMa).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ..errors import ChemistryError
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
    atoms: int
    truncated: bool = field(default=False)  # True: `max_fragments` was reached, the deepest are missing

    def __len__(self) -> int:
        return len(self.mass)

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
    """Fewest and most hydrogens that a fragment may lose or gain: (low, high), each (n,)."""
    room = fragments.cuts.astype(np.int64)
    return -np.minimum(max_shift, room + 2), np.minimum(max_shift, room)


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


def fragment(molecule: str | Mol, depth: int = 2, max_fragments: int = 50_000, *, ring_cuts: bool = True) -> Fragments:
    """All fragments that `depth` steps leave, each atom set once.

    Args:
        molecule: SMILES, or an RDKit molecule without explicit hydrogens.
        depth: steps taken; 0 gives the molecule itself.
        max_fragments: stop there and say so in `truncated`.
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
    masks, levels, truncated = _enumerate(
        graph.starts, graph.neighbours, graph.bonds_at, len(graph.ends), depth, max_fragments, ring_cuts
    )
    counts, hydrogens, mass, breaks = _describe(
        masks, graph.element, len(graph.elements), graph.hydrogens, graph.masses, graph.ends, graph.kinds
    )
    cuts = breaks[:, :4].sum(1, dtype=np.int16)
    atoms = len(graph.masses)
    return Fragments(graph.elements, masks, counts, hydrogens, mass, cuts, levels, breaks, atoms, bool(truncated))


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


@njit(cache=True)
def _label(bond: int) -> np.uint64:
    """splitmix64: a well-mixed 64-bit label of a bond."""
    z = np.uint64(bond + 1) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@njit(cache=True)
def _search(
    mask, root, starts, neighbours, bonds_at, parent_bond, place, cursor, label, sub, edge, edge_label, edge_sub
):
    """Depth-first search of the piece `mask`: fills edge[:k], edge_label, edge_sub and the component sub[root].

    Returns k, the number of its bonds. `place` is the preorder number of an atom, 0 = not visited.
    """
    words = len(mask)
    atoms = len(place)
    place[:] = 0
    label[:] = np.uint64(0)
    sub[:] = np.uint64(0)
    stack = np.empty(atoms, np.int32)
    stack[0], top, clock, k = root, 0, 1, 0
    place[root], cursor[root], parent_bond[root] = 1, starts[root], -1
    sub[root, root // 64] = np.uint64(1) << np.uint64(root % 64)
    while top >= 0:
        v = stack[top]
        if cursor[v] < starts[v + 1]:
            u, b = neighbours[cursor[v]], bonds_at[cursor[v]]
            cursor[v] += 1
            if b == parent_bond[v] or not (mask[u // 64] >> np.uint64(u % 64)) & np.uint64(1):
                continue
            if place[u] == 0:
                clock += 1
                top += 1
                stack[top] = u
                place[u], cursor[u], parent_bond[u] = clock, starts[u], b
                sub[u, u // 64] = np.uint64(1) << np.uint64(u % 64)
            elif place[u] < place[v]:
                code = _label(b)
                label[v] ^= code
                label[u] ^= code
                edge[k], edge_label[k] = b, code
                edge_sub[k, :] = np.uint64(0)
                k += 1
            continue
        top -= 1
        if top >= 0:
            p = stack[top]
            edge[k], edge_label[k] = parent_bond[v], label[v]
            label[p] ^= label[v]
            for w in range(words):
                edge_sub[k, w] = sub[v, w]
                sub[p, w] |= sub[v, w]
            k += 1
    return k


@njit(cache=True)
def _insert(table, masks, count, piece):
    """Slot of `piece` in the hash table: its index if known, else -1 after claiming the slot for index `count`."""
    size = np.uint64(len(table) - 1)
    code = np.uint64(0)
    for word in piece:
        code = (code ^ word) * np.uint64(0xFF51AFD7ED558CCD)
        code ^= code >> np.uint64(32)
    slot = np.int64(code & size)
    while table[slot] >= 0:
        same = True
        for w in range(len(piece)):
            if masks[table[slot], w] != piece[w]:
                same = False
                break
        if same:
            return False
        slot = np.int64(np.uint64(slot + 1) & size)
    table[slot] = count
    masks[count, :] = piece
    return True


@njit(cache=True)
def _enumerate(starts, neighbours, bonds_at, bonds, depth, limit, ring_cuts):
    """Breadth-first over pieces: (masks (n, w), depth (n,), truncated)."""
    atoms = len(starts) - 1
    words = (atoms + 63) // 64
    masks = np.zeros((limit + 1, words), np.uint64)
    levels = np.zeros(limit + 1, np.int8)
    size = 1024
    while size < 2 * limit + 2:
        size *= 2
    table = np.full(size, -1, np.int32)
    parent_bond, place = np.empty(atoms, np.int32), np.empty(atoms, np.int32)
    cursor, label = np.empty(atoms, np.int32), np.empty(atoms, np.uint64)
    sub, edge = np.empty((atoms, words), np.uint64), np.empty(bonds, np.int32)
    edge_label, edge_sub = np.empty(bonds, np.uint64), np.empty((bonds, words), np.uint64)
    piece, rest = np.zeros(words, np.uint64), np.zeros(words, np.uint64)
    for a in range(atoms):
        piece[a // 64] |= np.uint64(1) << np.uint64(a % 64)
    _insert(table, masks, 0, piece)
    count, seen = 1, np.zeros(words, np.uint64)
    for a in range(atoms):  # the parts of a salt or a mixture are pieces of no cut
        if (seen[a // 64] >> np.uint64(a % 64)) & np.uint64(1):
            continue
        _search(
            masks[0],
            a,
            starts,
            neighbours,
            bonds_at,
            parent_bond,
            place,
            cursor,
            label,
            sub,
            edge,
            edge_label,
            edge_sub,
        )
        seen |= sub[a]
        count += _insert(table, masks, count, sub[a])
    first, last = (1 if count > 1 else 0), count
    for level in range(1, depth + 1):
        for i in range(first, last):
            root = 0
            while not (masks[i, root // 64] >> np.uint64(root % 64)) & np.uint64(1):
                root += 1
            k = _search(
                masks[i],
                root,
                starts,
                neighbours,
                bonds_at,
                parent_bond,
                place,
                cursor,
                label,
                sub,
                edge,
                edge_label,
                edge_sub,
            )
            for x in range(k):
                for y in range(x, k):
                    single = y == x
                    if single != (edge_label[x] == 0) or (
                        not single and (not ring_cuts or edge_label[x] != edge_label[y])
                    ):
                        if single:
                            continue
                        if edge_label[x] == 0:
                            break
                        continue
                    for w in range(words):
                        piece[w] = edge_sub[x, w] if single else edge_sub[x, w] ^ edge_sub[y, w]
                        rest[w] = masks[i, w] ^ piece[w]
                    for half in (piece, rest):
                        if _insert(table, masks, count, half):
                            levels[count] = level
                            count += 1
                            if count > limit:
                                return masks[:limit].copy(), levels[:limit].copy(), True
        first, last = last, count
    return masks[:count].copy(), levels[:count].copy(), False


@njit(cache=True)
def _describe(masks, element, elements, hydrogens, masses, ends, kinds):
    """Element counts, hydrogens, mass and broken bonds of every piece."""
    n = len(masks)
    counts, breaks = np.zeros((n, elements), np.int16), np.zeros((n, 6), np.int16)
    hydrogen, mass = np.zeros(n, np.int16), np.zeros(n)
    inside = np.zeros(len(masses), np.bool_)
    for i in range(n):
        for a in range(len(masses)):
            inside[a] = (masks[i, a // 64] >> np.uint64(a % 64)) & np.uint64(1)
            if inside[a]:
                counts[i, element[a]] += 1
                hydrogen[i] += hydrogens[a]
                mass[i] += masses[a]
        for b in range(len(ends)):
            if inside[ends[b, 0]] != inside[ends[b, 1]]:
                breaks[i, kinds[b, 0]] += 1
                breaks[i, 4] += kinds[b, 1]
                breaks[i, 5] += kinds[b, 2]
    return counts, hydrogen, mass, breaks
