"""Atom environments: what tells whether a made-up structure holds a group that no real molecule has."""

from __future__ import annotations

from rdkit.Chem import rdFingerprintGenerator

from .molecule import Mol

_NEAR = rdFingerprintGenerator.GetMorganGenerator(radius=1)
_FAR = rdFingerprintGenerator.GetMorganGenerator(radius=2)


def environments(molecule: Mol, radius: int = 2) -> list[int]:
    """Distinct atom environments up to `radius` (1 or 2) bonds, as Morgan's 32-bit hashes."""
    generator = _NEAR if radius == 1 else _FAR
    return list(generator.GetSparseCountFingerprint(molecule).GetNonzeroElements())
