"""Which molecules a model met on its way here: it learned from them, or what it was made from did.

The folder of a fitted model holds

- `trained_on.parquet`  InChIKey-14 of the molecules in its training set;
- `lineage.json`        what it comes from: weights and predictors that its options name, the row it starts from, the
                        simulation whose spectra it learned. A simulation has this file too, and names its predictor.

A folder of pretraining or fine-tuning holds its own record and list. So a test molecule is found that a predictor
learned, whose spectra a generator learned, whose weights a run starts from. Every origin is named with a hash of its
record: a folder that was filled anew since says nothing about what came from it before.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from .provenance import write_json, write_parquet

LINEAGE, TRAINED_ON = "lineage.json", "trained_on.parquet"
PRETRAINING, FINE_TUNING, SIMULATION, USED = (
    "pretraining.json",
    "fine_tuning.json",
    "simulation.json",
    "molecules.parquet",
)
_RANDOM = "random"
_NAMING = ("weights", "pretrained", "predictor")  # options that name a file or folder: of encoders, of re-rankers


@dataclass(frozen=True)
class Origin:
    """What something comes from: `what` it is (weights, predictor, row, …), where it lies, the hash of its record."""

    what: str
    path: str
    hash: str | None = None


@dataclass(frozen=True)
class Ancestor:
    """Something that a model comes from, near or far.

    Attributes:
        name: how it got here, `weights A ← simulation B ← predictor C`.
        steps: what each of them is, `("weights", "simulation", "predictor")`.
        folder: of its record.
        molecules: `inchikey14` of those that it learned from; None where nobody tells.
        excluded: what its record says was left out; None for one without such a promise.
    """

    name: str
    steps: tuple[str, ...]
    folder: Path
    molecules: pl.DataFrame | None
    excluded: Mapping[str, Any] | None = None


def write(folder: Path, learned: pl.Series | None, origins: Sequence[Origin]) -> None:
    """Record of a fitted model, or of a simulation.

    Args:
        folder: of the model.
        learned: InChIKey-14 of its training set, in any number; None for a simulation, which learned nothing.
        origins: everything that it comes from.
    """
    if learned is not None:
        write_parquet(folder / TRAINED_ON, learned.drop_nulls().unique().sort().alias("inchikey14").to_frame())
    found = [_entry(folder, each) for each in origins]
    write_json(folder / LINEAGE, {"comes_from": found})


def _entry(folder: Path, origin: Origin) -> dict[str, str | None]:
    place = Path(origin.path).resolve()
    beside = os.path.relpath(place, folder.resolve())  # a run that is moved takes its own rows with it
    return {"what": origin.what, "path": str(place), "beside": beside, "hash": origin.hash or hash_of(origin.path)}


def comes_from(folder: Path) -> list[Origin]:
    """What the record of a model or simulation names; empty where there is no record that can be read."""
    found = []
    for each in _list((_json(folder / LINEAGE) or {}).get("comes_from")):
        what, path, digest = (str(each.get(key) or "") for key in ("what", "path", "hash"))
        beside = folder / str(each.get("beside") or ".")
        near = not Path(path).exists() and digest and _hash(_folder(beside)) == digest
        found.append(Origin(what, str(beside) if near else path, digest or None))
    return found


def named(options: Any) -> list[Origin]:
    """Weights and predictors that options name, however deep (presets, bridges nest them)."""
    return [Origin(*each) for each in dict.fromkeys(_named(options))]


def _named(options: Any) -> Iterator[tuple[str, str]]:
    if isinstance(options, Mapping):
        for key, value in options.items():
            if key in _NAMING and isinstance(value, str) and value not in ("", _RANDOM):
                yield key, value
            else:
                yield from _named(value)
    elif isinstance(options, list | tuple):
        for value in options:
            yield from _named(value)


def ancestors(origin: Origin) -> list[Ancestor]:
    """What an origin learned from, and what it comes from itself; never empty.

    What cannot be read, or was made again since, is an ancestor that nobody tells about.
    """
    return list(_walk((origin,), frozenset()))


def _walk(way: tuple[Origin, ...], seen: frozenset[Path]) -> Iterator[Ancestor]:
    origin, steps = way[-1], tuple(each.what for each in way)
    name = " ← ".join(f"{each.what} {each.path}" for each in way)
    folder = _folder(Path(origin.path))
    if folder in seen:
        return
    if origin.hash is not None and _hash(folder) != origin.hash:
        yield Ancestor(f"{name} (not there as it was)", steps, folder, None)
        return
    record = next((_json(folder / each) for each in (PRETRAINING, FINE_TUNING) if (folder / each).is_file()), None)
    behind = comes_from(folder) or named((record or {}).get("options"))
    if not (folder / SIMULATION).is_file():  # whose own molecules are those of whoever learned its spectra
        asked = (record or {}).get("asked")
        excluded = asked.get("held_out") if isinstance(asked, dict) else None
        yield Ancestor(name, steps, folder, _keys(folder / (TRAINED_ON if record is None else USED)), excluded)
    elif not behind:
        yield Ancestor(name, steps, folder, None)
    for each in behind:
        yield from _walk((*way, each), seen | {folder})


def _folder(path: Path) -> Path:
    """Where the record of a file or folder lies: a cell's is in its model."""
    folder = (path if path.is_dir() else path.parent).resolve()
    known = (LINEAGE, TRAINED_ON, PRETRAINING, FINE_TUNING, SIMULATION)
    recorded = any((folder / name).is_file() for name in known)
    return folder / "model" if not recorded and path.is_dir() and (folder / "model").is_dir() else folder


def hash_of(path: str) -> str | None:
    """Of the record of a file or folder now; None where there is none."""
    return _hash(_folder(Path(path)))


def _hash(folder: Path) -> str | None:
    """Of what a folder says that it learned and comes from; None where it says nothing."""
    digest, files = hashlib.sha256(), [folder / name for name in (TRAINED_ON, USED, LINEAGE)]
    for path in (found := [file for file in files if file.is_file()]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16] if found else None


def _json(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _list(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _keys(path: Path) -> pl.DataFrame | None:
    try:
        return pl.read_parquet(path).select("inchikey14")
    except (OSError, pl.exceptions.PolarsError):
        return None
