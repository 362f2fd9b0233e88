"""The only door to RDKit: parse, canonical SMILES, InChIKey-14, scaffold, fingerprints, properties, drawing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from rdkit import Chem, DataStructs, RDLogger, rdBase
from rdkit.Chem import Crippen, Descriptors, rdFingerprintGenerator, rdMolDescriptors
from rdkit.Chem.Draw import rdMolDraw2D
from rdkit.Chem.Scaffolds import MurckoScaffold

from ..errors import ChemistryError

RDLogger.DisableLog("rdApp.*")  # RDKit's warnings go to stderr by the thousand; our errors name the molecule instead

RDKIT_VERSION: str = rdBase.rdkitVersion  # names caches of what RDKit computed
Mol = Any  # rdkit.Chem.Mol, whose stubs are incomplete


def parse(smiles: str) -> Mol:
    """SMILES → sanitised RDKit molecule. Raises ChemistryError if it does not parse or holds no atom."""
    molecule = Chem.MolFromSmiles(smiles) if smiles else None
    if molecule is None or molecule.GetNumAtoms() == 0:
        raise ChemistryError(f"SMILES does not parse: {smiles!r}", remedy="check brackets, ring closures and valences")
    return molecule


@dataclass(frozen=True)
class Identity:
    """What a structure is called: canonical SMILES (with stereo), first InChIKey block, formula, monoisotopic mass."""

    smiles: str
    inchikey14: str
    formula: str
    exact_mass: float
    charge: int


@lru_cache(maxsize=200_000)
def identify(smiles: str) -> Identity:
    """Identity of one SMILES (about 1 ms, cached). `formula` carries no charge sign. Raises ChemistryError."""
    molecule = parse(smiles)
    key = Chem.MolToInchiKey(molecule)
    if not key:
        raise ChemistryError(
            f"no InChI for {smiles!r}", remedy="query structures and polymers have none: leave SMILES empty"
        )
    formula = rdMolDescriptors.CalcMolFormula(molecule).split("+")[0].split("-")[0]
    mass, charge = Descriptors.ExactMolWt(molecule), Chem.GetFormalCharge(molecule)
    return Identity(Chem.MolToSmiles(molecule), key[:14], formula, mass, charge)


def inchikey14(smiles: str) -> str:
    """First block of the InChIKey: the connectivity, without stereo. Raises ChemistryError."""
    return identify(smiles).inchikey14


@lru_cache(maxsize=200_000)
def scaffold(smiles: str) -> str:
    """Bemis–Murcko scaffold as canonical SMILES without stereo; empty for an acyclic molecule."""
    return str(MurckoScaffold.MurckoScaffoldSmiles(mol=parse(smiles), includeChirality=False))


def morgan(smiles: Sequence[str], radius: int = 2, bits: int = 2048) -> NDArray[np.uint8]:
    """Morgan fingerprints, unpacked: (n, bits) of 0/1. Raises ChemistryError on the first that does not parse."""
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=radius, fpSize=bits)
    return (
        np.stack([generator.GetFingerprintAsNumPy(parse(s)) for s in smiles])
        if len(smiles)
        else np.zeros((0, bits), np.uint8)
    )


def morgan_packed(smiles: Sequence[str], radius: int = 2, bits: int = 2048) -> NDArray[np.uint64]:
    """Morgan fingerprints as words of 64 bits: (n, bits / 64), bit k in word k // 64, lowest bit first.

    An eighth of the memory of `morgan`; `bits` is a multiple of 64. Raises ChemistryError as `morgan` does.
    """
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=radius, fpSize=bits)
    out = np.zeros((len(smiles), bits // 8), np.uint8)
    for row, text in zip(out, smiles, strict=True):
        row[:] = np.packbits(generator.GetFingerprintAsNumPy(parse(text)), bitorder="little")
    return out.view(np.uint64)


def formulas(smiles: Sequence[str]) -> list[str]:
    """Formula of each, without charge, as `identify` gives it but without the price of an InChI (0.15 ms)."""
    return [rdMolDescriptors.CalcMolFormula(parse(text)).split("+")[0].split("-")[0] for text in smiles]


#: Columns of `Traits.descriptors`.
TRAITS = (
    *(f"n_{element}" for element in ("C", "H", "N", "O", "P", "S", "F", "Cl", "Br", "I", "other")),
    *(f"rings_of_{size}" for size in ("3", "4", "5", "6", "7", "more")),
    "parts", "aromatic_rings", "heterocycles", "spiro", "bridgeheads", "rotatable", "donors", "sp3", "polar_area",
    "cations",
)  # fmt: skip
_COUNTED = {"C": 0, "H": 1, "N": 2, "O": 3, "P": 4, "S": 5, "F": 6, "Cl": 7, "Br": 8, "I": 9}
_ELEMENT = re.compile(r"([A-Z][a-z]?)(\d*)")
_ROTATABLE = Chem.MolFromSmarts("[!D1]-&!@[!D1]")


@dataclass(frozen=True)
class Traits:
    """What n molecules look like to a classifier of structures.

    Hashed Morgan counts in CSR form (`indptr` (n + 1), `indices`, `counts`) and `descriptors` (n, len(TRAITS)).
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    counts: NDArray[np.float32]
    descriptors: NDArray[np.float32]


def traits(smiles: Sequence[str], radius: int = 2, bits: int = 2048) -> Traits:
    """Traits of each molecule, about 0.3 ms each. Raises ChemistryError on the first that does not parse."""
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=radius, fpSize=bits)
    indptr, indices, counts = np.zeros(len(smiles) + 1, np.int64), [], []
    descriptors = np.zeros((len(smiles), len(TRAITS)), np.float32)
    for k, text in enumerate(smiles):
        molecule = parse(text)
        found = generator.GetCountFingerprint(molecule).GetNonzeroElements()
        indptr[k + 1] = indptr[k] + len(found)
        indices.append(np.fromiter(found.keys(), np.int32, len(found)))
        counts.append(np.fromiter(found.values(), np.float32, len(found)))
        _describe(molecule, text, descriptors[k])
    empty = np.zeros(0, np.float32)
    return Traits(
        indptr, np.concatenate([empty.astype(np.int32), *indices]), np.concatenate([empty, *counts]), descriptors
    )


def _describe(molecule: Mol, smiles: str, out: NDArray[np.float32]) -> None:
    """Fill one row of descriptors; `rotatable` are single bonds outside rings between atoms of degree above 1."""
    for element, count in _ELEMENT.findall(rdMolDescriptors.CalcMolFormula(molecule)):
        out[_COUNTED.get(element, 10)] += int(count or 1)
    for ring in molecule.GetRingInfo().AtomRings():
        out[11 + min(len(ring), 8) - 3] += 1
    out[17:] = (
        len(Chem.GetMolFrags(molecule)),
        rdMolDescriptors.CalcNumAromaticRings(molecule),
        rdMolDescriptors.CalcNumHeterocycles(molecule),
        rdMolDescriptors.CalcNumSpiroAtoms(molecule),
        rdMolDescriptors.CalcNumBridgeheadAtoms(molecule),
        len(molecule.GetSubstructMatches(_ROTATABLE, maxMatches=100)),
        rdMolDescriptors.CalcNumHBD(molecule),
        rdMolDescriptors.CalcFractionCSP3(molecule),
        rdMolDescriptors.CalcTPSA(molecule),
        smiles.count("+"),
    )


def maccs(smiles: Sequence[str]) -> NDArray[np.uint8]:
    """MACCS keys, (n, 167) of 0/1."""
    out = np.zeros((len(smiles), 167), np.uint8)
    for row, text in zip(out, smiles, strict=True):
        DataStructs.ConvertToNumpyArray(rdMolDescriptors.GetMACCSKeysFingerprint(parse(text)), row)
    return out


def tanimoto(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Tanimoto similarity of 0/1 fingerprints: (n, bits), (m, bits) → (n, m). Two empty ones are 0 alike."""
    left, right = a.astype(np.float32), b.astype(np.float32)
    shared = left @ right.T
    union = left.sum(1)[:, None] + right.sum(1)[None, :] - shared
    similarity: NDArray[np.float32] = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return similarity


def properties(smiles: Sequence[str]) -> pl.DataFrame:
    """One row a molecule: mass (Da), logP (Crippen), rings, heteroatoms, rotatable_bonds, heavy_atoms."""
    rows = []
    for text in smiles:
        m = parse(text)
        rows.append(
            {
                "mass": Descriptors.ExactMolWt(m),
                "logp": Crippen.MolLogP(m),
                "rings": rdMolDescriptors.CalcNumRings(m),
                "heteroatoms": rdMolDescriptors.CalcNumHeteroatoms(m),
                "rotatable_bonds": rdMolDescriptors.CalcNumRotatableBonds(m),
                "heavy_atoms": m.GetNumHeavyAtoms(),
            }
        )
    schema = {
        "mass": pl.Float64,
        "logp": pl.Float64,
        **dict.fromkeys(("rings", "heteroatoms", "rotatable_bonds", "heavy_atoms"), pl.Int64),
    }
    return pl.DataFrame(rows, schema=schema)


def draw_svg(smiles: str, width: int = 240, height: int = 160, highlight_atoms: Sequence[int] = ()) -> str:
    """The molecule as an SVG fragment (no XML header), transparent background."""
    drawer: Any = rdMolDraw2D.MolDraw2DSVG(width, height)
    options = drawer.drawOptions()
    options.clearBackground = False
    options.padding = 0.06
    rdMolDraw2D.PrepareAndDrawMolecule(drawer, parse(smiles), highlightAtoms=list(highlight_atoms))
    drawer.FinishDrawing()
    return str(drawer.GetDrawingText()).split("?>", 1)[-1].strip()
