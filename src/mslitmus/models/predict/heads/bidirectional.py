"""bidirectional: fragments counted from 0 and neutral losses counted from the precursor, gated.

Source: NEIMS (Wei et al., ACS Cent. Sci. 2019), whose forward and reverse predictions share m/z bins under a sigmoid
gate a bin. Here both kinds of entries lie in one softmax, the gate g(x) of the spectrum weighs the two kinds
(log g is added to forward entries, log(1 − g) to reverse ones), and a peak's intensity is the sum of its forward and
its reverse entry: the same mixture, without ever laying out the m/z axis.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..parts import FlatPeaks
from .bins import BinHead, BinOptions, occupied, reverse_bin


class BidirectionalHead(BinHead):
    """Forward bins and reverse bins with a gate."""

    Options = BinOptions

    def __init__(self, options: BinOptions, width: int, vocabulary: dict[str, NDArray[Any]]) -> None:
        super().__init__(options, width, vocabulary)
        self.gate = nn.Linear(width, 1)

    @classmethod
    def reverse(cls, loss: NDArray[np.float64], peaks: FlatPeaks, options: Any) -> tuple[Any, Any, Any]:
        numbers, losses, mass = occupied(
            loss, reverse_bin(loss, options.width), peaks.intensities, peaks.molecule[peaks.owner], options
        )
        losses[numbers == 0] = 0.0  # the precursor itself, which the query states exactly
        return numbers, losses, mass

    def logits(self, hidden: Tensor) -> Tensor:
        gate = self.gate(hidden)
        sides = [torch.nn.functional.logsigmoid(gate).expand(-1, self.n_forward)]
        sides.append(torch.nn.functional.logsigmoid(-gate).expand(-1, len(self.reverse_bins)))
        out: Tensor = self.linear(hidden) + torch.cat(sides, dim=1)
        return out
