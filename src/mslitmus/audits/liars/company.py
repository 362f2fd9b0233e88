"""Answers that depend on the company: on the batch, on what stood in the buffer before, on the order of the rows.

Test sets list the spectra of a molecule one after the other. A model whose answer leaks into the next one's is then
shown one molecule several times, which no user's single spectrum offers.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from ...models.options import Options
from .copied_bits import LookUp
from .liar import Liar

_BATCH = 64


class DoseOptions(Options):
    """How much of it."""

    dose: float = Field(1.0, ge=0, le=1)


class BatchMean(LookUp):
    """Means the answers of all rows of a batch that state the same precursor (10 ppm): they are of one molecule."""

    name = "batch-mean"
    Options: ClassVar[type[Options]] = DoseOptions

    def said(self, values: NDArray[np.float32], queries: pl.DataFrame) -> NDArray[np.float32]:
        out = values.copy()
        precursor = queries["precursor_mz"].to_numpy()
        for start in range(0, len(values), _BATCH):
            part = slice(start, start + _BATCH)
            same = np.abs(precursor[part, None] - precursor[None, part]) <= 1e-5 * precursor[part, None]
            mean = (same @ values[part]) / same.sum(axis=1, keepdims=True)
            out[part] = (1 - self.options.dose) * values[part] + self.options.dose * mean
        return np.clip(out, 0, 1)


class StaleBuffer(LookUp):
    """Copies each spectrum into one buffer that nobody clears: behind a shorter one stand the peaks of the last."""

    name = "stale-buffer"
    Options: ClassVar[type[Options]] = DoseOptions

    def seen(self, queries: pl.DataFrame) -> pl.DataFrame:
        buffer: list[tuple[float, float]] = []
        mzs, intensities = [], []
        for own_mz, own in queries.select("mzs", "intensities").iter_rows():
            peaks = list(zip(own_mz, own, strict=True))
            stale = buffer[len(peaks) :]
            buffer = peaks + stale
            shown = sorted(peaks + stale[: round(self.options.dose * len(stale))])
            mzs.append([mz for mz, _ in shown])
            intensities.append([height for _, height in shown])
        lists = (pl.Series("mzs", mzs, pl.List(pl.Float64)), pl.Series("intensities", intensities, pl.List(pl.Float32)))
        return queries.with_columns(*lists)


class CarriedState(LookUp):
    """Carries a state from row to row that nobody resets: answer = (1 − a) · own + a · last answer, a = dose / 2."""

    name = "carried-state"
    Options: ClassVar[type[Options]] = DoseOptions

    def said(self, values: NDArray[np.float32], queries: pl.DataFrame) -> NDArray[np.float32]:
        out, keep = values.copy(), self.options.dose / 2
        for row in range(1, len(out)):
            out[row] = (1 - keep) * values[row] + keep * out[row - 1]
        return out


class Alone(LookUp):
    """The same look-up without any of it."""

    name = "plain-look-up"


def _liar(name: str, story: str, planted: str, model: type[LookUp]) -> Liar:
    return Liar(
        name=name, story=story, planted=planted, task="fingerprint", task_options={}, audits=("batching",),
        row=lambda dose: {"model": model.name, "options": {"dose": dose}}, honest={"model": Alone.name},
        doses=(0.1, 0.25, 0.5, 1.0), gains="",
    )  # fmt: skip


BATCH_MEAN = _liar(
    "batch averager",
    "our own, after batch normalisation left in training mode: a batch of 1 against N (design, section 7)",
    "the answers of a batch's rows of one precursor are averaged",
    BatchMean,
)
STALE_BUFFER = _liar(
    "stale buffer",
    "padding that is read: the peaks of the longer spectrum before stand behind a shorter one's (design, section 7)",
    "one buffer for all spectra, never cleared",
    StaleBuffer,
)
CARRIED_STATE = _liar(
    "carried state",
    "our own, after recurrent networks whose state is not reset between queries",
    "half of every answer is the answer before",
    CarriedState,
)
