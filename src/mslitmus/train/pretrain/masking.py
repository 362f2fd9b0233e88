"""Masking: atoms whose codes a model must guess, drawn anew for every batch.

A masked atom has code 0 in every field, and so has a bond that touches it. No real atom looks like that (element
"other" with charge −3), so the encoder's own tables learn what a mask means: every encoder that reads `atoms` and
`bonds` of `chem.graph` can be masked, without knowing of it. What it knows of the skeleton stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ...chem.graph import ATOM_FIELDS, BOND_FIELDS
from ...errors import ConfigError
from ...models import ENCODERS
from ...models.predict.features import Featuriser, Ragged


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
    """Mask int(n · rate + 1) atoms of each molecule of n atoms, and, with `bonds`, all bonds that touch them."""
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
    return Masked(Ragged(arrays, features.offsets), chosen, ends, orders)


def check_maskable(name: str, featuriser: Featuriser) -> None:
    """Raises ConfigError for an encoder whose atoms cannot be masked, or that gives no graph vector and atom states."""
    arrays: Mapping[str, Any] = {}
    provides = ENCODERS[name].provides
    if {"graph", "atoms"} <= provides:
        arrays = featuriser.compute(["CO"]).arrays
        fields = {"atoms": len(ATOM_FIELDS), "bonds": len(BOND_FIELDS), "edges": 2}
        if all(key in arrays and arrays[key].shape[1:] == (size,) for key, size in fields.items()):
            return
    able = [other for other in ENCODERS if {"graph", "atoms"} <= ENCODERS[other].provides]
    what = f"encoder {name!r} does not read atom and bond codes that could be masked"
    raise ConfigError(what, where="--encoder", remedy=f"graph encoders are {', '.join(able)}")
