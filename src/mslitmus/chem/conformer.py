"""One conformer a molecule: its atoms as a cloud of points in space.

Source: distance geometry with torsion preferences, ETKDGv3 (Riniker & Landrum, J. Chem. Inf. Model. 2015; Wang et al.,
ibid. 2020), as RDKit computes it. What cannot be embedded in the time and the attempts allowed falls back, first to an
embedding from random coordinates, then to the flat drawing of the molecule; the cloud says which it was.

The same SMILES, settings and RDKit give the same cloud, unless the time limit strikes: attempts are the limit that is
meant to be met, seconds are the one that keeps a run from hanging.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import rdDepictor, rdDistGeom, rdForceFieldHelpers

from ..errors import ChemistryError
from .molecule import RDKIT_VERSION, Mol, parse

#: How the coordinates came about; the position is the code.
METHODS = ("etkdg", "random", "flat")
Method = Literal["etkdg", "random", "flat"]
_GAP = 5.0  # Å between the parts of a salt, which are embedded each at the origin


@dataclass(frozen=True)
class ConformerSettings:
    """How conformers are made.

    Attributes:
        seed: of the embedding.
        hydrogens: whether hydrogens stay in the cloud; they are there during the embedding in any case.
        optimise: steps of the MMFF94 force field afterwards; 0 leaves the embedding as it is.
        attempts: of each of the two embeddings.
        seconds: limit of each of the two embeddings. RDKit looks at the clock between the stages of an attempt.
        max_atoms: with hydrogens; a larger molecule is drawn flat at once, as an attempt costs their third power.
    """

    seed: int = 0
    hydrogens: bool = True
    optimise: int = 0
    attempts: int = 30
    seconds: float = 60.0
    max_atoms: int = 400

    @property
    def key(self) -> str:
        """Names a cache: another key, another cloud."""
        parts = (
            f"s{self.seed}-h{self.hydrogens:d}-o{self.optimise}-a{self.attempts}-t{self.seconds:g}-m{self.max_atoms}"
        )
        return f"conformer-v1-rdkit{RDKIT_VERSION}-{parts}"


@dataclass(frozen=True)
class PointCloud:
    """A molecule in space.

    Attributes:
        coordinates: (n, 3) Å, centred. Atoms of the SMILES first, in its order, then the hydrogens added.
        added: (n,) whether the atom is a hydrogen that the SMILES left implicit.
        method: how the coordinates came about.
    """

    coordinates: NDArray[np.float32]
    added: NDArray[np.bool_]
    method: Method


def point_cloud(smiles: str, settings: ConformerSettings | None = None) -> PointCloud:
    """Conformer of one SMILES, 1 ms to seconds. Raises ChemistryError if it does not parse or cannot even be drawn."""
    settings = settings or ConformerSettings()
    molecule = parse(smiles)
    full = Chem.AddHs(molecule)
    method: Method = "flat"
    if full.GetNumAtoms() <= settings.max_atoms:
        method = _embed(full, settings)
    if method == "flat":
        full = _draw(molecule, smiles)
    elif settings.optimise and rdForceFieldHelpers.MMFFHasAllMoleculeParams(full):
        rdForceFieldHelpers.MMFFOptimizeMolecule(full, maxIters=settings.optimise)
    places = _apart(full, full.GetConformer().GetPositions())
    added = np.arange(full.GetNumAtoms()) >= molecule.GetNumAtoms()
    kept = np.full(len(added), True) if settings.hydrogens else ~added
    places = places[kept]
    return PointCloud((places - places.mean(axis=0)).astype(np.float32), added[kept], method)


def _embed(molecule: Mol, settings: ConformerSettings) -> Method:
    """Give the molecule a conformer in place. `flat` says that no embedding worked."""
    methods: tuple[Method, ...] = ("etkdg", "random")
    for method in methods:
        embedding = rdDistGeom.ETKDGv3()
        embedding.randomSeed = settings.seed + 1  # RDKit takes 0 for 1
        embedding.maxIterations = settings.attempts
        embedding.timeout = max(1, round(settings.seconds))
        embedding.useRandomCoords = method == "random"
        try:
            if rdDistGeom.EmbedMolecule(molecule, embedding) != 0:
                continue
        except (RuntimeError, ValueError):  # bounds that contradict each other: some metals and cages
            continue
        if np.isfinite(molecule.GetConformer().GetPositions()).all():
            return method
    return "flat"


def _draw(molecule: Mol, smiles: str) -> Mol:
    """The molecule as drawn on paper (z = 0), with hydrogens put where their neighbours leave room."""
    molecule = Chem.Mol(molecule)
    try:
        rdDepictor.Compute2DCoords(molecule)
        full = Chem.AddHs(molecule, addCoords=True)
    except (RuntimeError, ValueError) as error:
        raise ChemistryError(f"no coordinates for {smiles!r}: {error}", remedy="leave this molecule out") from error
    places = full.GetConformer().GetPositions()
    if not np.isfinite(places).all():
        raise ChemistryError(f"no coordinates for {smiles!r}", remedy="leave this molecule out")
    return full


def _apart(molecule: Mol, places: NDArray[np.float64]) -> NDArray[np.float64]:
    """The parts of a salt one beside the other along x, so that atoms of different parts are not neighbours."""
    parts = Chem.GetMolFrags(molecule)
    if len(parts) == 1:
        return places
    out, edge = places.copy(), 0.0
    for part in map(list, parts):
        out[part] -= out[part].mean(axis=0)
        out[part, 0] += edge - out[part, 0].min()
        edge = out[part, 0].max() + _GAP
    return out
