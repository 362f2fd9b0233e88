"""MCES distance of molecules: how much of two graphs of atoms and bonds is not shared (docs/mces.md).

Heavy-atom graphs, edge weight = bond order (aromatic 1.5), atoms match by element; a mapped bond costs |w₁ − w₂|, an
unmapped one w; the distance is the minimum over all injective partial mappings of atoms (Kretschmer et al. 2023, "Small
molecule machine learning: all models are wrong, some may not even be useful"; it is the distance of myopic-mces and of
MassSpecGym).
"""

from __future__ import annotations

from .batch import mces_many
from .clusters import Clustering, cluster, mces_clusters
from .graph import graph
from .solve import Bounds, bounds

__all__ = ["Bounds", "Clustering", "cluster", "mces", "mces_bounds", "mces_clusters", "mces_many"]


def mces(smiles_a: str, smiles_b: str, threshold: float | None = 15.0, time_limit: float = 10.0) -> tuple[float, bool]:
    """(value, exact): the distance, or with exact=False a lower bound on it.

    Args:
        threshold: above it a bound is enough; None asks for the exact distance, however large.
        time_limit: seconds.
    A bound above the threshold is a finished answer; one that is not above it means that the time ran out.
    `mces_bounds` gives the upper bound too. Raises ChemistryError for a SMILES that does not parse.
    """
    found = mces_bounds(smiles_a, smiles_b, threshold, time_limit)
    return found.lower, found.exact


def mces_bounds(smiles_a: str, smiles_b: str, threshold: float | None = 15.0, time_limit: float = 10.0) -> Bounds:
    """Lower and upper bound on the distance; equal where it is known. Arguments as of `mces`."""
    return bounds(graph(smiles_a), graph(smiles_b), threshold, time_limit)
