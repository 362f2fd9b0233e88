"""How hard the splits are, side by side: overlap, nearest-train similarity, property shifts (KS), condition shifts (V).

Reads the `difficulty` object of splits/<split>.json as `mslitmus.data.difficulty` writes it; what an object lacks, or
holds as null, shows as a dash.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from .folder import RunFiles
from .numbers import MISSING, count, p_value, percent, score, usable
from .plot import histogram

_OVERLAPS = {
    "molecules": "InChIKey-14 (exact overlap)",
    "scaffolds": "Murcko scaffold (cyclic molecules)",
    "formulae": "formula",
    "val_molecules": "InChIKey-14, validation molecules",
}
_QUANTILES = {"0.05": "5 % quantile", "0.25": "25 % quantile", "0.5": "median", "0.75": "75 % quantile"}
_NAMES = {"logp": "logP", "fingerprint_density": "fingerprint density (bits per heavy atom)", "mass": "mass (Da)"}


@dataclass(frozen=True)
class Cell:
    """`value` in strong type, `note` small after it."""

    value: str = MISSING
    note: str = ""


@dataclass(frozen=True)
class Block:
    """Rows of one kind of measure; `name` heads them."""

    name: str
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]


@dataclass(frozen=True)
class Shares:
    """Levels of one condition on one split: (level, share of train, val, test)."""

    title: str
    rows: tuple[tuple[str, str, str, str], ...]


@dataclass(frozen=True)
class Hardness:
    splits: tuple[str, ...]
    histograms: tuple[Markup | None, ...]
    blocks: tuple[Block, ...]
    shares: tuple[Shares, ...]


def hardness(files: RunFiles) -> Hardness | None:
    """The section's values; None where no split record holds a difficulty table."""
    found = {name: _mapping(files.splits.get(name, {}).get("difficulty")) for name in files.split_names}
    found = {name: table for name, table in found.items() if table}
    if not found:
        return None
    tables = list(found.values())
    blocks = (
        Block("Share of test molecules that occur in train, by", _rows(tables, "overlap", _overlap, _OVERLAPS)),
        Block("Tanimoto to the nearest train molecule (Morgan radius 2, 2048 bits)", _quantiles(tables)),
        Block("Kolmogorov–Smirnov D of test against train molecules", _rows(tables, "ks", _ks, _NAMES)),
        Block("Cramér’s V of condition and fold, over spectra", _rows(tables, "cramers_v", _association, {})),
    )
    return Hardness(
        splits=tuple(found),
        histograms=_histograms(found),
        blocks=tuple(block for block in blocks if block.rows),
        shares=tuple(shares for name, table in found.items() for shares in _shares(name, table)),
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _rows(
    tables: Sequence[Mapping[str, Any]], key: str, cell: Callable[[Mapping[str, Any]], Cell], titles: Mapping[str, str]
) -> tuple[tuple[str, tuple[Cell, ...]], ...]:
    parts = [_mapping(table.get(key)) for table in tables]
    names = dict.fromkeys(name for part in parts for name in part)
    return tuple(
        (titles.get(name, str(name).replace("_", " ")), tuple(cell(_mapping(part.get(name))) for part in parts))
        for name in names
    )


def _overlap(value: Mapping[str, Any]) -> Cell:
    if not usable(value.get("count")):
        return Cell()
    if not value.get("of"):
        return Cell(note="no test molecule to count")
    return Cell(percent(value.get("share")), f"{count(value['count'])} of {count(value['of'])}")


def _quantiles(tables: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, tuple[Cell, ...]], ...]:
    nearest = [_mapping(table.get("nearest_train")) for table in tables]
    if not any(nearest):
        return ()
    rows = [
        (title, tuple(Cell(score(_mapping(part.get("quantiles")).get(key), 2)) for part in nearest))
        for key, title in _QUANTILES.items()
    ]
    rows.append(("mean", tuple(Cell(score(part.get("mean"), 2), _searched(part)) for part in nearest)))
    return tuple(rows)


def _searched(part: Mapping[str, Any]) -> str:
    n, of = part.get("n"), part.get("of")
    if not usable(n):
        return ""
    return f"n = {count(n)}" if n == of or not usable(of) else f"n = {count(n)} drawn of {count(of)}"


def _ks(value: Mapping[str, Any]) -> Cell:
    if not usable(value.get("statistic")):
        return Cell()
    notes = [p_value(value.get("p"))]
    if usable(value.get("n_test")) and usable(value.get("n_train")):
        notes.append(f"n = {count(value['n_test'])} and {count(value['n_train'])}")
    if usable(value.get("median_test")) and usable(value.get("median_train")):
        notes.append(f"medians {value['median_test']:.4g} and {value['median_train']:.4g}")
    return Cell(score(value["statistic"]), ", ".join(notes))


def _association(value: Mapping[str, Any]) -> Cell:
    if not usable(value.get("v")):
        return Cell(note="one level only") if value.get("levels") == 1 else Cell()
    notes = [f"corrected {score(value['v_corrected'])}"] if usable(value.get("v_corrected")) else []
    notes += [f"{count(value['levels'])} levels"] if usable(value.get("levels")) else []
    notes += [f"n = {count(value['n'])}"] if usable(value.get("n")) else []
    return Cell(score(value["v"]), ", ".join(notes))


def _shares(split: str, table: Mapping[str, Any]) -> list[Shares]:
    out = []
    for name, value in _mapping(table.get("cramers_v")).items():
        levels = _mapping(_mapping(value).get("shares"))
        rows = tuple(
            (str(level), *(percent(_mapping(of).get(fold)) for fold in ("train", "val", "test")))
            for level, of in levels.items()
        )
        if rows:
            out.append(Shares(f"{split}: {str(name).replace('_', ' ')}", rows))  # type: ignore[arg-type]
    return out


def _histograms(found: Mapping[str, Mapping[str, Any]]) -> tuple[Markup | None, ...]:
    """One histogram a split, all on one scale; None where a split has none."""
    drawn = {name: _drawn(table) for name, table in found.items()}
    limit = max((max(c) / (sum(c) or 1) for part in drawn.values() if part for c in [part[1]]), default=1.0)
    out: list[Markup | None] = []
    for name, part in drawn.items():
        median = _mapping(_mapping(found[name].get("nearest_train")).get("quantiles")).get("0.5")
        median = median if usable(median) else None
        label = f"Histogram of nearest-train Tanimoto of the {name} split’s test molecules, median {score(median, 2)}"
        out.append(histogram(part[0], part[1], label=label, median=median, limit=limit) if part else None)
    return tuple(out)


def _drawn(table: Mapping[str, Any]) -> tuple[list[float], list[float]] | None:
    """(edges, counts), where both are there and fit."""
    part = _mapping(_mapping(table.get("nearest_train")).get("histogram"))
    edges, counts = part.get("edges"), part.get("counts")
    if not isinstance(counts, list) or not isinstance(edges, list) or len(edges) != len(counts) + 1 or not counts:
        return None
    return (edges, counts) if all(usable(value) for value in (*counts, *edges)) else None
