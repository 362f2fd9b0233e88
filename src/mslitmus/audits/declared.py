"""What models met before training: lists that the caller declares, and the lineage of the weights that options name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from ..lineage import ancestors, named
from .evidence import CellKey, Evidence, Pretraining


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
    """Declared lists first, then the weights and predictors that options of models name, and what those come from.

    What has no record counts as told about where a declared list covers its model.
    """
    tables = evidence.tables
    trained = tuple(sorted(model for model, kind in tables.kinds.items() if kind == "trained"))
    found = [_declared(each, trained) for each in evidence.pretraining]
    told = {model for each in found for model in each.models}
    users: dict[tuple[str, str], list[str]] = {}
    for key, record in evidence.cells.items():
        for origin in _origins(evidence, key, record):
            models = users.setdefault(origin, [])
            if key.model not in models:
                models.append(key.model)
    for origin, models in sorted(users.items()):
        untold = tuple(model for model in models if model not in told)
        for each in ancestors(*origin):
            who = untold if each.molecules is None else tuple(models)
            found.append(Met(each.name, who, each.molecules, each.excluded))
    return [each for each in found if each.models]


def _origins(evidence: Evidence, key: CellKey, record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Weights and predictors that a cell names, or one of the rows that it starts from."""
    found = named(record.get("options") or {})
    parent = CellKey(key.split, (record.get("start_from") or {}).get("model", ""), key.seed)
    if parent in evidence.cells:
        found += _origins(evidence, parent, evidence.cells[parent])
    return found


def _declared(each: Pretraining, trained: tuple[str, ...]) -> Met:
    models = trained if each.models is None else tuple(model for model in each.models if model in trained)
    return Met(f"list {each.name}", models, each.molecules)
