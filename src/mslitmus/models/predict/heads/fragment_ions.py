"""Which ions the fragments of a batch can give: spectra × fragments × hydrogen shifts, and the entries they meet in.

All of it is index arithmetic on what `FragmentFeaturiser.collate` gives, without gradients and without a loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

_LOWEST = 8.0  # Da: no ion is lighter
_METAL = 3.0  # Da: a carrier so much heavier than a proton is a metal
_SAME = 1e-5  # of the m/z, and 2 mDa: so near to the precursor an ion is the precursor
_MULTIPLE = 0.75  # a precursor below this share of the molecule's mass is multiply charged: fragments may lie above it


@dataclass(frozen=True)
class IonTable:
    """Ions of a batch. A *view* is a spectrum with one charge carrier: that of its adduct, and of a metal adduct a
    second one with a proton.

    Attributes:
        spectrum: (views,) ascending.
        metal: (views,) 1 where the carrier is a metal.
        proton: (views,) 1 where a metal adduct's fragment has a proton instead.
        view, fragment: (pairs,) every view with every fragment of its molecule.
        pair, shift: (ions,) every pair with every hydrogen shift that it may have.
        entry: (ions,) the entry that each ion belongs to: one view, one formula.
        row: (entries,) spectrum, ascending.
        mz: (entries,) Da, float64.
    """

    spectrum: Tensor
    metal: Tensor
    proton: Tensor
    view: Tensor
    fragment: Tensor
    pair: Tensor
    shift: Tensor
    entry: Tensor
    row: Tensor
    mz: Tensor


def expand(counts: Tensor, starts: Tensor) -> tuple[Tensor, Tensor]:
    """(owner, number): for each i the numbers starts[i] … starts[i] + counts[i] − 1, end to end."""
    owner = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
    first = counts.cumsum(0) - counts
    return owner, torch.arange(len(owner), device=counts.device) + (starts - first).index_select(0, owner)


def ion_table(parts: Mapping[str, Tensor], index: Tensor, ions: Mapping[str, Tensor], precursor_mz: Tensor) -> IonTable:
    """parts: of the batch's molecules; index (spectra,) molecule of each; ions: what the adducts say.

    Ions lighter than 8 Da, at the precursor or above it are left out (above it none is for a singly charged precursor).
    """
    carrier, proton = ions["carrier"], ions["proton"]
    metal = carrier - proton > _METAL
    spectrum, second = expand(1 + metal.long(), torch.zeros_like(index))
    charge = torch.where(second.bool(), proton[spectrum], carrier[spectrum])
    molecule = index[spectrum]
    pieces, slots = parts["fragments"], parts["slots"]
    view, fragment = expand((pieces[1:] - pieces[:-1])[molecule], pieces[molecule])
    low = parts["low"].index_select(0, fragment)
    pair, shift = expand(parts["high"].index_select(0, fragment) - low + 1, low)
    counts = (slots[1:] - slots[:-1])[molecule]
    slot_view, slot = expand(counts, slots[molecule])
    mz = parts["slot_mass"].index_select(0, slot) + charge.index_select(0, slot_view)
    unshifted = (counts.cumsum(0) - counts).index_select(0, view) + parts["slot"].index_select(0, fragment)
    entry = unshifted.index_select(0, pair) + shift
    row = spectrum.index_select(0, slot_view)
    kept = _possible(mz, precursor_mz.index_select(0, row), parts["mass"][index].index_select(0, row)) & (
        torch.bincount(entry, minlength=len(mz)) > 0
    )
    number, place = kept.cumsum(0) - 1, kept.nonzero().squeeze(1)
    on = kept.index_select(0, entry).nonzero().squeeze(1)
    return IonTable(
        spectrum,
        (metal[spectrum] & ~second.bool()).long(),
        second,
        view,
        fragment,
        pair.index_select(0, on),
        shift.index_select(0, on),
        number.index_select(0, entry.index_select(0, on)),
        row.index_select(0, place),
        mz.index_select(0, place),
    )


def _possible(mz: Tensor, precursor: Tensor, mass: Tensor) -> Tensor:
    apart = (mz - precursor).abs() > _SAME * precursor + 0.002
    below = (mz < precursor) | (precursor < _MULTIPLE * mass)  # false where the mass is not known
    return apart & below & (mz > _LOWEST)


def log_sum(values: Tensor, group: Tensor, groups: int) -> Tensor:
    """log Σ exp over each group: (n,), (n,) → (groups,). Every group has a member."""
    top = values.new_full((groups,), -torch.inf).scatter_reduce(0, group, values.detach(), "amax")
    total = values.new_zeros(groups).index_add(0, group, (values - top.index_select(0, group)).exp())
    return top + total.log()
