"""A study as one YAML file: strict, every name checked before any work starts.

Unknown keys, misspelt names and impossible combinations are refused with file, line and the nearest known name.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ..data.protocols import PROTOCOLS
from ..data.splits import SPLITS, check_settings
from ..errors import ConfigError, ModelError, MslitmusError, unknown_name
from ..metrics import parse_metric
from ..models import MODELS
from ..models.protocol import Kind
from ..schemas import ENERGY_KINDS, INSTRUMENT_TYPES, ION_MODES
from ..tasks import TASKS

Named = TypeVar("Named", "SplitConfig", "ModelConfig", "StudyConfig")
T = TypeVar("T")
#: Of every random generator; numpy takes no negative one, a table's column no larger one.
Seed = Annotated[int, Field(ge=0, lt=2**63)]
_NAMED_VALUES = {"ion_modes": ION_MODES, "instrument_types": INSTRUMENT_TYPES, "energy_kinds": ENERGY_KINDS}
_LONGEST_NAME = 100
_OFFERS = ("fit", "predict", "parameters", "save", "load")


class Strict(BaseModel):
    """No unknown keys, no silent coercion, frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DataConfig(Strict):
    """Which records take part. Every filter is counted in the run's ledger."""

    name: str
    licenses: list[str] | None = None
    ion_modes: list[str] | None = None
    adducts: list[str] | None = None
    instrument_types: list[str] | None = None
    energy_kinds: list[str | None] | None = None
    max_precursor_mz: float | None = Field(default=None, gt=0)
    min_peaks: int = Field(default=1, ge=1)
    exclude_flags: list[str] = []
    max_spectra_per_molecule: int | None = Field(default=None, ge=1)

    @field_validator(*_NAMED_VALUES)
    @classmethod
    def _known(cls, value: list[str | None] | None, info: Any) -> list[str | None] | None:
        known = _NAMED_VALUES[info.field_name]
        for name in value or ():
            if name is not None and name not in known:
                raise ValueError(str(unknown_name(info.field_name.rstrip("s").replace("_", " "), name, known)))
        return value


class SplitConfig(Strict):
    """One split: a method, its form, its seed, and the method's own parameters."""

    method: str
    name: str = ""
    form: str | None = None
    seed: Seed = 0
    protocol: str | None = None
    protocol_parameters: dict[str, Any] = {}
    parameters: dict[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"method": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _named(self) -> SplitConfig:
        if self.method not in SPLITS:
            raise ValueError(str(unknown_name("split", self.method, SPLITS)))
        if self.protocol is not None:
            _check_protocol(self.protocol, self.protocol_parameters)
        try:
            check_settings(self.method, self.form, self.parameters)
        except MslitmusError as error:
            raise ValueError(str(error)) from error
        if not self.name:
            parts = [self.method, self.form, self.protocol]
            object.__setattr__(self, "name", "-".join(p for p in parts if p))
        return _checked_name(self)


class ModelConfig(Strict):
    """One row of the leaderboard: a registered model and its options."""

    model: str
    name: str = ""
    options: dict[str, Any] = {}
    seeds: list[Seed] | None = None

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"model": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _named(self) -> ModelConfig:
        if self.model not in MODELS:
            raise ValueError(str(unknown_name("model", self.model, MODELS)))
        if not self.name:
            object.__setattr__(self, "name", self.model)
        return _checked_name(self)

    def build(self) -> Any:
        """The model, unfitted. Its options are checked here."""
        return build_model(self.model, self.options)


class StatisticsConfig(Strict):
    """Intervals and comparisons."""

    resamples: int = Field(default=2000, ge=100)
    seed: Seed = 0


class BudgetConfig(Strict):
    """What one training run may use. Whichever is reached first ends it."""

    max_seconds: float | None = Field(default=None, gt=0)
    threads: int | None = Field(default=None, ge=1)
    device: Literal["auto", "cpu", "cuda"] = "auto"


class StudyConfig(Strict):
    """The whole study."""

    name: str
    title: str = ""
    task: str = "spectrum-prediction"
    data: DataConfig
    splits: list[SplitConfig] = Field(min_length=1)
    models: list[ModelConfig] = Field(min_length=1)
    metrics: list[str] = Field(min_length=1)
    primary_metric: str
    seeds: list[Seed] = Field(default=[0], min_length=1)
    statistics: StatisticsConfig = StatisticsConfig()
    budget: BudgetConfig = BudgetConfig()

    @model_validator(mode="after")
    def _names(self) -> StudyConfig:
        if self.task not in TASKS:
            raise ValueError(str(unknown_name("task", self.task, TASKS)))
        for metric in self.metrics:
            try:
                parse_metric(metric)
            except MslitmusError as error:
                raise ValueError(str(error)) from error
        if self.primary_metric not in self.metrics:
            raise ValueError(str(unknown_name("primary_metric", self.primary_metric, self.metrics)))
        if not parse_metric(self.primary_metric).higher_is_better:
            raise ValueError(
                f"primary_metric {self.primary_metric!r}: more of it is not better, so it can choose nothing"
            )
        seeds = [seed for chosen in (self.seeds, *(m.seeds for m in self.models)) for seed in _twice(chosen or [])]
        if seeds:
            raise ValueError(f"seed {seeds[0]} is listed twice")
        names = {"split": [s.name for s in self.splits], "model": [m.name for m in self.models]}
        for kind, listed in names.items():
            if twice := _twice(listed):
                raise ValueError(f"{kind} {twice[0]!r} is listed twice; give each its own `name`")
        if twice := _twice(self.metrics):
            raise ValueError(f"metric {twice[0]!r} is listed twice")
        return _checked_name(self)


def build_model(model: str, options: Mapping[str, Any]) -> Any:
    """An unfitted model by name. Raises ConfigError or ModelError that names the option."""
    try:
        built = MODELS[model](**options)
    except TypeError as error:
        raise ConfigError(f"model {model!r}: {error}", remedy="see docs/models.md for its options") from error
    remedy = "see mslitmus.models.protocol.Model for what a model offers"
    if absent := [name for name in _OFFERS if not callable(getattr(built, name, None))]:
        raise ModelError(f"model {model!r} has no {', '.join(absent)}", remedy=remedy)
    kind = getattr(built, "kind", None)
    if kind not in get_args(Kind):  # a misspelt control would silently be no control
        raise ModelError(f"model {model!r} is of kind {kind!r}", remedy=f"one of {', '.join(get_args(Kind))}")
    return built


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
            model.build()
        except MslitmusError as error:
            where = f"{path}:{_line(node, ('models', index))}"
            raise ConfigError(error.message, where=where, remedy=error.remedy) from error
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


def _check_protocol(name: str, parameters: Mapping[str, Any]) -> None:
    if name not in PROTOCOLS:
        raise ValueError(str(unknown_name("protocol", name, PROTOCOLS)))
    known = set(inspect.signature(PROTOCOLS[name]).parameters) - {"frame", "split"}
    for key in parameters:
        if key not in known:
            raise ValueError(str(unknown_name(f"parameter of protocol {name!r}", key, known)))


def _twice(values: Sequence[T]) -> list[T]:
    """What occurs more than once, in order of appearance."""
    return [value for value in dict.fromkeys(values) if values.count(value) > 1]


def _checked_name(config: Named) -> Named:
    """Names become folder names."""
    unfit = not config.name.strip() or len(config.name) > _LONGEST_NAME
    if unfit or any(c in config.name for c in '/\\:*?"<>|') or config.name.startswith("."):
        raise ValueError(f"name {config.name[:40]!r} cannot be a folder name; use letters, digits, '-', '_'")
    return config


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
