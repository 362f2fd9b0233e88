"""Fine-tuning an embedder outside a study: named spectra in, a folder for `embed` and `search` out.

All molecules but a few learn; the spectra of those few are asked against everything, as the task library-search does,
and hit@1 on them chooses the epoch. A study compares; this makes the embedder that one then uses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import polars as pl

from ..errors import ConfigError, DataError
from ..lineage import FINE_TUNING, USED
from ..lock import exclusive
from ..models.embed.library_embedding import LibraryEmbedding
from ..models.protocol import FitContext
from ..provenance import environment, now, table_hash, write_json, write_parquet
from ..tasks.library_search import LibrarySearch
from . import fit


def fine_tune(
    records: pl.DataFrame,
    options: Mapping[str, Any],
    task: Mapping[str, Any],
    context: FitContext,
    validation: float = 0.1,
) -> dict[str, Any]:
    """Train `library-embedding` with these options on SPECTRA rows and save it to `context.folder`; its record.

    Args:
        task: options of library-search: the window and what is left out.
        validation: share of the molecules that chooses the epoch.

    Raises ConfigError for options, DataError where nothing can be asked. Called again after a kill, it goes on.
    """
    if not 0 < validation < 1:
        raise ConfigError(f"validation {validation:g}", remedy="between 0 and 1, e.g. 0.1")
    folder = context.folder
    folder.mkdir(parents=True, exist_ok=True)
    with exclusive(folder):
        model = LibraryEmbedding(**options)
        asked = LibrarySearch(**task)
        rows = asked.eligible(records)
        molecules = rows["inchikey14"].unique().sort()
        few = np.random.default_rng(context.seed).permutation(molecules.len()) < max(1, validation * molecules.len())
        judging = pl.col("inchikey14").is_in(molecules.filter(pl.Series(few)).implode())
        train, val = rows.filter(~judging), rows.filter(judging)
        if train.is_empty() or val.is_empty():
            raise DataError("no spectra with structures to learn from and to judge by", remedy="give more spectra")
        ready = asked.over(rows, val["identifier"], context.progress)
        queries = ready.asked(val)
        if queries.is_empty():
            what = "no validation spectrum finds another one of its molecule"
            raise DataError(what, remedy="give more spectra, a larger --validation, or --any-source")
        report = fit(model, ready.training_view(train), ready.training_view(queries), _with(context, _hit(ready)))
        model.save(folder)
        write_parquet(folder / USED, molecules.to_frame())  # all of them were met: audits read it
        record = {
            "options": model.described(),
            "task": ready.record(),
            "spectra": table_hash(rows.select("identifier", "inchikey14", "precursor_mz", "mzs", "intensities")),
            "counts": {"train": train.height, "validation": val.height, "molecules": molecules.len()},
            "training": report.to_json(),
            "environment": environment(),
            "finished": now(),
        }
        write_json(folder / FINE_TUNING, record)
    return record


def _hit(task: LibrarySearch) -> Callable[[pl.DataFrame, pl.DataFrame], float]:
    def score(predictions: pl.DataFrame, rows: pl.DataFrame) -> float:
        found: Any = task.score(predictions, task.truth(rows), ["hit@1"])["hit@1"].mean()
        return float(found)

    return score


def _with(context: FitContext, score: Callable[[pl.DataFrame, pl.DataFrame], float]) -> FitContext:
    return FitContext(**{**vars(context), "score": score})


def default_task(source: bool) -> dict[str, Any]:
    """The window of the command: 10 ppm, same adduct; with `source` without the query's own laboratory."""
    return {"leave_out": "source" if source else "spectrum", "ask": "answerable"}
