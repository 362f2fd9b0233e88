"""Compound classes: textbook members, what is in two classes, and names that are refused."""

from __future__ import annotations

import pytest

from mslitmus.chem.classes import CLASSES, OTHER, RULES, check_classes, compound_class, compound_classes
from mslitmus.errors import ChemistryError, ConfigError

MEMBERS = {
    "nucleosides": "OC[C@H]1O[C@H](n2cnc3c(N)ncnc32)C(O)C1O",
    "amino acids and peptides": "NC(Cc1ccccc1)C(=O)O",
    "steroids": "CC(=O)C1CCC2C1(C)CCC1C2CCC2=CC(=O)CCC12C",
    "flavonoids": "O=c1c(O)c(-c2ccc(O)c(O)c2)oc2cc(O)cc(O)c12",
    "coumarins": "O=c1ccc2ccc(O)cc2o1",
    "beta-lactams": "O=C1CCN1c1ccccc1",
    "sugars and glycosides": "OCC1OC(Oc2ccccc2CO)C(O)C(O)C1O",
    "alkaloid-like": "CN1C2CCC1C(C(=O)OC)C(OC(=O)c1ccccc1)C2",
    "lipids": "CCCCCCCCCCCCCCCC(=O)O",
    "perfluoroalkyl": "FC(F)(F)C(F)(F)C(F)(F)C(F)(F)S(=O)(=O)O",
    "long chains": "CCCCCCCCCCCC[N+](C)(C)C",
    "polyethers": "OCCOCCOCCOCCO",
    "organophosphorus": "CCOP(=S)(OCC)Oc1ccc([N+](=O)[O-])cc1",
    "sulfonamides": "Cc1cc(NS(=O)(=O)c2ccc(N)cc2)no1",
    "carbamates and ureas": "CN(C)C(=O)Nc1ccc(Cl)c(Cl)c1",
    "phthalates": "CCOC(=O)c1ccccc1C(=O)OCC",
    "triazines": "CCNc1nc(Cl)nc(NC(C)C)n1",
    "azoles": "OC(Cn1cncn1)(c1ccc(F)cc1)c1ccccc1F",
    "halogenated aromatics": "O=C(O)c1ccccc1Cl",
    "N-heteroaromatics": "CN1CCCC1c1cccnc1",
    "benzenoids": "CC(=O)Nc1ccc(O)cc1",
    OTHER: "CCO",
}


@pytest.mark.parametrize("name", CLASSES)
def test_a_textbook_member(name):
    assert compound_class(MEMBERS[name]) == name


def test_what_is_not_a_member():
    for smiles, name in (
        ("OCCOCCO", "polyethers"),
        ("CCCCCC(=O)O", "lipids"),
        ("C1CC2CCCCC2CC1", "steroids"),
        ("C1CCOC1", "sugars and glycosides"),
        ("CC(=O)Oc1ccccc1C(=O)O", "phthalates"),
        ("CC(N)=O", "carbamates and ureas"),
        ("O=C1CCCCN1", "alkaloid-like"),
    ):
        assert name not in compound_classes(smiles)


def test_a_molecule_can_be_in_several():
    glycoside = "O=c1cc(-c2ccc(O)cc2)oc2cc(OC3OC(CO)C(O)C(O)C3O)cc(O)c12"
    assert compound_classes(glycoside)[:2] == ("flavonoids", "sugars and glycosides")
    assert set(MEMBERS) == {*RULES, OTHER}


def test_bad_input_is_refused():
    with pytest.raises(ConfigError, match="unknown compound class 'steroid'") as caught:
        check_classes(["steroid"])
    assert "'steroids'" in str(caught.value)
    with pytest.raises(ChemistryError):
        compound_classes("C1CC")
