"""Study files: found by path or name, read with every complaint naming file and line, written back in full."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from ..errors import ConfigError, MslitmusError, unknown_name
from ..train import require_bridge
from .complaints import first_complaint
from .config import StudyConfig, build_model
from .grid import written
from .start_from import check_start

_EXAMPLE = "see configs/massbank.yaml for every key"


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
    _anchor(value, path)
    try:
        study = StudyConfig.model_validate(value)
    except ValidationError as error:
        found = first_complaint(error, StudyConfig)
        where = f"{path}:{_line(node, _written(value, found.location))}"
        raise ConfigError(found.message, where=where, remedy=found.remedy or _EXAMPLE) from error
    for index, refusal in _refused(study):
        where = f"{path}:{_line(node, _written(value, ('models', index)))}"
        raise ConfigError(_of_model(study, index, refusal), where=where, remedy=refusal.remedy) from refusal
    return study


def _anchor(value: dict[str, Any], path: Path) -> None:
    """A study that this one names may lie beside its file."""
    data = value.get("data")
    if isinstance(data, dict) and isinstance(named := data.get("held_out_by"), str):
        beside = path.parent / named
        if not Path(named).is_file() and beside.is_file():
            value["data"] = {**data, "held_out_by": str(beside.resolve())}


def checked(values: Mapping[str, Any], where: str, places: Mapping[str, str] | None = None) -> StudyConfig:
    """A study from values that no file holds.

    Args:
        where: stands in place of file and line.
        places: for keys of the study, what stands there instead (the option of a command).
    Raises ConfigError; of a model the error that it raises.
    """
    try:
        study = StudyConfig.model_validate(values)
    except ValidationError as error:
        found = first_complaint(error, StudyConfig)
        place = (places or {}).get(str(found.location[0]) if found.location else "", where)
        raise ConfigError(found.message, where=place, remedy=found.remedy) from error
    for _, refusal in _refused(study):
        raise refusal
    return study


def _refused(study: StudyConfig) -> Iterator[tuple[int, MslitmusError]]:
    """Models that cannot be built or cannot do the task as it is asked (`check_task`), before any work."""
    task = study.build_task()
    rows = {model.name: model for model in study.models}
    for index, model in enumerate(study.models):
        try:
            built = build_model(*model.resolved(study.task))
            if model.fitted is not None:
                require_bridge(built)
            if model.start_from is not None:
                check_start(model, built, build_model(*rows[model.start_from.model].resolved(study.task)))
            check = getattr(built, "check_task", None)
            if check is not None:
                check(task)
        except MslitmusError as error:
            yield index, error


def _of_model(study: StudyConfig, index: int, error: MslitmusError) -> str:
    """The message with the row of the leaderboard, and the file where it is about one."""
    own = error.where is None or error.where.startswith(("model ", "encoder ", "head "))
    said = error.message if own else f"{error.where}: {error.message}"
    name = repr(study.models[index].name)
    return said if name in said else f"model {name}: {said}"


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


def _written(value: Mapping[str, Any], location: tuple[str | int, ...]) -> tuple[str | int, ...]:
    try:
        return written(value.get("models"), location)
    except ValueError:  # the complaint is about the grid itself
        return ("models",)


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
