"""Edits of a structure that keep its formula, and cutting and joining at single bonds: how decoys are made.

Molecules here carry no stereo marks. An edit returns a sanitised molecule, or none where it does not apply or gives
nothing sane (`sane`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

from rdkit import Chem
from rdkit.Chem import rdMolDescriptors

from .molecule import Mol

Edit = Callable[[Mol, Random], Mol | None]
_SINGLE = Chem.MolFromSmarts("[!#1]-!@[!#1]")
_REFUSED = tuple(
    Chem.MolFromSmarts(pattern)
    for pattern in ("[r]#[r]", "*=*=[#6]", "[#8]~[#8]~[#8]", "[#7X3]~[#8]~[#8]", "[r3,r4]=[r3,r4]")
)
_SMALL, _LARGE = 5, 7  # ring sizes that an edit may make


def canonical(molecule: Mol) -> str:
    """RDKit's canonical SMILES."""
    return str(Chem.MolToSmiles(molecule))


def charge(molecule: Mol) -> int:
    """Net formal charge."""
    return int(Chem.GetFormalCharge(molecule))


def single_bonds(molecule: Mol) -> list[tuple[int, int]]:
    """Atom pairs of the single bonds outside rings, hydrogens aside: those that cut a molecule in two."""
    return list(molecule.GetSubstructMatches(_SINGLE))


def side(molecule: Mol, start: int, away: int) -> set[int]:
    """Atoms on `start`'s side of the bond start–away, which must lie outside rings."""
    seen, stack = {start, away}, [start]
    while stack:
        atom = molecule.GetAtomWithIdx(stack.pop())
        for neighbour in atom.GetNeighbors():
            index = neighbour.GetIdx()
            if index not in seen:
                seen.add(index)
                stack.append(index)
    return seen - {away}


def halves(molecule: Mol, random: Random, cuts: int = 12) -> Iterator[tuple[str, dict[str, int]]]:
    """Both halves of up to `cuts` cuts at single bonds: SMILES that starts with the open atom, and element counts
    (with H)."""
    counts = [(a.GetSymbol(), a.GetTotalNumHs()) for a in molecule.GetAtoms()]
    bonds = single_bonds(molecule)
    while len(bonds) > cuts:
        bonds.pop(int(random.random() * len(bonds)))
    for a, b in bonds:
        for start, away in ((a, b), (b, a)):
            atoms = side(molecule, start, away)
            formula: dict[str, int] = {}
            for index in atoms:
                symbol, hydrogens = counts[index]
                formula[symbol] = formula.get(symbol, 0) + 1
                formula["H"] = formula.get("H", 0) + hydrogens
            yield Chem.MolFragmentToSmiles(molecule, atomsToUse=sorted(atoms), rootedAtAtom=start), formula


def join(left: str, right: str) -> Mol | None:
    """The molecule of two `halves`, joined by a single bond; none where RDKit refuses it."""
    return Chem.MolFromSmiles(f"{_open(left)}.{_open(right)}")


def _open(half: str) -> str:
    """Put ring closure 99 behind the first atom."""
    end = half.index("]") + 1 if half[0] == "[" else 2 if half[:2] in ("Cl", "Br") else 1
    return f"{half[:end]}-%99{half[end:]}"


def edit(molecule: Mol, random: Random, attempts: int = 6) -> Mol | None:
    """A random constitutional isomer one edit away; none after `attempts` that gave nothing sane."""
    formula = rdMolDescriptors.CalcMolFormula(molecule)
    for _ in range(attempts):
        made = _EDITS[int(random.random() * len(_EDITS))](molecule, random)
        if made is None:
            continue
        try:
            Chem.SanitizeMol(made)
        except (Chem.AtomValenceException, Chem.KekulizeException, Chem.AtomKekulizeException, ValueError):
            continue
        if rdMolDescriptors.CalcMolFormula(made) == formula and sane(made):
            return made
    return None


def sane(molecule: Mol) -> bool:
    """One part, no radical, and none of what is hardly ever seen: cumulenes, triple bonds in rings, O–O–O, …"""
    if any(atom.GetNumRadicalElectrons() for atom in molecule.GetAtoms()) or len(Chem.GetMolFrags(molecule)) > 1:
        return False
    return not any(molecule.HasSubstructMatch(pattern) for pattern in _REFUSED)


def _pick(items: list, random: Random):  # type: ignore[no-untyped-def,type-arg]
    return items[int(random.random() * len(items))]


def _free(molecule: Mol) -> list[int]:
    """Atoms with a hydrogen to give, neutral ones only."""
    return [a.GetIdx() for a in molecule.GetAtoms() if a.GetTotalNumHs() and not a.GetFormalCharge()]


def _take(atom: Mol, hydrogens: int) -> None:
    """Change the hydrogens of an atom whose number is written out ([nH]); elsewhere sanitising counts them."""
    if atom.GetNoImplicit():
        atom.SetNumExplicitHs(max(0, atom.GetNumExplicitHs() + hydrogens))


def move_substituent(molecule: Mol, random: Random) -> Mol | None:
    """Cut a single bond a–b and bind b to another atom that has a hydrogen; a takes the hydrogen."""
    bonds = single_bonds(molecule)
    if not bonds:
        return None
    a, b = _pick(bonds, random)
    if random.random() < 0.5:
        a, b = b, a
    stay = side(molecule, a, b)
    targets = [atom for atom in _free(molecule) if atom in stay and atom != a]
    if not targets:
        return None
    target = _pick(targets, random)
    new = Chem.RWMol(molecule)
    new.RemoveBond(a, b)
    new.AddBond(target, b, Chem.BondType.SINGLE)
    _take(new.GetAtomWithIdx(a), 1)
    _take(new.GetAtomWithIdx(target), -1)
    return new


def swap_substituents(molecule: Mol, random: Random) -> Mol | None:
    """a–b and c–d become a–d and c–b, with b's and d's sides changing places."""
    bonds = single_bonds(molecule)
    if len(bonds) < 2:
        return None
    a, b = _pick(bonds, random)
    c, d = _pick(bonds, random)
    if random.random() < 0.5:
        a, b = b, a
    if random.random() < 0.5:
        c, d = d, c
    moved, other = side(molecule, b, a), side(molecule, d, c)
    if moved & other or c in moved or a in other or a == c:
        return None
    new = Chem.RWMol(molecule)
    new.RemoveBond(a, b)
    new.RemoveBond(c, d)
    new.AddBond(a, d, Chem.BondType.SINGLE)
    new.AddBond(c, b, Chem.BondType.SINGLE)
    return new


def swap_elements(molecule: Mol, random: Random) -> Mol | None:
    """Two neutral atoms of different elements change places: a ring nitrogen moves, O and CH2 trade seats."""
    hetero = [a for a in molecule.GetAtoms() if a.GetAtomicNum() in (7, 8, 16) and not a.GetFormalCharge()]
    if not hetero:
        return None
    first = _pick(hetero, random)
    seats = [
        a.GetIdx()
        for a in molecule.GetAtoms()
        if a.GetAtomicNum() != first.GetAtomicNum()
        and not a.GetFormalCharge()
        and a.GetIsAromatic() == first.GetIsAromatic()
        and a.GetTotalValence() - a.GetTotalNumHs() <= first.GetTotalValence()
        and a.GetTotalValence() >= first.GetTotalValence() - first.GetTotalNumHs()
    ]
    if not seats:
        return None
    new = Chem.RWMol(molecule)
    one, two = new.GetAtomWithIdx(first.GetIdx()), new.GetAtomWithIdx(_pick(seats, random))
    for atom in (one, two):
        atom.SetNoImplicit(False)
        atom.SetNumExplicitHs(0)
    number = one.GetAtomicNum()
    one.SetAtomicNum(two.GetAtomicNum())
    two.SetAtomicNum(number)
    for atom in (one, two):  # a pyrrole nitrogen must be told that it has its hydrogen
        if atom.GetIsAromatic() and atom.GetAtomicNum() == 7 and atom.GetDegree() == 2 and first.GetTotalNumHs():
            atom.SetNoImplicit(True)
            atom.SetNumExplicitHs(1)
    return new


def move_methylene(molecule: Mol, random: Random) -> Mol | None:
    """Take a CH2 out of a chain or ring, and put it into another single bond."""
    links = [a for a in molecule.GetAtoms() if _is_link(a)]
    if not links:
        return None
    link = _pick(links, random)
    left, right = (n.GetIdx() for n in link.GetNeighbors())
    if molecule.GetBondBetweenAtoms(left, right) is not None:
        return None
    index = link.GetIdx()
    bonds = [
        (b.GetBeginAtomIdx(), b.GetEndAtomIdx())
        for b in molecule.GetBonds()
        if b.GetBondType() == Chem.BondType.SINGLE and index not in (b.GetBeginAtomIdx(), b.GetEndAtomIdx())
    ]
    if not bonds:
        return None
    begin, end = _pick(bonds, random)
    new = Chem.RWMol(molecule)
    new.RemoveBond(left, index)
    new.RemoveBond(index, right)
    new.AddBond(left, right, Chem.BondType.SINGLE)
    new.RemoveBond(begin, end)
    new.AddBond(begin, index, Chem.BondType.SINGLE)
    new.AddBond(index, end, Chem.BondType.SINGLE)
    return new if _rings_fit(molecule, new) else None


def _is_link(atom: Mol) -> bool:
    return bool(
        atom.GetAtomicNum() == 6 and atom.GetDegree() == 2 and atom.GetTotalNumHs() == 2 and not atom.GetIsAromatic()
    )


def move_double_bond(molecule: Mol, random: Random) -> Mol | None:
    """a=b–c(H) becomes (H)a–b=c between carbons that are not aromatic."""
    found = []
    for bond in molecule.GetBonds():
        if bond.GetBondType() == Chem.BondType.DOUBLE and not bond.GetIsAromatic():
            for a, b in ((bond.GetBeginAtom(), bond.GetEndAtom()), (bond.GetEndAtom(), bond.GetBeginAtom())):
                found += [
                    (a.GetIdx(), b.GetIdx(), c.GetIdx())
                    for c in b.GetNeighbors()
                    if c.GetIdx() != a.GetIdx()
                    and {a.GetAtomicNum(), b.GetAtomicNum(), c.GetAtomicNum()} == {6}
                    and c.GetTotalNumHs()
                    and not c.GetIsAromatic()
                ]
    if not found:
        return None
    a, b, c = _pick(found, random)
    new = Chem.RWMol(molecule)
    new.GetBondBetweenAtoms(a, b).SetBondType(Chem.BondType.SINGLE)
    new.GetBondBetweenAtoms(b, c).SetBondType(Chem.BondType.DOUBLE)
    return new


def open_ring(molecule: Mol, random: Random) -> Mol | None:
    """Break a single bond a–b of a saturated ring stretch; b binds its next carbon twice, a takes the hydrogen."""
    found = []
    for bond in molecule.GetBonds():
        if bond.IsInRing() and bond.GetBondType() == Chem.BondType.SINGLE:
            for a, b in ((bond.GetBeginAtom(), bond.GetEndAtom()), (bond.GetEndAtom(), bond.GetBeginAtom())):
                if b.GetAtomicNum() == 6 and not b.GetIsAromatic() and not _unsaturated(b):
                    found += [
                        (a.GetIdx(), b.GetIdx(), c.GetIdx())
                        for c in b.GetNeighbors()
                        if c.GetIdx() != a.GetIdx()
                        and c.GetAtomicNum() == 6
                        and c.GetTotalNumHs()
                        and not c.GetIsAromatic()
                        and not _unsaturated(c)
                    ]
    if not found:
        return None
    a, b, c = _pick(found, random)
    new = Chem.RWMol(molecule)
    new.RemoveBond(a, b)
    _take(new.GetAtomWithIdx(a), 1)
    new.GetBondBetweenAtoms(b, c).SetBondType(Chem.BondType.DOUBLE)
    return new


def close_ring(molecule: Mol, random: Random) -> Mol | None:
    """The way back: C=C becomes single, and one of its carbons closes a ring of five or six to an atom with a
    hydrogen."""
    doubles = [
        b
        for b in molecule.GetBonds()
        if b.GetBondType() == Chem.BondType.DOUBLE
        and b.GetBeginAtom().GetAtomicNum() == b.GetEndAtom().GetAtomicNum() == 6
    ]
    if not doubles:
        return None
    bond = _pick(doubles, random)
    b = bond.GetBeginAtomIdx() if random.random() < 0.5 else bond.GetEndAtomIdx()
    distances = Chem.GetDistanceMatrix(molecule)[b]
    targets = [atom for atom in _free(molecule) if distances[atom] in (4, 5)]
    if not targets:
        return None
    target = _pick(targets, random)
    new = Chem.RWMol(molecule)
    new.GetBondWithIdx(bond.GetIdx()).SetBondType(Chem.BondType.SINGLE)
    new.AddBond(b, target, Chem.BondType.SINGLE)
    _take(new.GetAtomWithIdx(target), -1)
    return new if _rings_fit(molecule, new) else None


def _unsaturated(atom: Mol) -> bool:
    return any(bond.GetBondType() != Chem.BondType.SINGLE for bond in atom.GetBonds())


def _rings_fit(old: Mol, new: Mol) -> bool:
    """No ring smaller than five or larger than seven that was not there."""
    Chem.FastFindRings(new)
    before = {len(ring) for ring in old.GetRingInfo().AtomRings()}
    return all(_SMALL <= len(ring) <= _LARGE or len(ring) in before for ring in new.GetRingInfo().AtomRings())


_EDITS: tuple[Edit, ...] = (
    move_substituent,
    move_substituent,
    move_substituent,
    swap_substituents,
    swap_elements,
    swap_elements,
    move_methylene,
    move_methylene,
    move_double_bond,
    open_ring,
    close_ring,
)
