"""What a format offers to the reader and the writer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True, slots=True)
class Format:
    """One file format.

    Args:
        name: registry key, e.g. `mgf`.
        title: for people, e.g. `Mascot generic format`.
        looks_like: does a file with these first bytes (line ends settled) hold this format?
        read: (sources, problems, batch, **options) → raw frames.
        suffixes: file endings that `write` recognises, none for formats that are only read.
    """

    name: str
    title: str
    looks_like: Callable[[bytes], bool]
    read: Callable[..., Iterator[pl.DataFrame]]
    suffixes: tuple[str, ...] = ()
