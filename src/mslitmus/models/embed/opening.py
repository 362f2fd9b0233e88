"""One door to embedders on disk: a folder of this package, or a checkpoint of DreaMS."""

from __future__ import annotations

from pathlib import Path

from ...errors import ModelError
from .embedder import Embedder, SpectrumEmbedder


def open_embedder(path: Path, device: str = "cpu") -> Embedder:
    """The embedder of a pretraining, a fine-tuning, a study's cell (or its folder `model`), or of a DreaMS checkpoint.

    Raises ModelError where the path holds none.
    """
    if path.suffix == ".ckpt":
        from .dreams import load_dreams

        return load_dreams(path, device=device)
    for folder in (path, path / "model", path / "embedder", path / "model" / "embedder"):
        if (folder / "embedder.json").is_file():
            return SpectrumEmbedder.load(folder, device)
    remedy = "give the folder of `pretrain peaks`, `fine-tune` or a library-embedding cell, or a DreaMS .ckpt file"
    raise ModelError("no embedder here", where=str(path), remedy=remedy)
