"""The blind query file of a benchmark: what an outsider is asked, and nothing of the answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from ..errors import ConfigError
from ..studies.config import StudyConfig
from ..studies.stage import stage
from ..tasks.template import write_queries, write_training


@dataclass(frozen=True)
class Blind:
    """What was written: the query file with its readme, and the training files where they were asked for."""

    queries: Path
    readme: Path
    training: tuple[Path, ...]
    rows: int


def write_blind(
    study: StudyConfig,
    out: Path,
    progress: Callable[[str], None],
    *,
    fold: str = "test",
    training: Path | None = None,
    bench: Mapping[str, str] | None = None,
) -> Blind:
    """Write the queries of one split of a study.

    Args:
        fold: `test`, `val`, or `both` in one file.
        training: folder for the training and validation records, structures included.
        bench: id and hash of the frozen benchmark that is asked, for the readme.
    """
    if len(study.splits) != 1:
        raise ConfigError(f"{len(study.splits)} splits", remedy="a query file is of one split")
    set_out = stage(study, progress)
    task, split = set_out.task, study.splits[0].name
    parts = set_out.asked[split]
    rows = pl.concat([parts["val"], parts["test"]]) if fold == "both" else parts[fold]
    queries = task.queries(rows)
    about: dict[str, Any] = {"name": study.data.name, "hash": set_out.dataset.hash, "selected": set_out.data_hash}
    if bench is not None:
        about["bench"] = dict(bench)
    made = {**set_out.splits[split].record(), "fold": fold}
    readme = write_queries(queries, out, task, dataset=about, split=made)
    written = []
    if training is not None:
        training.mkdir(parents=True, exist_ok=True)
        for name in ("train", "val"):
            path = training / f"{name}.parquet"
            write_training(task.training_view(parts[name]), path)
            written.append(path)
    return Blind(out, readme, tuple(written), queries.height)
