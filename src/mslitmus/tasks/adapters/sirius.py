"""SIRIUS / CSI:FingerID, versions 5 and 6: structure candidates.

Read are the summaries: version 6 `structure_identifications*.tsv` (`_all`, `_top-10`, …; candidates of all features,
told by `mappingFeatureId`), version 5 `structure_candidates.tsv` in one folder a feature (`0_file_FEATURE`, which
names it) and `compound_identifications.tsv` (`id`; best hit only). The score is `CSI:FingerIDScore` (higher is
better; it compares candidates across formulae of one feature). Predicted fingerprints are CSI:FingerID's own bits,
not Morgan: not read. Columns as shown in SIRIUS's documentation (https://v6.docs.sirius-ms.io/io/) and in its
write-summaries output.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from ...errors import PredictionError
from .. import tables
from ..intake_notes import Notes
from .adapter import Adapter, files_below, in_pool, named, numbers

_PATTERNS = ("structure_identifications*.tsv", "structure_candidates*.tsv", "compound_identifications*.tsv")
_FILES = "a summary folder, structure_identifications*.tsv (6) or structure_candidates.tsv (5)"
_FEATURE = ("mappingFeatureId", "featureId", "id")  # version 6, 5, 5; `id` is `0_file_FEATURE`
_KEY = ("InChIkey2D", "InChIKey2D")


def read(
    path: str | Path,
    queries: pl.DataFrame,
    rest: str = "missing",
    unknown: str = "raise",
    notes: Notes | None = None,
    **_: Any,
) -> pl.DataFrame:
    """PREDICTED_SCORES of the pool members that SIRIUS listed, see `adapter.in_pool` for `rest`."""
    files = files_below(path, _PATTERNS, _FILES)
    if Path(path).is_dir():  # the most complete of each folder's tables: all, else top-n, else best hit
        files = [max(group, key=_completeness) for group in _by_folder(files)]
    parts = [_one(file, queries, unknown, notes) for file in files]
    return in_pool(pl.concat(parts), queries, Path(path), rest, notes)


def _by_folder(files: list[Path]) -> list[list[Path]]:
    folders: dict[Path, list[Path]] = {}
    for file in files:
        folders.setdefault(file.parent, []).append(file)
    deeper = [group for group in folders.values() if any(f.name.startswith("structure_candidates") for f in group)]
    return deeper or list(folders.values())  # version 5: folders of features hold more than the summary above them


def _completeness(file: Path) -> tuple[bool, int]:
    return "_all" in file.name, file.stat().st_size


def _one(file: Path, queries: pl.DataFrame, unknown: str, notes: Notes | None) -> pl.DataFrame:
    table = tables.read_table(file, tables.sniff(file, "tsv"))
    columns = table.frame.columns
    key = next((name for name in _KEY if name in columns), None)
    if key is None or "CSI:FingerIDScore" not in columns:
        absent = "InChIkey2D" if key is None else "CSI:FingerIDScore"
        remedy = "give the structure summary of SIRIUS 5 or 6 (sirius … summaries), with candidates"
        raise PredictionError(f"no column {absent}", where=str(file), remedy=remedy)
    feature = next((name for name in _FEATURE if name in columns), None)
    if feature is None:  # the folder is the feature
        feature = "folder"
        table = tables.Table(file, "tsv", table.frame.with_columns(folder=pl.lit(file.parent.name)))
    table = named(table, feature, queries, unknown, notes)
    return table.frame.select("identifier", key=pl.col(key).str.slice(0, 14), score=numbers(table, "CSI:FingerIDScore"))


ADAPTER = Adapter("SIRIUS / CSI:FingerID 5, 6", "retrieval", _FILES, read)
