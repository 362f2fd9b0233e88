"""Every error a user can meet, as one tree: each says what is wrong, where, and what to do next."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class MslitmusError(Exception):
    """Root of the tree. `where` names the place (file:line, row, key), `remedy` the next step."""

    def __init__(self, message: str, *, where: str | None = None, remedy: str | None = None) -> None:
        self.message, self.where, self.remedy = message, where, remedy
        super().__init__(message)

    def __str__(self) -> str:
        head = f"{self.where}: {self.message}" if self.where else self.message
        return f"{head}\n  → {self.remedy}" if self.remedy else head

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.message, self.where, self.remedy))


def _rebuild(kind: type[MslitmusError], message: str, where: str | None, remedy: str | None) -> MslitmusError:
    return kind(message, where=where, remedy=remedy)


class ChemistryError(MslitmusError):
    """A SMILES, formula or adduct that cannot be."""


class FormatError(MslitmusError):
    """A spectrum file that cannot be read as what it claims to be."""


class SchemaError(MslitmusError):
    """A table that does not keep the data contract (`mslitmus.schemas`)."""


class DataError(MslitmusError):
    """A dataset that is absent, damaged or empty, or a download that failed."""


class SplitError(MslitmusError):
    """A split that cannot be made on this dataset."""


class ConfigError(MslitmusError):
    """A study or an option that is refused before any work starts."""


class ModelError(MslitmusError):
    """A model that cannot be built, trained or loaded as asked."""


class PredictionError(MslitmusError):
    """Predictions that are missing, malformed or do not belong to these queries."""


class RunError(MslitmusError):
    """A run folder that is incomplete or cannot be written."""


class MissingExtraError(MslitmusError):
    """An optional dependency that is not installed."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> ConfigError:
    """The one wording for a misspelt name: says the nearest known ones, else lists all."""
    names = sorted(known)
    close = get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(repr(c) for c in close)}?" if close else f"known: {', '.join(names) or 'none'}"
    return ConfigError(f"unknown {kind} {name!r}", remedy=hint)
