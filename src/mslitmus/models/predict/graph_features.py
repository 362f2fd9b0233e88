"""What graph encoders see of molecules. Free of torch, so that the processes that compute features start quickly."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...chem.graph import molecule_graphs
from ...chem.paths import shortest_paths
from .features import Array, Ragged


class GraphFeaturiser:
    """Atom codes, edges and bond codes (`chem.graph`), shared by all graph encoders."""

    key = "graph-v2"

    def compute(self, smiles: Sequence[str]) -> Ragged:
        graphs = molecule_graphs(smiles)
        return Ragged(
            {"atoms": graphs.atoms, "edges": graphs.edges, "bonds": graphs.bonds},
            {"atoms": graphs.atom_offsets, "edges": graphs.edge_offsets, "bonds": graphs.edge_offsets},
        )

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


class PathFeaturiser:
    """Atom codes, and the shortest paths between all atoms of a molecule (`chem.paths`): 7 bytes a pair."""

    key = "paths-v1"

    def compute(self, smiles: Sequence[str]) -> Ragged:
        graphs = molecule_graphs(smiles)
        paths = shortest_paths(graphs)
        return Ragged(
            {"atoms": graphs.atoms, "distances": paths.distances, "shares": paths.shares},
            {"atoms": graphs.atom_offsets, "distances": paths.offsets, "shares": paths.offsets},
        )

    def collate(self, features: Ragged) -> dict[str, Array]:
        """atoms (n, fields); owner (n,) the molecule of each atom; sizes (molecules,) in atoms; pairs (molecules,)
        where each one's pairs begin in distances (pairs,) and shares (pairs, kinds), as `ShortestPaths` has them."""
        sizes = np.diff(features.offsets["atoms"])
        return {
            "atoms": features.arrays["atoms"].astype(np.int64),
            "owner": np.repeat(np.arange(len(features)), sizes),
            "sizes": sizes,
            "pairs": features.offsets["distances"][:-1],
            "distances": features.arrays["distances"],
            "shares": features.arrays["shares"],
        }
