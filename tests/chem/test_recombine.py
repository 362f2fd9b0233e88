"""New molecules from the parts of known ones."""

from __future__ import annotations

from mslitmus.chem.molecule import identify
from mslitmus.chem.recombine import recombined

KNOWN = [
    "CC(=O)Nc1ccc(O)cc1",
    "CCOC(=O)c1ccccc1",
    "CN1CCC(CC1)c1ccccc1O",
    "c1ccccc1CNC(=O)CCl",
    "[Na+].[Cl-]",
    "no molecule",
]


def test_new_ones_are_whole_distinct_and_not_the_old():
    new = recombined(KNOWN, 30)
    who = [identify(text) for text in new]
    assert 10 < len(new) <= 30
    assert len({each.inchikey14 for each in who}) == len(new)
    assert not {each.inchikey14 for each in who} & {identify(text).inchikey14 for text in KNOWN[:4]}
    assert "*" not in "".join(new)
    assert all(each.charge == 0 for each in who)


def test_the_seed_decides():
    assert recombined(KNOWN, 20, 1) == recombined(KNOWN, 20, 1)
    assert recombined(KNOWN, 20, 1) != recombined(KNOWN, 20, 2)


def test_nothing_to_join_gives_nothing():
    assert recombined(["CCC"], 10) == ()
    assert recombined([], 10) == ()
