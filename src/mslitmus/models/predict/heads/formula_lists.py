"""A fixed list of formulae: their masses, and which of them fit into given atoms."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ....chem.formula import MASSES, Formula
from ....chem.isotopes import ISOTOPES

_SPELLED = {label: element for element, (label, *_) in ISOTOPES.items()}
_ISOTOPE = re.compile(f"({'|'.join(_SPELLED)})(2?)")


def isotope_atoms(label: str) -> Formula:
    """Which atoms are heavy: `13C` → C, `37Cl2` → Cl2, the empty label → none."""
    return Formula.of((_SPELLED[name], int(times or 1)) for name, times in _ISOTOPE.findall(label))


def masses(counts: NDArray[np.int16], elements: Sequence[str], isotopes: Sequence[str], sign: int) -> NDArray[Any]:
    """(formulae,) Da; isotope labels add their shift (sign 1), or take it away (−1, losses)."""
    light: NDArray[np.float64] = counts @ np.array([MASSES[e] for e in elements])
    heavy = {label: sum(ISOTOPES[e][1] * n for e, n in isotope_atoms(label).counts) for label in set(isotopes)}
    shifts: NDArray[np.float64] = np.array([heavy[label] for label in isotopes], np.float64)
    return light + sign * shifts


def spell(counts: NDArray[np.int16], elements: Sequence[str]) -> str:
    """(elements,) → Hill formula."""
    return str(Formula.of((elements[int(column)], int(counts[column])) for column in np.flatnonzero(counts)))


class Containment(nn.Module):
    """Which formulae have, of every element, no more atoms than are there.

    For each element and each number of atoms the formulae that this number suffices for are kept as a row of bits, so
    that a spectrum costs one `and` of short rows an element instead of a comparison with every formula.

    Args:
        counts: (formulae, columns), each at least −1.
    """

    def __init__(self, counts: NDArray[np.integer[Any]]) -> None:
        super().__init__()
        self.formulae = len(counts)
        tops = counts.max(axis=0, initial=0).astype(np.int64)
        steps = [np.arange(-1, top + 1) for top in tops]
        enough = [column[None, :] <= there[:, None] for column, there in zip(counts.T, steps, strict=True)]
        bits = np.packbits(np.concatenate(enough), axis=1, bitorder="little")
        starts = np.cumsum([0, *(len(there) for there in steps)])[:-1] + 1
        self.register_buffer("bits", torch.from_numpy(bits), persistent=False)
        self.register_buffer("starts", torch.from_numpy(starts), persistent=False)
        self.register_buffer("tops", torch.from_numpy(tops), persistent=False)
        self.register_buffer("single", 1 << torch.arange(8, dtype=torch.uint8), persistent=False)

    def forward(self, atoms: Tensor) -> Tensor:
        """(n, columns) atoms that are there, each at least −1 → (n, formulae) bool."""
        rows = self.starts + torch.minimum(atoms, self.tops)
        fits = self.bits[rows[:, 0]]
        for column in range(1, rows.shape[1]):
            fits = fits & self.bits[rows[:, column]]
        spread = (fits.unsqueeze(2) & self.single) != 0
        return spread.flatten(1)[:, : self.formulae]
