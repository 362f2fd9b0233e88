"""What a structure looks like to a judge that knows no spectrum: atom environments and plain counts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from rdkit.Chem import rdFingerprintGenerator, rdMolDescriptors

from .molecule import Mol

BITS = 1024
#: Names of the counts of `counts`.
COUNTS = (
    "rings", "aromatic rings", "saturated rings", "spiro atoms", "bridgeheads", "rotatable bonds", "donors",
    "acceptors", "sp3 share", "polar surface", "branching", "hetero–hetero bonds", "methyls", "odd rings",
)  # fmt: skip
_NEAR = rdFingerprintGenerator.GetMorganGenerator(radius=1)
_FAR = rdFingerprintGenerator.GetMorganGenerator(radius=2)
_FOLDED = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=BITS)


def environments(molecule: Mol, radius: int = 2) -> list[int]:
    """Distinct atom environments up to `radius` bonds, as Morgan's 32-bit hashes."""
    generator = _NEAR if radius == 1 else _FAR
    return list(generator.GetSparseCountFingerprint(molecule).GetNonzeroElements())


def folded(molecule: Mol) -> NDArray[np.uint32]:
    """Counts of the environments up to radius 2, folded to `BITS` bins."""
    values: NDArray[np.uint32] = _FOLDED.GetCountFingerprintAsNumPy(molecule)
    return values


def counts(molecule: Mol) -> NDArray[np.float64]:
    """One value for each of `COUNTS`."""
    d = rdMolDescriptors
    degrees = np.array([a.GetDegree() for a in molecule.GetAtoms()])
    methyls = sum(a.GetAtomicNum() == 6 and a.GetDegree() == 1 for a in molecule.GetAtoms())
    hetero = sum(b.GetBeginAtom().GetAtomicNum() != 6 != b.GetEndAtom().GetAtomicNum() for b in molecule.GetBonds())
    odd = sum(len(ring) not in (5, 6) for ring in molecule.GetRingInfo().AtomRings())
    return np.array(
        [
            d.CalcNumRings(molecule), d.CalcNumAromaticRings(molecule), d.CalcNumSaturatedRings(molecule),
            d.CalcNumSpiroAtoms(molecule), d.CalcNumBridgeheadAtoms(molecule), d.CalcNumRotatableBonds(molecule),
            d.CalcNumHBD(molecule), d.CalcNumHBA(molecule), d.CalcFractionCSP3(molecule), d.CalcTPSA(molecule),
            float((degrees**2).mean()), hetero, methyls, odd,
        ],
        dtype=np.float64,
    )  # fmt: skip
