"""Product and loss formulae that training spectra often show (the formula head's vocabulary), beside the fragments.

Where a fragment ion has such a formula, the spectrum's score of that formula is added to the ion's. Where none has it
(a rearrangement, a cut too deep) and the molecule's atoms suffice, it is an entry of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..features import Ragged
from ..parts import Batch, FlatPeaks
from .formula import FormulaHead, FormulaOptions
from .formula_ions import Ions, spelled

_SAME = 4e-4  # Da: formulae of one molecule lie further apart, all but a few; rounding does not reach it
_LOWEST = 8.0  # Da


@dataclass(frozen=True)
class Known:
    """What the vocabulary says of a batch.

    Attributes:
        adds: (given entries,) logits to be added.
        row, mz, logit: of further entries; `number` is that of their formula in the vocabulary.
    """

    adds: Tensor
    row: Tensor
    mz: Tensor
    logit: Tensor
    number: Tensor


def formula_options(options: Any) -> FormulaOptions:
    """The formula head's options for its vocabulary, as the fragment head's options have them."""
    shared = ("min_molecules", "power", "ppm")
    return FormulaOptions(size=options.vocabulary, **{name: getattr(options, name) for name in shared})


def known_formulae(options: Any, peaks: FlatPeaks) -> dict[str, NDArray[Any]]:
    """The formula head's vocabulary of these peaks; empty for `vocabulary: 0`."""
    if not options.vocabulary:
        return {}
    features = peaks.features
    assert features is not None  # the head has a featuriser
    names = ("counts", "mass")
    plain = Ragged({n: features.arrays[n] for n in names}, {n: features.offsets[n] for n in names})
    return FormulaHead.vocabulary(formula_options(options), replace(peaks, features=plain))


class KnownFormulae(nn.Module):
    """hidden (spectra, width) → scores of known formulae, on given entries and on entries of their own."""

    def __init__(self, options: FormulaOptions, width: int, vocabulary: dict[str, NDArray[Any]]) -> None:
        super().__init__()
        self.formulae = FormulaHead(options, width, vocabulary)
        self.formulae.linear = nn.Identity()  # of that head only the lists are used
        prior = torch.from_numpy(vocabulary["prior"]).float()
        self.n_products = self.formulae.n_products
        for name, mass in (("product", self.formulae.product_mass), ("loss", self.formulae.loss_mass)):
            ordered, order = mass.sort()
            self.register_buffer(f"{name}_mass", ordered, persistent=False)
            self.register_buffer(f"{name}_order", order, persistent=False)
        self.scores = nn.Linear(width, len(prior), bias=False)
        self.own = nn.Parameter(prior.clone())  # of an entry of its own
        self.other = nn.Parameter((prior - prior.mean()) / 2)  # of one that a fragment has
        self.side = nn.Linear(width, 1)
        with torch.no_grad():
            self.scores.weight.mul_(0.5)
            self.side.bias.fill_(6.0)

    def forward(self, hidden: Tensor, row: Tensor, mz: Tensor, batch: Batch) -> Known:
        """row, mz: of the given entries."""
        ions = Ions.of(batch.parts, batch.index, batch.precursor_mz, batch.ions, self.formulae.columns)
        names, fits = self.scores(hidden), self.formulae.fits(ions)
        columns = names.shape[1]
        product = _number(self.product_mass, self.product_order, mz - ions.carrier.index_select(0, row))
        lost = torch.where(ions.charge == 1, ions.mz, torch.nan).index_select(0, row) - mz
        loss = _number(self.loss_mass, self.loss_order, lost)
        loss = torch.where(loss >= 0, loss + self.n_products, -1)
        adds = mz.new_zeros(len(mz), dtype=names.dtype)
        taken = torch.zeros_like(fits).flatten()
        given = (names + self.other).flatten()
        for number in (product, loss):
            on = (number >= 0).nonzero().squeeze(1)
            place = (row * columns + number).index_select(0, on)
            adds = adds.index_add(0, on, given.index_select(0, place))
            taken.scatter_(0, place, True)
        place = (fits.flatten() & ~taken).nonzero().squeeze(1)
        other, number = place // columns, place % columns
        at = self.formulae.mz(ions, other, number)
        precursor = batch.precursor_mz[other]
        below = (at < precursor - 0.5) | (at > precursor + 0.5) & (ions.charge[other] > 1)
        kept = (below & (at > _LOWEST)).nonzero().squeeze(1)
        place = place.index_select(0, kept)
        logit = (names + self.own + self.side(hidden)).flatten().index_select(0, place)
        return Known(adds, other.index_select(0, kept), at.index_select(0, kept), logit, number.index_select(0, kept))

    def spelled(self, number: Tensor, row: Tensor, batch: Batch) -> list[str]:
        """Formula of the ion, without charge, of these entries of the vocabulary in these spectra."""
        ions = Ions.of(batch.parts, batch.index, batch.precursor_mz, batch.ions)
        head = self.formulae
        return spelled(ions, (head.product_counts, head.loss_counts), head.columns, number, row)


def _number(masses: Tensor, order: Tensor, values: Tensor) -> Tensor:
    """(n,) which formula has each mass, −1 for none. masses: ascending, order: their formulae."""
    if not len(masses):
        return torch.full(values.shape, -1, dtype=torch.long, device=values.device)
    right = torch.searchsorted(masses, values).clamp(max=len(masses) - 1)
    left = (right - 1).clamp(min=0)
    at = torch.where((values - masses[left]).abs() <= (masses[right] - values).abs(), left, right)
    return torch.where((masses[at] - values).abs() <= _SAME, order[at], -1)
