"""From what each sample has of each family to a table of independent units: what tests and linear models read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..errors import ConfigError, unknown_name

Array = NDArray[np.float64]
_CHOICES = {
    "abundance": ("auto", "intensity", "count"),
    "normalise": ("none", "total"),
    "adjust": ("none", "batch"),
}


@dataclass(frozen=True)
class Weighing:
    """How abundances become numbers.

    Args:
        abundance: `intensity` (summed MS/MS ion current), `count` (of spectra), or `auto`: the first where every run
            recorded it.
        normalise: `total` divides by what the sample has in all; `none` leaves injected amounts as they are.
        adjust: `batch` centres every batch, so that a difference between batches is none between groups.
    """

    abundance: Literal["auto", "intensity", "count"] = "auto"
    normalise: Literal["none", "total"] = "none"
    adjust: Literal["none", "batch"] = "none"

    def __post_init__(self) -> None:
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                error = unknown_name(name, getattr(self, name), known)
                raise ConfigError(error.message, where=f"--{name}", remedy=f"one of {', '.join(known)}")


@dataclass(frozen=True)
class Design:
    """log₂ abundances.

    Attributes:
        families, samples: names of columns and rows.
        values: (samples, families); 0 where a sample has nothing.
    """

    families: tuple[str, ...]
    samples: tuple[str, ...]
    values: Array

    def of(self, rows: pl.DataFrame, target: str) -> tuple[Array, NDArray[Any], pl.DataFrame]:
        """(mean a unit (u, families), its target (u,), table of the units) of samples with a known target.

        Args:
            rows: of samples.parquet; the mean is over runs of one unit, see `unit_of`, with the same target.
        """
        place = {name: k for k, name in enumerate(self.samples)}
        mine = rows.filter((pl.col("role") == "sample") & pl.col(target).is_not_null())
        mine = mine.filter(pl.col("sample").is_in(list(place))).with_columns(_unit=unit_of(mine))
        units = mine.group_by("_unit", target, maintain_order=True).agg(pl.col("sample"))
        means = [self.values[[place[s] for s in names]].mean(axis=0) for names in units["sample"].to_list()]
        values = np.stack(means) if means else np.zeros((0, len(self.families)))
        return values, units[target].to_numpy(), units


def unit_of(rows: pl.DataFrame) -> pl.Series:
    """What is independent: the subject, else the replicate group, else the sample."""
    known = [name for name in ("subject", "replicate", "unit", "sample") if name in rows.columns]
    told = (pl.format(f"{name}={{}}", pl.col(name).cast(pl.String)) for name in known)  # subject 1 is not replicate 1
    return rows.select(pl.coalesce(told).alias("_unit")).to_series()


def make(abundances: pl.DataFrame, rows: pl.DataFrame, families: pl.Series, how: Weighing) -> Design:
    """Of these families (the columns, in their order) and the samples of `rows`.

    Args:
        abundances: `families.ABUNDANCES`.
    """
    wanted = abundances.join(rows.select("sample"), on="sample", how="semi")
    recorded = wanted["intensity"].null_count() == 0 and wanted.height > 0
    measure = "intensity" if how.abundance == "intensity" or (how.abundance == "auto" and recorded) else "n_spectra"
    wanted = wanted.with_columns(pl.col(measure).cast(pl.Float64).fill_null(0.0).alias("_x"))
    if how.normalise == "total":
        totals = wanted.group_by("sample").agg(_all=pl.col("_x").sum())
        middle = float(totals["_all"].median() or 1.0)  # type: ignore[arg-type]
        wanted = wanted.join(totals, on="sample").with_columns(_x=pl.col("_x") / pl.col("_all") * middle)
    names = rows["sample"].to_list()
    column = pl.DataFrame({"family": families}).with_row_index("_column")
    row = rows.select("sample").with_row_index("_row")
    cells = wanted.join(column, on="family").join(row, on="sample")
    values = np.zeros((len(names), families.len()))
    values[cells["_row"].to_numpy(), cells["_column"].to_numpy()] = cells["_x"].to_numpy()
    some = values[values > 0]
    floor = float(np.quantile(some, 0.05)) if some.size else 1.0
    logs = np.log2(1 + values / floor)
    if how.adjust == "batch" and "batch" in rows.columns:
        logs = _centred(logs, rows)
    return Design(tuple(families.to_list()), tuple(names), logs)


def _centred(logs: Array, rows: pl.DataFrame) -> Array:
    """Each batch of samples centred at the mean of all."""
    out, whole = logs.copy(), logs.mean(axis=0)
    batches = rows["batch"].fill_null("").to_numpy()
    for batch in np.unique(batches):
        inside = batches == batch
        out[inside] += whole - logs[inside].mean(axis=0)
    return out
