"""structure-only: what the candidates' structures alone give away about which of them is true.

A conditional logit on hashed Morgan counts, descriptors and the place of a candidate among the others of its pool
(`data.candidates.likeness.features`). On a candidate set without tells it earns chance. It is the control that catches
decoys that look like decoys.
"""

from __future__ import annotations

from collections.abc import Callable

from ...data.candidates.likeness import Csr, Floats, Pools, features, scaling
from .choice import PoolClassifier


class StructureOnly(PoolClassifier):
    """Learned from training pools: truth against the rest."""

    name = "structure-only"

    def describe(self, pools: Pools, progress: Callable[[str], None] | None = None) -> Csr:
        return features(pools, progress)

    def scale(self, rows: Csr) -> Floats:
        return scaling(rows)
