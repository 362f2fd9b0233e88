"""The recipe of a benchmark: one YAML file that says what is asked. `freeze` makes a manifest of it.

A benchmark has tracks (a task with its options and metrics) over common records and splits. Every track × split is a
study like any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from ..data import store
from ..errors import ConfigError, DataError, MslitmusError, unknown_name
from ..studies.complaints import first_complaint
from ..studies.config import DataConfig, SplitConfig, StatisticsConfig, StudyConfig
from ..studies.strict import Strict
from .submission import Controls, submission


class TrackConfig(Strict):
    """One question of the benchmark: a task, its options, and what is measured."""

    name: str
    task: str
    task_options: dict[str, Any] = Field(default_factory=dict)
    metrics: list[str] = Field(min_length=1)
    primary_metric: str


class Recipe(Strict):
    """What a benchmark is made of. `name` and `version` are its id; nothing else may change under an id."""

    name: str
    version: str = Field(pattern=r"^v[1-9][0-9]*$")
    title: str = ""
    data: DataConfig
    splits: list[SplitConfig] = Field(min_length=1)
    tracks: list[TrackConfig] = Field(min_length=1)
    statistics: StatisticsConfig = StatisticsConfig()

    @property
    def id(self) -> str:
        return f"{self.name}/{self.version}"

    @field_validator("name")
    @classmethod
    def _file_name(cls, value: str) -> str:
        try:
            store.check_name(value)
        except DataError as error:
            raise ValueError(str(error)) from error
        return value

    @model_validator(mode="after")
    def _names(self) -> Recipe:
        for kind, names in (("track", [t.name for t in self.tracks]), ("split", [s.name for s in self.splits])):
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"{kind} {twice[0]!r} is listed twice; give each its own `name`")
            if dotted := [name for name in names if "." in name]:
                raise ValueError(
                    f"{kind} {dotted[0]!r}: no dot, since files are called <model>.<track>.<split>.<ending>"
                )
        return self

    def track(self, name: str) -> TrackConfig:
        """Raises ConfigError with the names there are."""
        found = {track.name: track for track in self.tracks}
        if name not in found:
            raise unknown_name("track", name, found)
        return found[name]

    def split(self, name: str) -> SplitConfig:
        """Raises ConfigError with the names there are."""
        found = {split.name: split for split in self.splits}
        if name not in found:
            raise unknown_name("split", name, found)
        return found[name]

    def pairs(self) -> list[tuple[TrackConfig, SplitConfig]]:
        """Every track on every split."""
        return [(track, split) for track in self.tracks for split in self.splits]

    def study(
        self,
        track: str,
        split: str,
        predictions: Mapping[str, Path] | None = None,
        *,
        controls: Controls = "all",
        allow_missing: bool = False,
        difficulty: bool = False,
    ) -> StudyConfig:
        """The study of one track on one split that judges `predictions` (name → file), beside the task's controls."""
        asked = self.track(track)
        study = submission(
            predictions or {},
            asked.task,
            self.data.name,
            self.split(split).model_dump(),
            task_options=asked.task_options,
            data=self.data.model_dump(exclude={"name"}),
            metrics=asked.metrics,
            controls=controls if predictions else "all",
            allow_missing=allow_missing,
            difficulty=difficulty,
        )
        title = f"{self.id} · {track} · {split}" + (f": {', '.join(predictions)}" if predictions else "")
        settled = {"title": title, "primary_metric": asked.primary_metric, "statistics": self.statistics.model_dump()}
        return StudyConfig.model_validate({**study.model_dump(), **settled})


def load(path: Path) -> Recipe:
    """Read and check a recipe: every name in it, before any work. Raises ConfigError with the key."""
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"no YAML that can be read: {error}", where=str(path), remedy="see docs/bench.md") from error
    recipe = checked(value, str(path))
    for track, split in recipe.pairs():
        try:
            recipe.study(track.name, split.name)
        except MslitmusError as error:
            where = f"{path}, track {track.name}, split {split.name}"
            raise ConfigError(error.message, where=where, remedy=error.remedy) from error
    return recipe


def checked(value: Any, where: str) -> Recipe:
    """A recipe from plain values. Raises ConfigError that names the key."""
    try:
        return Recipe.model_validate(value)
    except ValidationError as error:
        found = first_complaint(error, Recipe)
        raise ConfigError(
            found.message, where=where, remedy=found.remedy or "see docs/bench.md for every key"
        ) from error
