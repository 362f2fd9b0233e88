"""formula: one softmax over a fixed vocabulary of product formulae and neutral-loss formulae, at exact m/z.

Source: GrAFF-MS (Murphy et al., "Efficiently predicting high resolution mass spectra with graph neural networks",
ICML 2023): vocabulary, masking of formulae that the molecule cannot give, peak-marginal cross-entropy. A product is an
ion without what carries its charge (a proton gained or lost, or the adduct's metal), so that one product serves all
adducts; a loss is what the precursor ion lost, its charges kept. Loss of nothing, the precursor, is always an entry.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from ....errors import ModelError
from ..ions import ELEMENTS
from ..losses import LOSSES, SparseFit
from ..parts import Batch, Encoded, FlatPeaks, Provides, TargetTable
from .entries import Entries, strongest
from .formula_ions import ElementFeaturiser, Ions, spelled
from .formula_lists import Containment, isotope_atoms, masses
from .formula_targets import match
from .formula_vocabulary import annotate, choose, losses, possible, precursor_ions, products, shown_by, spread
from .options import HeadOptions

_HYDROGEN = ELEMENTS.index("H")
_MERGED = 2.0  # ppm: a product and a loss that are one ion differ by rounding, or by a stated precursor's error


class FormulaOptions(HeadOptions):
    """Options of the formula head."""

    size: int = Field(5000, ge=1, le=100_000, description="entries of the vocabulary, products and losses together")
    choose: Literal["intensity", "molecules"] = Field(
        "intensity", description="what an entry must cover most of: intensity, or ions of molecules as in the paper"
    )
    min_molecules: int = Field(3, ge=1, description="training molecules that must show an entry for it to exist")
    isotopes: bool = Field(False, description="entries for peaks with 13C, 34S, 37Cl, 81Br; default monoisotopic only")
    ppm: float = Field(10.0, gt=0, le=100, description="between a peak and the entries that explain it")
    floor: float = Field(0.001, ge=0, le=0.1, description="Da; the tolerance is at least this")
    min_mz: float = Field(8.0, ge=0, description="Da; peaks below are neither learned nor predicted")
    max_mz: float = Field(1005.0, gt=0, le=10_000, description="Da; the same for peaks above, but for the precursor")


class FormulaHead(nn.Module):
    """Product entries, then loss entries, in one softmax over those that the ion's atoms suffice for."""

    needs: ClassVar[frozenset[Provides]] = frozenset({"graph"})
    Options: ClassVar[type[FormulaOptions]] = FormulaOptions

    def __init__(self, options: FormulaOptions, width: int, vocabulary: dict[str, NDArray[Any]]) -> None:
        """width: of the hidden vector; vocabulary: from `vocabulary`."""
        super().__init__()
        self.options, self.elements = options, tuple(str(e) for e in vocabulary["elements"])
        self.product_counts, self.loss_counts = vocabulary["product_counts"], vocabulary["loss_counts"]
        self.n_products, labels = len(self.product_counts), vocabulary["loss_isotopes"].tolist()
        product_mass = masses(self.product_counts, self.elements, vocabulary["product_isotopes"].tolist(), 1)
        loss_mass = masses(self.loss_counts, self.elements, labels, -1)
        self.register_buffer("product_mass", torch.from_numpy(product_mass), persistent=False)
        self.register_buffer("loss_mass", torch.from_numpy(loss_mass), persistent=False)
        columns = torch.tensor([ELEMENTS.index(element) for element in self.elements])
        self.register_buffer("columns", columns, persistent=False)
        # a product must not lack the hydrogen that a negative ion loses: −H of the product ≤ H of the carrier
        lacking = np.clip(-self.product_counts[:, [self.elements.index("H")]], -1, 1)
        self.product_needs = np.concatenate([self.product_counts, lacking], axis=1)
        heavy = [[isotope_atoms(label)[element] for element in self.elements] for label in labels]
        self.loss_needs = self.loss_counts + np.array(heavy, np.int16)  # what is heavy must not be lost
        self.products, self.losses = Containment(self.product_needs), Containment(self.loss_needs)
        self.linear = nn.Linear(width, len(vocabulary["prior"]))
        with torch.no_grad():  # starting from the mean training spectrum saves the first epochs
            self.linear.bias.copy_(torch.from_numpy(vocabulary["prior"]))
            self.linear.weight.mul_(0.5)

    @classmethod
    def featuriser(cls, options: Any) -> ElementFeaturiser:
        """Element counts."""
        return ElementFeaturiser()

    @classmethod
    def vocabulary(cls, options: Any, peaks: FlatPeaks) -> dict[str, NDArray[Any]]:
        """Formulae as counts of `elements`, their isotope labels, and the logarithm of an entry's mean share of the
        learned intensity among the molecules that can give it."""
        peaks = _usable(peaks, options)
        learned = peaks.intensities.astype(np.float64) ** options.power
        found = annotate(peaks, learned, options.ppm, options.floor, options.isotopes)
        product, loss = products(found), losses(found)
        offset = len(product.counts)
        second = np.where(loss.of >= 0, loss.of + offset, -1)
        allowed = np.concatenate([shown_by(product, found), shown_by(loss, found)]) >= options.min_molecules
        weight = found.weight if options.choose == "intensity" else np.ones(len(found.weight))
        chosen = choose(product.of, second, weight, allowed, options.size, np.array([offset]))
        chosen = np.concatenate([chosen[chosen < offset], chosen[chosen >= offset]])
        here = (chosen[chosen < offset], chosen[chosen >= offset] - offset)
        counts = product.counts[here[0]], loss.counts[here[1]]
        used = (np.concatenate(counts) != 0).any(axis=0)
        used[_HYDROGEN] = True
        made = {
            "elements": np.array(ELEMENTS)[used],
            "product_counts": counts[0][:, used],
            "product_isotopes": product.isotopes[here[0]].astype(str),
            "loss_counts": counts[1][:, used],
            "loss_isotopes": loss.isotopes[here[1]].astype(str),
            "prior": np.zeros(len(chosen), np.float32),
        }
        held = spread(product.of, second, found.weight, chosen, len(allowed))
        able = possible(cls(options, 1, made).fits, found)
        return made | {"prior": np.log((held + 0.01) / (able + 1)).astype(np.float32)}

    def targets(self, peaks: FlatPeaks) -> TargetTable:
        """One row a peak × entry within tolerance, by peak; columns: entry, opens (the first row of its peak),
        intensity, weight.

        Intensities are shares of all of a spectrum's usable peaks, so they sum to 1 less what no entry explains.
        """
        peaks, options = _usable(peaks, self.options), self.options
        ions = precursor_ions(peaks, self.columns.cpu().numpy())
        peak, entry = match(peaks, ions, self, options.ppm, options.floor)
        owner, learned = peaks.owner, peaks.intensities.astype(np.float64) ** options.power
        total = np.bincount(owner, learned, minlength=len(peaks.precursor_mz))
        columns = {
            "entry": entry.astype(np.int32),
            "opens": np.concatenate([[True], peak[1:] != peak[:-1]])[: len(peak)],
            "intensity": (learned[peak] / total[owner[peak]]).astype(np.float32),
            "weight": ((peaks.mzs[peak] / 100.0) ** options.mass_power).astype(np.float32),
        }
        counts = np.bincount(owner[peak], minlength=len(peaks.precursor_mz))
        return TargetTable(columns, np.concatenate([[0], np.cumsum(counts)]))

    # -- entries -----------------------------------------------------------------------------------------------------

    def fits(self, ions: Ions) -> Tensor:
        """(spectra, entries): which formulae the ion's atoms suffice for. The last axis of `ions` may be all elements
        or those of the vocabulary."""
        total, rest = ions.total, ions.rest
        if total.shape[1] == len(ELEMENTS) != len(self.elements):
            total, rest = total[:, self.columns], rest[:, self.columns]
        product = self.products(torch.cat([rest, ions.hydrogen.unsqueeze(1)], dim=1))
        return torch.cat([product, self.losses(total)], dim=1)

    def mz(self, ions: Ions, row: Tensor, entry: Tensor) -> Tensor:
        """m/z of these entries of these spectra, Da, float64; any shape."""
        product = self.product_mass[entry.clamp(max=self.n_products - 1)] if self.n_products else ions.carrier[row]
        loss = self.loss_mass[(entry - self.n_products).clamp(min=0)]
        lost = ions.mz[row] - loss / ions.charge[row]
        return torch.where(entry < self.n_products, product + ions.carrier[row], lost)

    def _ions(self, batch: Batch, columns: Tensor | None) -> Ions:
        return Ions.of(batch.parts, batch.index, batch.precursor_mz, batch.ions, columns)

    # -- the network -------------------------------------------------------------------------------------------------

    def forward(self, hidden: Tensor, encoded: Encoded, batch: Batch) -> Tensor:
        """Probabilities of the entries, (spectra, entries); what the molecule cannot give has exactly 0."""
        fits = self.fits(self._ions(batch, self.columns))
        return torch.softmax(self.linear(hidden).masked_fill_(~fits, -torch.inf), dim=1)

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Mean over the batch of the chosen loss; the predicted intensity of a peak is the sum of its entries."""
        t, opens = batch.targets, batch.targets["opens"]
        p = output.flatten().index_select(0, t["row"] * output.shape[1] + t["entry"].long())
        peak, row = opens.long().cumsum(0) - 1, t["row"][opens]
        q = p.new_zeros(len(row)).index_add(0, peak, p)
        power = (output * output).sum(1).index_add(0, row, q.square()).index_add(0, t["row"], -p.square())
        log_q = q.clamp(min=1e-13).log()
        fit = SparseFit(row, t["intensity"][opens], q, log_q, power.clamp(min=0), t["weight"][opens])
        return LOSSES[self.options.loss](fit).mean()

    # -- peaks -------------------------------------------------------------------------------------------------------

    def peaks(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """The most intense entries as peaks (row, m/z, intensity with the power undone), entries of one ion added."""
        return self._strongest(output, batch)[:3]

    def origins(self, output: Tensor, batch: Batch) -> dict[str, list[Any]]:
        """Columns beside `peaks`: `formula` of each peak's ion, without charge."""
        row, *_, entry = self._strongest(output, batch)
        counts = (self.product_counts, self.loss_counts)
        return {"formula": spelled(self._ions(batch, None), counts, self.columns, entry, row)}

    def _strongest(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(row, m/z, intensity, entry); twice as many entries as peaks are looked at, since two may be one ion."""
        options, ions = self.options, self._ions(batch, self.columns)
        p, entry = output.topk(min(2 * options.max_peaks, output.shape[1]), dim=1)
        row = torch.arange(len(output), device=output.device).unsqueeze(1).expand_as(entry).flatten()
        p, entry = p.flatten(), entry.flatten()
        mz = self.mz(ions, row, entry)
        inside = (mz >= options.min_mz) & (mz <= options.max_mz) | (entry == self.n_products)
        kept = inside & (p > 0)
        row, mz, entry = row[kept], mz[kept], entry[kept]
        made = Entries(row, mz, p[kept].log())
        row, mz, intensity, number = strongest(
            made, len(output), options.max_peaks, options.threshold, options.power, _MERGED
        )
        return row, mz, intensity, entry[number]


def _usable(peaks: FlatPeaks, options: FormulaOptions) -> FlatPeaks:
    """Peaks with intensity, in the mass range, not above the precursor (but for its isotopes, where these are wanted).

    Raises ModelError if none is left.
    """
    owner = peaks.owner
    precursor = np.nan_to_num(peaks.precursor_mz, nan=np.inf)[owner]
    top = precursor * (1 + options.ppm * 1e-6) + options.floor + (4.5 if options.isotopes else 0.02)
    kept = (peaks.mzs >= options.min_mz) & (peaks.mzs <= np.minimum(top, options.max_mz)) & (peaks.intensities > 0)
    if not kept.any():
        raise ModelError("no training peak lies in the mass range", remedy="check head.min_mz and head.max_mz")
    counts = np.bincount(owner[kept], minlength=len(peaks.precursor_mz))
    offsets = np.concatenate([[0], np.cumsum(counts)])
    return replace(peaks, mzs=peaks.mzs[kept], intensities=peaks.intensities[kept], offsets=offsets)
