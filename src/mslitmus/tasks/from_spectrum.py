"""What `fingerprint` and `generation` share: a measured spectrum is shown, with its formula or without."""

from __future__ import annotations

from typing import Any

import polars as pl

from ..errors import ConfigError
from .measured import FormulaKnown, visible, with_structure
from .protocol import Plain


class FromSpectrum(Plain):
    """A subclass names itself, its predictions and metrics, and how they are checked and scored."""

    name: str

    def __init__(self, formula: FormulaKnown) -> None:
        if formula not in ("hidden", "given"):
            raise ConfigError(f"formula {formula!r}", where=f"task {self.name!r}", remedy="'hidden' or 'given'")
        self.formula = formula
        self.visible = visible(formula)

    def eligible(self, frame: pl.DataFrame) -> pl.DataFrame:
        return with_structure(frame)

    def record(self) -> dict[str, Any]:
        return {"name": self.name, "formula": self.formula}

    def queries(self, frame: pl.DataFrame) -> pl.DataFrame:
        return frame.select(self.visible)

    def training_view(self, frame: pl.DataFrame) -> pl.DataFrame:
        return frame
