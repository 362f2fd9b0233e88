"""Formulae of a mass, and which peaks an ion's atoms can explain: what choosing a formula needs, without tables.

A *signature* is the counts of all elements but C, H, N and O. Formulae are enumerated for given signatures (those of
known molecules), so that no combination of elements comes up that no molecule has.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .compositions import VALENCE
from .formula import ELECTRON, MASSES

Array = NDArray[Any]

#: Columns of all counts here.
ELEMENTS = ("C", "H", "N", "O", "P", "S", "F", "Cl", "Br", "I", "Si", "B", "Se", "As", "Na", "K")
_WEIGHTS = np.array([MASSES[e] for e in ELEMENTS])
_TWICE = np.array([VALENCE[e] - 2 for e in ELEMENTS], np.int64)  # what an atom adds to 2 RDBE


def formulae_of(mass: float, tolerance: float, signatures: Array, most: tuple[int, int]) -> Array:
    """Closed-shell molecules (RDBE whole and at least 0) of one carbon or more within `tolerance` (Da) of `mass`.

    Args:
        mass: of the neutral molecule, Da.
        signatures: (k, elements - 4) counts of all but C, H, N, O.
        most: of N and of O.

    Returns: (n, elements) counts.
    """
    found: Array = _formulae(mass, tolerance, np.asarray(signatures, np.int64), most[0], most[1], _WEIGHTS, _TWICE)
    return found


def explained_by(ions: Array, mzs: Array, tolerances: Array, charge: int) -> Array:
    """(n, peaks) whether some part of each ion (n, elements) lies within tolerance (Da) of each peak.

    charge: signed, of the ions; parts may carry 1 to |charge| charges. Only atoms are counted, no valences.
    """
    found: Array = _explained(
        np.asarray(ions, np.int64), np.asarray(mzs, np.float64), np.asarray(tolerances, np.float64), charge, _WEIGHTS
    )
    return found


@njit(cache=True, nogil=True)
def _formulae(mass, tolerance, signatures, most_n, most_o, weights, twice):  # type: ignore[no-untyped-def]
    elements, n = len(weights), 0
    found = np.zeros((64, elements), np.int64)
    for row in range(len(signatures)):
        own, base = 0.0, 2
        for k in range(4, elements):
            own += signatures[row, k - 4] * weights[k]
            base += signatures[row, k - 4] * twice[k]
        for nitrogen in range(most_n + 1):
            for oxygen in range(most_o + 1):
                rest = mass - own - nitrogen * weights[2] - oxygen * weights[3]
                if rest < 12.0 - tolerance:
                    break
                open_ = base + nitrogen * twice[2]
                for carbon in range(int((rest + tolerance) / 12.0), 0, -1):
                    gap = rest - carbon * 12.0
                    hydrogen = int(np.round(gap / weights[1]))
                    left = open_ + 2 * carbon - hydrogen
                    if left < 0:
                        break
                    if hydrogen < 0 or left % 2 or abs(gap - hydrogen * weights[1]) > tolerance:
                        continue
                    if n == len(found):
                        bigger = np.zeros((2 * n, elements), np.int64)
                        bigger[:n] = found
                        found = bigger
                    found[n, 0], found[n, 1], found[n, 2], found[n, 3] = carbon, hydrogen, nitrogen, oxygen
                    found[n, 4:] = signatures[row]
                    n += 1
    return found[:n]


@njit(cache=True, nogil=True)
def _explained(ions, mzs, tolerances, charge, weights):  # type: ignore[no-untyped-def]
    count, elements = ions.shape
    sign = 1 if charge > 0 else -1
    out = np.zeros((count, len(mzs)), np.bool_)
    used = np.zeros(elements, np.int64)
    for row in range(count):
        for peak in range(len(mzs)):
            for z in range(1, abs(charge) + 1):
                target, tolerance = (mzs[peak] + sign * ELECTRON) * z, tolerances[peak] * z
                used[:] = 0
                held = 0.0
                while not out[row, peak]:
                    rest = target - held
                    if rest >= -tolerance:
                        for carbon in range(min(ions[row, 0], int((rest + tolerance) / 12.0)), -1, -1):
                            gap = rest - carbon * 12.0
                            hydrogen = int(np.round(gap / weights[1]))
                            if hydrogen > ions[row, 1]:
                                break
                            if abs(gap - hydrogen * weights[1]) <= tolerance:
                                out[row, peak] = True
                                break
                    at = 2  # the next composition of all but C and H
                    while at < elements and used[at] == ions[row, at]:
                        held -= used[at] * weights[at]
                        used[at] = 0
                        at += 1
                    if at == elements:
                        break
                    used[at] += 1
                    held += weights[at]
    return out
