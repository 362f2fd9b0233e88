"""Where a predicted peak comes from: formula of its ion, atoms of its likeliest fragment, hydrogens shifted."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ....chem.formula import ELECTRON
from ..ions import ELEMENTS
from ..parts import Batch
from .formula_ions import Ions
from .formula_lists import spell
from .fragment_features import COLUMNS
from .fragment_ions import IonTable
from .fragment_known import KnownFormulae

_HYDROGEN, _SIZE, _CARRIED = ELEMENTS.index("H"), COLUMNS.index("atoms"), COLUMNS.index("hydrogens")


def peak_origins(
    ions: IonTable, score: Tensor, number: Tensor, known: KnownFormulae | None, entry: Tensor, row: Tensor, batch: Batch
) -> dict[str, list[Any]]:
    """Columns formula, atoms, shift of these entries of these spectra, numbered as `fragment.Output` lays them out.

    A precursor holds all atoms; a formula that no fragment has, none.
    """
    n_ions, first_known = len(ions.mz), len(ions.mz) + batch.size
    fragment, shift, view = likeliest(ions, score)
    total = Ions.of(batch.parts, batch.index, batch.precursor_mz, batch.ions).total.cpu().numpy()
    sizes, molecule = batch.parts["size"], batch.index.tolist()
    spelled = {}
    if known is not None:
        others = (entry >= first_known).nonzero().squeeze(1)
        names = known.spelled(number[entry[others] - first_known], row[others], batch)
        spelled = dict(zip(others.tolist(), names, strict=True))
    formulae: list[str] = []
    atoms: list[list[int] | None] = []
    shifts: list[int | None] = []
    for peak, (e, r) in enumerate(zip(entry.tolist(), row.tolist(), strict=True)):
        if e >= first_known:
            formulae.append(spelled[peak])
            atoms.append(None)
            shifts.append(None)
        elif e >= n_ions:
            formulae.append(spell(total[r], ELEMENTS))
            atoms.append(list(range(int(sizes[molecule[r]]))))
            shifts.append(0)
        else:
            f = int(fragment[e])
            held = _members(batch, f)
            by_proton = bool(ions.proton[view[e]])
            counts = _composition(batch, held, f, int(shift[e])) + _carrier(batch, r, by_proton)
            formulae.append(spell(counts, ELEMENTS))
            atoms.append((held - int(sizes[: molecule[r]].sum())).tolist())
            shifts.append(int(shift[e]))
    return {"formula": formulae, "atoms": atoms, "shift": shifts}


def likeliest(ions: IonTable, score: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(fragment, shift, view) of the ion with the highest score of each entry."""
    order = torch.argsort(score, stable=True)
    order = order[torch.argsort(ions.entry[order], stable=True)]
    best = order[torch.bincount(ions.entry, minlength=len(ions.mz)).cumsum(0) - 1] if len(order) else order
    pair = ions.pair[best]
    return ions.fragment[pair], ions.shift[best], ions.view[pair]


def _members(batch: Batch, fragment: int) -> Tensor:
    """Atoms of a fragment, as numbered in the batch."""
    start = int(batch.parts["member_start"][fragment])
    return batch.parts["members"][start : start + int(batch.parts["pieces"][fragment, _SIZE])]


def _composition(batch: Batch, atoms: Tensor, fragment: int, shift: int) -> Any:
    counts = np.bincount(batch.parts["elements"][atoms].cpu().numpy(), minlength=len(ELEMENTS))
    counts[_HYDROGEN] += int(batch.parts["pieces"][fragment, _CARRIED]) + shift
    return counts


def _carrier(batch: Batch, row: int, by_proton: bool) -> Any:
    """Atoms that carry the charge: nothing where the adduct lost or gained an electron only."""
    sign, carrier = int(batch.ions["sign"][row]), float(batch.ions["carrier"][row])
    bound = np.zeros(len(ELEMENTS), np.int64)
    if by_proton:
        bound[_HYDROGEN] = 1
    elif abs(carrier + sign * ELECTRON) > 1e-3:
        bound += batch.ions["bound"][row].cpu().numpy()
    return bound
