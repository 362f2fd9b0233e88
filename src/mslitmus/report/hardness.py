"""How hard the splits are, side by side: overlap, nearest-train similarity, property shifts (KS), condition shifts (V).

Reads the `difficulty` object of splits/<split>.json (see `mslitmus.data.difficulty`); what an object lacks shows as a
dash.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from .folder import RunFiles
from .numbers import MISSING, count, p_value, percent, score, usable
from .plot import histogram


@dataclass(frozen=True)
class Cell:
    """`value` big, `note` small beneath it."""

    value: str = MISSING
    note: str = ""


@dataclass(frozen=True)
class Block:
    """Rows of one kind of measure; `name` heads them."""

    name: str
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]


@dataclass(frozen=True)
class Hardness:
    splits: tuple[str, ...]
    histograms: tuple[Markup | None, ...]
    blocks: tuple[Block, ...]


def hardness(files: RunFiles) -> Hardness | None:
    """The section's values; None where no split record holds a difficulty table."""
    found = {name: _mapping(files.splits.get(name, {}).get("difficulty")) for name in files.split_names}
    found = {name: table for name, table in found.items() if table}
    if not found:
        return None
    tables = list(found.values())
    blocks = [
        Block("Test molecules that also occur in train (by InChIKey-14)", (("exact overlap", _overlaps(tables)),)),
        Block("Similarity to the nearest train molecule (Tanimoto, Morgan)", _quantile_rows(tables)),
        Block("Kolmogorov–Smirnov D, test against train molecules", _rows(tables, "ks", _ks_cell)),
        Block("Cramér’s V, conditions of test against train spectra", _rows(tables, "cramers_v", _v_cell)),
    ]
    return Hardness(
        splits=tuple(found),
        histograms=tuple(_histogram(name, table) for name, table in found.items()),
        blocks=tuple(block for block in blocks if block.rows),
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _test_side(value: Any) -> Mapping[str, Any]:
    """The part about test where an object is given per fold; the object itself otherwise."""
    table = _mapping(value)
    for key in ("test", "test_vs_train", "train_vs_test", "test-train"):
        if isinstance(table.get(key), Mapping):
            return _mapping(table[key])
    return table


def _overlaps(tables: Sequence[Mapping[str, Any]]) -> tuple[Cell, ...]:
    return tuple(_overlap(table.get("overlap")) for table in tables)


def _overlap(value: Any) -> Cell:
    if usable(value):
        return Cell(count(value))
    table = _test_side(value)
    molecules = table.get("molecules", table.get("n"))
    share = next((table[k] for k in ("fraction", "share", "fraction_molecules") if usable(table.get(k))), None)
    if not usable(molecules):
        return Cell(percent(share)) if usable(share) else Cell()
    return Cell(count(molecules), f"{percent(share)} of test molecules" if usable(share) else "")


def _quantile_rows(tables: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, tuple[Cell, ...]], ...]:
    rows = []
    quantiles = [_mapping(_test_side(table.get("nearest_train")).get("quantiles")) for table in tables]
    keys = dict.fromkeys(key for table in quantiles for key in table)
    for key in keys:
        rows.append((_quantile_name(str(key)), tuple(Cell(score(table.get(key), 2)) for table in quantiles)))
    means = [_test_side(table.get("nearest_train")).get("mean") for table in tables]
    if any(usable(mean) for mean in means):
        rows.append(("mean", tuple(Cell(score(mean, 2)) for mean in means)))
    return tuple(rows)


def _quantile_name(key: str) -> str:
    digits = key.removeprefix("q").removeprefix("p").rstrip("%")
    try:
        share = float(digits)
    except ValueError:
        return key
    share = share * 100 if share <= 1 else share
    if share == 50:
        return "median"
    return f"{share:g} % quantile"


def _rows(tables: Sequence[Mapping[str, Any]], key: str, cell: Any) -> tuple[tuple[str, tuple[Cell, ...]], ...]:
    parts = [_test_side(table.get(key)) for table in tables]
    names = dict.fromkeys(name for part in parts for name in part)
    return tuple((str(name).replace("_", " "), tuple(cell(part.get(name)) for part in parts)) for name in names)


def _ks_cell(value: Any) -> Cell:
    table = _mapping(value)
    statistic = next((table[k] for k in ("statistic", "d", "D") if usable(table.get(k))), None)
    if not usable(statistic):
        return Cell()
    notes = [p_value(table["p"])] if usable(table.get("p")) else []
    sizes = [table.get(k) for k in ("n_test", "n_train")]
    if all(usable(n) for n in sizes):
        notes.append(f"n = {count(sizes[0])} against {count(sizes[1])}")
    elif usable(table.get("n")):
        notes.append(f"n = {count(table['n'])}")
    return Cell(score(statistic), ", ".join(notes))


def _v_cell(value: Any) -> Cell:
    if usable(value):
        return Cell(score(value))
    table = _mapping(value)
    statistic = next((table[k] for k in ("v", "statistic", "value", "cramers_v") if usable(table.get(k))), None)
    if not usable(statistic):
        return Cell()
    notes = [p_value(table["p"])] if usable(table.get("p")) else []
    notes += [f"n = {count(table['n'])}"] if usable(table.get("n")) else []
    return Cell(score(statistic), ", ".join(notes))


def _histogram(split: str, table: Mapping[str, Any]) -> Markup | None:
    nearest = _test_side(table.get("nearest_train"))
    drawn = nearest.get("histogram")
    if isinstance(drawn, Mapping):
        counts, edges = drawn.get("counts", drawn.get("count")), drawn.get("edges", drawn.get("bins"))
    else:
        counts, edges = drawn, nearest.get("edges")
    if not isinstance(counts, Sequence) or not counts or not all(usable(c) for c in counts):
        return None
    if not isinstance(edges, Sequence) or len(edges) != len(counts) + 1:
        edges = [i / len(counts) for i in range(len(counts) + 1)]
    quantiles = _mapping(nearest.get("quantiles"))
    median = next((quantiles[k] for k in ("0.5", "0.50", "50", "q50", "median") if usable(quantiles.get(k))), None)
    return histogram(edges, counts, label=f"Nearest-train Tanimoto of the {split} split’s test molecules", median=median)
