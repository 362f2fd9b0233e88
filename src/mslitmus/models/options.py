"""Strict options: every model, encoder and head states its options as one pydantic class; anything else is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import ConfigError, unknown_name


class Options(BaseModel):
    """Base of all option classes: frozen, no unknown key, no silent conversion of text to numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


O = TypeVar("O", bound=Options)  # noqa: E741


def parse_options(kind: type[O], values: Mapping[str, Any], *, where: str) -> O:
    """`values` as `kind`. `where` names the owner in messages, e.g. `encoder 'gin'`.

    Raises ConfigError: an unknown key with the nearest known ones, a bad value with its key and what is allowed.
    """
    for key in values:
        if key not in kind.model_fields:
            error = unknown_name("option", str(key), kind.model_fields)
            raise ConfigError(error.message, where=where, remedy=error.remedy)
    try:
        return kind.model_validate(_sequences_to_tuples(kind, values))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(
            f"option {key!r}: {first['msg']} (got {first['input']!r})",
            where=where,
            remedy=f"see docs/models.md for the options of {where}",
        ) from error


def _sequences_to_tuples(kind: type[Options], values: Mapping[str, Any]) -> dict[str, Any]:
    """YAML and JSON know lists only; frozen options hold tuples."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
