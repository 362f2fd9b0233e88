"""Everything that is decided about a cohort before its data are read: one strict object, written beside the results."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import ConfigError, MissingExtraError, unknown_name

#: The representation that every other one is compared with.
BASELINE = "precursor-histogram"
#: Columns of a sample sheet whose rows share a fold, where the sheet has them.
TOGETHER = ("replicate", "subject")


class CohortSettings(BaseModel):
    """What a cohort is asked, and how. Every field is a key of the YAML file given with `--config`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    columns: dict[str, str] = Field({}, description="our name → the sheet's own name of a column")
    targets: tuple[str, ...] = Field((), description="columns to predict; none: those called group… or value…")
    classes: tuple[str, ...] = Field((), description="targets whose numbers are names of classes")
    representations: tuple[str, ...] = Field((BASELINE, "fragments"), min_length=1)
    aggregations: tuple[str, ...] = Field((), description="to choose from; none: those of each representation")
    library: tuple[str, ...] = Field((), description="of the representation library-hits")
    blanks: Literal["remove", "subtract", "keep"] = "remove"
    learner: Literal["ridge", "logistic"] = Field("ridge", description="of classes; numbers are always by ridge")
    splits: Literal["folds", "leave-one-group-out", "holdout"] = "folds"
    folds: int = Field(5, ge=2)
    inner_folds: int = Field(4, ge=2)
    test_share: float = Field(0.3, gt=0, lt=1, description="of splits: holdout")
    together: tuple[str, ...] | None = Field(None, description="columns that keep samples in one fold; null: see docs")
    seeds: int = Field(5, ge=1, description="times that the folds are drawn")
    permutations: int = Field(199, ge=0)
    bootstraps: int = Field(2000, ge=100)
    merge: bool = Field(True, description="join repeated scans of a run")
    noise: float = Field(0.01, ge=0, lt=1)
    ion_mode: Literal["positive", "negative"] | None = None
    seed: int = 0


def parse(values: Mapping[str, Any], where: str) -> CohortSettings:
    """Raises ConfigError: an unknown key with the nearest known ones, a bad value with what is allowed."""
    for key in values:
        if key not in CohortSettings.model_fields:
            error = unknown_name("setting", str(key), CohortSettings.model_fields)
            raise ConfigError(error.message, where=where, remedy=error.remedy)
    try:
        return CohortSettings.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        what = f"{key}: {first['msg']} (got {first['input']!r})"
        raise ConfigError(what, where=where, remedy="see docs/cohorts.md for the settings") from error


def read(path: Path) -> dict[str, Any]:
    """The keys and values of a YAML file. Raises ConfigError where it is none."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(
            f"cannot be read: {error}", where=str(path), remedy="a YAML file, see docs/cohorts.md"
        ) from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError("not a list of settings", where=str(path), remedy="key: value, see docs/cohorts.md")
    return values


def need_extra() -> None:
    """Raises MissingExtraError where scikit-learn or UMAP is not installed."""
    for module, package in (("sklearn", "scikit-learn"), ("umap", "umap-learn")):
        if find_spec(module) is None:
            what = f"cohorts need the package {package!r}, which is not installed"
            raise MissingExtraError(what, remedy="pip install 'mslitmus[cohort]'")
