"""Isotope peaks: which unexplained peaks are the 13C, 34S, 37Cl or 81Br partner of an explained one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]

#: Element → (label, mass shift in Da, abundance relative to the light isotope). AME2020 masses, IUPAC 2013 abundances.
ISOTOPES = {
    "C": ("13C", 1.00335483507, 0.0107 / 0.9893),
    "S": ("34S", 1.9957958356, 0.0425 / 0.9499),
    "Cl": ("37Cl", 1.997049920, 0.2424 / 0.7576),
    "Br": ("81Br", 1.9979521, 0.4931 / 0.5069),
}
ISOTOPE_ELEMENTS = tuple(ISOTOPES)

_SHIFT = np.array([ISOTOPES[e][1] for e in ISOTOPE_ELEMENTS])
_RATIO = np.array([ISOTOPES[e][2] for e in ISOTOPE_ELEMENTS])
# One substitution, then every pair: 13C, 34S, ..., 13C2, 13C34S, ...; the second is -1 where there is none.
_PAIRS = [(a, -1) for a in range(4)] + [(a, b) for a in range(4) for b in range(a, 4)]
_FIRST = np.array([a for a, _ in _PAIRS])
_SECOND = np.array([b for _, b in _PAIRS])


def _label(a: int, b: int) -> str:
    names = [ISOTOPES[e][0] for e in ISOTOPE_ELEMENTS]
    if b < 0:
        return names[a]
    return f"{names[a]}2" if a == b else names[a] + names[b]


#: Code of `match_isotopes` → label; code 0 is the monoisotopic peak.
ISOTOPE_LABELS = ("", *(_label(a, b) for a, b in _PAIRS))


def match_isotopes(
    offsets: Array,
    mzs: Array,
    intensities: Array,
    tolerances: Array,
    theory: Array,
    charge: Array,
    counts: Array,
    excess: float = 2.0,
    wide: int = 2,
) -> tuple[Array, Array, Array, Array, Array]:
    """Partner peaks with an explained lighter one of the same spectrum.

    A partner lies within tolerance of the theoretical isotopologue and is at most `excess` times as strong as the
    natural pattern allows: an isolation window can only thin the pattern out, noise can add a little. One or two heavy
    atoms; if several partners fit, the one with the smallest error wins. A peak with a monoisotopic formula keeps it,
    except in spectra that were plainly isolated widely (`wide` or more partners among the unexplained peaks): there
    the smaller error decides.

    Args:
        offsets: (spectra + 1,) where each spectrum begins in the flat peak arrays.
        mzs, intensities, tolerances: (peaks,) ascending m/z within a spectrum; intensities may be NaN (no check).
        theory: (peaks,) theoretical m/z of the best monoisotopic formula, NaN where there is none.
        charge: (peaks,) its |charge|.
        counts: (peaks, 4) its atoms of `ISOTOPE_ELEMENTS`.

    Returns: peak, parent peak, code into `ISOTOPE_LABELS`, theoretical m/z, other partners; one row a partner.
    """
    parent, code, exact, others = _match(
        offsets, mzs, intensities, tolerances, theory, charge, counts, _FIRST, _SECOND, _SHIFT, _RATIO, excess, wide
    )
    peak = np.flatnonzero(parent >= 0)
    return peak, parent[peak], code[peak], exact[peak], others[peak]


@njit(cache=True, nogil=True)
def _match(  # type: ignore[no-untyped-def]
    offsets, mzs, intensities, tolerances, theory, charge, counts, first, second, shift, ratio, excess, wide
):
    n = len(mzs)
    parent, code = np.full(n, -1, np.int64), np.zeros(n, np.int8)
    exact, others = np.zeros(n), np.zeros(n, np.int32)
    reach = 2 * shift.max() + 0.5
    for s in range(len(offsets) - 1):
        start, stop = offsets[s], offsets[s + 1]
        for competing in range(2):
            if competing and (parent[start:stop] >= 0).sum() < wide:
                break
            parent[start:stop], others[start:stop] = -1, 0
            for i in range(start, stop):
                explained = not np.isnan(theory[i])
                if explained and not competing:
                    continue
                smallest = abs(mzs[i] - theory[i]) if explained else np.inf
                for j in range(i - 1, start - 1, -1):
                    if mzs[i] - mzs[j] > reach:
                        break
                    if np.isnan(theory[j]) or parent[j] >= 0:
                        continue
                    for k in range(len(first)):
                        a, b = first[k], second[k]
                        step, expected = shift[a], counts[j, a] * ratio[a]
                        if b >= 0:
                            step += shift[b]
                            expected *= (counts[j, a] - 1) / 2 * ratio[a] if a == b else counts[j, b] * ratio[b]
                        mz = theory[j] + step / charge[j]
                        error = abs(mzs[i] - mz)
                        # a NaN intensity fails the last comparison and so passes
                        if expected <= 0 or error > tolerances[i]:
                            continue
                        if intensities[i] > excess * expected * intensities[j]:
                            continue
                        if parent[i] >= 0:
                            others[i] += 1
                        if error < smallest:
                            smallest, parent[i], code[i], exact[i] = error, j, k + 1, mz
    return parent, code, exact, others
