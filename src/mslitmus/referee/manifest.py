"""The manifest of a frozen benchmark: what an id stands for, as hashes, in one JSON file.

`identity` is what two groups must share to have measured the same thing, and `hash` is of it alone. `made` records
which code, machine and day made it; other code that makes the same contents measures the same thing.
"""

from __future__ import annotations

import json
import re
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

FORMAT = 2
_ID = re.compile(r"[^./\\][^/\\]*/v[1-9][0-9]*")


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
        """What `save` wrote. Raises ConfigError for a file that is none, whose contents do not fit its hash, or that
        bears the id of a packaged benchmark and is another."""
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
            found = Manifest(value["identity"], value["made"], path)
            stated, named, kind = value["hash"], value["id"], value["identity"]["format"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            remedy = "give an id of `mslitmus bench list`, or a file that `mslitmus bench freeze` wrote"
            raise ConfigError(f"no manifest of a benchmark: {error}", where=str(path), remedy=remedy) from error
        if kind != FORMAT:
            remedy = "freeze the recipe again" if kind in range(FORMAT) else "use a newer mslitmus"
            raise ConfigError(f"a manifest of format {kind}", where=str(path), remedy=remedy)
        if found.hash != stated or found.id != named:
            remedy = "fetch the file again: a benchmark is superseded by a new version, never edited"
            raise ConfigError("contents do not fit the hash beside them", where=str(path), remedy=remedy)
        own = packaged().get(found.id)
        if own is not None and stated != (known_hash := json.loads(own.read_text(encoding="utf-8"))["hash"]):
            remedy = f"ask for {found.id} by its id; another benchmark needs another name or version"
            raise ConfigError(f"{found.id} has the hash {known_hash}, this is {stated}", where=str(path), remedy=remedy)
        return found


def home() -> Path:
    """Where one's own benchmarks are kept."""
    return store.home() / "benches"


def place_of(recipe: Recipe) -> Path:
    """Where `freeze` writes unless told otherwise."""
    return home() / _file(recipe.id)


def packaged() -> dict[str, Path]:
    """Id → file of the benchmarks that mslitmus ships. Nothing else is ever found under these ids."""
    return _listed(Path(str(resources.files(__package__).joinpath("benches"))))


def known() -> dict[str, Path]:
    """Id → file: those of the package, then one's own. A file's name says its id."""
    return dict(sorted({**_listed(home()), **packaged()}.items()))


def find(reference: str) -> Manifest:
    """A benchmark by id (the package's, then one's own), or else by the path of its file.

    What reads as an id, `name/v1`, is never taken for a path, whatever lies in the working directory. Raises
    ConfigError with the ids there are, and as `Manifest.load`.
    """
    ids, path = known(), Path(reference)
    if reference in ids:
        found = Manifest.load(ids[reference])
        if found.id != reference:
            where, remedy = str(ids[reference]), "name the file as it was frozen"
            raise ConfigError(f"it holds {found.id}", where=where, remedy=remedy)
        return found
    if path.is_file() and not _ID.fullmatch(reference):
        return Manifest.load(path)
    if path.suffix == ".json":
        raise ConfigError("no such file", where=reference, remedy=f"ids: {', '.join(ids) or 'none'}")
    raise unknown_name("benchmark", reference, ids)


def _listed(folder: Path) -> dict[str, Path]:
    found = {}
    for path in sorted(folder.glob("*.json")):
        name, _, version = path.stem.rpartition("-")
        if _ID.fullmatch(reference := f"{name}/{version}"):
            found[reference] = path
    return found


def _file(reference: str) -> str:
    return f"{reference.replace('/', '-')}.json"
