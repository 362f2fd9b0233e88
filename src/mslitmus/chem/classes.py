"""Compound classes by substructure: twenty-one names that a chemist would use, each one or a few SMARTS.

The rules are ours and short enough to be read. They are not ClassyFire's (Djoumbou Feunang et al., J. Cheminform. 2016)
nor NPClassifier's, whose thousands of classes need their servers: names that sound alike do not mean the same set.

A molecule can be in several classes (a steroid glycoside is in two). `compound_classes` names all of them, as is needed
to leave a class out; `compound_class` names the first in the order of `RULES`, special skeletons before single groups.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from rdkit import Chem

from ..errors import unknown_name
from .molecule import parse

#: Of no class.
OTHER = "other"
_CHAIN = "~".join(["[#6;!R;H1,H2;!$([#6]=[O,N,S])]"] * 8)
_SUGAR = "[$([CX4][OX2,NX3])]"  # a ring carbon with an oxygen or nitrogen outside or inside the ring
_PYRAN = "[OX2;r6]1[CX4;r6]([OX2,NX3,SX2,c])"
_FURAN = "[OX2;r5]1[CX4;r5]([OX2,NX3,SX2,c])"

#: Class → SMARTS; one match of any of them is enough.
RULES: dict[str, tuple[str, ...]] = {
    "nucleosides": (  # a base with N–C–N in a ring, bound by that N to a furanose
        "[OX2;r5]1[CX4;r5]([#7;R]@[#6;R]@[#7;R])[CX4;r5][CX4;r5][CX4;r5]1",
    ),
    "amino acids and peptides": (
        "[NX3,NX4+][CX4][CX3](=[OX1])[OX2H1,OX1-]",
        "[NX3][CX4][CX3](=[OX1])[NX3][CX4][CX3](=[OX1])[#7,#8]",
    ),
    "steroids": (  # gonane, whatever its bonds: four carbocycles 6-6-6-5
        "[#6]1~[#6]~[#6]~[#6]2~[#6](~[#6]~1)~[#6]~[#6]~[#6]1~[#6]~2~[#6]~[#6]~[#6]2~[#6]~1~[#6]~[#6]~[#6]~2",
    ),
    "flavonoids": (  # 2-, 3- and 4-phenylchromans of any oxidation, chalcones
        "c1ccc2~[#8]~[#6](-c3ccccc3)~[#6]~[#6]~c2c1",
        "c1ccc2~[#8]~[#6]~[#6](-c3ccccc3)~[#6]~c2c1",
        "c1ccc2~[#8]~[#6]~[#6]~[#6](-c3ccccc3)~c2c1",
        "c1ccccc1[CX3](=[OX1])[#6;!R]~[#6;!R]c1ccccc1",
    ),
    "coumarins": ("[OX1]=[#6]1~[#6]~[#6]~c2ccccc2~[#8]1",),
    "beta-lactams": ("[OX1]=[CX3]1[CX4][CX4][NX3]1",),
    "sugars and glycosides": (  # a pyranose or furanose with two oxygens beside the anomeric one, or an open chain
        f"{_PYRAN}{_SUGAR}{_SUGAR}[CX4;r6][CX4;r6]1",
        f"{_PYRAN}[CX4;r6]{_SUGAR}{_SUGAR}[CX4;r6]1",
        f"{_FURAN}{_SUGAR}{_SUGAR}[CX4;r5]1",
        "[CX4;!R]([OX2H1])[CX4;!R]([OX2H1])[CX4;!R]([OX2H1])[CX4;!R][OX2H1]",
    ),
    "alkaloid-like": (  # an aliphatic amine nitrogen in a fused or bridged ring, or a tryptamine
        "[NX3,NX4+;R2;!$(N*=[O,S,N]);!$(N-a)]",
        "[NX3,NX4+;R;!$(N*=[O,S,N]);!$(N-a)]@[CX4;R2]",
        "[NX3,NX4+;R;!$(N*=[O,S,N]);!$(N-a)]@[CX4;R]@[CX4,c;R2]",
        "c1ccc2c(c1)[nX3]cc2[CX4][CX4][NX3,NX4+;!$(N*=[O,S])]",
    ),
    "lipids": (  # a straight chain of eight carbons or more at an acyl group, or phosphoglycerol
        f"[CX3;!R](=[OX1])([O,N,S])[#6;!R;H1,H2]~{_CHAIN.rsplit('~', 1)[0]}",
        "[CX4H2]([OX2])[CX4H1]([OX2])[CX4H2][OX2][PX4](=[OX1])",
    ),
    "perfluoroalkyl": ("[CX4](F)(F)[CX4](F)F",),
    "long chains": (_CHAIN,),  # surfactants, quaternary amines, lipids too
    "polyethers": ("[OX2][CH2][CH2][OX2][CH2][CH2][OX2][CH2][CH2][OX2]",),
    "organophosphorus": ("[#6][OX2,SX2][PX4]", "[#6][PX4]=[OX1,SX1]"),
    "sulfonamides": ("[SX4](=[OX1])(=[OX1])([#6,#7])[NX3,NX2-]",),
    "carbamates and ureas": ("[NX3][CX3;!R](=[OX1,SX1])[OX2,SX2][#6]", "[NX3][CX3;!R](=[OX1,SX1])[NX3]"),
    "phthalates": ("c1ccc(c(c1)[CX3](=[OX1])[OX2])[CX3](=[OX1])[OX2]",),
    "triazines": ("c1ncncn1", "c1cnncn1"),
    "azoles": ("[nX3;r5]1[n,c][n,c][n,c][nX2;r5]1", "[nX3;r5]1[n,c][nX2;r5][n,c][n,c]1"),
    "halogenated aromatics": ("c[F,Cl,Br,I]",),
    "N-heteroaromatics": ("[n]",),
    "benzenoids": ("c1ccccc1",),
}
CLASSES = (*RULES, OTHER)
#: Changes with the rules: part of the identity of what was computed by them.
RULES_HASH = hashlib.sha256(repr(sorted(RULES.items())).encode()).hexdigest()[:16]


@lru_cache(maxsize=1)
def _patterns() -> tuple[tuple[str, tuple[Any, ...]], ...]:
    return tuple((name, tuple(Chem.MolFromSmarts(text) for text in rules)) for name, rules in RULES.items())


@lru_cache(maxsize=200_000)
def compound_classes(smiles: str) -> tuple[str, ...]:
    """All classes of a molecule in the order of `RULES`, `("other",)` where there is none; about 0.5 ms, cached.

    Raises ChemistryError where the SMILES do not parse.
    """
    molecule = parse(smiles)
    found = tuple(name for name, rules in _patterns() if any(molecule.HasSubstructMatch(rule) for rule in rules))
    return found or (OTHER,)


def compound_class(smiles: str) -> str:
    """The first class of a molecule. Raises ChemistryError where the SMILES do not parse."""
    return compound_classes(smiles)[0]


def check_classes(names: Iterable[str]) -> tuple[str, ...]:
    """The same names. Raises ConfigError for one that is no class, with the nearest known ones."""
    names = tuple(names)
    for name in names:
        if name not in CLASSES:
            raise unknown_name("compound class", name, CLASSES)
    return names
