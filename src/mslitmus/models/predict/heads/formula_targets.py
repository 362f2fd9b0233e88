"""Which entries of a formula vocabulary explain which measured peaks."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..features import gather_rows
from ..parts import FlatPeaks
from .formula_ions import Ions

Array = NDArray[Any]


class Vocabulary(Protocol):
    """What `match` reads of a formula head: counts by the columns of the ions, masses in Da, and the containment
    lists' own counts (see `Containment`)."""

    product_mass: Tensor
    loss_mass: Tensor
    product_needs: Array
    loss_needs: Array


def match(peaks: FlatPeaks, ions: Ions, words: Vocabulary, ppm: float, floor: float) -> tuple[Array, Array]:
    """Pairs (peak, entry), by peak then entry: every entry that its ion can give and whose nearest peak lies within the
    tolerance, the larger of `ppm` and `floor` Da."""
    owner = peaks.owner
    tolerance = np.maximum(peaks.mzs * ppm * 1e-6, floor)
    carrier, charge, mz = (getattr(ions, name).numpy()[owner] for name in ("carrier", "charge", "mz"))
    rest = np.column_stack([ions.rest.numpy(), ions.hydrogen.numpy()]).astype(np.int16)
    total = ions.total.numpy().astype(np.int16)
    product_mass, loss_mass = words.product_mass.cpu().numpy(), words.loss_mass.cpu().numpy()
    made = _near(peaks.mzs - carrier, tolerance, product_mass, rest, owner, words.product_needs)
    lost = _near((mz - peaks.mzs) * charge, tolerance * charge, loss_mass, total, owner, words.loss_needs)
    peak, error = np.concatenate([made[0], lost[0]]), np.concatenate([made[2], lost[2] / charge[lost[0]]])
    entry = np.concatenate([made[1], lost[1] + len(product_mass)])
    order = np.lexsort((error, entry, owner[peak]))  # of two peaks near one entry the nearer one keeps it
    peak, entry = peak[order], entry[order]
    again = (entry[1:] == entry[:-1]) & (owner[peak][1:] == owner[peak][:-1])
    kept = ~np.concatenate([[False], again])[: len(peak)]
    peak, entry = peak[kept], entry[kept]
    order = np.lexsort((entry, peak))
    return peak[order], entry[order]


def _near(
    wanted: Array, tolerance: Array, mass: Array, atoms: Array, owner: Array, needs: Array
) -> tuple[Array, Array, Array]:
    """(peak, formula, error in Da) of the formulae within tolerance of each wanted mass that the atoms suffice for.

    wanted, tolerance: (peaks,); mass: (formulae,); atoms: (spectra, columns); needs: (formulae, columns).
    """
    order = np.argsort(mass, kind="stable")
    low = np.searchsorted(mass[order], wanted - tolerance, side="left")
    high = np.searchsorted(mass[order], wanted + tolerance, side="right")
    ranges = np.stack([low, np.maximum(high, low)], axis=1).ravel()
    at, starts = gather_rows(ranges, 2 * np.arange(len(wanted)))
    peak, formula = np.repeat(np.arange(len(wanted)), np.diff(starts)), order[at]
    fits, spectrum = np.ones(len(peak), bool), owner[peak]
    for column in range(needs.shape[1]):
        fits &= needs[formula, column] <= atoms[spectrum, column]
    peak, formula = peak[fits], formula[fits]
    return peak, formula, np.abs(wanted[peak] - mass[formula])
