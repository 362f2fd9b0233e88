"""A folder of submitted prediction files, judged under a frozen benchmark: one run for each track and split.

<model>.<track>.<split>.parquet   (or any other ending that `tasks.intake` reads)
<model>.toml                      title, authors, url, code, trained_on, date; every key may be absent
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from pydantic import ValidationError, field_validator

from ..errors import ConfigError
from ..models import MODELS
from ..studies.complaints import first_complaint
from ..studies.strict import Strict
from .bench import score
from .manifest import Manifest
from .submission import Controls

Progress = Callable[[str], None]


class About(Strict):
    """What the submitters say of their model, `<model>.toml`."""

    title: str = ""
    authors: str = ""
    url: str = ""
    code: str = ""
    trained_on: str = ""  # everything that was learned from, pretraining included
    date: str = ""

    @field_validator("date", mode="before")
    @classmethod
    def _written(cls, value: object) -> object:
        return value.isoformat() if isinstance(value, date) else value

    @field_validator("url", "code")
    @classmethod
    def _web(cls, value: str) -> str:
        if value and not value.startswith(("https://", "http://")):
            raise ValueError("an address starts with https://")
        return value


@dataclass(frozen=True)
class Submission:
    """One model's files: (track, split) → path."""

    name: str
    about: About
    files: Mapping[tuple[str, str], Path] = field(repr=False)


@dataclass(frozen=True)
class Judged:
    """What the page is drawn from: the benchmark, who submitted what, and (track, split) → run folder."""

    manifest: Manifest
    submissions: tuple[Submission, ...]
    runs: Mapping[tuple[str, str], Path]


def judge(
    manifest: Manifest,
    folder: Path,
    out: Path,
    progress: Progress,
    *,
    controls: Controls = "all",
    fresh: bool = False,
) -> Judged:
    """Score every submission beside the controls, in `out/runs/<track>.<split>`; what is scored already is kept.

    A query without an answer counts as failed, and the page shows the coverage. Raises ConfigError for files that
    belong to no track and split, DataError where this machine does not hold what was frozen, and whatever a run
    raises: a file that is replaced under its name needs `fresh`.
    """
    submissions = collect(manifest, folder)
    runs: dict[tuple[str, str], Path] = {}
    for track, split in manifest.recipe.pairs():
        key = (track.name, split.name)
        files = {each.name: each.files[key] for each in submissions if key in each.files}
        if files:
            place = out / "runs" / ".".join(key)
            chosen = {"controls": controls, "allow_missing": True, "fresh": fresh}
            runs[key] = score(manifest, *key, files, place, progress, **chosen)  # type: ignore[arg-type]
    return Judged(manifest, submissions, runs)


def collect(manifest: Manifest, folder: Path) -> tuple[Submission, ...]:
    """Who submitted what, by name. Raises ConfigError for a file that fits no track and split, and for bad TOML."""
    if not folder.is_dir():
        raise ConfigError("no such folder", where=str(folder), remedy="give the folder of the submitted files")
    pairs = {(track.name, split.name) for track, split in manifest.recipe.pairs()}
    files: dict[str, dict[tuple[str, str], Path]] = {}
    for path in sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith(".")):
        if path.suffix == ".toml" or path.stem.upper() == "README":
            continue
        key = _key(path, pairs)
        own = files.setdefault(path.name.partition(f".{'.'.join(key)}.")[0], {})
        if key in own:
            raise ConfigError("a second file for one track and split", where=str(path), remedy=f"keep {own[key].name}")
        own[key] = path
    if not files:
        remedy = "put files called <model>.<track>.<split>.parquet there"
        raise ConfigError("no predictions", where=str(folder), remedy=remedy)
    if taken := [name for name in files if name in MODELS]:
        raise ConfigError(
            f"{taken[0]!r} is the name of a model of mslitmus", where=str(folder), remedy="rename the file"
        )
    return tuple(Submission(name, _about(folder / f"{name}.toml"), own) for name, own in sorted(files.items()))


def _key(path: Path, pairs: set[tuple[str, str]]) -> tuple[str, str]:
    found = [key for key in pairs if f".{'.'.join(key)}." in path.name]
    if len(found) != 1:
        asked = ", ".join(sorted(".".join(key) for key in pairs))
        remedy = f"call it <model>.<track>.<split>.<ending>, with one of {asked}"
        raise ConfigError("the name says no track and split", where=str(path), remedy=remedy)
    return found[0]


def _about(path: Path) -> About:
    if not path.exists():
        return About()
    remedy = f"known keys: {', '.join(About.model_fields)}"
    try:
        return About.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        found = first_complaint(error, About)
        raise ConfigError(found.message, where=str(path), remedy=found.remedy or remedy) from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"no TOML that can be read: {error}", where=str(path), remedy=remedy) from error
