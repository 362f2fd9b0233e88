"""What is said about rows that answer no query, and of candidates filled in: neither happens in silence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from ..errors import PredictionError

Say = Callable[[str], None]
EXAMPLES = 3


@dataclass
class Notes:
    """What a reader of many files did silently, to be told once.

    dropped: names of records that are no query; filled: candidates that got the lowest place of their pool, in so many
    queries, of so many candidates that these queries show.
    """

    dropped: list[str] = field(default_factory=list)
    filled: int = 0
    filled_queries: int = 0
    shown: int = 0

    def tell(self, path: Path, say: Say) -> None:
        if self.dropped:
            distinct = list(dict.fromkeys(self.dropped))
            examples = ", ".join(repr(name) for name in distinct[:EXAMPLES])
            what = f"{len(self.dropped):,} records left out, of {len(distinct):,} names that are no query"
            say(f"{path.name}: {what}, e.g. {examples}")
        if self.filled:
            what = f"{self.filled:,} of {self.shown:,} candidates, in {self.filled_queries:,} queries"
            say(
                f"{path.name}: rest: lowest gave {what}, a shared place below all that the tool scored; "
                "as missing ones they would count as the worst case, so this can raise the numbers; say so beside them"
            )


def silent(_: str) -> None:
    return None


def tell_dropped(path: Path, names: pl.Series, rows: int, say: Say) -> None:
    """Count rows under names that are no query, with examples.

    Args:
        names: of the rows left out, as the file gives them.
        rows: of the file in all.
    Raises PredictionError where no row is left.
    """
    if names.is_empty():
        return
    distinct = names.unique(maintain_order=True)
    examples = ", ".join(repr(name) for name in distinct.head(EXAMPLES))
    if names.len() == rows:
        remedy = "the file was made for other queries: check dataset, split, seed and filters"
        raise PredictionError(
            f"none of its identifiers is among the queries, e.g. {examples}", where=str(path), remedy=remedy
        )
    what = f"{names.len():,} of {rows:,} rows left out, of {distinct.len():,} identifiers that were not asked"
    say(f"{path.name}: {what}, e.g. {examples}")
