from __future__ import annotations

import numpy as np
import pytest

from mslitmus.chem import molecule
from mslitmus.errors import ChemistryError


def test_identity_of_aspirin():
    found = molecule.identify("O=C(C)Oc1ccccc1C(O)=O")
    assert found.inchikey14 == "BSYNRYMUTXBXSQ"
    assert found.formula == "C9H8O4"
    assert found.exact_mass == pytest.approx(180.04226, abs=1e-5)
    assert found.smiles == molecule.identify(found.smiles).smiles


def test_stereo_shares_the_first_block():
    assert molecule.inchikey14("C[C@H](N)C(=O)O") == molecule.inchikey14("C[C@@H](N)C(=O)O")


def test_formula_of_an_ion_has_no_sign():
    assert molecule.identify("C[N+](C)(C)CCO").formula == "C5H14NO"


@pytest.mark.parametrize("smiles", ["", "c1ccccc", "C1CC", "N(C)(C)(C)(C)C", "not a smiles"])
def test_bad_smiles_names_itself(smiles):
    with pytest.raises(ChemistryError, match="does not parse"):
        molecule.identify(smiles)


def test_scaffold_of_acyclic_is_empty():
    assert molecule.scaffold("CCCCO") == ""
    assert molecule.scaffold("CCc1ccccc1") == "c1ccccc1"


def test_tanimoto_matches_the_definition():
    a = molecule.morgan(["CCO", "c1ccccc1O"])
    b = molecule.morgan(["CCO", "CCN", "c1ccccc1"])
    got = molecule.tanimoto(a, b)
    for i, x in enumerate(a.astype(bool)):
        for j, y in enumerate(b.astype(bool)):
            assert got[i, j] == pytest.approx((x & y).sum() / (x | y).sum())
    assert molecule.tanimoto(np.zeros((1, 8), np.uint8), np.zeros((1, 8), np.uint8))[0, 0] == 0


def test_maccs_and_properties_have_a_row_each():
    smiles = ["CCO", "c1ccccc1O"]
    assert molecule.maccs(smiles).shape == (2, 167)
    table = molecule.properties(smiles)
    assert table["rings"].to_list() == [0, 1]
    assert molecule.properties([]).height == 0


def test_drawing_is_svg():
    assert molecule.draw_svg("CCO").startswith("<svg")
