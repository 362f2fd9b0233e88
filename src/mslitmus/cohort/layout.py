"""All runs of a cohort in the plane: UMAP of the distances of their vectors, with a fixed seed."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from .learners import Floats

UMAP, PRINCIPAL = "umap", "principal coordinates"
#: Fewer runs have no neighbourhoods to speak of.
LEAST = 8
_NEIGHBOURS = 15


def coordinates(distance: Floats, seed: int) -> tuple[Floats, str]:
    """(n, 2) and how they were made. The same distances and seed give the same coordinates."""
    n = distance.shape[0]
    if n < LEAST or not distance.any():
        return principal(distance), PRINCIPAL
    import umap

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own choices: it says that precomputed distances transform nothing
        model: Any = umap.UMAP(metric="precomputed", n_neighbors=min(_NEIGHBOURS, n - 1), random_state=seed, n_jobs=1)
        return np.asarray(model.fit_transform(distance), np.float64), UMAP


def principal(distance: Floats) -> Floats:
    """(n, 2) classical scaling of the distances (Torgerson 1952)."""
    n = distance.shape[0]
    centre = np.eye(n) - 1 / n
    values, axes = np.linalg.eigh(centre @ (-0.5 * distance**2) @ centre)
    out = np.zeros((n, 2))
    top = np.argsort(-values)[:2]
    axes = axes[:, top] * np.sign(axes[np.abs(axes[:, top]).argmax(axis=0), top])
    out[:, : top.size] = axes * np.sqrt(np.maximum(values[top], 0.0))
    return out
