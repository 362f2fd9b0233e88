"""Masking: atoms whose codes a model must guess, drawn anew for every batch.

A masked atom has code 0 in every field, and so has a bond that touches it. No real atom looks like that (element
"other" with charge −3), so the encoder's own tables learn what a mask means: every encoder that reads the codes of
`chem.graph` can be masked without knowing of it. Of the paths between atoms (`chem.paths`) those that run through or
end at a masked atom lose what they tell of bonds. What remains is the skeleton.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ...chem.graph import ATOM_FIELDS
from ...errors import ConfigError
from ...models import ENCODERS
from ...models.predict.features import Featuriser, Ragged

#: Arrays of featurisers that are masked, or tell of the skeleton alone.
_MASKED = {"atoms", "edges", "bonds", "distances", "shares"}


@dataclass(frozen=True)
class Masked:
    """Features with masked atoms.

    Attributes:
        features: as the featuriser's, some codes set to 0.
        atoms: (masked,) numbers of the masked atoms in the batch.
        ends: (masked bonds, 2) numbers of the two atoms of each masked bond, once a bond.
        orders: (masked bonds,) what its order was, as a code.
    """

    features: Ragged
    atoms: NDArray[np.int64]
    ends: NDArray[np.int64]
    orders: NDArray[np.int64]


@dataclass(frozen=True)
class View:
    """A masked batch as tensors: what the encoder sees, and what it must guess."""

    molecules: Mapping[str, Tensor]
    atoms: Tensor
    tokens: Tensor
    ends: Tensor
    orders: Tensor


def mask(features: Ragged, rate: float, rng: np.random.Generator, bonds: bool = True) -> Masked:
    """Mask int(n · rate + 1) atoms of each molecule of n atoms, and, with `bonds`, all bonds that touch them.

    `features` holds `atoms`, `edges` and `bonds` as `GraphFeaturiser` computes them; `distances` and `shares` as
    `PathFeaturiser` does are masked where they are there.
    """
    offsets = features.offsets["atoms"]
    sizes = np.diff(offsets)
    owner = np.repeat(np.arange(len(sizes)), sizes)
    order = np.lexsort((rng.random(len(owner)), owner))
    rank = np.arange(len(owner)) - offsets[owner]
    chosen = np.sort(order[rank < (sizes * rate + 1).astype(np.int64)[owner]])
    hidden = np.zeros(len(owner), np.bool_)
    hidden[chosen] = True
    arrays = {**features.arrays, "atoms": np.where(hidden[:, None], 0, features.arrays["atoms"])}
    ends, orders = np.zeros((0, 2), np.int64), np.zeros(0, np.int64)
    if bonds:
        codes = features.arrays["bonds"]
        shift = np.repeat(offsets[:-1], np.diff(features.offsets["edges"]))
        joined = features.arrays["edges"].astype(np.int64) + shift[:, None]
        touched = hidden[joined].any(axis=1)
        once = touched & (joined[:, 0] < joined[:, 1])
        ends, orders = joined[once], codes[once, 0].astype(np.int64)
        arrays["bonds"] = np.where(touched[:, None], 0, codes)
        if "shares" in arrays:
            seen = np.ones(len(arrays["shares"]), np.bool_)
            _blank(seen, arrays["distances"], features.offsets["distances"], hidden, offsets)
            arrays["shares"] = np.where(seen[:, None], arrays["shares"], 0)
    return Masked(Ragged(arrays, features.offsets), chosen, ends, orders)


@numba.njit(cache=True)
def _blank(seen, distances, pair_offsets, hidden, atom_offsets):  # type: ignore[no-untyped-def]
    """Mark pairs (i ≥ j, row after row) with a hidden atom on a shortest path: d(i, m) + d(m, j) = d(i, j)."""
    for k in range(len(atom_offsets) - 1):
        first, start = atom_offsets[k], pair_offsets[k]
        n = atom_offsets[k + 1] - first
        for m in range(n):
            if not hidden[first + m]:
                continue
            for i in range(n):
                to_m = distances[start + max(i, m) * (max(i, m) + 1) // 2 + min(i, m)]
                for j in range(i + 1):
                    from_m = distances[start + max(j, m) * (max(j, m) + 1) // 2 + min(j, m)]
                    pair = start + i * (i + 1) // 2 + j
                    if np.int64(to_m) + np.int64(from_m) == np.int64(distances[pair]):
                        seen[pair] = False


def check_maskable(name: str, featuriser: Featuriser) -> None:
    """Raises ConfigError for an encoder that cannot be masked: it gives no graph vector and atom states, reads no atom
    codes, or something beside them that would give a masked atom away."""
    if {"graph", "atoms"} <= ENCODERS[name].provides:
        arrays = featuriser.compute(["CO"]).arrays
        if set(arrays) <= _MASKED and arrays.get("atoms", np.zeros(0)).shape[1:] == (len(ATOM_FIELDS),):
            return
    what = f"encoder {name!r} does not see molecules as atom and bond codes alone, so atoms cannot be masked"
    raise ConfigError(what, where="--encoder", remedy="take molebert, gin, gcn, gat or graphormer")
