"""Entries that differ from spectrum to spectrum: one softmax a spectrum over a ragged list, targets, peaks out.

A head whose peaks depend on the molecule (its fragments, the sub-formulae it can give) lays the entries of a batch end
to end: `row` (entries,) is the spectrum of each, ascending; `mz` (entries,) its m/z in Da, float64. A measured peak is
explained by every entry that is nearer to it than to any other peak and within the tolerance.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..losses import SparseFit

_SPACE = 1e5  # Da between spectra on one axis: above any m/z


@dataclass(frozen=True)
class Entries:
    """Predicted entries of a batch.

    Attributes:
        row: (entries,) spectrum of each, ascending.
        mz: (entries,) Da, float64.
        log_p: (entries,) log-probability; Σp = 1 within a spectrum, less `log_rest`.
        log_rest: (spectra,) log-probability of "none of these", or None.
    """

    row: Tensor
    mz: Tensor
    log_p: Tensor
    log_rest: Tensor | None = None


def log_softmax(logits: Tensor, row: Tensor, rest: Tensor) -> tuple[Tensor, Tensor]:
    """(log-probabilities (entries,), of the rest (spectra,)): softmax over a spectrum's entries and its `rest` logit.

    logits: (entries,); row: (entries,); rest: (spectra,), −inf where there is no rest (then a spectrum needs entries).
    """
    top = rest.scatter_reduce(0, row, logits, "amax").detach()
    total = (rest - top).exp().index_add(0, row, (logits - top[row]).exp())
    norm = top + total.log()
    return logits - norm[row], rest - norm


def nearest_peak(entries: Entries, peak_row: Tensor, peak_mz: Tensor, ppm: float, floor: float = 0.0) -> Tensor:
    """(entries,) number of the peak that each entry explains, −1 for none.

    peak_row, peak_mz: (peaks,), by spectrum, ascending in m/z. The tolerance is the larger of `ppm` of the peak's m/z
    and `floor` Da.
    """
    if not len(peak_mz):
        return torch.full_like(entries.row, -1)
    place = peak_row * _SPACE + peak_mz
    wanted = entries.row * _SPACE + entries.mz
    right = torch.searchsorted(place, wanted).clamp(max=len(place) - 1)
    left = (right - 1).clamp(min=0)
    nearest = torch.where((wanted - place[left]).abs() <= (place[right] - wanted).abs(), left, right)
    error = (wanted - place[nearest]).abs()
    return torch.where(error <= (peak_mz[nearest] * ppm * 1e-6).clamp(min=floor), nearest, -1)


def sparse_fit(
    entries: Entries, peak: Tensor, peak_row: Tensor, target: Tensor, weight: Tensor, spectra: int
) -> SparseFit:
    """The batch at its targets.

    peak: (entries,) from `nearest_peak`; target, weight: (peaks,). A peak that no entry explains keeps its target: the
    loss then has a floor that no weights can lower, and says how much lies out of reach.
    """
    on = peak >= 0
    p = entries.log_p.exp()
    q = p.new_zeros(len(target)).index_add(0, peak[on], p[on])
    power = p.new_zeros(spectra).index_add(0, peak_row, q.square()).index_add(0, entries.row[~on], p[~on].square())
    return SparseFit(peak_row, target, q, q.clamp(min=1e-13).log(), power, weight)


def strongest(
    entries: Entries, spectra: int, max_peaks: int, threshold: float, power: float, ppm: float = 2.0
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Peaks (row, m/z, intensity, entry): entries within `ppm` of their left neighbour add up, at the largest's m/z.

    Intensities have `power` undone and base peak 1; a spectrum keeps its `max_peaks` most intense ones above
    `threshold`. `entry` is the number of the largest entry of each peak.
    """
    order = torch.argsort(entries.row * _SPACE + entries.mz)
    row, mz, p = entries.row[order], entries.mz[order], entries.log_p[order].double().exp()
    apart = torch.ones_like(row, dtype=torch.bool)
    apart[1:] = (row[1:] != row[:-1]) | (mz[1:] - mz[:-1] > mz[1:] * ppm * 1e-6)
    group = apart.cumsum(0) - 1
    groups = int(group[-1]) + 1 if len(group) else 0
    total = p.new_zeros(groups).index_add(0, group, p)
    by_size = torch.argsort(p, stable=True)
    by_size = by_size[torch.argsort(group[by_size], stable=True)]
    largest = by_size[torch.bincount(group, minlength=groups).cumsum(0) - 1]  # the last of its group
    owner, intensity = row[largest], total ** (1.0 / power)
    base = intensity.new_zeros(spectra).scatter_reduce(0, owner, intensity, "amax")
    intensity = intensity / base[owner].clamp(min=1e-300)
    descending = torch.argsort(intensity, descending=True, stable=True)
    descending = descending[torch.argsort(owner[descending], stable=True)]
    first = torch.searchsorted(owner[descending], owner[descending])
    rank = torch.arange(groups, device=row.device) - first
    kept = descending[(rank < max_peaks) & (intensity[descending] >= max(threshold, 1e-9))]
    return owner[kept], mz[largest[kept]], intensity[kept], order[largest[kept]]
