"""The manifest of a frozen benchmark: what an id stands for, as hashes, in one JSON file.

`identity` is what two groups must share to have measured the same thing, and `hash` is of it alone. `made` records
which code, machine and day made it; other code that makes the same contents measures the same thing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from ..data import store
from ..errors import ConfigError, unknown_name
from ..provenance import write_json
from ..studies.folder import digest
from .recipe import Recipe, checked

FORMAT = 1


@dataclass(frozen=True)
class Manifest:
    """A frozen benchmark. `place` is the file it was read from, none before it is written."""

    identity: Mapping[str, Any]
    made: Mapping[str, Any] = field(repr=False)
    place: Path | None = None

    @property
    def hash(self) -> str:
        return digest(self.identity)

    @property
    def id(self) -> str:
        return self.recipe.id

    @property
    def recipe(self) -> Recipe:
        """Raises ConfigError where this version of mslitmus no longer knows what the benchmark names."""
        return checked(self.identity["recipe"], where=str(self.place or "the manifest"))

    def part(self, track: str, split: str) -> Mapping[str, Any]:
        """Hashes of one track on one split."""
        self.recipe.track(track), self.recipe.split(split)
        found: Mapping[str, Any] = self.identity["parts"][track][split]
        return found

    def stamp(self, track: str, split: str) -> dict[str, str]:
        """What a run writes into its provenance."""
        return {"id": self.id, "hash": self.hash, "track": track, "split": split}

    def save(self, path: Path) -> Path:
        """Write the file. Raises ConfigError where one is there: a benchmark is superseded, never edited."""
        if path.exists():
            raise ConfigError("a manifest is there already", where=str(path), remedy="freeze a new version, e.g. v2")
        path.parent.mkdir(parents=True, exist_ok=True)
        value = {"id": self.id, "hash": self.hash, "identity": dict(self.identity), "made": dict(self.made)}
        write_json(path, value)
        return path

    @staticmethod
    def load(path: Path) -> Manifest:
        """What `save` wrote. Raises ConfigError for a file that is none, or whose contents do not fit its hash."""
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
            found = Manifest(value["identity"], value["made"], path)
            stated, named, kind = value["hash"], value["id"], value["identity"]["format"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            remedy = "give an id of `mslitmus bench list`, or a file that `mslitmus bench freeze` wrote"
            raise ConfigError(f"no manifest of a benchmark: {error}", where=str(path), remedy=remedy) from error
        if kind != FORMAT:
            raise ConfigError(f"a manifest of format {kind}", where=str(path), remedy="use a newer mslitmus")
        if found.hash != stated or found.id != named:
            remedy = "fetch the file again: a benchmark is superseded by a new version, never edited"
            raise ConfigError("contents do not fit the hash beside them", where=str(path), remedy=remedy)
        return found


def home() -> Path:
    """Where one's own benchmarks are kept."""
    return store.home() / "benches"


def place_of(recipe: Recipe) -> Path:
    """Where `freeze` writes unless told otherwise."""
    return home() / _file(recipe.id)


def known() -> dict[str, Path]:
    """Id → file: those of the package, then one's own. A file's name says its id."""
    packaged = Path(str(resources.files(__package__).joinpath("benches")))
    found: dict[str, Path] = {}
    for folder in (home(), packaged):  # the package wins: nobody can put another thing under its ids
        for path in sorted(folder.glob("*.json")):
            name, _, version = path.stem.rpartition("-")
            found[f"{name}/{version}"] = path
    return dict(sorted(found.items()))


def find(reference: str) -> Manifest:
    """A benchmark by id, or by the path of its file. Raises ConfigError with the ids there are."""
    path = Path(reference)
    if path.is_file():
        return Manifest.load(path)
    ids = known()
    if reference not in ids:
        if path.suffix == ".json":
            raise ConfigError("no such file", where=reference, remedy=f"ids: {', '.join(ids) or 'none'}")
        raise unknown_name("benchmark", reference, ids)
    found = Manifest.load(ids[reference])
    if found.id != reference:
        raise ConfigError(f"it holds {found.id}", where=str(ids[reference]), remedy="name the file as it was frozen")
    return found


def _file(reference: str) -> str:
    return f"{reference.replace('/', '-')}.json"
