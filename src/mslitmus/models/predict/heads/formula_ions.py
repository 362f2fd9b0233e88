"""What the formula head sees of a molecule, its element counts, and the atoms of the ion that an adduct makes of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ....chem import molecule
from ....chem.formula import ELECTRON, MASSES
from ..features import Array, Ragged
from ..ions import ELEMENTS
from .formula_lists import spell

_COLUMN = {element: column for column, element in enumerate(ELEMENTS)}
_MASSES = np.array([MASSES[element] for element in ELEMENTS])
_TOKEN = re.compile(r"([A-Z][a-z]?)(\d*)")
_PPM, _FLOOR = 20.0, 0.02  # a stated precursor further than this from theory belongs to another ion


class ElementFeaturiser:
    """Element counts of molecules, and their mass (NaN where an element has no column in `ELEMENTS`)."""

    key = "element-counts"

    def compute(self, smiles: Sequence[str]) -> Ragged:
        """`counts` (n, ELEMENTS) int16, `mass` (n,) Da. Raises ChemistryError if one SMILES does not parse."""
        counts, known = np.zeros((len(smiles), len(ELEMENTS)), np.int16), np.ones(len(smiles), bool)
        for row, formula in enumerate(molecule.formulas(smiles)):
            for element, number in _TOKEN.findall(formula):
                if element in _COLUMN:
                    counts[row, _COLUMN[element]] += int(number or 1)
                else:
                    known[row] = False
        offsets = np.arange(len(smiles) + 1)
        mass = np.where(known, counts @ _MASSES, np.nan)
        return Ragged({"counts": counts, "mass": mass}, {"counts": offsets, "mass": offsets})

    def collate(self, features: Ragged) -> dict[str, Array]:
        """counts: (molecules, ELEMENTS); mass: (molecules,)."""
        return dict(features.arrays)


@dataclass(frozen=True)
class Ions:
    """Precursor ions of n spectra.

    Attributes:
        total: (n, columns) atoms of the ion, int64, none below 0.
        rest: (n, columns) the same less what carries the charge of a product: a product holds no more than this.
        hydrogen: (n,) hydrogens that carry the charge: 1, 0 (a metal does), −1.
        carrier: (n,) Da that the charge adds to a product.
        charge: (n,) number of charges.
        mz: (n,) Da of the ion: from its atoms, or as stated where these are not known.
    """

    total: Tensor
    rest: Tensor
    hydrogen: Tensor
    carrier: Tensor
    charge: Tensor
    mz: Tensor

    def take(self, rows: Any) -> Ions:
        """These ions: anything that indexes the first axis."""
        return Ions(*(getattr(self, field.name)[rows] for field in fields(self)))

    def chunks(self, size: int) -> Iterator[Ions]:
        """The ions in order, `size` at a time."""
        return (self.take(slice(start, start + size)) for start in range(0, len(self.mz), size))

    @staticmethod
    def of(
        features: Mapping[str, Tensor],
        index: Tensor,
        precursor_mz: Tensor,
        said: Mapping[str, Tensor],
        columns: Tensor | None = None,
    ) -> Ions:
        """features: of `ElementFeaturiser`; index: (n,) molecule of each; said: as `ions.describe` gives it;
        columns: of `ELEMENTS` that are wanted, default all.

        Atoms come from the formula even where the adduct was only assumed; the m/z then comes from the query, as it
        does where the formula has an element without a mass or makes another ion than the query states.
        """
        masses = torch.from_numpy(_MASSES).to(precursor_mz.device)
        sign, charge = torch.sign(said["charge"]), said["charge"].abs()
        gained, bound = said["gained"].double() @ masses, said["bound"].double() @ masses
        theory = (said["copies"] * features["mass"][index] + gained - said["charge"] * ELECTRON) / charge
        tolerance = (precursor_mz * _PPM * 1e-6).clamp(min=_FLOOR)
        strange = ~said["known"] | theory.isnan() | ((theory - precursor_mz).abs() > tolerance)
        every = torch.arange(len(ELEMENTS), device=index.device) if columns is None else columns
        held = said["bound"][:, every].long()
        atoms = features["counts"][:, every].long()[index] * said["copies"].unsqueeze(1)
        total = (atoms + said["gained"][:, every].long()).clamp(min=0)
        hydrogen = said["bound"][:, _COLUMN["H"]].long()
        return Ions(
            total, total - held, hydrogen, bound - sign * ELECTRON, charge, torch.where(strange, precursor_mz, theory)
        )


def spelled(ions: Ions, counts: tuple[Array, Array], columns: Tensor, entry: Tensor, row: Tensor) -> list[str]:
    """Formula, without charge, of the ion that each entry means in its spectrum.

    ions: of the batch, all elements (an ion may have some that no formula of the vocabulary has); counts: atoms of the
    products, then of the losses, in the `columns` of ELEMENTS; entry, row: (k,).
    """
    products, losses = counts
    listed = np.zeros((len(products) + len(losses), len(ELEMENTS)), np.int64)
    listed[:, columns.cpu().numpy()] = np.concatenate([products, losses])
    total, held = ions.total.cpu().numpy(), (ions.total - ions.rest).cpu().numpy()
    n, r = entry.cpu().numpy(), row.cpu().numpy()
    product = (n < len(products))[:, None]
    return [spell(atoms, ELEMENTS) for atoms in np.where(product, listed[n] + held[r], total[r] - listed[n])]
