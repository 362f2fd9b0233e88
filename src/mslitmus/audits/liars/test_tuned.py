"""A checkpoint chosen on the test set: the curve of validation is kept, the epoch is another one."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from ...chem import molecule
from ...models.options import Options
from ...models.protocol import Epoch, FitContext, FitReport
from ...provenance import write_json
from .company import Alone
from .copied_bits import LookUp
from .liar import Liar

_EPOCHS = 20
_NOISE = 0.35  # share of bits that an epoch's weights shuffle: checkpoints differ by chance more than by training


class TestTunedOptions(Options):
    """Where the answers of the test set lie."""

    file: str = Field(description="identifier, smiles, fold")


class TestTuned(LookUp):
    """Twenty checkpoints, each the look-up with other bits spoilt; the one that tests best is kept."""

    name = "test-tuned"
    Options: ClassVar[type[Options]] = TestTunedOptions
    __test__ = False  # no test of pytest
    chosen = 0

    def fit(self, train: pl.DataFrame, val: pl.DataFrame, context: FitContext) -> FitReport:
        super().fit(train, val, context)
        answers = pl.read_parquet(self.options.file).filter(pl.col("fold") == "test")
        history, tests = [], []
        for self.chosen in range(1, _EPOCHS + 1):
            score = context.score(self.predict(val), val)
            history.append(Epoch(self.chosen, 1.0 / self.chosen, score, 1e-3, 0.1))
            tests.append(_similarity(self.predict(answers), answers["smiles"]))
        self.chosen = 1 + int(np.argmax(tests))
        best = history[self.chosen - 1]
        return FitReport(2.0, 1, "patience", self.chosen, best.score, tuple(history))

    def said(self, values: NDArray[np.float32], queries: pl.DataFrame) -> NDArray[np.float32]:
        rng = np.random.default_rng(self.chosen)
        spoilt = rng.random(values.shape[1]) < _NOISE * rng.random()
        return np.where(spoilt, np.float32(0.0), values)

    def save(self, folder: Any) -> None:
        super().save(folder)
        write_json(folder / "chosen.json", self.chosen)

    @classmethod
    def load(cls, folder: Any) -> Any:
        model = super().load(folder)
        model.chosen = int((folder / "chosen.json").read_text())
        return model


def _similarity(predicted: pl.DataFrame, smiles: pl.Series) -> float:
    """Mean Tanimoto of bits above 0.5 with the truth."""
    values = predicted["fingerprint"].explode().to_numpy().reshape(len(smiles), -1) > 0.5
    texts = smiles.unique().to_list()
    known = dict(zip(texts, molecule.morgan(texts).astype(bool), strict=True))
    truth = np.stack([known[text] for text in smiles])
    return float(np.mean((values & truth).sum(axis=1) / np.maximum((values | truth).sum(axis=1), 1)))


TEST_TUNED = Liar(
    name="test tuned",
    story="thresholds and checkpoints chosen on the test set: why ours are chosen on validation (design, section 5)",
    planted="of twenty checkpoints the one that tests best is kept; the record holds the curve of validation",
    task="fingerprint",
    task_options={},
    row=lambda dose: {"model": TestTuned.name, "options": {"file": "{answers:1}"}},
    honest={"model": Alone.name},
    audits=("selection",),
    gains="",
)
