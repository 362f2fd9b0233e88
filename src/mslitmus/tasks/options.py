"""Options of a task, as its pydantic class has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ..errors import ConfigError

O = TypeVar("O", bound=BaseModel)  # noqa: E741


def parse_options(kind: type[O], values: Mapping[str, Any], task: str) -> O:
    """`values` as `kind`. Raises ConfigError with the option, what is wrong with it, and the options there are."""
    try:
        return kind.model_validate({k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(
            f"option {key!r}: {first['msg']} (got {first['input']!r})",
            where=f"task {task!r}",
            remedy=f"known options: {', '.join(kind.model_fields)}",
        ) from error
