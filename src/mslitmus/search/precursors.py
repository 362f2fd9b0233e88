"""The precursor m/z of a scan, measured in the survey scan before it instead of believed from the isolation list.

Instruments state what they isolated: often to two decimals, sometimes an isotope. The preceding MS1 scan holds the ion
itself. Within the stated number's own precision the strongest peak is taken; if one 13C below it lies a peak that it is
the isotope of, that one is.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Relative, how far the same ion may lie off in two scans; and within one scan, an isotope.
BETWEEN_SCANS, WITHIN_SCAN = 10e-6, 5e-6
#: Da, 13C − 12C.
ISOTOPE = 1.0033548378
#: 13C per 12C, and room for other elements and for noise in the ratio.
CARBON_13, ROOM = 0.0108, 1.5
MOST_CHARGE, MOST_SHIFTS = 8, 3


class Repair(StrEnum):
    """What became of a stated precursor m/z; the text goes into the notes."""

    MEASURED = "precursor m/z measured in the MS1 scan"
    MOVED = "precursor m/z moved from an isotope to the monoisotopic peak"
    ABSENT = "precursors not found in the MS1 scan, left as stated"


def precision(stated: float) -> float:
    """Half of the last decimal that the number has, if it has two or fewer; else 0. At most 0.05 Da."""
    for decimals in (1, 2):
        if abs(stated - round(stated, decimals)) < 1e-6:
            return 0.5 * 10.0**-decimals
    return 0.0


def repair(stated: float, charge: int | None, mzs: Array, intensities: Array) -> tuple[float, Repair]:
    """The precursor m/z by an MS1 scan.

    Args:
        stated: isolated m/z, Da.
        charge: signed or not; None counts as 1.
        mzs, intensities: the scan's centroids, ascending m/z.
    """
    at = _strongest(mzs, intensities, stated, precision(stated) + stated * BETWEEN_SCANS)
    if at is None:
        return stated, Repair.ABSENT
    z = min(abs(charge or 1), MOST_CHARGE)
    found = Repair.MEASURED
    for _ in range(MOST_SHIFTS):
        below = float(mzs[at]) - ISOTOPE / z
        lighter = _strongest(mzs, intensities, below, below * WITHIN_SCAN)
        if lighter is None or intensities[at] > _most_heavy(below * z) * intensities[lighter]:
            break
        at, found = lighter, Repair.MOVED
    return float(mzs[at]), found


def _most_heavy(mass: float) -> float:
    """The highest ratio of a 13C peak to its monoisotopic one: all of the mass carbon."""
    return ROOM * CARBON_13 * mass / 12.0


def _strongest(mzs: Array, intensities: Array, centre: float, half: float) -> int | None:
    """Index of the most intense peak within `half` Da of `centre`."""
    low, high = np.searchsorted(mzs, [centre - half, centre + half + 1e-12])
    return None if low == high else int(low + np.argmax(intensities[low:high]))
