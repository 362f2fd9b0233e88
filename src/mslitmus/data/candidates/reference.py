"""All real molecules that a pool may draw on, as one table sorted by mass, with the windows that make a pool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...provenance import table_hash, write_parquet
from .lists import MOLECULES, MoleculeList

REFERENCE = {**MOLECULES, "origin": pl.String()}


@dataclass(frozen=True)
class Reference:
    """Table `REFERENCE`: one row an InChIKey-14, ascending exact mass; the first list with a molecule names it."""

    frame: pl.DataFrame = field(repr=False)

    @staticmethod
    def of(lists: Sequence[MoleculeList]) -> Reference:
        parts = [each.frame.with_columns(pl.lit(each.name).alias("origin")) for each in lists]
        table = pl.concat([pl.DataFrame(schema=REFERENCE), *(part.select(list(REFERENCE)) for part in parts)])
        first = table.unique("inchikey14", keep="first", maintain_order=True)
        return Reference(first.sort("exact_mass", "inchikey14"))

    @cached_property
    def hash(self) -> str:
        return table_hash(self.frame)

    @cached_property
    def masses(self) -> NDArray[np.float64]:
        return self.frame.get_column("exact_mass").to_numpy()

    @cached_property
    def row_of(self) -> dict[str, int]:
        """InChIKey-14 → row."""
        return {key: row for row, key in enumerate(self.frame.get_column("inchikey14").to_list())}

    def window(self, mass: float, ppm: float) -> pl.DataFrame:
        """Rows within `ppm` of `mass` (Da)."""
        reach = mass * ppm * 1e-6
        low, high = np.searchsorted(self.masses, [mass - reach, mass + reach])
        return self.frame.slice(int(low), int(high - low))

    def isomers(self, formula: str, mass: float) -> pl.DataFrame:
        """Rows of one formula; `mass` (Da) is its monoisotopic mass."""
        return self.window(mass, 1.0).filter(pl.col("formula") == formula)

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_parquet(path, self.frame)

    @staticmethod
    def load(path: Path) -> Reference:
        """What `save` wrote, once a process."""
        return _load(path)


@lru_cache(maxsize=2)
def _load(path: Path) -> Reference:
    return Reference(pl.read_parquet(path).select(list(REFERENCE)))
