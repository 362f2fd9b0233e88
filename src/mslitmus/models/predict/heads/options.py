"""What every head lets one choose: how intensities are learned, and how many peaks come out."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ...options import Options


class HeadOptions(Options):
    """Options of all heads."""

    loss: Literal["cosine", "cross-entropy", "entropy", "weighted-mse"] = "cosine"
    power: float = Field(0.5, gt=0, le=1, description="intensities are learned to this power, and predicted undone")
    mass_power: float = Field(0.0, ge=0, le=3, description="weighted-mse: weight (m/z / 100)^mass_power")
    max_peaks: int = Field(128, ge=1, le=10_000, description="predicted, the most intense")
    threshold: float = Field(0.001, ge=0, lt=1, description="of the base peak; fainter peaks are not predicted")
