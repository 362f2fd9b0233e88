"""The ledger: what every rule of curation did to the rows, in order, so that nothing is dropped silently."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from ..errors import DataError

#: Columns of `Ledger.frame`.
COLUMNS = ("rule", "rows_in", "dropped", "changed", "marked", "rows_out", "note")


@dataclass(frozen=True)
class LedgerEntry:
    """One rule: rows that met it, rows it dropped, changed or marked, up to five examples (`identifier: reason`)."""

    rule: str
    rows_in: int
    dropped: int = 0
    changed: int = 0
    marked: int = 0
    examples: Sequence[str] = ()
    note: str = ""

    @property
    def rows_out(self) -> int:
        return self.rows_in - self.dropped


@dataclass(frozen=True)
class Ledger:
    """Entries in the order in which the rules ran."""

    entries: Sequence[LedgerEntry] = ()

    def __iter__(self) -> Iterator[LedgerEntry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, rule: str) -> LedgerEntry:
        """The (last) entry of this rule. Raises DataError if the rule did not run."""
        for entry in reversed(self.entries):
            if entry.rule == rule:
                return entry
        known = ", ".join(entry.rule for entry in self.entries)
        raise DataError(f"no rule {rule!r} in this ledger", remedy=f"rules that ran: {known or 'none'}")

    @property
    def rows_in(self) -> int:
        return self.entries[0].rows_in if self.entries else 0

    @property
    def rows_out(self) -> int:
        return self.entries[-1].rows_out if self.entries else 0

    def add(self, *entries: LedgerEntry) -> Ledger:
        return Ledger((*self.entries, *entries))

    def frame(self) -> pl.DataFrame:
        """One row an entry, columns `COLUMNS`."""
        rows = [{name: getattr(entry, name) for name in COLUMNS} for entry in self.entries]
        schema = {name: pl.String if name in ("rule", "note") else pl.Int64 for name in COLUMNS}
        return pl.DataFrame(rows, schema=schema)

    def to_json(self) -> list[dict[str, Any]]:
        """Plain JSON values: one object an entry, with its examples."""
        return [
            asdict(entry) | {"examples": list(entry.examples), "rows_out": entry.rows_out} for entry in self.entries
        ]

    @staticmethod
    def from_json(value: Sequence[Mapping[str, Any]] | str) -> Ledger:
        """Inverse of `to_json`; takes the JSON text as well. Raises DataError on anything else."""
        try:
            rows = json.loads(value) if isinstance(value, str) else value
            return Ledger(tuple(_entry(row) for row in rows))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"not a ledger: {error}", remedy="import the dataset again") from error


def _entry(row: Mapping[str, Any]) -> LedgerEntry:
    examples = tuple(str(example) for example in row.get("examples", ()))
    counts = {name: int(row.get(name, 0)) for name in ("dropped", "changed", "marked")}
    return LedgerEntry(
        str(row["rule"]), int(row["rows_in"]), **counts, examples=examples, note=str(row.get("note", ""))
    )
