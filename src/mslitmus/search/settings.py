"""Does a calibration fit the search that uses it? What both were made with, compared by meaning and not by spelling.

A probability of another score is no probability: other scores, fragment tolerances and weights are refused. Another
window of candidates, ion mode or library is told, since the map may hold there and nobody has seen whether it does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..errors import ConfigError
from ..spectra.tolerance import Tolerance
from .libraries import Reference
from .searching import Search

_SCORING = ("score", "tolerance", "intensity_power", "mz_power")


def settings(asked: Search, library: Reference, ion_mode: str | None, **more: Any) -> dict[str, Any]:
    """What `Confidence.search` records of a search of this library; `more` is recorded beside it."""
    return {
        "library": library.name,
        "library_hash": library.hash,
        "score": asked.score,
        "tolerance": asked.tolerance,
        "intensity_power": asked.intensity_power,
        "mz_power": asked.mz_power,
        "precursor_tolerance": asked.precursor,
        "same": list(asked.same),
        "only": {name: list(values) for name, values in asked.only},
        "ion_mode": ion_mode,
        **more,
    }


def refuse_another_score(made: Mapping[str, Any], asked: Search, where: str) -> None:
    """Raises ConfigError where the calibration is of hits that are scored otherwise."""
    mine = {name: getattr(asked, name) for name in _SCORING}
    if other := [n for n in _SCORING if n in made and _meaning(n, made[n]) != _meaning(n, mine[n])]:
        what = "; ".join(f"made with {name} {made[name]}, this search has {mine[name]}" for name in other)
        options = " ".join(f"--{name.replace('_', '-')} {made[name]}" for name in other)
        remedy = f"search with {options}, or calibrate anew: mslitmus confidence LIBRARY with the options of the search"
        raise ConfigError(f"a calibration of another score: {what}", where=where, remedy=remedy)


def doubts(made: Mapping[str, Any], asked: Search, libraries: Sequence[Reference], modes: Iterable[str]) -> list[str]:
    """What differs between calibration and search beside the score, one sentence each.

    Args:
        modes: ion modes of the queries, those that are known.
    """
    out = []
    window = "any precursor" if asked.shift or asked.precursor is None else asked.precursor
    if "precursor_tolerance" in made and (
        asked.shift or _meaning("tolerance", made["precursor_tolerance"]) != _meaning("tolerance", asked.precursor)
    ):
        out.append(f"candidates within {made['precursor_tolerance']}, this search: {window}")
    if "same" in made and set(made["same"]) != set(asked.same):
        said = [", ".join(sorted(columns)) or "nothing" for columns in (made["same"], asked.same)]
        out.append(f"candidates equal in {said[0]}, this search: {said[1]}")
    only = {name: sorted(values) for name, values in asked.only}
    if "only" in made and {name: sorted(values) for name, values in made["only"].items()} != only:
        out.append("another part of the library (--adduct, --instrument-type, --source)")
    if made.get("ion_mode") and (other := sorted(set(modes) - {made["ion_mode"]})):
        out.append(f"{made['ion_mode']} mode, these queries: {', '.join(other)}")
    return out + _other_libraries(made, libraries)


def _other_libraries(made: Mapping[str, Any], libraries: Sequence[Reference]) -> list[str]:
    if "library" not in made or not libraries:
        return []
    known = made.get("library_hash")
    if len(libraries) == 1 and known is not None and libraries[0].hash == known:
        return []
    names = [each.name for each in libraries]
    if names != [made["library"]]:
        return [f"the library {made['library']}, this search: {', '.join(names)}"]
    if known is not None and libraries[0].hash is not None:
        return [f"another state of the library {made['library']}"]
    return []


def _meaning(name: str, value: Any) -> Any:
    """`0.02Da` and `0.020 Da` are the same tolerance, 1 and 1.0 the same power."""
    if value is None:
        return None
    if name == "tolerance":
        return Tolerance.of(value)
    return value if isinstance(value, str) else float(value)
