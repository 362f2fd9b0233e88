"""A row that was fitted in another study: its weights are taken from there, so that one training serves several tasks.

`fitted: runs/matrix` in a row of a study says: the row of this name, split and seed was trained in that run. The split,
the model's options and `train_on` must be the same there; a retrieval study then ranks by exactly the predictor that
the spectrum-prediction study judged.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import RunError
from ..provenance import file_hash
from .config import ModelConfig
from .folder import RunFolder, read_json


def fitted_cell(model: ModelConfig, split: str, seed: int) -> Path | None:
    """Folder of the cell that holds this row's fitted model; None where the row is fitted here. Raises RunError."""
    if model.fitted is None:
        return None
    cell = RunFolder(Path(model.fitted)).cell(split, model.name, seed)
    if not (cell / "fit.json").exists():
        message = f"no fitted model {model.name!r} of split {split!r}, seed {seed}"
        raise RunError(message, where=model.fitted, remedy="run that study first, or leave out `fitted`")
    return cell


def fitted_identity(model: ModelConfig, split: str, split_identity: str, seed: int) -> dict[str, Any]:
    """What goes into a cell's identity where its model comes from elsewhere. Raises RunError where that model was
    fitted on other folds or with other options."""
    cell = fitted_cell(model, split, seed)
    if cell is None:
        return {}
    found = read_json(cell / "identity.json")
    trained = (model.train_on.identity() if model.train_on else None) or None
    wanted = {
        "split": split_identity,
        "model": model.model,
        "options": model.options,
        "seed": seed,
        "train_on": trained,
    }
    if changed := [key for key, value in wanted.items() if found.get(key) != value]:
        message = f"model {model.name!r} was fitted there with another {', '.join(changed)}"
        remedy = "take the data, split, options and train_on of that study, or leave out `fitted`"
        raise RunError(message, where=str(cell), remedy=remedy)
    return {"fitted": file_hash(cell / "fit.json")}
