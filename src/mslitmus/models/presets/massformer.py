"""massformer: graphormer × bidirectional with the training choices of MassFormer, every one of them open to change.

Source: Young, Röst, Wang, "Tandem mass spectrum prediction for small molecules using graph transformers", Nature
Machine Intelligence 2024, and the settings its authors publish for NIST20: Graphormer base, four residual layers of
1,000 with dropout 0.4, bins of 1 Da to m/z 1000, gated forward and reverse prediction, cosine loss, AdamW with a peak
rate of 0.0002, weight decay 0.001, gradients of four batches of 100 added up, norms of at most 5, 20 epochs.

What differs here: the paper starts from weights pretrained on PCQM4Mv2 (3.7 million molecules), which nothing here
has, and adds adversarial noise to the atoms' embeddings; its intensities are log₁₀(1000 x + 1) / 3, here square roots;
its rate falls linearly, here as a cosine. The base encoder has 43 million parameters and wants a GPU; what smaller
ones cost is in `docs/encoders.md`: `{model: massformer, options: {encoder: {size: slim}}}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..options import parse_options
from ..predict.predictor import NeuralOptions, NeuralPredictor
from .neims import merge

PRESET: Mapping[str, Any] = {
    "encoder": {"name": "graphormer", "size": "base"},
    "head": {"name": "bidirectional", "width": 1.0, "max_mz": 1000.0, "loss": "cosine", "power": 0.5},
    "trunk": {"width": 1000, "layers": 4, "dropout": 0.4},
    "training": {
        "epochs": 20, "batch_size": 400, "per_molecule": 1, "learning_rate": 2e-4, "schedule": "cosine",
        "weight_decay": 0.001, "clip": 5.0,
    },
}  # fmt: skip


class MassFormer(NeuralPredictor):
    """`neural` with MassFormer's choices underneath: `MassFormer(encoder={"size": "slim"})` changes that one alone."""

    name = "massformer"

    def __init__(self, **options: Any) -> None:
        parse_options(NeuralOptions, options, where="model 'massformer'")
        super().__init__(**merge(PRESET, options))
