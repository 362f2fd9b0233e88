from __future__ import annotations

from random import Random

import pytest

from mslitmus.chem import edits
from mslitmus.chem.molecule import identify, parse
from mslitmus.chem.naturalness import environments
from mslitmus.chem.standardise import standardise, tautomer_key, uniform
from mslitmus.data.molecules import MOLECULES
from mslitmus.errors import ChemistryError

SOME = [smiles for _, smiles in MOLECULES[::12]]


def test_an_edit_keeps_formula_and_charge_and_gives_something_that_reads_back() -> None:
    random = Random(1)
    changed = 0
    for text in SOME:
        start = uniform(parse(text))
        for _ in range(4):
            made = edits.edit(start, random)
            if made is None:
                continue
            written = edits.canonical(uniform(made))
            assert identify(written).formula == identify(text).formula
            assert identify(written).charge == identify(text).charge
            assert "." not in written
            changed += written != edits.canonical(start)
    assert changed > 2 * len(SOME)


def test_halves_of_a_cut_join_to_the_molecule() -> None:
    for text in SOME:
        molecule = uniform(parse(text))
        parts = list(edits.halves(molecule, Random(0)))
        for (left, one), (right, two) in zip(parts[::2], parts[1::2], strict=True):
            joined = edits.join(left, right)
            assert edits.canonical(joined) == edits.canonical(molecule)
            assert all(one.get(e, 0) + two.get(e, 0) > 0 for e in {*one, *two})


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        ("CC(=O)CC(C)=O", "CC(O)=CC(C)=O", True),  # keto, enol
        ("Oc1ccccn1", "O=c1cccc[nH]1", True),
        ("c1ccc2[nH]ncc2c1", "c1ccc2n[nH]cc2c1", True),
        ("C=CCCCO", "CC=CCCO", False),  # double-bond isomers are different molecules
        ("CCO", "COC", False),
    ],
)
def test_tautomers_share_a_key_and_isomers_do_not(one: str, two: str, same: bool) -> None:
    assert (tautomer_key(parse(one)) == tautomer_key(parse(two))) is same


@pytest.mark.parametrize(
    ("written", "uniform_form"),
    [
        ("[Na+].CC(=O)[O-]", "CC(=O)O"),
        ("C[NH2+]CC([O-])=O", "CNCC(=O)O"),
        ("C[N+](C)(C)CCO", "C[N+](C)(C)CCO"),
        ("N[C@@H](C)C(=O)O", "CC(N)C(=O)O"),
        ("C(C)(N)C(O)=O", "CC(N)C(=O)O"),
    ],
)
def test_uniform_form(written: str, uniform_form: str) -> None:
    assert standardise(written).smiles == uniform_form


def test_parts_and_charges_stay_where_asked() -> None:
    assert "." in standardise("[Na+].CC(=O)[O-]", neutralise=False).smiles
    with pytest.raises(ChemistryError):
        standardise("not a molecule")


def test_environments_of_radius_one_are_among_those_of_two() -> None:
    for text in SOME[:5]:
        molecule = parse(text)
        assert set(environments(molecule, 1)) <= set(environments(molecule))
