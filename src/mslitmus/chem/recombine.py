"""New molecules from the parts of known ones: cut at BRICS bonds, joined anew.

BRICS (Degen et al., ChemMedChem 2008, doi 10.1002/cmdc.200800178) cuts the bonds that chemists make, and says which
ends fit together. RDKit's own `BRICSBuild` enumerates; here parts and places are drawn, so that thousands take seconds.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from rdkit import Chem
from rdkit.Chem import BRICS

_MOST_ENDS, _PART, _JOINTS = 3, 24, 6  # ends and heavy atoms of a part, joints of a molecule


def recombined(
    smiles: Sequence[str], count: int, seed: int = 0, *, smallest: int = 8, largest: int = 34
) -> tuple[str, ...]:
    """At most `count` distinct new molecules as canonical SMILES without stereo, in the order drawn.

    Args:
        smiles: molecules whose parts are used; charged ones and those that do not parse are passed over.
        smallest, largest: heavy atoms of a new molecule.

    Fewer come back where the parts allow no more within 40 draws for each, and for every known molecule drawn again.
    """
    known, parts = set(), set()
    for text in smiles:
        mol = _read(text)
        if mol is not None:
            known.add(Chem.MolToSmiles(mol))
            parts.update(BRICS.BRICSDecompose(mol, minFragmentSize=1))
    kit = _Kit([Chem.MolFromSmiles(part) for part in sorted(parts)], largest)
    rng, found = np.random.default_rng(seed), dict[str, None]()
    for _ in range(40 * count if kit.parts else 0):
        if len(found) == count:
            break
        mol = kit.draw(rng)
        if mol is not None and smallest <= mol.GetNumHeavyAtoms() <= largest:
            found.setdefault(Chem.MolToSmiles(mol))
    return tuple(text for text in found if text not in known)


def _read(text: str) -> Chem.Mol | None:
    mol = Chem.MolFromSmiles(text)
    if mol is None or Chem.GetFormalCharge(mol):
        return None
    Chem.RemoveStereochemistry(mol)
    return mol


def _fitting() -> dict[int, list[int]]:
    """Environment of an end → those that a single bond may join it to."""
    pairs: dict[int, set[int]] = defaultdict(set)
    for group in BRICS.reactionDefs:
        for left, right, bond in group:
            if bond == "-":
                a, b = (int(re.sub(r"\D", "", side)) for side in (left, right))
                pairs[a].add(b)
                pairs[b].add(a)
    return {end: sorted(others) for end, others in pairs.items()}


class _Kit:
    """Parts with open ends."""

    def __init__(self, parts: Sequence[Chem.Mol], largest: int) -> None:
        self.largest = largest
        small = (part for part in parts if part.GetNumHeavyAtoms() <= _PART)
        self.parts = [part for part in small if 1 <= len(_ends(part)) <= _MOST_ENDS]
        self.holders: dict[int, list[int]] = defaultdict(list)  # environment → parts, once for each such end
        for number, part in enumerate(self.parts):
            for end in _ends(part):
                self.holders[_environment(part, end)].append(number)
        self.fitting = {end: [o for o in others if o in self.holders] for end, others in _fitting().items()}

    def draw(self, rng: np.random.Generator) -> Chem.Mol | None:
        """A molecule without open ends, or None where it grew too large or chemistry refuses it."""
        mol = self.parts[int(rng.integers(len(self.parts)))]
        for _ in range(_JOINTS):
            ends = _ends(mol)
            if not ends:
                return mol
            end = ends[int(rng.integers(len(ends)))]
            others = self.fitting.get(_environment(mol, end), [])
            if not others or mol.GetNumHeavyAtoms() > self.largest:
                return None
            other = others[int(rng.integers(len(others)))]
            part = self.parts[self.holders[other][int(rng.integers(len(self.holders[other])))]]
            places = [place for place in _ends(part) if _environment(part, place) == other]
            mol = _joined(mol, end, part, places[int(rng.integers(len(places)))])
            if mol is None:
                return None
        return None if _ends(mol) else mol


def _ends(mol: Chem.Mol) -> list[int]:
    return [atom.GetIdx() for atom in mol.GetAtoms() if atom.GetAtomicNum() == 0]


def _environment(mol: Chem.Mol, end: int) -> int:
    return int(mol.GetAtomWithIdx(end).GetIsotope())


def _joined(mol: Chem.Mol, end: int, part: Chem.Mol, place: int) -> Chem.Mol | None:
    """Both, bonded by a single bond where their ends were."""
    offset = mol.GetNumAtoms()
    both = Chem.RWMol(Chem.CombineMols(mol, part))
    held = [both.GetAtomWithIdx(k).GetNeighbors()[0].GetIdx() for k in (end, offset + place)]
    both.AddBond(held[0], held[1], Chem.BondType.SINGLE)
    for atom in sorted((end, offset + place), reverse=True):
        both.RemoveAtom(atom)
    joined = both.GetMol()
    return None if Chem.SanitizeMol(joined, catchErrors=True) else joined
