"""The run folder: where each stage's file lies, who may write, and whether a finished part belongs to this study."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from ..errors import RunError
from ..lock import exclusive
from ..provenance import write_json


@dataclass(frozen=True)
class RunFolder:
    """Paths of a run. Creating one writes nothing."""

    root: Path

    def split(self, name: str) -> Path:
        return self.root / "splits" / f"{name}.json"

    def beside(self, split: str) -> Path:
        """Folder of what else belongs to a split: its identity, nearest training molecules, protocol."""
        return self.root / "splits" / split

    def cell(self, split: str, model: str, seed: int) -> Path:
        return self.root / "cells" / split / model / f"seed{seed}"

    def open(self) -> None:
        """Create the folder, or say why it cannot be written."""
        try:
            (self.root / "splits").mkdir(parents=True, exist_ok=True)
            probe = self.root / f".write{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            remedy = "choose another folder with --out"
            raise RunError(
                f"cannot be written: {error.strerror or error}", where=str(self.root), remedy=remedy
            ) from error

    @contextmanager
    def lock(self) -> Iterator[None]:
        """One writer at a time. A lock whose process is gone (a kill) is taken over."""
        with exclusive(self.root):
            yield


def claim(folder: Path, identity: Mapping[str, Any]) -> None:
    """Bind the folder of a cell or split to what it holds. Raises RunError where it holds another of that name."""
    compare(folder, identity)
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "identity.json").exists():
        write_json(folder / "identity.json", identity)


def compare(folder: Path, identity: Mapping[str, Any]) -> None:
    """Raises RunError where the folder of a cell or split is bound to something else. Writes nothing.

    The message names the part of the run, every setting with its old and new value, and the ways on.
    """
    path = folder / "identity.json"
    if not path.exists():
        return
    wanted = json.loads(json.dumps(identity, sort_keys=True))
    found = read_json(path)
    changed = list(_changes(found, wanted))
    if changed:
        what, remedy = "this part of the run", "give the study another --name, or start again with --fresh"
        *_, kind, split, model, seed = ("", "", "", "", *folder.parts)
        if kind == "cells":
            what = f"model {model!r} (split {split}, {seed})"
            remedy = f"give the study another --name, delete {folder} to compute this part again, or all with --fresh"
        elif model == "splits":
            what = f"split {seed!r}"
        message = f"{what} was computed with other settings: {'; '.join(changed)}"
        raise RunError(message, where=str(folder), remedy=remedy)


def read_json(path: Path) -> Any:
    """JSON of a run folder; RunError that names the file where it is damaged or absent."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(
            f"cannot be read: {error}", where=str(path), remedy="delete it and run the study again"
        ) from error


def read_table(path: Path) -> pl.DataFrame:
    """A Parquet table of a run folder; RunError that names the file where it is damaged or absent."""
    try:
        return pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        remedy = "delete it and run the study again: what is absent is made again"
        raise RunError(f"not a readable Parquet table: {reason}", where=str(path), remedy=remedy) from error


def digest(value: Any) -> str:
    """Short hash of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


#: Settings whose values are hashes: what a change of them means.
_MEANS = {
    "split": "the split, or the records that take part, changed",
    "data": "the records that take part changed",
    "file": "the file of folds changed",
    "task.candidates": "the candidate pools changed",
    "start_from.identity": "the row that it starts from changed",
    "fitted": "the model that it takes from another run changed",
}


def _changes(found: Mapping[str, Any], wanted: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """Every setting that differs, `options.size (64 → 256)`; what was a file or a hash in words."""
    for key in sorted({*found, *wanted}):
        old, new, name = found.get(key), wanted.get(key), f"{above}{key}"
        if old == new:
            continue
        if above == "inputs.":
            how = "is new" if old is None else "is read no more" if new is None else "has changed"
            yield f"the file of predictions {how}" if key == "predictions" else f"the file {key!r} of its command {how}"
        elif isinstance(old, dict) and isinstance(new, dict):
            yield from _changes(old, new, f"{name}.")
        else:
            yield _MEANS.get(name) or f"{name} ({_short(old)} → {_short(new)})"


def _short(value: Any) -> str:
    if value is None:
        return "not set"
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
