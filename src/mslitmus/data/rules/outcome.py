"""What a rule hands back: the rows that go on, and which rows it dropped, changed or marked, each with a reason."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from ..ledger import LedgerEntry

EXAMPLES = 5
_TOUCHED = {"identifier": pl.String(), "reason": pl.String()}


def _none() -> pl.DataFrame:
    return pl.DataFrame(schema=_TOUCHED)


@dataclass(frozen=True)
class Outcome:
    """`frame` goes on; `dropped`, `changed` and `marked` hold (identifier, reason) of the rows touched."""

    frame: pl.DataFrame
    dropped: pl.DataFrame | None = None
    changed: pl.DataFrame | None = None
    marked: pl.DataFrame | None = None

    def entry(self, rule: str, rows_in: int, note: str) -> LedgerEntry:
        tables = [_none() if table is None else table for table in (self.dropped, self.changed, self.marked)]
        first = next((table for table in tables if table.height), tables[0])
        examples = [f"{name}: {reason}" for name, reason in first.head(EXAMPLES).rows()]
        dropped, changed, marked = (table.height for table in tables)
        return LedgerEntry(rule, rows_in, dropped, changed, marked, examples, note)


def touched(frame: pl.DataFrame, where: pl.Expr, reason: pl.Expr | str) -> pl.DataFrame:
    """(identifier, reason) of the rows where `where` holds; null counts as false."""
    text = pl.lit(reason) if isinstance(reason, str) else reason
    chosen = frame.filter(where.fill_null(False))
    return chosen.select(pl.col("identifier").cast(pl.String), text.cast(pl.String).fill_null("").alias("reason"))


def drop(frame: pl.DataFrame, where: pl.Expr, reason: pl.Expr | str) -> Outcome:
    """Leave out the rows where `where` holds; null counts as false."""
    bad = where.fill_null(False)
    return Outcome(frame.filter(~bad), dropped=touched(frame, bad, reason))


def change(frame: pl.DataFrame, where: pl.Expr, reason: pl.Expr | str, *columns: pl.Expr) -> Outcome:
    """Set `columns` (named expressions) where `where` holds; elsewhere they keep their values."""
    hit = where.fill_null(False)
    new = [pl.when(hit).then(c).otherwise(pl.col(c.meta.output_name())).alias(c.meta.output_name()) for c in columns]
    return Outcome(frame.with_columns(new), changed=touched(frame, hit, reason))


def mark(frame: pl.DataFrame, where: pl.Expr, flag: str, reason: pl.Expr | str) -> Outcome:
    """Add `flag` to the rows where `where` holds."""
    return Outcome(with_flag(frame, where, flag), marked=touched(frame, where, reason))


def with_flag(frame: pl.DataFrame, where: pl.Expr, flag: str) -> pl.DataFrame:
    new = where.fill_null(False) & ~pl.col("flags").list.contains(flag)
    added = pl.col("flags").list.concat(pl.lit([flag], dtype=pl.List(pl.String)))
    return frame.with_columns(pl.when(new).then(added).otherwise(pl.col("flags")).alias("flags"))
