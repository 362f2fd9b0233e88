"""Reading a checkpoint of DreaMS: its weights and settings, and nothing of its code.

A Lightning checkpoint is a pickle, and that of DreaMS names classes of its own package, of argparse and of pathlib.
torch's loader with `weights_only` refuses them. Here each such name stands for an inert object that keeps what it was
given and can do nothing; nothing is imported, nothing that the file names is called.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...errors import ModelError


@dataclass(frozen=True)
class Published:
    """What the weights alone do not tell; the defaults are those of the published networks."""

    layers: int
    heads: int = 8
    pre_norm: bool = True
    biases: bool = False
    scale_norm: bool = False
    differences: bool = True
    max_mz: float = 1000.0
    precursor_intensity: float = 1.1


class _Inert:
    """Stands for an object of a class that is not loaded: its state, if it had one, in `__dict__`."""

    def __new__(cls, *arguments: Any, **named: Any) -> _Inert:
        return object.__new__(cls)

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self.given = arguments

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            self.__dict__.update(state)


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """(weights, hyper-parameters, those of its `args` among them). Raises ModelError where the file holds none.

    Needs torch 2.6 for a checkpoint with classes of its own.
    """
    try:
        with warnings.catch_warnings():  # of another pickle protocol, in a file that Lightning did not write
            warnings.simplefilter("ignore")
            checkpoint = _load(path)
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, AttributeError, pickle.UnpicklingError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        remedy = "give a checkpoint (.ckpt) that PyTorch Lightning wrote, downloaded whole"
        raise ModelError(f"the checkpoint cannot be read safely: {first}", where=str(path), remedy=remedy) from error
    weights = checkpoint.get("state_dict") if isinstance(checkpoint, dict) else None
    if not isinstance(weights, Mapping) or not all(isinstance(v, Tensor) for v in weights.values()):
        raise ModelError("the checkpoint has no state_dict of tensors", where=str(path), remedy="give another file")
    told = checkpoint.get("hyper_parameters")
    settings = dict(told) if isinstance(told, Mapping) else {}
    settings |= vars(settings["args"]) if hasattr(settings.get("args"), "__dict__") else {}
    return {name: value.detach().float() for name, value in weights.items()}, settings


def _load(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(str(path))
        stubs: list[Any] = [(type("Inert", (_Inert,), {}), name) for name in names]
        with torch.serialization.safe_globals(stubs):
            return torch.load(path, map_location="cpu", weights_only=True)


def settings_of(weights: Mapping[str, Tensor], told: Mapping[str, Any], path: Path) -> Published:
    """From the hyper-parameters, where a checkpoint has them, and the names of its weights.

    Raises ModelError for a variant that is not reimplemented here.
    """
    prefix = "transformer_encoder.atts."
    layers = 1 + max(int(name.removeprefix(prefix).split(".")[0]) for name in weights if name.startswith(prefix))
    variants = {
        "vanilla_transformer": bool(told.get("vanilla_transformer")),
        "charge_feature": bool(told.get("charge_feature")),
        "attn_mech": told.get("attn_mech", "dot-product") != "dot-product",
        "graphormer_parametrized": any("lin_graphormer" in name for name in weights),
    }
    if odd := [name for name, there in variants.items() if there]:
        what = f"a variant of DreaMS that is not supported: {', '.join(odd)}"
        raise ModelError(what, where=str(path), remedy="take one of the published networks")
    norms = [name for name in weights if name.startswith("transformer_encoder.scales.")]
    count = 1 + max((int(name.split(".")[2]) for name in norms), default=-1)
    heads = told.get("n_heads", Published.heads)
    return Published(
        layers,
        heads=int(heads),
        pre_norm=bool(told.get("pre_norm", count == 2 * layers + 1)),
        biases=f"{prefix}0.biases" in weights,
        scale_norm="transformer_encoder.scales.0.scale" in weights,
        differences=bool(told.get("graphormer_mz_diffs", Published.differences)),
        max_mz=float(getattr(told.get("dformat"), "max_mz", Published.max_mz)),
        precursor_intensity=float(told.get("prec_intens") or Published.precursor_intensity),
    )
