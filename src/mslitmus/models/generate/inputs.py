"""Spectra, formulae and fingerprints as padded tensors for the encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from ..embed.peaks import PeakTable, filled
from ..predict.batching import tensor, tensors
from ..predict.conditioning import ConditionVocabulary
from .smiles_tokens import PAD, FormulaTokens
from .transformer import Inputs

_FORMULAS = FormulaTokens()


@dataclass(frozen=True)
class InputTable:
    """n queries.

    Attributes:
        peaks: the most intense peaks and the conditions.
        formula: (n, elements) padded numbers; all 0 where the formula is not told.
        known: (n, bits / 8) packed fingerprints that are told, or (n, bits) numbers from 0 to 1; or none. Where all are
            0 none is told.
    """

    peaks: PeakTable
    formula: NDArray[np.int64]
    known: NDArray[np.uint8] | NDArray[np.float32] | None = None

    @classmethod
    def of(cls, frame: pl.DataFrame, vocabulary: ConditionVocabulary, top: int) -> InputTable:
        """`frame` as a query shows it; without the column `formula`, or where it is null, no formula is told."""
        told = frame["formula"].to_list() if "formula" in frame.columns else [None] * frame.height
        return cls(PeakTable.of(frame, vocabulary, top), formula_numbers(told))

    @classmethod
    def blank(
        cls,
        formulas: Sequence[str | None],
        known: NDArray[np.uint8] | NDArray[np.float32],
        vocabulary: ConditionVocabulary,
    ) -> InputTable:
        """Formulae and fingerprints without a spectrum: no peaks, unknown conditions."""
        n, nothing = len(formulas), np.zeros(0)
        rows = pl.DataFrame({"identifier": [str(k) for k in range(n)]}, schema={"identifier": pl.String})
        conditions = vocabulary.encode(filled(rows))
        peaks = PeakTable(nothing, nothing.astype(np.float32), np.zeros(n + 1, np.int64), np.zeros(n), conditions)
        return cls(peaks, formula_numbers(formulas), known)

    def __len__(self) -> int:
        return len(self.formula)

    def batch(self, rows: NDArray[np.int64], bits: int, device: torch.device | str, hide: float = 0.0) -> Inputs:
        """These queries, peaks padded to the longest; `hide` is the probability of hiding a peak."""
        peaks = self.peaks.take(rows)
        lengths = peaks.lengths
        most = max(1, int(lengths.max(initial=0)))
        place = np.arange(len(peaks.mzs)) - np.repeat(peaks.offsets[:-1], lengths)
        row = np.repeat(np.arange(len(rows)), lengths)
        mzs, heights = np.zeros((len(rows), most)), np.zeros((len(rows), most), np.float32)
        present = np.zeros((len(rows), most), bool)
        mzs[row, place], heights[row, place], present[row, place] = peaks.mzs, peaks.intensities, True
        losses = np.where(present, peaks.precursor_mz[:, None] - mzs, 0.0)
        shown = tensor(present, device)
        if hide > 0:
            shown = shown & (torch.rand(shown.shape, device=device) >= hide)
        known, told = self._known(rows, bits)
        return Inputs(
            tensor(mzs, device),
            tensor(losses, device),
            tensor(heights, device),
            shown,
            tensor(self.formula[rows], device),
            tensors(peaks.conditions, device),
            tensor(known, device),
            tensor(told, device),
        )

    def _known(self, rows: NDArray[np.int64], bits: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        if self.known is None:
            return np.zeros((len(rows), bits), np.float32), np.zeros(len(rows), bool)
        known = self.known[rows]
        values: NDArray[np.float32] = (
            np.unpackbits(known.astype(np.uint8), axis=1).astype(np.float32)
            if known.dtype == np.uint8
            else known.astype(np.float32)
        )
        return values, np.asarray(values.any(axis=1), bool)


def formula_numbers(formulas: Sequence[str | None]) -> NDArray[np.int64]:
    """(n, elements) numbers of `FormulaTokens`, padded."""
    out = np.full((len(formulas), len(_FORMULAS.elements)), PAD, np.int64)
    for row, text in zip(out, formulas, strict=True):
        numbers = _FORMULAS.encode(text) if text else []
        row[: len(numbers)] = numbers
    return out
