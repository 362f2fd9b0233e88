"""Protocol sensitivity: the same predictions of a finished run, scored in other ways that papers use.

From `predictions.parquet` of every cell; no model is asked. Spectrum prediction: measure × resolution × precursor kept
or removed × energies single or merged × average. Retrieval: measure × pool size × average. Another task: its own
metrics × average.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..audits import Evidence
from ..audits.evidence import CellKey
from ..errors import ConfigError, PredictionError, RunError
from ..metrics.missing import by_query
from ..metrics.names import parse_as
from ..metrics.sensitivity import flipped, rankings
from ..metrics.spectrum import score_flat
from ..metrics.spectrum_names import NO_PRECURSOR, SpectrumMetric
from ..metrics.tables import direction, molecule_codes
from ..provenance import write_parquet
from ..spectra.flat import flatten
from ..spectra.merge import merge_groups
from ..tasks.retrieval import Retrieval
from .evidence import evidence_of
from .pool_sizes import smaller

MEASURES = ("cosine", "cosine-sqrt", "cosine-mz", "cosine-sqrt-mz", "jss", "entropy")
RESOLUTIONS = ("1Da", "0.1Da", "0.01Da", "10ppm")
RANKINGS = ("hit@1", "hit@5", "hit@20", "mrr")
#: Pools of fewer candidates leave a hit rate little to tell.
LEAST_POOL = 8
#: Peaks of spectra that are merged over energies are joined within this.
MERGE_PPM = 10.0
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Scored:
    """Values (n, k models, metrics) of one split, energies and pool, mean over seeds, and the molecule of each row."""

    key: dict[str, object]
    metrics: list[str]
    values: NDArray[np.float64]
    molecules: NDArray[np.int64]


def sensitivity(root: Path, progress: Progress, *, flips: int = 9999) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rankings of a finished run under every protocol (schema SENSITIVITY) and the pairs that change (FLIPS).

    Oracles take no part. Raises RunError for a folder that is no finished run, or whose dataset changed since.
    """
    evidence = evidence_of(root, progress=progress)
    task, primary = evidence.require_task(), evidence.tables.primary
    if direction(primary) == 0:
        remedy = "name another primary_metric in the study"
        raise ConfigError(f"of {primary} neither high nor low is better: there is no ranking", remedy=remedy)
    score = _rankings if isinstance(task, Retrieval) else _spectra if task.metric_family == "spectrum" else _as_scored
    headline: dict[str, Any] = {"metric": primary, "energies": "single", "average": "molecule"}
    boards, tests = [], []
    for split in evidence.tables.splits:
        models = _models(evidence, split)
        progress(f"{split} split: {len(models)} models")
        largest: list[int] = []
        for scored in score(evidence, split, models):
            board, pairs = rankings(
                scored.values, scored.molecules, list(models), scored.metrics, scored.key, flips, seed=0
            )
            pool = scored.key["pool"]
            largest.append(pool) if isinstance(pool, int) else None
            boards.append(board)
            tests.append(pairs)
        whole = max(largest, default=None)
        # every split has pools of its own largest size: to be compared they go by null
        boards, tests = ([_whole(table, split, whole) for table in tables] for tables in (boards, tests))
    if not boards:
        raise RunError("no cell to score", where=str(root), remedy="finish the run with `mslitmus run`")
    table = pl.concat(boards)
    reported = pl.all_horizontal([pl.col(name) == value for name, value in headline.items()])
    table = table.with_columns(headline=reported & pl.col("pool").is_null())
    return table, flipped(pl.concat(tests), {**headline, "pool": None})


def write(folder: Path, tables: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    """`sensitivity.parquet` and `flips.parquet`. Raises RunError where the folder cannot be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, table in zip(("sensitivity", "flips"), tables, strict=True):
            write_parquet(folder / f"{name}.parquet", table)
    except OSError as error:
        remedy = "name another folder with --out"
        raise RunError(f"cannot be written: {error}", where=str(folder), remedy=remedy) from error


def _whole(table: pl.DataFrame, split: str, size: int | None) -> pl.DataFrame:
    here = (pl.col("split") == split) & (pl.col("pool") == size) if size is not None else pl.lit(False)
    return table.with_columns(pool=pl.when(here).then(None).otherwise(pl.col("pool")).cast(pl.Int64))


def _models(evidence: Evidence, split: str) -> dict[str, list[CellKey]]:
    """model → its cells on a split, the oracles left out."""
    found: dict[str, list[CellKey]] = {}
    for key in sorted(evidence.cells):
        if key.split == split and evidence.tables.kinds.get(key.model) != "oracle":
            found.setdefault(key.model, []).append(key)
    return found


def _spectra(evidence: Evidence, split: str, models: Mapping[str, list[CellKey]]) -> Iterator[Scored]:
    """Every spectrum for itself, then the spectra of a molecule and adduct merged over energies, on both sides."""
    names = [f"{m}@{r}{p}" for m in MEASURES for r in RESOLUTIONS for p in ("", NO_PRECURSOR)]
    names += [evidence.tables.primary] if evidence.tables.primary not in names else []
    metrics = {name: parse_as(SpectrumMetric, name) for name in names}
    test = evidence.folds(split)["test"]
    molecules = molecule_codes(test)
    group = test.select(pl.struct(pl.Series("molecule", molecules), pl.col("adduct").fill_null("")).rank("dense"))
    groups = group.to_series().to_numpy().astype(np.int64) - 1
    truth, precursor = flatten(test), test["precursor_mz"].to_numpy()
    merged_truth = merge_groups(truth, groups, MERGE_PPM)
    sizes = np.bincount(groups)
    merged_precursor = np.bincount(groups, weights=precursor) / sizes
    single, merged = [], []
    for model, keys in models.items():
        evidence.progress(f"  {model}")
        one, many = np.zeros((test.height, len(names))), np.zeros((sizes.size, len(names)))
        for key in keys:
            rows = by_query(evidence.predictions(key), test["identifier"], ("mzs", "intensities"), "fail")
            predicted = flatten(rows, PredictionError, f"predictions of {key}")
            found = score_flat(predicted, truth, metrics, precursor)
            one += np.column_stack([found[name] for name in names]) / len(keys)
            together = merge_groups(predicted, groups, MERGE_PPM)
            found = score_flat(together, merged_truth, metrics, merged_precursor)
            many += np.column_stack([found[name] for name in names]) / len(keys)
        single.append(one)
        merged.append(many)
    of = np.zeros(sizes.size, np.int64)
    of[groups] = molecules
    yield Scored({"split": split, "energies": "single", "pool": None}, names, np.stack(single, axis=1), molecules)
    yield Scored({"split": split, "energies": "merged", "pool": None}, names, np.stack(merged, axis=1), of)


def _rankings(evidence: Evidence, split: str, models: Mapping[str, list[CellKey]]) -> Iterator[Scored]:
    """Nested smaller pools, from the largest down."""
    task, primary = evidence.require_task(), evidence.tables.primary
    assert isinstance(task, Retrieval)
    test = evidence.folds(split)["test"]
    made = {key: evidence.predictions(key) for keys in models.values() for key in keys}
    largest = None
    for size, truth in smaller(task, test).items():
        largest = largest or size
        if size < LEAST_POOL and size != largest:
            continue
        evidence.progress(f"  pools of up to {size}")
        pairs = truth.select("identifier", pl.col("candidates").alias("candidate")).explode("candidate")
        names = [name for name in RANKINGS if not name.startswith("hit@") or int(name[4:]) < size]
        if size == largest and primary not in names:
            names.append(primary)
        columns = []
        for keys in models.values():
            seeds = []
            for key in keys:
                made[key] = made[key].join(pairs, on=["identifier", "candidate"], how="semi")
                scores = task.score(made[key], task.truth(test) if size == largest else truth, names, missing="fail")
                seeds.append(_aligned(scores, truth, names))
            columns.append(np.mean(seeds, axis=0))
        key_ = {"split": split, "energies": "single", "pool": size}
        yield Scored(key_, names, np.stack(columns, axis=1), molecule_codes(truth))


def _as_scored(evidence: Evidence, split: str, models: Mapping[str, list[CellKey]]) -> Iterator[Scored]:
    """The study's own metrics, as the run scored them."""
    test = evidence.folds(split)["test"]
    keys = next(iter(models.values()), [])
    names = [n for n in evidence.tables.summary["metric"].unique(maintain_order=True) if keys and direction(n) != 0]
    columns = [np.mean([_aligned(evidence.scores(key), test, names) for key in own], axis=0) for own in models.values()]
    if columns:
        key_: dict[str, object] = {"split": split, "energies": "single", "pool": None}
        yield Scored(key_, names, np.stack(columns, axis=1), molecule_codes(test))


def _aligned(scores: pl.DataFrame, rows: pl.DataFrame, names: list[str]) -> NDArray[np.float64]:
    """(rows, names) in the order of `rows`."""
    found = rows.select("identifier").join(
        scores.select("identifier", *names), on="identifier", how="left", maintain_order="left"
    )
    return found.select(pl.col(names).cast(pl.Float64)).to_numpy()
