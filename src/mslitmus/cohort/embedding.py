"""A run told by what a trained model makes of its spectra."""

from __future__ import annotations

import hashlib
import pickle
import uuid
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..errors import ConfigError, MissingExtraError, ModelError
from ..provenance import code_hash, file_hash
from .representation import words_frame


class Embedder(Protocol):
    """Anything that turns spectra into vectors."""

    def embed(self, frame: pl.DataFrame) -> NDArray[np.float32]:
        """(n, d) of n rows of schema SPECTRA."""
        ...


class Embedding:
    """The vectors of any embedder.

    Args:
        model: an embedder, or the folder of a trained one; it is loaded when the first spectra come.
        name: of the representation; default: the folder's.
    """

    bag = False
    aggregations: tuple[str, ...] = ("mean", "weighted", "max", "quantile", "kmeans")

    def __init__(self, model: Embedder | str | Path | None = None, name: str | None = None) -> None:
        if model is None:
            raise ConfigError("embedding without a model", remedy="--representation FOLDER of a trained embedder")
        self._model = model
        self.name = name or (Path(model).resolve().name if isinstance(model, str | Path) else "embedding")
        self._opened: Embedder | None = None if isinstance(model, str | Path) else model

    def vectors(self, spectra: pl.DataFrame) -> Any:
        """(n, d) float32. Raises ModelError for vectors that are not finite or not one a spectrum."""
        if self._opened is None:
            self._opened = _load(Path(str(self._model)))
        found = np.asarray(self._opened.embed(spectra), np.float32)
        if found.ndim != 2 or found.shape[0] != spectra.height or not np.isfinite(found).all():
            what = f"{found.shape} values for {spectra.height} spectra, or values that are not finite"
            raise ModelError(what, where=self.name, remedy="an embedder gives one finite vector a spectrum")
        return found

    def words(self, index: NDArray[np.int64]) -> pl.DataFrame:
        n = index.size
        return words_frame(index, [f"dimension {i}" for i in index], ["dimension"] * n, [None] * n, [None] * n)

    def identity(self) -> dict[str, Any]:
        """Every file of the model (weights, options, vocabulary) by its content, and the code that reads it.

        A model that came as an object counts by its state; one that cannot be told from another counts as new.
        """
        if not isinstance(self._model, str | Path):
            return {"name": self.name, "model": type(self._model).__qualname__, "state": self._state}
        folder = Path(self._model)
        files = sorted(p for p in folder.rglob("*") if p.is_file()) if folder.is_dir() else [folder]
        told = [[p.relative_to(folder).as_posix() if p != folder else p.name, file_hash(p)] for p in files]
        return {"name": self.name, "files": told, "code": code_hash("models/embed")}

    @cached_property
    def _state(self) -> str:
        try:
            return hashlib.sha256(pickle.dumps(self._model)).hexdigest()
        except (pickle.PicklingError, AttributeError, TypeError):
            return uuid.uuid4().hex


def _load(path: Path) -> Embedder:
    """What `mslitmus.models.embed` finds there; torch comes with it, and only now."""
    if not path.exists():
        raise ModelError("no such file or folder", where=str(path), remedy="the folder of a trained embedder")
    try:
        opening = import_module("mslitmus.models.embed.opening")
    except ModuleNotFoundError as error:
        what = f"a trained embedder needs {error.name!r}, which is not installed"
        raise MissingExtraError(what, where=str(path), remedy="pip install 'mslitmus[models]'") from error
    found: Embedder = opening.open_embedder(path)
    return found
