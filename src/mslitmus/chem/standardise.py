"""One uniform form of a structure, so that spelling, salts, charges and stereo marks do not tell where it is from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from rdkit import Chem
from rdkit.Chem import Descriptors, rdMolDescriptors, rdMolHash
from rdkit.Chem.MolStandardize import rdMolStandardize

from ..errors import ChemistryError
from .molecule import Mol, parse


@dataclass(frozen=True)
class Standard:
    """Uniform form of a molecule: canonical SMILES without stereo, first InChIKey block, formula without charge sign,
    monoisotopic mass (Da) and the tautomer key (`tautomer_key`)."""

    smiles: str
    inchikey14: str
    formula: str
    exact_mass: float
    tautomer: str


def standardise(smiles: str, *, neutralise: bool = True) -> Standard:
    """The largest organic part, neutralised where protons alone do it, without stereo marks. About 1 ms.

    A quaternary ammonium keeps its charge. With `neutralise` false, parts and charges stay as they are. Raises
    ChemistryError for what does not parse or has no InChI.
    """
    molecule = parse(smiles)
    if neutralise and "." in smiles:
        molecule = _chooser().choose(molecule)
    if neutralise and ("+" in smiles or "-" in smiles):
        molecule = _uncharger().uncharge(molecule)
    return describe(uniform(molecule))


def uniform(molecule: Mol) -> Mol:
    """The molecule without stereo marks, read back from its own canonical SMILES, so that two ways to the same
    structure give the same text. Raises ChemistryError where RDKit cannot read what it wrote."""
    plain = Chem.Mol(molecule)
    Chem.RemoveStereochemistry(plain)
    return parse(Chem.MolToSmiles(plain))


def describe(molecule: Mol) -> Standard:
    """`Standard` of a molecule that `uniform` returned. Raises ChemistryError where there is no InChI."""
    text = Chem.MolToSmiles(molecule)
    key = Chem.MolToInchiKey(molecule)
    if not key:
        raise ChemistryError(f"no InChI for {text!r}", remedy="query structures and polymers have none: leave them out")
    formula = rdMolDescriptors.CalcMolFormula(molecule).split("+")[0].split("-")[0]
    return Standard(text, key[:14], formula, Descriptors.ExactMolWt(molecule), tautomer_key(molecule))


def tautomer_key(molecule: Mol) -> str:
    """The same for tautomers, keto and enol included: RDKit's HetAtomTautomerv2 hash, 0.15 ms.

    Atoms that can trade a mobile hydrogen lose their bond orders and hydrogens; the total is kept. (RDKit's canonical
    tautomer says the same at 10 to 1,000 times the price. A graph without any bond order would also merge double-bond
    isomers, which a spectrum can tell apart.)
    """
    return str(rdMolHash.MolHash(molecule, rdMolHash.HashFunction.HetAtomTautomerv2))


@cache
def _chooser() -> Any:
    return rdMolStandardize.LargestFragmentChooser(preferOrganic=True)


@cache
def _uncharger() -> Any:
    return rdMolStandardize.Uncharger()
