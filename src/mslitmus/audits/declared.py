"""What models met before training: lists that the caller declares, and records beside the weights that options name."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from .evidence import Evidence, Pretraining

_RECORDS = ("pretraining.json", "fine_tuning.json")
_USED, _RANDOM = "molecules.parquet", "random"
_NAMING = ("weights", "pretrained")  # options that name a file or folder: of encoders, of embedders


@dataclass(frozen=True)
class Met:
    """A list of molecules and the models that met it.

    Attributes:
        name: of the list, for findings.
        models: of the run.
        molecules: `inchikey14`, and `smiles` where known; None where weights are named that nobody tells about.
        excluded: data_hash → split hashes or names that the record of the weights says it left out; None for a list
            without such a promise.
    """

    name: str
    models: tuple[str, ...]
    molecules: pl.DataFrame | None
    excluded: Mapping[str, Any] | None = None


def met_before(evidence: Evidence) -> list[Met]:
    """Declared lists first, then the weights that options of trained models name.

    Weights without a record whose model is covered by a declared list are taken as told about.
    """
    tables = evidence.tables
    trained = tuple(sorted(model for model, kind in tables.kinds.items() if kind == "trained"))
    found = [_declared(each, trained) for each in evidence.pretraining]
    told = {model for each in found for model in each.models}
    by_weights: dict[str, list[str]] = {}
    for key, record in evidence.cells.items():
        for weights in _weights(record.get("options") or {}):
            users = by_weights.setdefault(weights, [])
            if key.model not in users:
                users.append(key.model)
    for weights, models in sorted(by_weights.items()):
        recorded = _recorded(weights)
        if recorded is not None:
            molecules, record = recorded
            found.append(Met(f"weights {weights}", tuple(models), molecules, record.get("asked", {}).get("held_out")))
        elif untold := tuple(model for model in models if model not in told):
            found.append(Met(f"weights {weights}", untold, None))
    return [each for each in found if each.models]


def _declared(each: Pretraining, trained: tuple[str, ...]) -> Met:
    models = trained if each.models is None else tuple(model for model in each.models if model in trained)
    return Met(f"list {each.name}", models, each.molecules)


def _weights(options: Any) -> Iterator[str]:
    """What `weights` and `pretrained` name in options, however deep (presets, bridges and re-rankers nest them)."""
    if isinstance(options, Mapping):
        for key, value in options.items():
            if key in _NAMING and isinstance(value, str) and value != _RANDOM:
                yield value
            else:
                yield from _weights(value)
    elif isinstance(options, list | tuple):
        for value in options:
            yield from _weights(value)


def _recorded(weights: str) -> tuple[pl.DataFrame, dict[str, Any]] | None:
    """Molecules and record of a pretraining of ours; None where the folder holds none that can be read."""
    path = Path(weights)
    folder = path if path.is_dir() else path.parent
    try:
        path = next((folder / name for name in _RECORDS if (folder / name).exists()), folder / _RECORDS[0])
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return pl.read_parquet(folder / _USED).select("inchikey14"), record
    except (OSError, ValueError, pl.exceptions.PolarsError):
        return None
