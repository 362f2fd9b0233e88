"""Training: one loop for everything that learns by gradient, the model's own `fit` for the rest."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, cast

from ..errors import ConfigError

if TYPE_CHECKING:
    import polars as pl

    from ..models.protocol import FitContext, FitReport, Model, Trainable


def fit(model: Model, train: pl.DataFrame, val: pl.DataFrame, context: FitContext) -> FitReport:
    """Fit any model: the one entry point of studies. Torch is imported only for a model that offers batches."""
    if context.fitted is not None and not hasattr(model, "inner"):
        raise ConfigError("only a bridge takes a model that was fitted elsewhere", remedy="leave out `fitted`")
    if hasattr(model, "train_batches"):
        from .loop import fit_trainable

        return fit_trainable(cast("Trainable", model), train, val, context)
    return model.fit(train, val, context)


def require_device(name: str) -> None:
    """Raises ConfigError where `cuda` is asked for and not to be had: at once, not after hours of other models."""
    if name == "cuda" and find_spec("torch") is not None:
        from .loop import resolve_device

        resolve_device(name)


__all__ = ["fit", "require_device"]
