"""What all graph encoders share: the features of a batch of graphs, and the door to PyTorch Geometric's layers."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from ....chem.graph import molecule_graph
from ..features import Array, Ragged

with warnings.catch_warnings():  # PyTorch Geometric scripts classes while it is imported, which torch 2.9+ deprecates
    warnings.simplefilter("ignore")
    from torch_geometric.nn import GINEConv


class GraphFeaturiser:
    """Atom codes, edges and bond codes (`chem.graph`), shared by all graph encoders."""

    key = "graph-v1"

    def compute(self, smiles: Sequence[str]) -> Ragged:
        graphs = [molecule_graph(text) for text in smiles]
        return Ragged.stack([{"atoms": g.atoms, "edges": g.edges, "bonds": g.bonds} for g in graphs])

    def collate(self, features: Ragged) -> dict[str, Array]:
        """All graphs as one: atoms (n, fields), edges (2, 2m) in the batch's atom numbers, bonds (2m, fields),
        owner (n,) the molecule of each atom, molecules () their number."""
        atoms, edges = np.diff(features.offsets["atoms"]), np.diff(features.offsets["edges"])
        shift = np.repeat(features.offsets["atoms"][:-1], edges)
        return {
            "atoms": features.arrays["atoms"].astype(np.int64),
            "edges": (features.arrays["edges"].astype(np.int64) + shift[:, None]).T.copy(),
            "bonds": features.arrays["bonds"].astype(np.int64),
            "owner": np.repeat(np.arange(len(features)), atoms),
            "molecules": np.array(len(features)),
        }


__all__ = ["GINEConv", "GraphFeaturiser"]
