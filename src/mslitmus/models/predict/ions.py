"""What an adduct says about the ions of a spectrum: the mass that the charge adds to a fragment."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...chem.formula import ELECTRON, MASSES
from ...chem.fragmenter import carrier
from ...errors import ChemistryError

_PROTON = MASSES["H"] - ELECTRON


def describe(frame: pl.DataFrame) -> dict[str, NDArray[Any]]:
    """What columns `adduct` and `ion_mode` say, arrays (n,).

    `carrier`: Da that the charge adds to a neutral fragment (of a metal adduct the metal's, see
    `chem.fragmenter.carrier`); `proton`: the same for a proton gained or lost; `sign`: of the charge. An adduct that is
    missing or cannot be read counts as [M+H]+ or [M-H]- by the ion mode.
    """
    sign = np.where((frame["ion_mode"] == "negative").fill_null(False).to_numpy(), -1, 1).astype(np.int64)
    carriers = [_carrier(adduct, int(s)) for adduct, s in zip(frame["adduct"].to_list(), sign, strict=True)]
    return {"carrier": np.array(carriers, np.float64), "proton": sign * _PROTON, "sign": sign}


@lru_cache(maxsize=4096)
def _carrier(adduct: str | None, sign: int) -> float:
    try:
        return carrier(adduct) if adduct else sign * _PROTON
    except ChemistryError:
        return sign * _PROTON
