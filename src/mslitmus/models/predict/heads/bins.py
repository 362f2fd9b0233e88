"""What the binned heads share: which bins exist, where their peaks lie, targets, losses and peaks out.

Bins are *entries* of one softmax: forward bins count m/z from 0, reverse bins count the neutral loss from the
precursor. Only bins that hold peaks of enough training molecules exist, so that 0.1 Da costs little more than 1 Da.

A peak's m/z comes out not at the centre of its bin but where the training peaks there are densest: the
intensity-weighted mean of the heaviest 12 mDa (forward: of m/z; reverse: of the loss, subtracted from the query's exact
precursor m/z), so that a metric narrower than the bin is not lost beforehand.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from ....errors import ModelError
from ..losses import LOSSES, SparseFit
from ..parts import Batch, Encoded, FlatPeaks, Provides, TargetTable
from .options import HeadOptions

_HIDDEN = -1e4  # logit of an entry that cannot be
_LOWEST = 8.0  # Da: no fragment is lighter
_STEP = 0.004  # Da, of the search for the place of a bin's peaks


class BinOptions(HeadOptions):
    """Options of the binned heads."""

    width: float = Field(0.1, ge=0.01, le=10, description="Da")
    max_mz: float = Field(1005.0, gt=0, le=10_000, description="Da; peaks above are neither learned nor predicted")
    min_molecules: int = Field(5, ge=1, description="training molecules that must show a bin for it to exist")


def forward_bin(mzs: NDArray[np.float64], width: float) -> NDArray[np.int64]:
    """Bin k covers [k width, (k + 1) width), as the binned metrics count."""
    return np.floor(mzs / width).astype(np.int64)


def reverse_bin(losses: NDArray[np.float64], width: float) -> NDArray[np.int64]:
    """Bin k covers [(k − ½) width, (k + ½) width): bin 0 is the precursor, give or take its error."""
    return np.floor(losses / width + 0.5).astype(np.int64)


def occupied(
    values: NDArray[np.float64],
    bins: NDArray[np.int64],
    intensities: NDArray[np.float32],
    molecule: NDArray[np.int64],
    options: BinOptions,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """(bin numbers, positions in Da, summed intensity) of the bins that at least `min_molecules` molecules show.

    values: (peaks,) m/z or loss in Da; bins: (peaks,) their bins, from `forward_bin` or `reverse_bin`.
    """
    pairs = np.unique(np.stack([bins, molecule], axis=1), axis=0)
    numbers, shown = np.unique(pairs[:, 0], return_counts=True)
    numbers = numbers[shown >= options.min_molecules]
    at = _lookup(numbers, bins)
    kept = at >= 0
    weight = intensities[kept].astype(np.float64)
    mass: NDArray[np.float64] = np.bincount(at[kept], weight, minlength=len(numbers)).astype(np.float64)
    return numbers, _densest(values[kept], bins[kept], at[kept], weight, len(numbers), options.width), mass


def _densest(
    values: NDArray[np.float64],
    bins: NDArray[np.int64],
    at: NDArray[np.int64],
    weight: NDArray[np.float64],
    count: int,
    width: float,
) -> NDArray[np.float64]:
    """(count,) Da: weighted mean of the values in the heaviest 12 mDa of each bin, found in steps of 4 mDa.

    Several formulae share a bin of 0.1 Da; the mean of all of them would be the m/z of none.
    """
    steps = int(1.5 * width / _STEP) + 2
    step = np.clip(((values - bins * width + width / 2) / _STEP).astype(np.int64), 0, steps - 1)
    held = np.bincount(at * steps + step, weight, minlength=count * steps).reshape(count, steps)
    padded = np.pad(held, ((0, 0), (1, 1)))
    heaviest = (padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]).argmax(axis=1)
    near = np.abs(step - heaviest[at]) <= 1
    mass = np.bincount(at[near], weight[near], minlength=count)
    mean = np.bincount(at[near], (weight * values)[near], minlength=count) / mass
    positions: NDArray[np.float64] = np.round(mean, 6)  # so that 95.1, on the edge of a bin, stays on its side of it
    return positions


def _lookup(numbers: NDArray[np.int64], bins: NDArray[np.int64]) -> NDArray[np.int64]:
    """Entry of each bin, −1 where it does not exist."""
    if not len(numbers):
        return np.full(len(bins), -1)
    at = np.minimum(np.searchsorted(numbers, bins), len(numbers) - 1)
    return np.where(numbers[at] == bins, at, -1)


class BinHead(nn.Module):
    """Forward entries, then reverse entries, in one softmax. Subclasses say which reverse entries there are."""

    needs: ClassVar[frozenset[Provides]] = frozenset({"graph"})
    Options: ClassVar[type[BinOptions]] = BinOptions

    def __init__(self, options: BinOptions, width: int, vocabulary: dict[str, NDArray[Any]]) -> None:
        """width: of the hidden vector; vocabulary: from `vocabulary`."""
        super().__init__()
        self.options = options
        self.forward_bins, self.reverse_bins = vocabulary["forward_bins"], vocabulary["reverse_bins"]
        self.n_forward = len(self.forward_bins)
        positions = np.concatenate([vocabulary["forward_mz"], vocabulary["reverse_loss"]])
        self.register_buffer("positions", torch.from_numpy(positions), persistent=False)
        self.linear = nn.Linear(width, len(positions))
        with torch.no_grad():  # starting from the mean training spectrum saves the first epochs
            self.linear.bias.copy_(torch.from_numpy(vocabulary["prior"]))
            self.linear.weight.mul_(0.5)

    @classmethod
    def featuriser(cls, options: Any) -> None:
        """Bins look at no molecule."""

    @classmethod
    def reverse(cls, loss: NDArray[np.float64], peaks: FlatPeaks, options: Any) -> tuple[Any, Any, Any]:
        """(bin numbers, losses in Da, intensity) of the reverse entries."""
        raise ModelError(f"{cls.__name__} does not say what its reverse bins are", remedy="define `reverse`")

    @classmethod
    def vocabulary(cls, options: Any, peaks: FlatPeaks) -> dict[str, NDArray[Any]]:
        """Bins that exist, their positions, and the logarithm of their share of the training intensity."""
        peaks = _usable(peaks, options)
        owner = peaks.owner
        bins = forward_bin(peaks.mzs, options.width)
        numbers, mz, forward_mass = occupied(peaks.mzs, bins, peaks.intensities, peaks.molecule[owner], options)
        losses, loss, reverse_mass = cls.reverse(peaks.precursor_mz[owner] - peaks.mzs, peaks, options)
        if not len(numbers) + len(losses):
            raise ModelError("no bin holds peaks of enough training molecules", remedy="lower head.min_molecules")
        mass = np.concatenate([forward_mass, reverse_mass]) + 1e-3
        prior = np.log(mass / mass.sum()).astype(np.float32)
        return {"forward_bins": numbers, "forward_mz": mz, "reverse_bins": losses, "reverse_loss": loss, "prior": prior}

    def targets(self, peaks: FlatPeaks) -> TargetTable:
        """Peaks of one forward bin merged; columns: first, second (entries or −1), intensity, weight.

        Intensities are shares of all of a spectrum's usable peaks, so they sum to 1 less what lies in no entry.
        """
        peaks, options = _usable(peaks, self.options), self.options
        owner = peaks.owner
        bins = forward_bin(peaks.mzs, options.width)
        key = owner * (int(options.max_mz / options.width) + 10) + bins
        _, first, group = np.unique(key, return_index=True, return_inverse=True)
        summed = np.bincount(group, peaks.intensities)
        mz = np.bincount(group, peaks.intensities * peaks.mzs) / np.maximum(summed, 1e-30)
        owner, learned = owner[first], summed**options.power
        loss_bins = reverse_bin(peaks.precursor_mz[owner] - mz, options.width)
        forward, reverse = _lookup(self.forward_bins, bins[first]), _lookup(self.reverse_bins, loss_bins)
        total = np.bincount(owner, learned, minlength=len(peaks.precursor_mz))
        share = learned / np.maximum(total[owner], 1e-30)
        reachable = (forward >= 0) | (reverse >= 0)
        owner = owner[reachable]
        columns = {
            "first": forward[reachable],
            "second": np.where(reverse >= 0, reverse + self.n_forward, -1)[reachable],
            "intensity": share[reachable].astype(np.float32),
            "weight": ((mz[reachable] / 100.0) ** options.mass_power).astype(np.float32),
        }
        counts = np.bincount(owner, minlength=len(peaks.precursor_mz))
        return TargetTable(columns, np.concatenate([[0], np.cumsum(counts)]))

    def logits(self, hidden: Tensor) -> Tensor:
        """(spectra, width) → (spectra, entries)."""
        out: Tensor = self.linear(hidden)
        return out

    def forward(self, hidden: Tensor, encoded: Encoded, batch: Batch) -> Tensor:
        """Log-probabilities of the entries, (spectra, entries); entries above the precursor are out."""
        precursor, width = batch.precursor_mz.unsqueeze(1), self.options.width
        forward = self.positions[: self.n_forward] > precursor + 2 * width
        reverse = self.positions[self.n_forward :] > precursor - _LOWEST
        impossible = torch.cat([forward, reverse], dim=1)
        return torch.log_softmax(self.logits(hidden).masked_fill(impossible, _HIDDEN), dim=1)

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Mean over the batch of the chosen loss."""
        t = batch.targets
        first, second = self._at(output, t["row"], t["first"]), self._at(output, t["row"], t["second"])
        log_q = torch.logaddexp(first, second).clamp(min=-30.0)
        cross = torch.zeros_like(output[:, 0]).index_add(0, t["row"], 2 * (first + second).exp())
        power = output.exp().square().sum(1) + cross
        fit = SparseFit(t["row"], t["intensity"], log_q.exp(), log_q, power, t["weight"])
        return LOSSES[self.options.loss](fit).mean()

    @staticmethod
    def _at(output: Tensor, row: Tensor, entry: Tensor) -> Tensor:
        return output[row, entry.clamp(min=0)].masked_fill(entry < 0, _HIDDEN)

    def peaks(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """The most intense entries as peaks (row, m/z, intensity with the power undone)."""
        count = min(self.options.max_peaks, output.shape[1])
        log_p, entry = output.topk(count, dim=1)
        row = torch.arange(len(output), device=output.device).unsqueeze(1).expand_as(entry)
        position = self.positions[entry]
        mz = torch.where(entry < self.n_forward, position, batch.precursor_mz.unsqueeze(1) - position)
        return merge_peaks(row, mz, log_p.exp().double(), self.options)


def merge_peaks(row: Tensor, mz: Tensor, p: Tensor, options: BinOptions) -> tuple[Tensor, Tensor, Tensor]:
    """Forward and reverse entries that mean one peak become one: within a quarter of a bin of their left neighbour.

    row, mz, p: (spectra, k). The merged peak sits at its strongest entry's m/z and holds the sum. Returns flat arrays,
    base peak 1, without those below the threshold.
    """
    mz, order = mz.sort(dim=1)
    p, row = p.gather(1, order), row.flatten()
    apart = torch.ones_like(mz, dtype=torch.bool)
    apart[:, 1:] = mz[:, 1:] - mz[:, :-1] > options.width / 4
    group = apart.flatten().cumsum(0) - 1
    mz, p = mz.flatten(), p.flatten()
    groups = int(group[-1]) + 1 if len(group) else 0
    total = p.new_zeros(groups).index_add(0, group, p)
    top = p.new_zeros(groups).scatter_reduce(0, group, p, "amax")
    strongest = p >= top[group]
    place = mz.new_zeros(groups).scatter_reduce(0, group[strongest], mz[strongest], "amax", include_self=False)
    owner = row.new_zeros(groups).scatter(0, group, row)
    intensity = total ** (1.0 / options.power)
    base = intensity.new_zeros(int(row[-1]) + 1 if len(row) else 0).scatter_reduce(0, owner, intensity, "amax")
    intensity = intensity / base[owner].clamp(min=1e-300)
    kept = intensity >= max(options.threshold, 1e-9)
    return owner[kept], place[kept], intensity[kept]


def _usable(peaks: FlatPeaks, options: BinOptions) -> FlatPeaks:
    """Peaks with intensity, between the lightest fragment and the precursor (one bin above) or `max_mz`."""
    owner = peaks.owner
    top = np.minimum(peaks.precursor_mz[owner] + options.width, options.max_mz)
    kept = (peaks.mzs >= _LOWEST) & (peaks.mzs <= top) & (peaks.intensities > 0)
    counts = np.bincount(owner[kept], minlength=len(peaks.precursor_mz))
    offsets = np.concatenate([[0], np.cumsum(counts)])
    return replace(peaks, mzs=peaks.mzs[kept], intensities=peaks.intensities[kept], offsets=offsets)
