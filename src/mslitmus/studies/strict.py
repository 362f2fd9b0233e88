"""The base of every part of a study file."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pydantic import BaseModel, ConfigDict

from ..errors import unknown_name


class Strict(BaseModel):
    """No unknown keys, no silent coercion, frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def refuse_unknown(field: str, values: Sequence[str | None] | None, known: Collection[str]) -> None:
    """Raises ValueError for the first value of a list that is not among the known ones; null passes."""
    for name in values or ():
        if name is not None and name not in known:
            raise ValueError(str(unknown_name(field.rstrip("s").replace("_", " "), name, known)))
