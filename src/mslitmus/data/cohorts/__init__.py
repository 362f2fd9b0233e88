"""Published cohorts by name: where the runs come from, how the sheet is read, what was published; one TOML each."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from ...errors import DataError, unknown_name
from ..catalogue import SourceFile

_STRICT = ConfigDict(extra="forbid", frozen=True)


class Analysis(BaseModel):
    """One analysis of Metabolomics Workbench; `acquisition` is what the sheet calls it, else its own description."""

    model_config = _STRICT

    id: str
    acquisition: str = ""


class SheetRule(BaseModel):
    """How rows of an mwTab file become rows of a sample sheet.

    `factor` names what is to be predicted (empty: the user names it), `target` is its column in the sheet; `subject` a
    factor that names the person, `batch` one that names the batch. `file` begins the key that names the raw file. What
    `blank` and `pool` match in the sample's name or factors is no sample.
    """

    model_config = _STRICT

    factor: str = ""
    target: str = "group"
    subject: str = ""
    batch: str = ""
    file: str = "RAW_FILE_NAME"
    blank: str = "(?i)blank"
    pool: str = r"(?i)\bpool|(?<![a-z])qc"


class Published(BaseModel):
    """A number to compare with."""

    model_config = _STRICT

    metric: str
    value: float
    by: str


class CohortStudy(BaseModel):
    """One catalogue file. Without `studies` and `analyses` those of the project are looked up; without `files` the
    archives that the study's download page names."""

    model_config = _STRICT

    name: str
    title: str
    project: str
    homepage: str
    license: str
    citation: str
    notes: str = ""
    studies: tuple[str, ...] = ()
    analyses: tuple[Analysis, ...] = ()
    files: tuple[SourceFile, ...] = ()
    sheet: SheetRule = SheetRule()
    settings: dict[str, Any] = {}
    published: tuple[Published, ...] = ()


@cache
def cohort_studies() -> dict[str, CohortStudy]:
    """Every study by name. Raises DataError for a file that is none, naming the key."""
    found = {}
    for path in sorted(files(__package__).iterdir(), key=lambda p: p.name):
        if path.name.endswith(".toml"):
            name = path.name.removesuffix(".toml")
            try:
                found[name] = CohortStudy(name=name, **tomllib.loads(path.read_text(encoding="utf-8")))
            except (tomllib.TOMLDecodeError, ValidationError) as error:
                remedy = "compare with septic-shock.toml"
                raise DataError(f"not a cohort study: {error}", where=path.name, remedy=remedy) from error
    return found


def cohort_study(name: str) -> CohortStudy:
    """Raises ConfigError (did you mean …) for an unknown one."""
    known = cohort_studies()
    if name not in known:
        raise unknown_name("cohort study", name, known)
    return known[name]
