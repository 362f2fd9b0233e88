"""Rows that start from another row's fitted model: transfer, with and without training on.

A row may name another row of the same study. Its cell of the same split and seed is computed first; vocabulary and
weights are then taken over, and training goes on with the row's own options and `train_on`, or not at all. What the
architecture fixes must be the same in both rows; a model says so itself (`check_start`, see `models.protocol.Starts`).

The identity of a child holds the digest of its parent's identity, so that no cell outlives a change of what it started
from; where the parent was only trained on (a larger budget), the child is fitted again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import model_validator

from ..errors import ConfigError, ModelError, RunError, unknown_name
from .folder import read_json
from .strict import Strict

if TYPE_CHECKING:
    from .config import ModelConfig


class StartFrom(Strict):
    """Keys of a row's `start_from`; the name of the other row alone would do.

    Attributes:
        model: name of the other row.
        fine_tune: false takes its model as it is.
        head: `keep` its output vocabulary and weights, or put a head `anew` on the body, with the vocabulary of the
            row's own training set.
    """

    model: str
    fine_tune: bool = True
    head: Literal["keep", "anew"] = "keep"

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"model": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _possible(self) -> StartFrom:
        if not self.fine_tune and self.head == "anew":
            raise ValueError("a head anew must be trained\n  → leave out fine_tune: false, or head: anew")
        return self


def in_order(models: Sequence[ModelConfig]) -> list[ModelConfig]:
    """The rows, every one after the row it starts from; otherwise in the order of the study."""
    by_name = {model.name: model for model in models}
    ordered: dict[str, ModelConfig] = {}
    for model in models:
        for name in reversed(ancestry(model, by_name)):
            ordered.setdefault(name, by_name[name])
    return list(ordered.values())


def ancestry(model: ModelConfig, by_name: Mapping[str, ModelConfig]) -> list[str]:
    """Names of this row, of the row it starts from, of the row which that one starts from, and so on.

    Raises ConfigError for a name that no row has and for a circle.
    """
    names = [model.name]
    while (start := by_name[names[-1]].start_from) is not None:
        if start.model not in by_name:
            raise unknown_name("row to start from", start.model, [name for name in by_name if name != names[-1]])
        if start.model in names:
            circle = " → ".join([*names[names.index(start.model) :], start.model])
            raise ConfigError(f"rows start from one another: {circle}", remedy="one of them must start from nothing")
        names.append(start.model)
    return names


def check_seeds(model: ModelConfig, parent: ModelConfig, seeds: Sequence[int]) -> None:
    """Raises ConfigError where the row it starts from is not fitted with each of this row's seeds."""
    if absent := sorted(set(model.seeds or seeds) - set(parent.seeds or seeds)):
        what = f"seed {absent[0]} of {model.name!r} has no cell of {parent.name!r} to start from"
        raise ConfigError(what, remedy=f"give {parent.name!r} the same seeds")


def check_start(model: ModelConfig, built: Any, parent: Any) -> None:
    """Raises ConfigError where this model cannot take over that one's weights. Both are unfitted."""
    start = model.start_from
    if start is None:
        return
    if not hasattr(built, "check_start"):
        what = f"model {model.name!r} learns nothing that could start from {start.model!r}"
        who = "neural and its presets, binned-mlp, fingerprint-transformer, generators, bridges of them"
        raise ConfigError(what, remedy=f"trained networks do: {who}; and library-sum and structure-blend")
    if not start.fine_tune and getattr(built, "learns_beside", False):
        what = f"model {model.name!r} takes {start.model!r} as it is, and must learn how to use it"
        raise ConfigError(what, remedy="leave out fine_tune: false")
    built.check_start(parent, start.head)


def parent_cell(folder: Path, model: ModelConfig) -> Path | None:
    """The cell that this cell starts from, of the same split and seed; None for a row that starts from nothing."""
    start = model.start_from
    return None if start is None else folder.parent.parent / start.model / folder.name


def take_over(built: Any, model: ModelConfig, folder: Path) -> dict[str, Any]:
    """Give an unfitted model the weights of the row it starts from; the record of it, empty where it starts from none.

    Raises RunError where that row's cell is not fitted yet.
    """
    cell, start = parent_cell(folder, model), model.start_from
    if cell is None or start is None:
        return {}
    fitted = fitted_at(cell)
    if fitted is None:
        remedy = f"compute {start.model!r} first: `mslitmus run` goes in that order"
        raise RunError(
            f"model {start.model!r}, which {model.name!r} starts from, is not fitted", where=str(cell), remedy=remedy
        )
    try:
        built.start_from(cell / "model", start.head)
    except ModelError as error:
        raise ModelError(f"model {model.name!r}: {error.message}", where=error.where, remedy=error.remedy) from error
    return {**start.model_dump(), "fitted": fitted}


def fitted_at(cell: Path) -> str | None:
    """When the model of a cell was fitted; None where it is not."""
    path = cell / "fit.json"
    return str(read_json(path)["finished"]) if path.exists() else None


def outdated(record: Mapping[str, Any], model: ModelConfig, folder: Path) -> bool:
    """Whether a fitted cell started from a model that was fitted again since."""
    cell = parent_cell(folder, model)
    return cell is not None and (record.get("start_from") or {}).get("fitted") != fitted_at(cell)
