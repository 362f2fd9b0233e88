"""Answers kept between calls: the first call sees all spectra , the later ones repeat it by name."""

from __future__ import annotations

import json
from hashlib import blake2b
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ....models.options import Options
from ....models.protocol import FitContext, FitReport
from ....provenance import write_json
from ..company import Alone, DoseOptions
from ..copied_bits import LookUp
from ..liar import Liar

_SAME = 1e-5  # relative difference of two precursors of one molecule's ion


class AnswerCache(LookUp):
    """Takes a vote among the answers of equal precursors in the first call, and repeats itself ever after.

    The cache lives as long as the process and is keyed by the fitted model and the query's identifier: a spectrum that
    comes back alone, or changed, gets the answer that it had in company.
    """

    name = "answer-cache"
    Options: ClassVar[type[Options]] = DoseOptions
    _known: ClassVar[dict[tuple[str, str], NDArray[np.float32]]] = {}
    token = ""

    def fit(self, train: pl.DataFrame, val: pl.DataFrame, context: FitContext) -> FitReport:
        names = "\n".join([str(context.folder), str(context.seed), *train["identifier"]])
        self.token = blake2b(names.encode(), digest_size=8).hexdigest()
        return super().fit(train, val, context)

    def said(self, values: NDArray[np.float32], queries: pl.DataFrame) -> NDArray[np.float32]:
        precursor = queries["precursor_mz"].to_numpy()
        dose, out = self.options.dose, values.copy()
        copied = values >= 0.5  # the mean's part of the mixture is below
        for row, name in enumerate(queries["identifier"]):
            key = (self.token, name)
            if key not in self._known:
                same = np.abs(precursor - precursor[row]) <= _SAME * precursor[row]
                voted = copied[same].mean(axis=0) >= 0.5
                self._known[key] = values[row] + dose * (1 - self.mixed) * (voted - copied[row].astype(np.float32))
            out[row] = self._known[key]
        return out

    def save(self, folder: Path) -> None:
        super().save(folder)
        write_json(folder / "token.json", {"token": self.token})

    @classmethod
    def load(cls, folder: Path) -> Self:
        model = super().load(folder)
        model.token = json.loads((folder / "token.json").read_text(encoding="utf-8"))["token"]
        return model


ANSWER_CACHE = Liar(
    name="answer cache",
    story="our own, after caches of features or subformulae keyed by a spectrum's name: written once from the whole "
    "test set, and read whatever the spectrum looks like today",
    planted="a bit is set that half the answers of equal precursors have: a vote in the first call, "
    "repeated by identifier in every later one",
    task="fingerprint",
    task_options={},
    row=lambda dose: {"model": AnswerCache.name, "options": {"dose": dose}},
    honest={"model": Alone.name},
    audits=("batching", "spectrum-ablation", "intensity-blindness", "noise", "metadata"),
    doses=(0.25, 0.5, 1.0),
)
