"""The catalogue: what can be imported by name, one TOML file a dataset in `data/catalogue/`. Datasets are data."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import DataError, unknown_name
from .curate import DEFAULT_RULES, RULES

#: The entry for anybody's own file.
OWN = "file"


class SourceFile(BaseModel):
    """One file to download. `checksum` is `sha256:…` or `md5:…`; empty: recorded at the first download."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    url: str
    checksum: str = ""


class Entry(BaseModel):
    """One catalogue file.

    `rules` are optional rules of curation to add, `sources` keeps only these contributors, `energy_unit` is the unit
    that the source documents for collision energies without one, `default_*` fill what records do not say.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    title: str
    homepage: str
    revision: str
    license: str
    citation: str
    doi: str
    notes: str = ""
    format: str | None = None
    rules: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    energy_unit: Literal["eV", "NCE"] | None = None
    default_license: str | None = None
    default_source: str | None = None
    files: tuple[SourceFile, ...] = ()

    def curation(self) -> tuple[str, ...]:
        """The default rules and this entry's own, in the order in which they run."""
        return tuple(name for name in RULES if name in DEFAULT_RULES or name in self.rules)


@cache
def entries() -> dict[str, Entry]:
    """Every catalogue entry by name. Raises DataError for a file that is not one, naming the key."""
    found = {}
    for path in sorted(files(__package__).joinpath("catalogue").iterdir(), key=lambda p: p.name):
        if path.name.endswith(".toml"):
            name = path.name.removesuffix(".toml")
            found[name] = parse(name, path.read_text(encoding="utf-8"))
    return found


def parse(name: str, text: str) -> Entry:
    """A catalogue entry from TOML text."""
    try:
        entry = Entry(name=name, **tomllib.loads(text))
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise DataError(
            f"not a catalogue entry: {error}", where=f"{name}.toml", remedy="compare with file.toml"
        ) from error
    for rule in entry.rules:
        if rule not in RULES:
            raise unknown_name("rule", rule, RULES)
    return entry


def entry(name: str) -> Entry:
    """The catalogue entry of this name. Raises ConfigError (did you mean …) for an unknown one."""
    known = entries()
    if name not in known:
        raise unknown_name("dataset of the catalogue", name, known)
    return known[name]
