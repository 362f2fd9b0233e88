"""What a strict model of values complains about, in words: which key, what is wrong, what to write instead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from pydantic import BaseModel, ValidationError

from ..errors import ConfigError, MslitmusError, unknown_name

Location = tuple[str | int, ...]


class LocatedError(ValueError):
    """A refusal of a validator that knows the key it is about, where pydantic would know the whole model only."""

    def __init__(self, error: MslitmusError, *location: str | int) -> None:
        super().__init__(str(ConfigError(error.message, remedy=error.remedy)))
        self.location: Location = location


@dataclass(frozen=True)
class Complaint:
    """The first of the complaints. `location` is the path of the key; `remedy` is None where none is known."""

    location: Location
    message: str
    remedy: str | None

    @property
    def key(self) -> str:
        return ".".join(str(part) for part in self.location)


def first_complaint(error: ValidationError, model: type[BaseModel]) -> Complaint:
    """A misspelt key is also a missing one: the misspelling is named first, with the nearest known key.

    Args: model: what was validated.
    """
    first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    location = tuple(part for part in first["loc"] if isinstance(part, str | int))
    raised = first.get("ctx", {}).get("error")
    if isinstance(raised, LocatedError):
        location += raised.location
    key = ".".join(str(part) for part in location)
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        unknown = unknown_name("key", str(location[-1]), _fields_at(model, location[:-1]))
        return Complaint(location, f"unknown key {key!r}{more}", unknown.remedy)
    if first["type"] == "missing":
        return Complaint(location, f"key {key!r} is missing{more}", None)
    message, _, remedy = first["msg"].removeprefix("Value error, ").partition("\n  → ")
    return Complaint(location, f"{key}: {message}{more}" if key else f"{message}{more}", remedy or None)


def _fields_at(model: type[BaseModel], location: Location) -> list[str]:
    """Keys that are known where `location` points: fields of the model that lies there, in a list or not."""
    for part in location:
        field = model.model_fields.get(str(part)) if isinstance(part, str) else None
        if field is not None:
            kinds = (field.annotation, *get_args(field.annotation))
            model = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), model)
    return list(model.model_fields)
