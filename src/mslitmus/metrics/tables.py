"""How the statistics read a table of scores: which columns are metrics, seeds averaged, queries aligned over models."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..errors import ConfigError, DataError, SchemaError
from .names import parse_metric

KEYS = ("split", "model", "seed", "fold", "identifier", "inchikey14", "predicted")


class Queries(NamedTuple):
    """Scores of several columns (model or model and seed) on the same n queries.

    values (n, columns, metrics), finite; predicted (n, columns); molecules (n,) and clusters (n,), each molecule in
    one cluster, as codes; identifiers (n,) sorted.
    """

    labels: list[tuple[str, int | None]]
    values: NDArray[np.float64]
    predicted: NDArray[np.float64]
    molecules: NDArray[np.int64]
    clusters: NDArray[np.int64]
    identifiers: pl.Series


def metric_columns(scores: pl.DataFrame, metrics: Sequence[str] | None = None) -> list[str]:
    """The metric columns to use: those named, else every column whose name is a metric's."""
    if absent := [c for c in KEYS if c not in scores.columns]:
        raise SchemaError(f"columns absent: {', '.join(absent)}", where="scores", remedy=f"needs {', '.join(KEYS)}")
    if metrics is not None:
        if lacking := [m for m in metrics if m not in scores.columns]:
            raise SchemaError(f"metrics absent: {', '.join(lacking)}", where="scores", remedy="score them first")
        return list(metrics)
    return [name for name in scores.columns if name not in KEYS and _is_metric(name)]


def _is_metric(name: str) -> bool:
    try:
        parse_metric(name)
    except ConfigError:
        return False
    return True


def direction(name: str) -> int:
    """1 where more of the metric is better, −1 where less is, 0 where neither is (it has no best value)."""
    metric = parse_metric(name)
    if metric.higher_is_better:
        return 1
    return 0 if metric.best is None else -1


def unit_range(names: Sequence[str]) -> NDArray[np.bool_]:
    """For each name whether the metric lies in [0, 1]: its best and its worst value are 0 and 1."""
    found = [parse_metric(name) if _is_metric(name) else None for name in names]
    return np.array([m is not None and {m.best, m.worst} == {0.0, 1.0} for m in found], bool)


def average_seeds(scores: pl.DataFrame, metrics: Sequence[str]) -> pl.DataFrame:
    """One row a (split, model, fold, identifier): the mean over seeds of every metric; `seed` becomes null.

    Raises DataError where the seeds of a model were not scored on the same queries (a mean over fewer seeds for some).
    """
    keys = ["split", "model", "fold"]
    merged = scores.group_by([*keys, "identifier"], maintain_order=True).agg(
        pl.lit(None, dtype=pl.Int64).alias("seed"),
        pl.col("inchikey14").first(),
        pl.col("predicted").cast(pl.Float64).mean(),
        pl.col(*metrics).mean(),
        pl.len().alias("_rows"),
    )
    seeds = scores.group_by(keys).agg(pl.col("seed").n_unique().alias("_seeds"))
    uneven = merged.join(seeds, on=keys).filter(pl.col("_rows") != pl.col("_seeds"))
    if uneven.height:
        row = uneven.row(0, named=True)
        raise DataError(
            f"{row['identifier']!r} has {row['_rows']} scores from {row['_seeds']} seeds",
            where=f"scores of {row['model']} on {row['split']}/{row['fold']}",
            remedy='score every seed on the same queries, once (missing="fail")',
        )
    return merged.drop("_rows")


def by_queries(scores: pl.DataFrame, metrics: Sequence[str], clusters: pl.DataFrame | None = None) -> Iterable[Queries]:
    """The columns (model, seed) of one split and fold, grouped by the set of queries they were scored on.

    clusters: columns inchikey14 and cluster, the units to resample; by default every molecule is one. Raises DataError
    for two scores of one query, a value that is not finite, or a molecule without exactly one cluster.
    """
    groups: dict[tuple[int, int], list[tuple[tuple[str, int | None], pl.DataFrame]]] = {}
    for key, part in scores.group_by("model", "seed", maintain_order=True):
        part = part.sort("identifier")
        ids = part.get_column("identifier")
        if ids.is_duplicated().any():
            raise DataError(f"{key[0]!r} has several scores of one query", where="scores", remedy="keep one a query")
        _refuse_undefined(part, metrics, str(key[0]))
        signature = (part.height, hash(tuple(ids.to_list())))
        groups.setdefault(signature, []).append(((str(key[0]), _seed(key[1])), part))
    for columns in groups.values():
        first = columns[0][1]
        yield Queries(
            [label for label, _ in columns],
            np.stack([part.select(metrics).to_numpy() for _, part in columns], axis=1).astype(np.float64),
            np.stack([part.get_column("predicted").cast(pl.Float64).to_numpy() for _, part in columns], axis=1),
            molecule_codes(first),
            cluster_codes(first, clusters),
            first.get_column("identifier"),
        )


def _refuse_undefined(scores: pl.DataFrame, metrics: Sequence[str], model: str) -> None:
    for metric in metrics:
        bad = scores.filter(~pl.col(metric).cast(pl.Float64).is_finite().fill_null(False)).get_column("identifier")
        if bad.len():
            raise DataError(
                f"{metric} of {model!r} is NaN, infinite or absent for {bad.len()} queries, e.g. {bad[0]!r}",
                where="scores",
                remedy="a failed query scores the metric's worst value, never NaN",
            )


def _seed(value: object) -> int | None:
    return None if value is None else int(str(value))


def molecule_codes(frame: pl.DataFrame) -> NDArray[np.int64]:
    """`molecule` of each row as a code (n,)."""
    return _codes(frame.select(molecule()).to_series())


def cluster_codes(frame: pl.DataFrame, clusters: pl.DataFrame | None = None) -> NDArray[np.int64]:
    """Cluster of each row as a code (n,): its molecule, or the label that `clusters` (inchikey14, cluster) gives it.

    A row without `inchikey14` is a cluster of its own. Raises SchemaError for absent columns, DataError for a molecule
    that has no label or two.
    """
    if clusters is None:
        return molecule_codes(frame)
    if absent := [c for c in ("inchikey14", "cluster") if c not in clusters.columns]:
        raise SchemaError(f"columns absent: {', '.join(absent)}", where="clusters", remedy="needs inchikey14, cluster")
    labels = clusters.select(pl.col("inchikey14", "cluster").cast(pl.String)).unique()
    twice = labels.filter(pl.col("inchikey14").is_duplicated()).get_column("inchikey14").unique().sort()
    named = frame.get_column("inchikey14").cast(pl.String)
    label = frame.select(pl.col("inchikey14").cast(pl.String), "identifier").join(
        labels.drop_nulls().unique("inchikey14"), on="inchikey14", how="left", maintain_order="left"
    )
    lacking = named.filter(label.get_column("cluster").is_null() & named.is_not_null()).unique().sort()
    for wrong, what in ((twice, "several clusters"), (lacking, "no cluster")):
        if wrong.len():
            raise DataError(
                f"{wrong.len()} molecules have {what}, e.g. {', '.join(wrong.head(5).to_list())}",
                where="clusters",
                remedy="give every molecule that is scored one cluster label",
            )
    own = pl.when(pl.col("cluster").is_null()).then(molecule()).otherwise(pl.lit("cluster ") + pl.col("cluster"))
    return _codes(label.select(own.alias("cluster")).to_series())


def molecule() -> pl.Expr:
    """Label of a row's molecule; a row without `inchikey14` is one of its own."""
    return pl.coalesce(pl.col("inchikey14").cast(pl.String), pl.lit("row ") + pl.col("identifier"))


def _codes(labels: pl.Series) -> NDArray[np.int64]:
    return labels.rank("dense").to_numpy().astype(np.int64)


def null_for_nan(frame: pl.DataFrame) -> pl.DataFrame:
    """Undefined is null in every table that leaves this package, never NaN."""
    return frame.with_columns(pl.col(pl.Float64).fill_nan(None))
