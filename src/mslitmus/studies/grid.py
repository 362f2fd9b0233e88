"""Many rows of a leaderboard from few lines: one model entry with `vary`, every combination of what varies.

    - model: neural
      options: {training: {epochs: 10}}
      vary:
        options.encoder: {gin: {name: gin, width: 128}, gat: {name: gat}}   # label: settings
        options.training.learning_rate: [0.001, 0.003]                      # or a list; labels are made of the values

stands for the four models "gin × learning_rate 0.001", "gin × learning_rate 0.003", "gat × …". `name` goes first where
it is given. Settings that are mappings are merged into what the entry says; anything else replaces it. `without` lists
the names of rows that are left out, e.g. where encoder and head do not fit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from ..metrics.factors import JOINED

VARY, WITHOUT = "vary", "without"


def expand(entry: Any) -> Iterator[Any]:
    """The model entries that one entry stands for: itself where nothing varies. Raises ValueError that says which key
    of `vary` is wrong."""
    if not isinstance(entry, Mapping) or VARY not in entry:
        yield entry
        return
    vary = entry[VARY]
    if not isinstance(vary, Mapping) or not vary:
        raise ValueError("vary: a mapping of keys to settings, e.g. {options.encoder: {gin: {name: gin}}}")
    choices = [list(_choices(str(path), settings)) for path, settings in vary.items()]
    absent = list(map(str, entry.get(WITHOUT) or []))
    rows = list(_rows(entry, choices))
    known = [row["name"] for row in rows]
    for name in absent:
        if name not in known:
            raise ValueError(f"without: no row is named {name!r}; the rows are {', '.join(known)}")
    yield from (row for row in rows if row["name"] not in absent)


def _rows(entry: Mapping[str, Any], choices: list[list[tuple[str, str, Any]]]) -> Iterator[dict[str, Any]]:
    for chosen in product(*choices):
        row = {key: value for key, value in entry.items() if key not in (VARY, WITHOUT)}
        for path, _, value in chosen:
            row = _with(row, path.split("."), value)
        labels = [label for _, label, _ in chosen]
        given = entry.get("name")
        yield {**row, "name": JOINED.join([str(given), *labels] if given else labels)}


def written(models: Any, location: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """Where in the file the key at `location` of the expanded study was written: a grid's rows come from one entry."""
    if location[:1] != ("models",) or len(location) < 2 or not isinstance(models, list):
        return location
    origins = [index for index, entry in enumerate(models) for _ in expand(entry)]
    number = location[1]
    if not isinstance(number, int) or number >= len(origins):
        return location
    varied = isinstance(models[origins[number]], Mapping) and VARY in models[origins[number]]
    return ("models", origins[number], *([VARY] if varied else location[2:]))


def _choices(path: str, settings: Any) -> Iterator[tuple[str, str, Any]]:
    """(path, label, value) of everything one key takes."""
    if not isinstance(settings, Mapping | list) or not settings:
        raise ValueError(f"vary.{path}: a list of values, or a mapping of labels to values")
    if isinstance(settings, Mapping):
        yield from ((path, str(label), value) for label, value in settings.items())
        return
    for value in settings:
        if isinstance(value, Mapping | list):
            raise ValueError(f"vary.{path}: give each setting a label, e.g. {{gin: {{name: gin}}}}")
        yield path, f"{path.rpartition('.')[2]} {value}", value


def _with(row: Any, path: list[str], value: Any) -> Any:
    """`row` with `value` at `path`; mappings are merged."""
    if not path:
        both = isinstance(row, Mapping) and isinstance(value, Mapping)
        return {**row, **value} if both else value
    row = row if isinstance(row, Mapping) else {}
    return {**row, path[0]: _with(row.get(path[0]), path[1:], value)}
