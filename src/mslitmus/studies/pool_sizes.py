"""The curve of a ranking metric against pool size: the same predictions over nested, smaller pools.

A hit rate says nothing without the size of its pools; the curve shows what a published number at another size would be.
Exact for models that score each candidate for itself; one that compares candidates would have to be asked again.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from ..data.candidates import subsample
from ..schemas import POOL_SIZES
from ..tasks.protocol import Task, mean_per_molecule
from ..tasks.retrieval import Retrieval
from .config import StudyConfig
from .folder import RunFolder, read_table

METRIC = "hit@1"
SIZES = (2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


def pool_sizes(
    run: RunFolder, study: StudyConfig, task: Task, folds: Mapping[str, Mapping[str, pl.DataFrame]]
) -> pl.DataFrame:
    """Hit rate at 1 on test of every model (its first seed) at every size up to the largest pool, and chance."""
    if not isinstance(task, Retrieval):
        return pl.DataFrame(schema=POOL_SIZES)
    rows: list[dict[str, object]] = []
    for split in study.splits:
        test = folds[split.name]["test"]
        truths = smaller(task, test)
        for model in study.models:
            seed = (model.seeds or study.seeds)[0]
            made = read_table(run.cell(split.name, model.name, seed) / "predictions.parquet")
            curve = []
            for size, truth in truths.items():  # from large to small: what a pool lost, no smaller one has
                pairs = truth.select("identifier", pl.col("candidates").alias("candidate")).explode("candidate")
                made = made.join(pairs, on=["identifier", "candidate"], how="semi")
                scores = task.score(made, truth, [METRIC], missing="fail")
                chance = truth.with_columns(chance=1 / pl.col("candidates").list.len())
                curve.append(
                    {
                        "split": split.name,
                        "model": model.name,
                        "metric": METRIC,
                        "size": size,
                        "mean": mean_per_molecule(scores, truth, METRIC),
                        "chance": mean_per_molecule(chance, truth, "chance"),
                        "n_queries": truth.height,
                    }
                )
            rows += reversed(curve)
    return pl.DataFrame(rows, schema=POOL_SIZES)


def smaller(task: Retrieval, test: pl.DataFrame) -> dict[int, pl.DataFrame]:
    """Size → truth of the test queries, from the largest pool to the smallest.

    Pools are nested, so each is drawn from the one before it: a draw costs a hash a candidate.
    """
    pools = task.pools.select(test["inchikey14"])
    largest = max(task.pools.sizes()["candidates"].to_list(), default=0)
    truths = {}
    for size in [largest, *(size for size in reversed(SIZES) if size < largest)]:
        pools = pools if size == largest else subsample(pools, size)
        truths[size] = task.with_pools(pools).truth(test).select("identifier", "inchikey14", "candidates")
    return truths
