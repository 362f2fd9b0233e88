"""fragment: this molecule's bond-cut fragments × hydrogen shifts: peaks at exact m/z, each with formula and atoms.

    z[f]       ← states of the atoms in fragment f and of those left behind, bonds broken, counts  (once a molecule)
    s[x, f, k] = w_k · relu(z[f] + B h[x])                                       spectrum x, k hydrogens more or less
    S[x, e]    = log Σ exp s[x, f, k] over the (f, k) of formula e, + the spectrum's score of e in the vocabulary
    p[x, ·]    = softmax over these formulae, the precursor, vocabulary formulae that no fragment has, "none of these"

Sources: bond-cut fragments with hydrogen shifts scored by a network: ICEBERG (Goldman et al., Anal. Chem. 2024); sums
over fragments of one formula: FraGNNet (Young et al., 2024); the vocabulary: GrAFF-MS (Murphy et al., ICML 2023). Here
every fragment is scored in one pass, and nothing but the spectrum is learned from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from ....spectra.peaks import PRECURSOR_ABOVE, PRECURSOR_BELOW
from ..layers import ResidualBlock
from ..losses import LOSSES, SparseFit
from ..parts import Batch, Encoded, FlatPeaks, Provides, TargetTable
from .entries import Entries, log_softmax, nearest_peak, sparse_fit, strongest
from .fragment_features import CODES, GAINED, FragmentFeaturiser
from .fragment_ions import IonTable, ion_table, log_sum
from .fragment_known import KnownFormulae, formula_options, known_formulae
from .fragment_origins import peak_origins
from .fragment_vectors import FragmentVectors
from .options import HeadOptions


class FragmentOptions(HeadOptions):
    """Options of the fragment head."""

    max_fragments: int = Field(500, ge=1, le=20_000, description="of a molecule, those that break the least bonds")
    max_shift: int = Field(3, ge=0, le=8, description="hydrogens that a fragment may lose; it gains at most two")
    width: int = Field(96, ge=8, le=1024, description="of a fragment's vector")
    vocabulary: int = Field(4000, ge=0, le=100_000, description="known product and loss formulae; 0 for none")
    min_molecules: int = Field(3, ge=1, description="training molecules that must show a known formula")
    without_precursor: float = Field(0.5, ge=0, le=1, description="share of the loss that leaves the precursor out")
    ppm: float = Field(10.0, gt=0, le=100, description="between a peak and the entries that explain it")
    floor: float = Field(0.003, ge=0, le=0.1, description="Da; the tolerance is at least this")
    environments: bool = Field(True, description="also learn a vector for each hashed atom environment")
    dropout: float = Field(0.1, ge=0, lt=0.5, description="of atom states; twice that in the spectrum's vector")


@dataclass(frozen=True)
class Output:
    """Entries of a batch: first those of `ions`, then the spectra's precursors, then formulae that no fragment has.

    Attributes:
        ions: `ions.entry` numbers `entries`.
        ion_score: (ions,) log of each ion's share, up to a constant of its entry.
        number: of the last entries, their place in the vocabulary.
    """

    entries: Entries
    ions: IonTable
    ion_score: Tensor
    number: Tensor


class FragmentHead(nn.Module):
    """Fragment ions, the precursor and known formulae in one softmax."""

    needs: ClassVar[frozenset[Provides]] = frozenset({"graph", "atoms"})
    Options = FragmentOptions

    def __init__(
        self, options: FragmentOptions, width: int, vocabulary: dict[str, NDArray[Any]], *, atom_width: int
    ) -> None:
        super().__init__()
        self.options = options
        k = options.width
        self.fragments = FragmentVectors(k, atom_width, options.dropout, options.environments)
        self.fingerprint = nn.EmbeddingBag(CODES, width, mode="sum") if options.environments else None
        self.join = nn.Sequential(
            nn.LayerNorm(width), nn.ReLU(), nn.Dropout(2 * options.dropout), nn.Linear(width, width)
        )
        self.refine = ResidualBlock(width, 2 * options.dropout)
        self.condition = nn.Linear(width, k)
        self.metal = nn.Embedding(2, k)
        self.score = nn.Linear(k, options.max_shift + 1 + GAINED)
        self.known = KnownFormulae(formula_options(options), width, vocabulary) if vocabulary else None
        self.sides = nn.Linear(width, 2)
        with torch.no_grad():
            self.sides.bias.copy_(torch.tensor([5.0, 3.0]))

    @classmethod
    def featuriser(cls, options: Any) -> FragmentFeaturiser:
        return FragmentFeaturiser(options.max_fragments, options.max_shift)

    @classmethod
    def vocabulary(cls, options: Any, peaks: FlatPeaks) -> dict[str, NDArray[Any]]:
        return known_formulae(options, peaks)

    def targets(self, peaks: FlatPeaks) -> TargetTable:
        """Peaks up to the precursor: mz, intensity (share of the spectrum's, to `power`), weight."""
        options, owner = self.options, peaks.owner
        kept = (peaks.intensities > 0) & (peaks.mzs <= peaks.precursor_mz[owner] + 0.5)
        owner, mz = owner[kept], peaks.mzs[kept]
        learned = peaks.intensities[kept].astype(np.float64) ** options.power
        total = np.bincount(owner, learned, minlength=len(peaks.precursor_mz))
        counts = np.bincount(owner, minlength=len(peaks.precursor_mz))
        columns: dict[str, NDArray[Any]] = {
            "mz": mz,
            "intensity": (learned / np.maximum(total[owner], 1e-30)).astype(np.float32),
            "weight": ((mz / 100.0) ** options.mass_power).astype(np.float32),
        }
        return TargetTable(columns, np.concatenate([[0], np.cumsum(counts)]))

    def forward(self, hidden: Tensor, encoded: Encoded, batch: Batch) -> Output:
        ions = ion_table(batch.parts, batch.index, batch.ions, batch.precursor_mz)
        vectors = self.fragments(encoded, batch.parts)
        hidden = self._informed(hidden, batch)
        conditioned = self.condition(hidden).index_select(0, ions.spectrum) + self.metal(ions.metal)
        pairs = vectors.index_select(0, ions.fragment).add_(conditioned.index_select(0, ions.view)).relu_()
        scores = self.score(pairs)
        place = ions.pair * scores.shape[1] + ions.shift + self.options.max_shift
        ion_score = scores.flatten().index_select(0, place)
        score = log_sum(ion_score, ions.entry, len(ions.mz))
        sides = self.sides(hidden)
        blocks = [(torch.arange(batch.size, device=hidden.device), batch.precursor_mz, sides[:, 0])]
        number = batch.index[:0]
        if self.known is not None:
            known = self.known(hidden, ions.row, ions.mz, batch)
            score, blocks = score + known.adds, [*blocks, (known.row, known.mz, known.logit)]
            number = known.number
        blocks = [(ions.row, ions.mz, score), *blocks]
        row, mz, logit = (torch.cat(column) for column in zip(*blocks, strict=True))
        log_p, log_rest = log_softmax(logit, row, sides[:, 1])
        return Output(Entries(row, mz, log_p, log_rest), ions, ion_score, number)

    def _informed(self, hidden: Tensor, batch: Batch) -> Tensor:
        """hidden with the atom environments of the whole molecule, as a fingerprint counts them."""
        if self.fingerprint is None:
            return hidden
        codes = batch.parts["environments"]
        start = (batch.parts["size"].cumsum(0) - batch.parts["size"]) * codes.shape[1]
        whole = self.join(self.fingerprint(codes.flatten(), start))
        refined: Tensor = self.refine(hidden + whole.index_select(0, batch.index))
        return refined

    def loss(self, output: Output, batch: Batch) -> Tensor:
        """Mean over the batch: the chosen loss of whole spectra and, as `without_precursor` weighs it, of the rest."""
        o, t, entries = self.options, batch.targets, output.entries
        peak = nearest_peak(entries, t["row"], t["mz"], o.ppm, o.floor)
        loss = entries.log_p.new_zeros(())
        if o.without_precursor < 1:
            fit = sparse_fit(entries, peak, t["row"], t["intensity"], t["weight"], batch.size)
            loss = loss + (1 - o.without_precursor) * LOSSES[o.loss](fit).mean()
        if o.without_precursor > 0:
            fit, shown = self._rest_fit(entries, peak, batch)
            loss = loss + o.without_precursor * (LOSSES[o.loss](fit) * shown).sum() / shown.sum().clamp(min=1)
        return loss

    @staticmethod
    def _rest_fit(entries: Entries, peak: Tensor, batch: Batch) -> tuple[SparseFit, Tensor]:
        """The fit without the precursor region of the metrics, and (spectra,) 1 where peaks are left."""
        t = batch.targets
        out = (~_at_precursor(entries.mz, batch.precursor_mz[entries.row])).nonzero().squeeze(1)
        stays = ~_at_precursor(t["mz"], batch.precursor_mz[t["row"]])
        number = torch.cat([torch.where(stays, stays.cumsum(0) - 1, -1), stays.new_full((1,), -1, dtype=torch.long)])
        row, target = t["row"][stays], t["intensity"][stays]
        total = target.new_zeros(batch.size).index_add(0, row, target)
        target = target / total[row].clamp(min=1e-6)
        other, rest = entries.row.index_select(0, out), entries.log_rest
        assert rest is not None  # `forward` gives it
        log_p, log_rest = log_softmax(entries.log_p.index_select(0, out), other, rest)
        inner = Entries(other, entries.mz.index_select(0, out), log_p, log_rest)
        fit = sparse_fit(inner, number[peak.index_select(0, out)], row, target, t["weight"][stays], batch.size)
        return fit, (total > 0).to(log_p.dtype)

    def peaks(self, output: Output, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """The most intense entries, intensities with the power undone; entries within 2 ppm are one peak."""
        return self._strongest(output, batch)[:3]

    def origins(self, output: Output, batch: Batch) -> dict[str, list[Any]]:
        """Columns beside `peaks`: formula of the ion without charge; atoms and shift of its likeliest fragment."""
        row, *_, entry = self._strongest(output, batch)
        return peak_origins(output.ions, output.ion_score, output.number, self.known, entry, row, batch)

    def _strongest(self, output: Output, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        o = self.options
        return strongest(output.entries, batch.size, o.max_peaks, o.threshold, o.power)


def _at_precursor(mz: Tensor, precursor: Tensor) -> Tensor:
    return (mz >= precursor - PRECURSOR_BELOW) & (mz <= precursor + PRECURSOR_ABOVE)
