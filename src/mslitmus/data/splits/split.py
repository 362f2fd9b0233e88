"""The value object `Split`: who is in which fold, how that came about, and what it promises."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from ...errors import SplitError
from ...provenance import write_json, write_parquet
from ...schemas import FOLD_NAMES, FOLDS, conform
from .labels import label

#: The two forms of a condition split.
FORMS = ("same-molecules", "new-molecules")


@dataclass(frozen=True, eq=False)
class Assignment:
    """What a splitter returns: folds, and the record of how it got there.

    Attributes:
        folds: `identifier`, `fold`, `group` (str): one row a spectrum that is kept.
        parameters: every parameter as resolved, JSON values.
        left_out: reason → number of spectra that got no fold.
        notes: what else a reader must know, one sentence each.
        disjoint: columns whose values never occur in two folds.
        shifted: column of the condition that differs between train/val and test; None for group splits.
    """

    folds: pl.DataFrame
    parameters: Mapping[str, Any] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    disjoint: tuple[str, ...] = ()
    shifted: str | None = None


class Splitter(Protocol):
    """`splitter(frame, *, seed, …)`. A splitter that takes `form` has the two `FORMS`; every other keyword is a
    parameter with a default. Must not depend on the order of the rows."""

    def __call__(self, frame: pl.DataFrame, *, seed: int, **parameters: Any) -> Assignment: ...


@dataclass(frozen=True, eq=False)
class Split:
    """Folds of one dataset and their provenance.

    Attributes:
        folds: FOLDS schema, sorted by identifier. Spectra that the split leaves out have no row.
        dataset_hash: of the dataset that was split (`Dataset.hash`), else of its identifying columns.
        notes: left-out spectra and why, and other remarks, one sentence each.
        sizes: fold → {"spectra", "molecules"}.
        groups: {"count": fold → number of groups, "largest": [{"group", "spectra", "fold"}, …]}.
        left_out: reason → spectra.
        disjoint: columns whose values never occur in two folds, as `check` verifies.
        shifted: column of the condition that differs between train/val and test; None for group splits.
    """

    method: str
    form: str | None
    seed: int
    parameters: Mapping[str, Any]
    folds: pl.DataFrame
    dataset_hash: str
    notes: tuple[str, ...] = ()
    sizes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    groups: Mapping[str, Any] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    disjoint: tuple[str, ...] = ()
    shifted: str | None = None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Split):
            return NotImplemented
        return self.record() == other.record() and self.folds.equals(other.folds)

    __hash__ = None  # type: ignore[assignment]

    @property
    def title(self) -> str:
        """`lab (new-molecules)`, or the method alone."""
        return f"{self.method} ({self.form})" if self.form else self.method

    def apply(self, frame: pl.DataFrame, *, partial: bool = False) -> dict[str, pl.DataFrame]:
        """Fold → its rows of `frame`, in the frame's order.

        Args:
            partial: accept a frame that lacks some of the split's spectra (a restricted view of the dataset).
        Raises SplitError if spectra of the split are absent and `partial` is false, or a fold comes out empty.
        """
        wanted = frame.select("identifier").join(self.folds, on="identifier", how="left", maintain_order="left")["fold"]
        absent = self.folds.height - (len(wanted) - wanted.null_count())
        if absent and not partial:
            raise SplitError(
                f"{absent} of {self.folds.height} spectra of the split {self.title} are not in this table",
                remedy="apply it to the dataset it was made from, or split this table anew",
            )
        out = {name: frame.filter(wanted == name) for name in FOLD_NAMES}
        if empty := [name for name, rows in out.items() if rows.is_empty()]:
            raise SplitError(
                f"fold {', '.join(empty)} of the split {self.title} is empty on this table",
                remedy="apply it to the dataset it was made from, or split this table anew",
            )
        return out

    def check(self, frame: pl.DataFrame) -> None:
        """Verify on `frame` what the split promises. Raises SplitError with the first value that breaks it.

        Columns in `disjoint` share no value between any two folds; in the form `same-molecules` every test molecule
        is in train; the condition that shifts is another one in test than in train and val.
        """
        remedy = "the table is not the one that was split, or the folds were edited: split it anew"
        where = f"split {self.title}"
        parts = self.apply(frame)
        for column in self.disjoint:
            values = _values(parts, column, self.parameters)
            for a, b in combinations(FOLD_NAMES, 2):
                if shared := values[a] & values[b]:
                    text = f"{len(shared)} values of {column} are in both {a} and {b}, e.g. {min(shared)!r}"
                    raise SplitError(text, where=where, remedy=remedy)
        if self.form == "same-molecules":
            values = _values(parts, "inchikey14", self.parameters)
            if unseen := values["test"] - values["train"]:
                text = f"{len(unseen)} test molecules are not in train, e.g. {min(unseen)!r}"
                raise SplitError(text, where=where, remedy=remedy)
        if self.shifted:
            values = _values(parts, self.shifted, self.parameters)
            if stray := (values["train"] | values["val"]) & values["test"]:
                text = f"{self.shifted} {min(stray)!r} is in train or val and in test"
                raise SplitError(text, where=where, remedy=remedy)

    def record(self) -> dict[str, Any]:
        """Everything but the folds, as JSON values."""
        return {
            "method": self.method,
            "form": self.form,
            "seed": self.seed,
            "parameters": dict(self.parameters),
            "dataset_hash": self.dataset_hash,
            "notes": list(self.notes),
            "sizes": {name: dict(size) for name, size in self.sizes.items()},
            "groups": dict(self.groups),
            "left_out": dict(self.left_out),
            "disjoint": list(self.disjoint),
            "shifted": self.shifted,
        }

    def save(self, folder: Path, name: str, *, difficulty: Mapping[str, Any] | None = None) -> None:
        """Write `<name>.parquet` (FOLDS) and `<name>.json` (the record, with the difficulty where given)."""
        folder.mkdir(parents=True, exist_ok=True)
        write_parquet(folder / f"{name}.parquet", self.folds)
        extra = {} if difficulty is None else {"difficulty": dict(difficulty)}
        write_json(folder / f"{name}.json", self.record() | extra)

    @classmethod
    def load(cls, folder: Path, name: str) -> Split:
        """Read what `save` wrote. Raises SplitError if a file is absent or damaged."""
        table, record = folder / f"{name}.parquet", folder / f"{name}.json"
        if absent := [str(path) for path in (table, record) if not path.exists()]:
            raise SplitError("file absent", where=", ".join(absent), remedy="make the split again")
        try:
            folds = conform(pl.read_parquet(table), FOLDS, where=str(table))
            stated = json.loads(record.read_text(encoding="utf-8"))
            return cls(
                method=stated["method"],
                form=stated["form"],
                seed=stated["seed"],
                parameters=stated["parameters"],
                folds=folds,
                dataset_hash=stated["dataset_hash"],
                notes=tuple(stated["notes"]),
                sizes=stated["sizes"],
                groups=stated.get("groups", {}),
                left_out=stated.get("left_out", {}),
                disjoint=tuple(stated.get("disjoint", ())),
                shifted=stated.get("shifted"),
            )
        except (KeyError, ValueError, pl.exceptions.PolarsError) as error:
            raise SplitError(
                f"not a split: {error}", where=str(folder / name), remedy="delete both files and make the split again"
            ) from error


def _values(parts: Mapping[str, pl.DataFrame], name: str, parameters: Mapping[str, Any]) -> dict[str, set[str]]:
    return {fold: set(label(rows, name, parameters).drop_nulls().unique()) for fold, rows in parts.items()}
