"""binned: one linear layer onto m/z bins, and the precursor as an entry of its own.

The precursor's bin is a number that the query states, not one that a network has to guess; option `precursor=False`
takes that entry away (the plain head of FlexMS's comparison).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..parts import FlatPeaks
from .bins import BinHead, BinOptions


class BinnedOptions(BinOptions):
    """Options of the binned head."""

    precursor: bool = True


class BinnedHead(BinHead):
    """Forward bins, and one reverse bin: loss 0."""

    Options = BinnedOptions

    @classmethod
    def reverse(cls, loss: NDArray[np.float64], peaks: FlatPeaks, options: Any) -> tuple[Any, Any, Any]:
        if not options.precursor:
            return np.zeros(0, np.int64), np.zeros(0), np.zeros(0)
        at_precursor = np.abs(loss) < options.width / 2
        return np.zeros(1, np.int64), np.zeros(1), np.array([peaks.intensities[at_precursor].sum(dtype=np.float64)])
