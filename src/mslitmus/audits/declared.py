"""What models met before training: lists that the caller declares, and the lineage of the weights that options name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from ..lineage import Ancestor, Origin, ancestors, named
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
    met: dict[tuple[Path, bool], Met] = {}
    for key, record in sorted(evidence.cells.items()):
        for origin in _origins(evidence, key, record):
            for each in _beyond_the_fold(origin):
                known, place = each.molecules is not None, (each.folder, each.molecules is not None)
                who = (key.model,) if known or key.model not in told else ()
                before = met.get(place, Met(each.name, (), each.molecules, each.excluded))
                name = min(before.name, each.name, key=len)
                met[place] = replace(before, name=name, models=tuple(dict.fromkeys((*before.models, *who))))
    found += met.values()
    return [each for each in found if each.models]


def _origins(evidence: Evidence, key: CellKey, record: Mapping[str, Any]) -> list[Origin]:
    """What a cell's own record of its lineage says; of an older cell what its options name, and its parent's."""
    if (told := record.get("comes_from")) is not None:
        return [Origin(**each) for each in told]
    found = named(record.get("options") or {})
    parent = CellKey(key.split, (record.get("start_from") or {}).get("model", ""), key.seed)
    if parent in evidence.cells:
        found += _origins(evidence, parent, evidence.cells[parent])
    return found


def _beyond_the_fold(origin: Origin) -> list[Ancestor]:
    """Ancestors by an origin, but rows of the same split: theirs is the same fold, which is looked at anyway."""
    found = ancestors(origin)
    return [each for each in found if each.molecules is None or set(each.steps) - {"row", "fitted"}]


def _declared(each: Pretraining, trained: tuple[str, ...]) -> Met:
    models = trained if each.models is None else tuple(model for model in each.models if model in trained)
    return Met(f"list {each.name}", models, each.molecules)
