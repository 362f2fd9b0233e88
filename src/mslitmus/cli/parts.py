"""`mslitmus list`: the registries as one table."""

from __future__ import annotations

from rich.table import Column, Table

from ..audits import AUDITS
from ..cohort import REPRESENTATIONS
from ..data.splits import SPLITS
from ..errors import unknown_name
from ..models import ENCODERS, HEADS, MODELS
from ..registry import Registry
from ..spectra.formats import FORMATS
from ..tasks import TASKS

REGISTRIES: dict[str, Registry] = {
    "formats": FORMATS,
    "splits": SPLITS,
    "tasks": TASKS,
    "models": MODELS,
    "encoders": ENCODERS,
    "heads": HEADS,
    "representations": REPRESENTATIONS,
    "audits": AUDITS,
}


def parts_table(kind: str | None = None) -> Table:
    """One row a kind of part, or a single kind."""
    if kind is not None and kind not in REGISTRIES:
        raise unknown_name("kind of part", kind, REGISTRIES)
    if kind == "audits":
        return _audits()
    table = Table("kind", "names")
    for name in [kind] if kind else REGISTRIES:
        table.add_row(name, ", ".join(REGISTRIES[name]))
    return table


def _audits() -> Table:
    """Audits with what they cost and the question that each answers."""
    table = Table(Column("audit", no_wrap=True), Column("cost", no_wrap=True), "question")
    for name in AUDITS:
        try:
            table.add_row(name, AUDITS[name].cost, AUDITS[name].about)
        except ImportError as error:
            table.add_row(name, "", f"cannot be loaded: {error}")
    return table
