"""What the cohort audits read: the files of a cohort's run folder, and what of them is independent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...cohort.design import unit_of
from ...cohort.markers import by_acquisition, read_samples, targets_of
from ...cohort.tables import together

GROUPS = ("subject", "replicate", "unit")  # columns whose rows are one sample measured again


@dataclass(frozen=True)
class CohortTables:
    """One run folder. `predictions` and `results` are None where no question was asked."""

    samples: pl.DataFrame
    targets: tuple[str, ...]
    predictions: pl.DataFrame | None
    results: pl.DataFrame | None

    @classmethod
    def read(cls, folder: Path) -> CohortTables:
        """Raises RunError where the folder is no cohort's."""
        samples = read_samples(folder)
        tables = [folder / f"{name}.parquet" for name in ("predictions", "results")]
        predictions, results = (pl.read_parquet(path) if path.is_file() else None for path in tables)
        return cls(samples, tuple(targets_of(folder, samples)), predictions, results)

    def labelled(self, target: str) -> pl.DataFrame:
        """Samples (no blanks, pools, controls) with a known target."""
        return self.samples.filter((pl.col("role") == "sample") & pl.col(target).is_not_null())

    def questions(self) -> Iterator[tuple[str, str, Units]]:
        """(target, ` in ACQUISITION` or nothing, its units): all runs, or each acquisition and all of them together."""
        for target in self.targets:
            for acquisition, rows in by_acquisition(self.labelled(target)):
                yield target, "" if acquisition is None else f" in {acquisition}", Units(rows, target)
            whole = self.together
            mine = whole.filter((pl.col("role") == "sample") & pl.col(target).is_not_null())
            if mine.height:
                yield target, " in all acquisitions together", Units(mine, target)

    @cached_property
    def together(self) -> pl.DataFrame:
        """The samples that have all acquisitions, a row each; none where the sheet tells no acquisitions apart."""
        names = [name for name, _ in by_acquisition(self.samples.filter(pl.col("role") == "sample"))]
        if None in names:
            return self.samples.clear()
        return together(self.samples, [name for name in names if name is not None])[0]

    @property
    def asked(self) -> pl.DataFrame:
        """What predictions can be of: runs, and the samples of several acquisitions by their own names."""
        return pl.concat([self.samples, self.together], how="vertical_relaxed")


class Units:
    """Samples of one target and acquisition, averaged to what is independent.

    Args:
        rows: of samples.parquet, the target known.
    """

    def __init__(self, rows: pl.DataFrame, target: str) -> None:
        self.runs = rows.height
        self._rows = rows.with_columns(_unit=unit_of(rows))
        self._target = target
        self.table = self._rows.unique(["_unit", target], keep="first", maintain_order=True)
        truth = self.table[target]
        self.numbers = truth.dtype.is_numeric()
        self.truth: NDArray[Any] = truth.to_numpy() if self.numbers else truth.to_numpy().astype(str)

    @property
    def n(self) -> int:
        return self.table.height

    def sizes(self) -> dict[str, int]:
        """class → units."""
        names, counts = np.unique(self.truth.astype(str), return_counts=True)
        return dict(zip(names.tolist(), counts.tolist(), strict=True))

    def factor(self, name: str) -> tuple[NDArray[Any], NDArray[Any]] | None:
        """(value a unit, its target) of the units that know it: the mean of numbers, of classes the one they share."""
        if name not in self._rows.columns or self._rows[name].null_count() == self._rows.height:
            return None
        some = self._rows.filter(pl.col(name).is_not_null())
        column = pl.col(name).cast(pl.Float64).mean() if some.schema[name].is_numeric() else pl.col(name).unique()
        told = some.group_by("_unit", self._target, maintain_order=True).agg(column.alias("_value"))
        if told.schema["_value"] == pl.List(pl.String):
            told = told.filter(pl.col("_value").list.len() == 1).with_columns(pl.col("_value").list.first())
        values, truth = told["_value"].to_numpy(), told[self._target].to_numpy()
        if told.schema["_value"] == pl.String:
            values = values.astype(str)
        return values, truth if self.numbers else truth.astype(str)
