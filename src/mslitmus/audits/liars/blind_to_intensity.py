"""Peaks without heights: a look-up to which a trace is as good as the base peak."""

from __future__ import annotations

from typing import Any, ClassVar

from .company import Alone
from .copied_bits import LookUp
from .liar import Liar


class IntensityBlind(LookUp):
    """Every peak counts 1 (intensity to the power 0)."""

    name = "intensity-blind"
    settings: ClassVar[dict[str, Any]] = {"intensity_power": 0.0, "score": "cosine"}


INTENSITY_BLIND = Liar(
    name="intensity blind",
    story="models whose answers follow the set of fragment formulae and not their intensities: Khoo & Barzilay on MIST",
    planted="the look-up takes every intensity to the power 0",
    task="fingerprint",
    task_options={},
    row=lambda dose: {"model": IntensityBlind.name},
    honest={"model": Alone.name},
    audits=("spectrum-ablation", "intensity-blindness"),
    gains="",
)
