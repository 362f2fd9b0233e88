"""Which molecules a model met on its way here: it learned from them, or what it was made from did.

The folder of a fitted model holds

- `trained_on.parquet`  InChIKey-14 of the molecules in its training set;
- `lineage.json`        folders that it comes from: weights and predictors that its options name, the row it starts
                        from, the simulation whose spectra it learned.

A folder of pretraining holds its own record and list; the record of a simulation names the folder of its predictor. So
a test molecule is found that a predictor learned, whose spectra a generator learned, whose weights a run starts from.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from .provenance import write_json, write_parquet

LINEAGE, TRAINED_ON, MOLECULES, SIMULATION = (
    "lineage.json",
    "trained_on.parquet",
    "molecules.parquet",
    "simulation.json",
)
_PRETRAINED = ("pretraining.json", "fine_tuning.json")
_RANDOM = "random"
_NAMING = ("weights", "pretrained", "predictor")  # options that name a file or folder: of encoders, of re-rankers


@dataclass(frozen=True)
class Ancestor:
    """Something that a model comes from.

    Attributes:
        name: how it got here, `weights A ← simulation B ← predictor C`.
        molecules: `inchikey14` of those that it learned from; None where nobody tells.
        excluded: what its record says was left out; None for one without such a promise.
    """

    name: str
    molecules: pl.DataFrame | None
    excluded: Mapping[str, Any] | None = None


def write(folder: Path, learned: pl.Series, origins: Sequence[tuple[str, str]]) -> None:
    """Record of a fitted model.

    Args:
        folder: of the model.
        learned: InChIKey-14 of its training set, in any number.
        origins: (what, folder) of everything that it comes from, as `named` gives them.
    """
    keys = learned.drop_nulls().unique().sort().alias("inchikey14")
    write_parquet(folder / TRAINED_ON, keys.to_frame())
    found = [{"what": what, "folder": str(Path(path).resolve())} for what, path in origins]
    write_json(folder / LINEAGE, {"molecules": len(keys), "comes_from": found})


def named(options: Any) -> list[tuple[str, str]]:
    """(option, path) of the weights and predictors that options name, however deep (presets, bridges nest them)."""
    return list(dict.fromkeys(_named(options)))


def _named(options: Any) -> Iterator[tuple[str, str]]:
    if isinstance(options, Mapping):
        for key, value in options.items():
            if key in _NAMING and isinstance(value, str) and value != _RANDOM:
                yield key, value
            else:
                yield from _named(value)
    elif isinstance(options, list | tuple):
        for value in options:
            yield from _named(value)


def ancestors(what: str, path: str) -> list[Ancestor]:
    """What a file or folder learned from, and what it comes from itself; never empty.

    What cannot be read is an ancestor that nobody tells about.
    """
    return list(_walk(f"{what} {path}", Path(path), frozenset()))


def _walk(name: str, path: Path, seen: frozenset[Path]) -> Iterator[Ancestor]:
    folder = path if path.is_dir() else path.parent
    if folder.resolve() in seen:
        return
    seen |= {folder.resolve()}
    record = next((_json(folder / each) for each in _PRETRAINED if (folder / each).is_file()), None)
    if (folder / SIMULATION).is_file():  # its own molecules are those of whoever learned its spectra
        predictor = (_json(folder / SIMULATION) or {}).get("predictor")
        if predictor is None:
            yield Ancestor(name, None)
        else:
            yield from _walk(f"{name} ← predictor {predictor}", Path(predictor), seen)
        return
    keys = _keys(folder / (MOLECULES if record is not None else TRAINED_ON))
    yield Ancestor(name, keys, ((record or {}).get("asked") or {}).get("held_out"))
    for origin in (_json(folder / LINEAGE) or {}).get("comes_from") or ():
        yield from _walk(f"{name} ← {origin['what']} {origin['folder']}", Path(origin["folder"]), seen)


def _json(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _keys(path: Path) -> pl.DataFrame | None:
    try:
        return pl.read_parquet(path).select("inchikey14")
    except (OSError, pl.exceptions.PolarsError):
        return None
