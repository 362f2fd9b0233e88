"""What a study asks, before any model answers: dataset, folds, queries. Shared by runs and templates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import polars as pl

from ..data.ledger import Ledger
from ..data.protocols import PROTOCOLS, Protocol
from ..data.simulate import opened
from ..data.splits import Split, make_split
from ..data.store import Dataset
from ..errors import DataError
from ..provenance import table_hash
from ..tasks.protocol import Task
from .config import SplitConfig, StudyConfig
from .selection import at_most, entry, few_molecules, select


@dataclass(frozen=True)
class Stage:
    """The data and questions of a study: split name → fold → rows; `asked` has val and test as the queries asked."""

    dataset: Dataset
    frame: pl.DataFrame
    data_hash: str
    splits: dict[str, Split]
    task: Task
    asked: dict[str, dict[str, pl.DataFrame]]


def stage(study: StudyConfig, progress: Callable[[str], None]) -> Stage:
    """Everything up to the first query, in memory. Raises as a run would."""
    dataset = dataset_of(study)
    frame, _ = select(dataset, study.data, study.build_task())
    data_hash = table_hash(frame)
    splits = {config.name: made(config, frame, data_hash)[0] for config in study.splits}
    folds = {name: split.apply(frame) for name, split in splits.items()}
    task = study.build_task().prepared(folds, dataset.frame().select("inchikey14", "smiles"), progress)
    asked, _ = asked_of(study, task, folds)
    return Stage(dataset, frame, data_hash, splits, task, asked)


def dataset_of(study: StudyConfig) -> Dataset:
    """The stored dataset, or the simulated one, which is made where it is asked for."""
    return opened(study.data.name)


def made(config: SplitConfig, frame: pl.DataFrame, data_hash: str) -> tuple[Split, Protocol | None]:
    """A split of the study, checked, and the protocol on top of it where there is one."""
    split = make_split(
        frame, config.method, seed=config.seed, form=config.form, dataset_hash=data_hash, **config.parameters
    )
    protocol = PROTOCOLS[config.protocol](frame, split, **config.protocol_parameters) if config.protocol else None
    split = protocol.split if protocol is not None else split
    split.check(frame)
    return split, protocol


def asked_of(
    study: StudyConfig, task: Task, folds: dict[str, dict[str, pl.DataFrame]]
) -> tuple[dict[str, dict[str, pl.DataFrame]], Ledger]:
    """The folds with val and test cut down to the queries that are asked, and what was left out, counted."""
    asked: dict[str, dict[str, pl.DataFrame]] = {}
    where = {split.name: split.test_on for split in study.splits}
    entries = []
    for split, parts in folds.items():
        asked[split] = dict(parts)
        for fold in ("val", "test"):
            condition = where.get(split)
            steps: dict[str, Callable[[pl.DataFrame], pl.DataFrame]] = {
                "test_on": (lambda rows: rows) if condition is None else condition.keep,
                f"askable_{task.name}": task.asked,
                "keep_max_queries_per_molecule": partial(at_most, limit=study.data.max_queries_per_molecule),
            }
            if fold == "val":
                steps["keep_max_val_molecules"] = partial(few_molecules, limit=study.data.max_val_molecules)
            for rule, step in steps.items():
                before = asked[split][fold]
                asked[split][fold] = after = step(before)
                if after.height < before.height:
                    entries.append(entry(rule, before, after, f"queries of {fold}, split {split}"))
                if after.is_empty():
                    remedy = "use more data, larger pools, a smaller min_candidates or a wider test_on"
                    raise DataError(f"no query of fold {fold} is left after {rule}", where=split, remedy=remedy)
    return asked, Ledger(tuple(entries))
