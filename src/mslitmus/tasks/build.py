"""A task by name and options, as study files and the command line give them: the one place where it is built."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any

from ..errors import ConfigError, unknown_name
from . import TASKS


class OptionError(ConfigError):
    """An option that a task refuses; `option` is its name where it is known."""

    def __init__(
        self, message: str, *, where: str | None = None, remedy: str | None = None, option: str | None = None
    ) -> None:
        super().__init__(message, where=where, remedy=remedy)
        self.option = option


def build_task(name: str, options: Mapping[str, Any] | None = None) -> Any:
    """The task, not yet prepared. Raises ConfigError for an unknown task, OptionError for an option."""
    kind, given = TASKS[name], dict(options or {})
    where = f"task {name!r}"
    known = options_of(kind)
    for key in given:
        if known is not None and key not in known:
            error = unknown_name("option", str(key), known)
            raise OptionError(error.message, where=where, remedy=error.remedy, option=str(key))
    try:
        return kind(**given)
    except OptionError:
        raise
    except ConfigError as error:
        named = [str(key) for key in given if re.search(rf"\b{re.escape(str(key))}\b", error.message)]
        option = min(named, key=error.message.index, default=None)
        raise OptionError(error.message, where=where, remedy=error.remedy, option=option) from error
    except TypeError as error:
        raise OptionError(str(error), where=where, remedy="see docs/tasks.md for its options") from error


def options_of(kind: type) -> list[str] | None:
    """Names of the options of a task: the fields of its `Options`, else the arguments of its constructor; None where
    that takes any name."""
    stated = getattr(kind, "Options", None)
    if stated is not None:
        return list(stated.model_fields)
    parameters = inspect.signature(kind).parameters.values()
    if any(each.kind is each.VAR_KEYWORD for each in parameters):
        return None
    return [each.name for each in parameters if each.kind in (each.KEYWORD_ONLY, each.POSITIONAL_OR_KEYWORD)]
