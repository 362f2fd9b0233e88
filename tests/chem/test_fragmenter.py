"""The fragmenter against a slow reference on sets, and against molecules whose fragments are known."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from mslitmus.chem.formula import parse_formula
from mslitmus.chem.fragmenter import MAX_ATOMS, Fragments, carrier, explain, fragment
from mslitmus.chem.molecule import parse
from mslitmus.errors import ChemistryError

MOLECULES = {
    "ethanol": "CCO",
    "ibuprofen": "CC(C)Cc1ccc(cc1)C(C)C(=O)O",
    "apigenin": "O=c1cc(-c2ccc(O)cc2)oc2cc(O)cc(O)c12",
    "morphine": "CN1CCC23C4C1Cc1ccc(O)c(OC2C(O)C=C4)c13",
    "cubane": "C12C3C4C1C5C2C3C45",
    "spiro": "C1CCC2(CC1)OCCO2",
    "sodium acetate": "[Na+].CC(=O)[O-]",
    "methane": "C",
    "AMP": "Nc1ncnc2c1ncn2C1OC(COP(=O)(O)O)C(O)C1O",
}


def components(atoms: frozenset[int], bonds: list[tuple[int, int]]) -> list[frozenset[int]]:
    left, parts = set(atoms), []
    while left:
        part, edge = set(), {min(left)}
        while edge:
            part |= edge
            edge = {b for pair in bonds for a, b in (pair, pair[::-1]) if a in edge and b not in part}
        parts.append(frozenset(part))
        left -= part
    return parts


def reference(smiles: str, depth: int, max_order: float) -> dict[frozenset[int], int]:
    """Atom set → fewest steps. Tries every bond and every pair of bonds that are no bridges: slow and plain."""
    mol = parse(smiles)
    order = {(b.GetBeginAtomIdx(), b.GetEndAtomIdx()): b.GetBondTypeAsDouble() for b in mol.GetBonds()}

    def kept(part: frozenset[int]) -> bool:
        return sum(o for (a, b), o in order.items() if (a in part) != (b in part)) <= max_order

    bonds = [(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in mol.GetBonds()]
    whole = frozenset(range(mol.GetNumAtoms()))
    found = {whole: 0} | dict.fromkeys(components(whole, bonds), 0)
    level = components(whole, bonds)
    for step in range(1, depth + 1):
        following = []
        for piece in level:
            own = [b for b in bonds if b[0] in piece and b[1] in piece]
            bridges = [b for b in own if len(components(piece, [o for o in own if o != b])) == 2]
            cuts = [(b,) for b in bridges] + list(combinations([b for b in own if b not in bridges], 2))
            for cut in cuts:
                parts = components(piece, [o for o in own if o not in cut])
                if len(parts) == 2:
                    following += [p for p in parts if kept(p) and found.setdefault(p, step) == step]
        level = list(dict.fromkeys(following))
    return found


def atom_sets(fragments: Fragments) -> dict[frozenset[int], int]:
    rows = fragments.atom_sets()
    return {frozenset(np.flatnonzero(r).tolist()): int(d) for r, d in zip(rows, fragments.depth, strict=True)}


@pytest.mark.parametrize(("depth", "max_order"), [(2, np.inf), (3, 4.5)])
@pytest.mark.parametrize("smiles", MOLECULES.values(), ids=MOLECULES)
def test_parity_with_the_slow_reference(smiles: str, depth: int, max_order: float) -> None:
    fragments = fragment(smiles, depth, max_order=max_order)
    assert atom_sets(fragments) == reference(smiles, depth, max_order)
    assert len(atom_sets(fragments)) == len(fragments)  # each atom set once


def test_two_words_agree_with_one() -> None:
    chain = "C" * 60 + "OC1CCCCC1"
    assert fragment(chain, 1).masks.shape[1] == 2
    assert atom_sets(fragment(chain, 1)) == reference(chain, 1, 4.5)


@pytest.mark.parametrize("smiles", MOLECULES.values(), ids=MOLECULES)
def test_columns_agree_with_the_structure(smiles: str) -> None:
    fragments, mol = fragment(smiles), parse(smiles)
    atoms = list(mol.GetAtoms())
    for i, row in enumerate(fragments.atom_sets()):
        inside = [a for a, keep in zip(atoms, row, strict=True) if keep]
        assert fragments.hydrogens[i] == sum(a.GetTotalNumHs() for a in inside)
        assert fragments.formula(i).mass == pytest.approx(fragments.mass[i], abs=1e-9)
        crossing = [b for b in mol.GetBonds() if row[b.GetBeginAtomIdx()] != row[b.GetEndAtomIdx()]]
        assert fragments.cuts[i] == len(crossing)
        assert fragments.broken_order[i] == sum(b.GetBondTypeAsDouble() for b in crossing)
        assert fragments.breaks[i, 4] == sum(b.IsInRing() for b in crossing)
    assert fragments.depth[0] == 0
    assert fragments.mass[0] == max(fragments.mass)


def test_ions_of_a_known_molecule() -> None:
    paracetamol = fragment("CC(=O)Nc1ccc(O)cc1")
    ions, index, shift = paracetamol.ion_mzs("[M+H]+")
    known = np.array([152.0706, 110.0600, 93.0335, 65.0386, 43.0178])  # loss of ketene, then NH3; C5H5+; acetyl
    assert explain(known, paracetamol).tolist() == [True, True, True, True, True]
    whole = (index == 0) & (shift == 0)
    assert ions[whole] == pytest.approx(parse_formula("C8H9NO2").mass + 1.007276, abs=1e-5)
    assert not explain(np.array([152.09, 137.5]), paracetamol).any()
    assert explain(np.array([]), paracetamol).shape == (0,)
    assert (np.abs(paracetamol.ion_mzs(max_shift=1)[2]) <= 1).all()


def test_the_carrier_follows_the_adduct() -> None:
    assert carrier("[M+H]+") == pytest.approx(1.007276, abs=1e-6)
    assert carrier("[M-H]-") == pytest.approx(-1.007276, abs=1e-6)
    assert carrier("[M+Na]+") == pytest.approx(22.989221, abs=1e-6)
    assert carrier("[M+2H]2+") == carrier("[M+NH4]+") == carrier("[M+H]+")
    assert carrier("[M+Cl]-") == carrier("[M-H]-")
    assert carrier("[M]+") == pytest.approx(-0.00054858, abs=1e-7)


def test_limits_are_kept_and_told() -> None:
    cut = fragment(MOLECULES["apigenin"], max_fragments=50)
    assert cut.truncated
    assert 1 < len(cut) <= 50
    assert fragment(MOLECULES["apigenin"], max_order=2).broken_order.max() == 2
    assert not fragment(MOLECULES["apigenin"]).truncated
    assert len(fragment(MOLECULES["apigenin"], depth=0)) == 1
    assert len(fragment(MOLECULES["cubane"], ring_cuts=False)) == 1
    with pytest.raises(ChemistryError, match=f"{MAX_ATOMS} at most"):
        fragment("C" * (MAX_ATOMS + 1))
    with pytest.raises(ChemistryError, match="does not parse"):
        fragment("C1CC")
    with pytest.raises(ChemistryError, match="no mass"):
        fragment("C*")


def test_labelled_isotopes_have_their_own_mass() -> None:
    assert fragment("[13CH3]O").mass[0] == pytest.approx(33.029570, abs=1e-5)
    assert fragment("[2H]OC").mass[0] == pytest.approx(33.032492, abs=1e-5)
