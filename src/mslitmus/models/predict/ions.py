"""What an adduct says about the ions of a spectrum: the mass and the atoms that the charge adds."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...chem.formula import ELECTRON, MASSES, Formula, parse_adduct
from ...chem.fragmenter import carrier
from ...errors import ChemistryError

ELEMENTS = tuple(MASSES)  # the columns of every array of atoms
_PROTON = MASSES["H"] - ELECTRON
_COLUMN = {element: column for column, element in enumerate(ELEMENTS)}


def describe(frame: pl.DataFrame) -> dict[str, NDArray[Any]]:
    """What columns `adduct` and `ion_mode` say, arrays (n,).

    `carrier`: Da that the charge adds to a neutral fragment (of a metal adduct the metal's, see
    `chem.fragmenter.carrier`); `proton`: the same for a proton gained or lost; `sign`: of the charge. An adduct that is
    missing or cannot be read counts as [M+H]+ or [M-H]- by the ion mode. The ion as atoms: `copies` molecules and what
    is `gained` (n, ELEMENTS), of which `bound` (n, ELEMENTS) carries the charge of a fragment (a metal, else a hydrogen
    gained or lost), with `charge`; `known` is false where the adduct was only assumed.
    """
    sign = np.where((frame["ion_mode"] == "negative").fill_null(False).to_numpy(), -1, 1).astype(np.int64)
    carriers = [_carrier(adduct, int(s)) for adduct, s in zip(frame["adduct"].to_list(), sign, strict=True)]
    said = {"carrier": np.array(carriers, np.float64), "proton": sign * _PROTON, "sign": sign}
    return said | _atoms(frame["adduct"].to_list(), sign)


def _atoms(adducts: list[str | None], sign: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """`copies`, `charge`, `known` (n,), `gained` and `bound` (n, ELEMENTS), each distinct adduct read once."""
    numbers: dict[tuple[str | None, int], int] = {}
    row = [numbers.setdefault(pair, len(numbers)) for pair in zip(adducts, sign.tolist(), strict=True)]
    at, gained = np.array(row, np.int64), np.zeros((len(numbers), len(ELEMENTS)), np.int16)
    bound = np.zeros_like(gained)
    scalars = np.zeros((len(numbers), 3), np.int64)
    for number, (adduct, mode) in enumerate(numbers):
        try:
            ion = parse_adduct(adduct) if adduct else None
        except ChemistryError:
            ion = None
        charge = ion.charge if ion else mode
        delta = ion.delta if ion else Formula((("H", charge),))
        scalars[number] = ion.molecules if ion else 1, charge, ion is not None
        for element, count in delta.counts:
            gained[number, _COLUMN[element]] = count
        metal = (e for e, _ in delta.counts if e != "H" and abs(MASSES[e] - ELECTRON - _carrier(adduct, mode)) < 1e-6)
        bound[number, _COLUMN[next(metal, "H")]] = 1 if charge > 0 else -1
    copies, charges, known = scalars[at].T
    return {"copies": copies, "charge": charges, "known": known > 0, "gained": gained[at], "bound": bound[at]}


@lru_cache(maxsize=4096)
def _carrier(adduct: str | None, sign: int) -> float:
    try:
        return carrier(adduct) if adduct else sign * _PROTON
    except ChemistryError:
        return sign * _PROTON
