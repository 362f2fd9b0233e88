"""The tables of `mslitmus data`, readable at 100 columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Column, Table

from ..data import store
from ..data.catalogue import entries
from ..data.ledger import Ledger
from ..data.store import Dataset
from ..errors import DataError

_TOP = 8


def stored_table() -> Table:
    """One row a stored dataset."""
    table = Table("name", "rev", "spectra", "molecules", "peaks", "licences", "hash", title="stored here")
    for column in table.columns[1:5]:
        column.justify = "right"
    for name in store.names():
        try:
            info = store.load(name).info
        except DataError:  # one damaged dataset must not hide the others
            table.add_row(name, "–", *["–"] * 3, "damaged: import it again", "–")
            continue
        counts = info["counts"]
        numbers = [f"{counts[key]:,}" for key in ("spectra", "molecules", "peaks")]
        label = f"{name} (simulated)" if info.get("simulated") else name
        table.add_row(label, str(info["revision"]), *numbers, ", ".join(info["licenses"]), info["hash"])
    if not table.rows:
        table.caption = f"nothing yet in {store.home()}: `mslitmus data add massbank --from PATH`"
    return table


def catalogue_table() -> Table:
    """One row a dataset that can be imported by name."""
    table = Table("name", "title", "revision", "licence", title="catalogue: mslitmus data get NAME")
    for name, entry in entries().items():
        revision = entry.revision if len(entry.revision) < 14 else f"{entry.revision[:10]}…"
        table.add_row(name, entry.title, revision, entry.license)
    return table


def overview(dataset: Dataset, licenses: list[str] | None = None) -> Iterable[RenderableType]:
    """Where the dataset comes from, then its distributions; with `licenses`, of the rows that are left."""
    info = dataset.info
    yield f"[bold]{dataset.name}[/] revision {info['revision']}, {info.get('title', '')}"
    if dataset.simulated:
        yield "[bold yellow]simulated spectra[/]"
    labels = ("citation", "doi", "homepage", "license_note", "notes", "imported")
    yield "\n".join(f"{label.replace('_', ' ')}: {info[label]}" for label in labels if info.get(label))
    counts, distributions, flags = info["counts"], info["distributions"], info["flags"]
    if licenses is not None:
        summary = store.summarise(dataset.frame(licenses))
        counts, distributions, flags = summary["counts"], summary["distributions"], summary["flags"]
        yield f"only licences: {', '.join(licenses)}"
    numbers = ", ".join(f"{counts[key]:,} {key}" for key in ("spectra", "molecules", "peaks"))
    yield f"{numbers}; hash {dataset.hash}"
    yield Group(*(_line(name, values) for name, values in distributions.items()), _line("flags", flags))
    if licenses is None and "energies" in info:
        yield energy_table(info["energies"]["curated"])


def _line(name: str, values: Mapping[str, int]) -> str:
    shown = [f"{value} {n:,}" for value, n in list(values.items())[:_TOP]]
    rest = [f"{len(values) - len(shown)} more"] if len(values) > len(shown) else []
    return f"[bold]{name.replace('_', ' ')}[/]: {escape(' · '.join([*shown, *rest]) or 'none')}"


def energy_table(rows: list[dict[str, Any]]) -> Table:
    """Collision energies by kind, origin and rule, then the shares by origin."""
    table = Table("kind", "unit is", "rule", "spectra", "share", title="collision energies")
    for column in table.columns[3:]:
        column.justify = "right"
    for row in rows:
        table.add_row(row["kind"], row["origin"], row["rule"], f"{row['spectra']:,}", f"{100 * row['share']:.2f} %")
    origins = pl.DataFrame(rows).group_by("origin").agg(pl.col("share").sum()).sort("share", descending=True)
    table.caption = ", ".join(f"{'not stated' if o == 'none' else o} {100 * s:.1f} %" for o, s in origins.rows())
    return table


def ledger_table(ledger: Ledger, examples: bool = False) -> Table:
    """One row a rule; rules that touched nothing are dimmed."""
    table = Table(Column("rule", no_wrap=True, min_width=28), "rows in", "dropped", "changed", "marked", title="ledger")
    for column in table.columns[1:]:
        column.justify = "right"
    if examples:
        table.add_column("examples", overflow="fold")
    for entry in ledger:
        counts = [f"{n:,}" if n else "" for n in (entry.dropped, entry.changed, entry.marked)]
        extra = [escape("\n".join(entry.examples[:2]))] if examples else []
        style = None if any(counts) else "dim"
        table.add_row(entry.rule, f"{entry.rows_in:,}", *counts, *extra, style=style)
    if len(ledger):
        table.caption = f"{ledger.rows_in:,} records in, {ledger.rows_out:,} out"
    return table
