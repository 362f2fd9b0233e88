"""neims: fingerprint × bidirectional with the training choices of NEIMS, every one of them open to change.

Source: Wei, Belanger, Adams, Sculley, "Rapid prediction of electron-ionization mass spectrometry using neural
networks", ACS Central Science 2019: Morgan fingerprints (radius 2, 4096 bits), residual layers of 2,000 units with
dropout 0.25, bins of 1 Da, gated forward and reverse prediction, squared error on square-root intensities weighted by
mass, Adam at 0.001 in batches of 100. The paper predicts electron ionisation at one energy; the conditioning on
adduct, instrument and energy is what tandem spectra add. Its seven residual layers are split here between encoder and
trunk (five and two). At full size an epoch of MassBank takes minutes on two cores: `configs/massbank.yaml` says which
sizes it takes instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..options import parse_options
from ..predict.predictor import NeuralOptions, NeuralPredictor

PRESET: Mapping[str, Any] = {
    "encoder": {"name": "fingerprint", "radius": 2, "bits": 4096, "width": 2000, "layers": 5, "dropout": 0.25},
    "head": {
        "name": "bidirectional", "width": 1.0, "max_mz": 1005.0, "loss": "weighted-mse", "power": 0.5,
        "mass_power": 1.0,
    },
    "trunk": {"width": 2000, "layers": 2, "dropout": 0.25},
    "training": {
        "epochs": 100, "batch_size": 100, "per_molecule": 1, "learning_rate": 1e-3, "schedule": "constant",
        "weight_decay": 0.0,
    },
}  # fmt: skip


class NEIMS(NeuralPredictor):
    """`neural` with NEIMS's choices underneath: `NEIMS(training={"epochs": 20})` changes that one alone."""

    name = "neims"

    def __init__(self, **options: Any) -> None:
        parse_options(NeuralOptions, options, where="model 'neims'")
        super().__init__(**merge(PRESET, options))


def merge(preset: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """`options` over `preset`, key by key, one level deep. A part named anew starts from that part's own defaults."""
    merged = {name: dict(value) for name, value in preset.items()}
    for name, value in options.items():
        if isinstance(value, str) and name in merged:
            value = {"name": value}
        base = merged.get(name)
        if not isinstance(value, Mapping) or base is None or value.get("name", base.get("name")) != base.get("name"):
            merged[name] = value
        else:
            merged[name] = {**base, **value}
    return merged
