"""The files of a cohort's run folder, read once; an absent table is empty."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from ..cohort.markers import read_samples, targets_of
from ..errors import RunError

TABLES = (
    "results", "predictions", "confusion", "coordinates", "neighbours", "separation", "comparisons", "leaders",
    "markers", "marker_hits", "families", "abundances",
)  # fmt: skip
#: What the sheet says where it tells no acquisitions apart.
ALL = "all"
_SHUFFLED = "(labels shuffled)"


@dataclass(frozen=True)
class CohortFiles:
    """One run folder. `tables`: name of `TABLES` → frame, empty without columns where there is no file."""

    folder: Path
    samples: pl.DataFrame
    targets: tuple[str, ...]
    tables: Mapping[str, pl.DataFrame]
    config: Mapping[str, Any]
    provenance: Mapping[str, Any]
    markers_about: Mapping[str, Any]
    findings: tuple[Mapping[str, Any], ...] | None

    def __getitem__(self, name: str) -> pl.DataFrame:
        return self.tables[name]

    def numeric(self, target: str) -> bool:
        return self.samples.schema[target].is_numeric()

    @property
    def baseline(self) -> str:
        """The representation that the others are held against: the precursor histogram, else the first."""
        names = self.representations
        return next((n for n in names if n.startswith("precursor")), names[0] if names else "")

    @property
    def representations(self) -> list[str]:
        """In the order of the results, without shuffled ones."""
        results = self["results"]
        if results.is_empty():
            return []
        names = results["representation"].unique(maintain_order=True).to_list()
        return [n for n in names if not n.endswith(_SHUFFLED)]


def read_cohort(folder: Path) -> CohortFiles:
    """Raises RunError where the folder is no cohort's or a file is damaged."""
    samples = read_samples(folder)
    tables = {}
    for name in TABLES:
        path = folder / f"{name}.parquet"
        try:
            tables[name] = pl.read_parquet(path) if path.is_file() else pl.DataFrame()
        except (OSError, pl.exceptions.PolarsError) as error:
            remedy = "delete it and run the same `mslitmus cohort` command again"
            raise RunError(f"cannot be read: {error}", where=str(path), remedy=remedy) from error
    findings = _json(folder / "findings.json")
    return CohortFiles(
        folder=folder,
        samples=samples,
        targets=tuple(targets_of(folder, samples)),
        tables=tables,
        config=_json(folder / "config.json") or {},
        provenance=_json(folder / "provenance.json") or {},
        markers_about=_json(folder / "markers.json") or {},
        findings=None if findings is None else tuple(findings),
    )


def _json(path: Path) -> Any:
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        remedy = "delete it and run the same `mslitmus cohort` command again"
        raise RunError(f"cannot be read: {error}", where=str(path), remedy=remedy) from error
