"""Spectra as tokens: the precursor first, then the strongest peaks, each with its sub-formula where there is one.

Peaks are annotated once a table (`chem.subformula`, the best candidate within the tolerance); what is kept are flat
arrays over all peaks, from which a batch is gathered without a loop. The counts of a neutral loss are those of the ion
less those of the fragment. Peaks are put into ascending order first, so the order they come in changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from ...chem.compositions import Rules
from ...chem.formula import parse_adduct, parse_formula
from ...chem.subformula import annotate_frame
from ...errors import ChemistryError
from ...spectra.flat import precursors, strongest
from ..options import Options
from ..predict.batching import tensor, tensors
from ..predict.features import gather_rows
from .base import unpacked

#: Columns of every array of counts; all other elements share the last one.
ELEMENTS = ("C", "H", "N", "O", "P", "S", "F", "Cl", "Br", "I", "Si", "B", "Se", "As", "Na", "K", "other")
_COLUMN = {element: column for column, element in enumerate(ELEMENTS)}
SCALARS = 5  # of a token: √intensity, log intensity, mass error and its size in tolerances, isotope partner
_LARGEST = 255


class PeakOptions(Options):
    """Which peaks become tokens, and how they are explained."""

    max_peaks: int = Field(40, ge=1, le=1000, description="the strongest; the precursor's token comes on top")
    ppm: float = Field(10.0, gt=0, le=100, description="of a sub-formula")
    floor: float = Field(0.001, ge=0, le=0.1, description="Da; least tolerance of a sub-formula")
    unannotated: Literal["keep", "drop"] = Field("keep", description="peaks without a sub-formula, as m/z tokens")


@dataclass(frozen=True)
class TokenBatch:
    """Padded tokens; token 0 of each spectrum is its precursor.

    Attributes:
        counts: (spectra, length, elements) atoms of the fragment ion; 0 where `explained` is false.
        ion: (spectra, elements) atoms of the precursor ion, 0 where unknown.
        scalars: (spectra, length, SCALARS).
        mz, loss: (spectra, length) Da, f64: m/z, and the precursor's m/z less it.
        explained: (spectra, length) whether the token has a formula.
        real: (spectra, length) false on padding.
        conditions: named condition arrays, (spectra, …).
        bits: (spectra, 2048) of 0/1; empty in prediction.
    """

    counts: Tensor
    ion: Tensor
    scalars: Tensor
    mz: Tensor
    loss: Tensor
    explained: Tensor
    real: Tensor
    conditions: Mapping[str, Tensor]
    bits: Tensor


@dataclass(frozen=True)
class TokenTable:
    """All spectra of a fold as flat arrays; spectrum i owns peaks offsets[i] … offsets[i + 1].

    Attributes:
        offsets: (n + 1,).
        counts: (peaks, elements), u8; scalars: (peaks, SCALARS); mz: (peaks,); explained: (peaks,).
        ion: (n, elements), u8; known: (n,) whether it is; precursor_mz: (n,) Da.
        conditions: arrays (n, …); molecule: (n,); packed: (molecules, 256), empty for queries.
    """

    offsets: NDArray[np.int64]
    counts: NDArray[np.uint8]
    scalars: NDArray[np.float32]
    mz: NDArray[np.float64]
    explained: NDArray[np.bool_]
    ion: NDArray[np.uint8]
    known: NDArray[np.bool_]
    precursor_mz: NDArray[np.float64]
    conditions: Mapping[str, NDArray[Any]]
    molecule: NDArray[np.int64]
    packed: NDArray[np.uint8]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(n,) peaks of each spectrum."""
        return np.diff(self.offsets)

    def batch(self, rows: NDArray[np.int64], device: torch.device) -> TokenBatch:
        """These spectra, padded to the longest of them."""
        peaks, starts = gather_rows(self.offsets, rows)
        n, lengths = len(rows), np.diff(starts)
        length = 1 + int(lengths.max(initial=0))
        who = np.repeat(np.arange(n), lengths)
        at = 1 + np.arange(len(peaks)) - np.repeat(starts[:-1], lengths)
        counts = np.zeros((n, length, len(ELEMENTS)), np.uint8)
        scalars = np.zeros((n, length, SCALARS), np.float32)
        mz = np.zeros((n, length))
        explained, real = np.zeros((n, length), bool), np.zeros((n, length), bool)
        counts[:, 0], mz[:, 0] = self.ion[rows], self.precursor_mz[rows]
        explained[:, 0], real[:, 0] = self.known[rows], True
        counts[who, at], scalars[who, at], mz[who, at] = self.counts[peaks], self.scalars[peaks], self.mz[peaks]
        explained[who, at], real[who, at] = self.explained[peaks], True
        return TokenBatch(
            tensor(counts, device).long(),
            tensor(self.ion[rows], device).long(),
            tensor(scalars, device),
            tensor(mz, device),
            tensor(np.where(real, self.precursor_mz[rows][:, None] - mz, 0.0), device),
            tensor(explained, device),
            tensor(real, device),
            tensors({name: values[rows] for name, values in self.conditions.items()}, device),
            tensor(unpacked(self.packed, self.molecule[rows]), device),
        )


def tokens(
    frame: pl.DataFrame,
    formulas: pl.Series | None,
    options: PeakOptions,
    conditions: Mapping[str, NDArray[Any]],
    molecule: NDArray[np.int64],
    packed: NDArray[np.uint8],
) -> TokenTable:
    """The table of a SPECTRA frame. `formulas` of the neutral molecules, null where unknown; None: no peak has one.

    A spectrum whose formula and adduct make no ion keeps its formula as the precursor's, and its peaks have none.
    """
    owner, (mz, height, offsets) = strongest(frame, options.max_peaks)
    precursor = np.nan_to_num(precursors(frame))
    counts = np.zeros((len(mz), len(ELEMENTS)), np.uint8)
    explained, error = np.zeros(len(mz), bool), np.zeros(len(mz))
    isotope, ion = np.zeros(len(mz), bool), np.zeros((frame.height, len(ELEMENTS)), np.uint8)
    known = np.zeros(frame.height, bool)
    if formulas is not None:
        ion, known = ions(formulas, frame["adduct"])
        found = _annotated(frame, formulas, mz, height, offsets, options)
        at = offsets[found["identifier"].cast(pl.Int64).to_numpy()] + found["peak"].cast(pl.Int64).to_numpy()
        counts[at], explained[at], error[at] = formula_counts(found["formula"]), True, found["error_ppm"].to_numpy()
        isotope[at] = (found["isotope"] != "").to_numpy()
        if options.unannotated == "drop":
            owner, mz, height = owner[explained], mz[explained], height[explained]
            counts, error, isotope = counts[explained], error[explained], isotope[explained]
            explained = explained[explained]
            offsets = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=frame.height))]).astype(np.int64)
    wide = np.maximum(options.ppm, options.floor / np.maximum(mz, 1.0) * 1e6)
    columns = [np.sqrt(height), np.log10(np.maximum(height, 1e-4)) / 4 + 1, error / wide, np.abs(error / wide), isotope]
    scalars = np.stack(columns, axis=1).astype(np.float32)
    return TokenTable(offsets, counts, scalars, mz, explained, ion, known, precursor, conditions, molecule, packed)


def _annotated(
    frame: pl.DataFrame,
    formulas: pl.Series,
    mz: NDArray[np.float64],
    height: NDArray[np.float64],
    offsets: NDArray[np.int64],
    options: PeakOptions,
) -> pl.DataFrame:
    """The best candidate of each explained peak; `identifier` is the number of the row."""
    lists = {"mzs": mz, "intensities": height}
    row = np.repeat(np.arange(frame.height), np.diff(offsets))
    spectra = (
        pl.DataFrame({"identifier": row, **lists}, schema_overrides={"identifier": pl.Int64})
        .group_by("identifier", maintain_order=True)
        .agg("mzs", "intensities")
    )
    beside = pl.DataFrame({"identifier": np.arange(frame.height), "formula": formulas, "adduct": frame["adduct"]})
    spectra = spectra.join(beside, on="identifier", how="left", maintain_order="left")
    return annotate_frame(
        spectra.with_columns(pl.col("identifier").cast(pl.String)),
        options.ppm,
        rules=Rules(floor=options.floor),
        best_only=True,
        on_error="skip",
    )


def ions(formulas: pl.Series, adducts: pl.Series) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Atoms of the precursor ions (n, elements), and whether the formula is known (n,)."""
    pairs = pl.DataFrame({"formula": formulas, "adduct": adducts})
    distinct = pairs.unique(maintain_order=True).with_row_index("number")
    number = pairs.join(distinct, on=["formula", "adduct"], how="left", nulls_equal=True, maintain_order="left")
    counts = np.zeros((distinct.height, len(ELEMENTS)), np.uint8)
    known = np.zeros(distinct.height, bool)
    for row, (formula, adduct) in enumerate(zip(distinct["formula"], distinct["adduct"], strict=True)):
        try:
            ion = parse_formula(formula) if formula else None
        except ChemistryError:
            ion = None
        if ion is None:
            continue
        with suppress(ChemistryError):  # else the molecule's own atoms stand for those of an ion that cannot be
            ion = parse_adduct(adduct).ion_formula(ion) if adduct else ion
        _fill(counts[row], ion.counts)
        known[row] = True
    at = number["number"].to_numpy()
    return counts[at], known[at]


def formula_counts(formulas: pl.Series) -> NDArray[np.uint8]:
    """(n, elements) of formulae; each distinct one is read once."""
    distinct = formulas.unique(maintain_order=True)
    counts = np.zeros((len(distinct), len(ELEMENTS)), np.uint8)
    for row, text in zip(counts, distinct, strict=True):
        _fill(row, parse_formula(text).counts)
    number = formulas.replace_strict(distinct, np.arange(len(distinct)), return_dtype=pl.Int64)
    found: NDArray[np.uint8] = counts[number.to_numpy().astype(np.int64)]
    return found


def _fill(row: NDArray[np.uint8], counts: tuple[tuple[str, int], ...]) -> None:
    other = len(ELEMENTS) - 1
    for element, count in counts:
        column = _COLUMN.get(element, other)
        row[column] = min(_LARGEST, int(row[column]) + max(count, 0))
