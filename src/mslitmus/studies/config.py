"""A study as values: strict, every name checked before any work starts. `files` reads and writes them as YAML."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import Field, field_validator, model_serializer, model_validator

from ..data.protocols import PROTOCOLS
from ..data.splits import SPLITS, check_settings
from ..errors import ConfigError, ModelError, MslitmusError, unknown_name
from ..metrics.names import family, parse_metric
from ..models import MODELS
from ..models.bridges import resolve
from ..models.protocol import Kind
from ..schemas import ENERGY_KINDS, INSTRUMENT_TYPES, ION_MODES, SPECTRA
from ..tasks import TASKS
from ..tasks.build import OptionError, build_task
from .complaints import LocatedError
from .grid import expand
from .start_from import StartFrom, ancestry, check_seeds
from .strict import Strict, refuse_unknown
from .train_on import TrainOn
from .where import Where

Named = TypeVar("Named", "SplitConfig", "ModelConfig", "StudyConfig")
T = TypeVar("T")
#: Of every random generator; numpy takes no negative one, a table's column no larger one.
Seed = Annotated[int, Field(ge=0, lt=2**63)]
_NAMED_VALUES = {"ion_modes": ION_MODES, "instrument_types": INSTRUMENT_TYPES, "energy_kinds": ENERGY_KINDS}
_LONGEST_NAME = 100
#: Keys of a row that are written only where they say something.
_OPTIONAL: tuple[str, ...] = ("train_on", "start_from", "fitted")
_OFFERS = ("fit", "predict", "parameters", "save", "load")


class DataConfig(Strict):
    """Which records take part. Every filter is counted in the run's ledger."""

    name: str
    licenses: list[str] | None = None
    ion_modes: list[str] | None = None
    adducts: list[str] | None = None
    instrument_types: list[str] | None = None
    energy_kinds: list[str | None] | None = None
    require: list[str] = Field(default_factory=list)  # columns that must be known
    max_precursor_mz: float | None = Field(default=None, gt=0)
    min_peaks: int = Field(default=1, ge=1)
    simulation_challenge: bool | None = None  # MassSpecGym's own mark of the records of its simulation task
    max_queries_per_molecule: int | None = Field(default=None, ge=1)
    max_val_molecules: int | None = Field(default=None, ge=1)  # whose queries are asked; test is always whole
    exclude_flags: list[str] = Field(default_factory=list)
    max_spectra_per_molecule: int | None = Field(default=None, ge=1)
    held_out_by: str | None = None  # a study file: what any of its splits holds out takes no part here
    _written = model_serializer(mode="wrap")(lambda self, dump: _without_unset(dump(self), "held_out_by"))

    @field_validator(*_NAMED_VALUES)
    @classmethod
    def _known(cls, value: list[str | None] | None, info: Any) -> list[str | None] | None:
        refuse_unknown(info.field_name, value, _NAMED_VALUES[info.field_name])
        return value

    @field_validator("held_out_by")
    @classmethod
    def _found(cls, value: str | None) -> str | None:
        """As an absolute path, so that the run's own copy of the study names the same file from anywhere."""
        if value is None:
            return None
        from .files import find  # which reads studies, and so this file

        try:
            return str(find(value).resolve())
        except ConfigError as error:
            raise ValueError(str(error)) from error

    @field_validator("require")
    @classmethod
    def _columns(cls, value: list[str]) -> list[str]:
        refuse_unknown("column", value, SPECTRA)
        return value


class SplitConfig(Strict):
    """One split: a method, its form, its seed, the method's own parameters, and which of val and test is asked."""

    method: str
    name: str = ""
    form: str | None = None
    seed: Seed = 0
    protocol: str | None = None
    protocol_parameters: dict[str, Any] = Field(default_factory=dict)
    parameters: dict[str, Any] = Field(default_factory=dict)
    test_on: Where | None = None
    _written = model_serializer(mode="wrap")(lambda self, dump: _without_unset(dump(self), "test_on"))

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
    """One row of the leaderboard: a registered model and its options.

    In a retrieval study a predictor of spectra or fingerprints becomes a ranker; `ranking` holds that bridge's options.
    `train_on` is the part of the training fold that it learns from, `start_from` the row whose weights it starts with.
    `fitted` names the run folder of another study in which the row of this name was fitted.
    """

    model: str
    name: str = ""
    options: dict[str, Any] = Field(default_factory=dict)
    seeds: list[Seed] | None = None
    ranking: dict[str, Any] = Field(default_factory=dict)
    allow_missing: bool = False
    train_on: TrainOn | None = None
    start_from: StartFrom | None = None
    fitted: str | None = None
    _written = model_serializer(mode="wrap")(lambda self, dump: _without_unset(dump(self), *_OPTIONAL))

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"model": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _named(self) -> ModelConfig:
        if self.model not in MODELS:
            raise ValueError(str(unknown_name("model", self.model, MODELS)))
        if self.start_from is not None and not self.start_from.fine_tune and self.train_on is not None:
            raise ValueError(
                "train_on says nothing where nothing is trained\n  → leave out train_on, or fine_tune: false"
            )
        if self.start_from is not None and self.fitted is not None:
            raise ValueError("what was fitted elsewhere starts from nothing\n  → leave out start_from or fitted")
        if not self.name:
            object.__setattr__(self, "name", self.model)
        return _checked_name(self)

    def resolved(self, task: str) -> tuple[str, dict[str, Any]]:
        """Registered name and options of what is fitted for `task`: the model, or the bridge that ranks by it."""
        return resolve(self.model, self.options, task, self.ranking)


class StatisticsConfig(Strict):
    """Intervals and comparisons. `unit` is what is resampled: molecules, or clusters of them at MCES < 10."""

    unit: Literal["molecule", "mces"] = "molecule"
    resamples: int = Field(default=2000, ge=100)
    seed: Seed = 0


class BudgetConfig(Strict):
    """What one training run may use: the limit reached first ends it, a larger one continues finished cells."""

    max_seconds: float | None = Field(default=None, gt=0)
    max_epochs: int | None = Field(default=None, ge=1)
    max_steps: int | None = Field(default=None, ge=1)
    threads: int | None = Field(default=None, ge=1)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    devices: int = Field(default=1, ge=1)  # GPUs of one training; on the CPU processes
    jobs: int | None = Field(default=None, ge=0)  # cells at a time on this machine where --jobs says nothing; 0: all
    _written = model_serializer(mode="wrap")(lambda self, dump: _without_unset(dump(self), "jobs"))

    @property
    def limits(self) -> dict[str, float | None]:
        """What a training run may use, by name."""
        return {name: getattr(self, name) for name in ("max_seconds", "max_epochs", "max_steps")}


class StudyConfig(Strict):
    """The whole study."""

    name: str
    title: str = ""
    task: str = "spectrum-prediction"
    task_options: dict[str, Any] = Field(default_factory=dict)
    data: DataConfig
    splits: list[SplitConfig] = Field(min_length=1)
    models: list[ModelConfig] = Field(min_length=1)
    metrics: list[str] = Field(min_length=1)
    primary_metric: str
    seeds: list[Seed] = Field(default=[0], min_length=1)
    difficulty: bool = True  # of each split; false leaves it out (minutes on 30,000 molecules)
    statistics: StatisticsConfig = StatisticsConfig()
    budget: BudgetConfig = BudgetConfig()

    @model_validator(mode="before")
    @classmethod
    def _first_metric(cls, values: Any) -> Any:
        """The first metric is the primary one where none is named."""
        listed = values.get("metrics") if isinstance(values, Mapping) else None
        if isinstance(listed, list) and listed and "primary_metric" not in values:
            return {**values, "primary_metric": listed[0]}
        return values

    @field_validator("models", mode="before")
    @classmethod
    def _expanded(cls, value: Any) -> Any:
        return [row for entry in value for row in expand(entry)] if isinstance(value, list) else value

    @model_validator(mode="after")
    def _names(self) -> StudyConfig:
        if self.task not in TASKS:
            raise LocatedError(unknown_name("task", self.task, TASKS), "task")
        try:
            task = self.build_task()
        except OptionError as error:
            raise LocatedError(error, "task_options", *([error.option] if error.option else [])) from error
        _check_metrics(self.metrics, task)
        if self.primary_metric not in self.metrics:
            raise LocatedError(unknown_name("primary_metric", self.primary_metric, self.metrics), "primary_metric")
        if not parse_metric(self.primary_metric).higher_is_better:
            idle = "more of it is not better, so it can choose nothing"
            raise LocatedError(ConfigError(f"{self.primary_metric!r}: {idle}"), "primary_metric")
        seeds = [seed for chosen in (self.seeds, *(m.seeds for m in self.models)) for seed in _twice(chosen or [])]
        if seeds:
            raise ValueError(f"seed {seeds[0]} is listed twice")
        names = {"split": [s.name for s in self.splits], "model": [m.name for m in self.models]}
        for kind, listed in names.items():
            if twice := _twice(listed):
                again = ConfigError(f"{kind} {twice[0]!r} is listed twice; give each its own `name`")
                raise LocatedError(again, f"{kind}s", _last(listed, twice[0]))
        _check_starts(self.models, self.seeds)
        if twice := _twice(self.metrics):
            again = ConfigError(f"metric {twice[0]!r} is listed twice", remedy="keep one of them")
            raise LocatedError(again, "metrics", _last(self.metrics, twice[0]))
        return _checked_name(self)

    def build_task(self) -> Any:
        """The task with its options. Raises ConfigError that names the option."""
        return build_task(self.task, self.task_options)


def _check_metrics(metrics: Sequence[str], task: Any) -> None:
    for index, metric in enumerate(metrics):
        try:
            parse_metric(metric)
        except MslitmusError as error:
            raise LocatedError(error, "metrics", index) from error
        if family(metric) != task.metric_family:
            foreign = ConfigError(
                f"metric {metric!r} does not measure the task {task.name!r}",
                remedy=f"its metrics are of the family {task.metric_family!r}: {', '.join(task.default_metrics)}",
            )
            raise LocatedError(foreign, "metrics", index)


def _without_unset(written: dict[str, Any], *keys: str) -> dict[str, Any]:
    """Without those keys that say nothing: what was computed before there were such keys stays the same study."""
    return {key: value for key, value in written.items() if key not in keys or value is not None}


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


def _check_starts(models: Sequence[ModelConfig], seeds: Sequence[int]) -> None:
    """Rows that start from others start from rows there are, in no circle, with the same seeds."""
    by_name = {model.name: model for model in models}
    for index, model in enumerate(models):
        try:
            for name, parent in pairwise(ancestry(model, by_name)):
                check_seeds(by_name[name], by_name[parent], seeds)
        except ConfigError as error:
            raise LocatedError(error, "models", index, "start_from") from error


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


def _last(values: Sequence[str], value: str) -> int:
    """Index of the last occurrence."""
    return max(index for index, each in enumerate(values) if each == value)


def _checked_name(config: Named) -> Named:
    """Names become folder names; in brackets, whatever reads a table there would see a pattern of file names."""
    unfit = not config.name.strip() or len(config.name) > _LONGEST_NAME
    if unfit or any(c in config.name for c in '/\\:*?"<>|[]') or config.name.startswith("."):
        raise ValueError(f"name {config.name[:40]!r} cannot be a folder name; use letters, digits, '-', '_'")
    return config
