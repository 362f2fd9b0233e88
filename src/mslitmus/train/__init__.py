"""Training: one loop for everything that learns by gradient, the model's own `fit` for the rest."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, cast

from ..errors import ConfigError

if TYPE_CHECKING:
    import polars as pl

    from ..models.protocol import FitContext, FitReport, Model, Trainable


def fit(model: Model, train: pl.DataFrame, val: pl.DataFrame, context: FitContext) -> FitReport:
    """Fit any model: the one entry point of studies. Torch is imported only for a model that offers batches."""
    if context.fitted is not None:
        require_bridge(model)
    if hasattr(model, "train_batches") and not getattr(model, "own_fit", False):
        from .loop import fit_trainable

        return fit_trainable(cast("Trainable", model), train, val, context)
    return model.fit(train, val, context)


def require_bridge(model: Model) -> None:
    """Raises ConfigError where a model cannot take what was fitted elsewhere."""
    if not hasattr(model, "inner"):
        raise ConfigError("only a bridge takes a model that was fitted elsewhere", remedy="leave out `fitted`")


def require_device(name: str, count: int = 1) -> None:
    """Raises ConfigError where `cuda` is asked for and not to be had, or fewer GPUs than `count`: at once, not after
    hours of other models."""
    if find_spec("torch") is None:
        return
    if name == "cuda":
        from .loop import resolve_device

        resolve_device(name)
    if count > 1 and (found := len(gpus(name))) and found < count:
        raise ConfigError(f"devices: {count} are asked for, {found} GPUs are here", remedy=f"devices: {found} at most")


def gpus(device: str) -> list[str]:
    """Names of the GPUs here as CUDA_VISIBLE_DEVICES takes them; none where `cpu` is asked for or torch is absent."""
    if device == "cpu" or find_spec("torch") is None:
        return []
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = torch.cuda.device_count()
    return named.split(",")[:count] if named else [str(number) for number in range(count)]


__all__ = ["fit", "gpus", "require_bridge", "require_device"]
