"""Study files: found by path or name, read with every complaint naming file and line, written back in full."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from ..errors import ConfigError, MslitmusError, unknown_name
from .config import BudgetConfig, DataConfig, ModelConfig, SplitConfig, StatisticsConfig, StudyConfig, build_model


def find(reference: str) -> Path:
    """A path, or the name of a packaged study (`quickstart`)."""
    path = Path(reference)
    if path.is_file():
        return path
    packaged = {p.name.removesuffix(".yaml"): p for p in resources.files(__package__).joinpath("configs").iterdir()}
    if reference in packaged:
        return Path(str(packaged[reference]))
    if path.suffix in (".yaml", ".yml") or "/" in reference:
        raise ConfigError("no such file", where=reference, remedy=f"packaged studies: {', '.join(sorted(packaged))}")
    raise unknown_name("study", reference, packaged)


def load(path: Path) -> StudyConfig:
    """Read and check a study file. Raises ConfigError with file, line and remedy; nothing has been computed yet."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {error}", where=str(path), remedy="give a UTF-8 YAML file") from error
    try:
        node = yaml.compose(text)
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise ConfigError(
            f"not YAML: {getattr(error, 'problem', error)}", where=where, remedy="mend the syntax"
        ) from error
    _refuse_repeated_keys(node, path)
    if not isinstance(value, dict):
        raise ConfigError("not a mapping of keys", where=str(path), remedy="start from configs/massbank.yaml")
    try:
        study = StudyConfig.model_validate(value)
    except ValidationError as error:
        raise _explain(error, path, node) from error
    for index, model in enumerate(study.models):
        try:
            build_model(*model.resolved(study.task))
        except MslitmusError as error:
            where = f"{path}:{_line(node, ('models', index))}"
            raise ConfigError(error.message, where=where, remedy=error.remedy) from error
    return study


def checked(values: Mapping[str, Any], where: str) -> StudyConfig:
    """A study from values that no file holds. Raises ConfigError with `where` in place of file and line."""
    try:
        study = StudyConfig.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        message, _, remedy = first["msg"].removeprefix("Value error, ").partition("\n  → ")
        raise ConfigError(f"{key}: {message}" if key else message, where=where, remedy=remedy or None) from error
    for model in study.models:
        build_model(*model.resolved(study.task))
    return study


def _refuse_repeated_keys(node: Any, path: Path, above: tuple[Any, ...] = ()) -> None:
    """YAML lets a later key win in silence. Raises ConfigError that names the second one's line."""
    if not isinstance(node, yaml.MappingNode) or node in above:  # an alias may name a node it lies in
        return
    seen: set[str] = set()
    for key, value in node.value:
        if str(key.value) in seen:
            where = f"{path}:{key.start_mark.line + 1}"
            raise ConfigError(f"key {key.value!r} is written twice", where=where, remedy="keep one of them")
        seen.add(str(key.value))
        for child in value.value if isinstance(value, yaml.SequenceNode) else [value]:
            _refuse_repeated_keys(child, path, (*above, node))


def dump(study: StudyConfig) -> str:
    """The resolved study as YAML: every key, defaults included."""
    return yaml.safe_dump(study.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _explain(error: ValidationError, path: Path, node: Any) -> ConfigError:
    # a misspelt key is also a missing one: name the misspelling first
    first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    location = tuple(part for part in first["loc"] if isinstance(part, str | int))
    key = ".".join(str(part) for part in location) or "the study"
    where = f"{path}:{_line(node, location)}"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        known = _fields_at(location[:-1])
        unknown = unknown_name("key", str(location[-1]), known)
        return ConfigError(f"unknown key {key!r}{more}", where=where, remedy=unknown.remedy)
    if first["type"] == "missing":
        return ConfigError(
            f"key {key!r} is missing{more}", where=where, remedy="see configs/massbank.yaml for every key"
        )
    message, _, remedy = first["msg"].removeprefix("Value error, ").partition("\n  → ")
    return ConfigError(
        f"{key}: {message}{more}", where=where, remedy=remedy or "see configs/massbank.yaml for every key"
    )


def _fields_at(location: tuple[str | int, ...]) -> list[str]:
    models: dict[str, type[BaseModel]] = {
        "data": DataConfig,
        "splits": SplitConfig,
        "models": ModelConfig,
        "statistics": StatisticsConfig,
        "budget": BudgetConfig,
    }
    return list((models[str(location[0])] if location else StudyConfig).model_fields)


def _line(node: Any, location: tuple[str | int, ...]) -> int:
    """Line of a key in the composed YAML tree; of its nearest parent where the key itself is absent."""
    line = node.start_mark.line
    for part in location:
        if isinstance(node, yaml.MappingNode):
            pair = next(((k, v) for k, v in node.value if k.value == part), None)
            if pair is None:
                break
            line, node = pair[0].start_mark.line, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line
        else:
            break
    return int(line) + 1
