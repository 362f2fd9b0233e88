"""Where a model is good and where not: means by condition, with intervals over molecules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import numpy as np
import polars as pl

from ..errors import ConfigError
from ..schemas import STRATA, conform
from .intervals import AVERAGES, both_averages
from .tables import Queries, average_seeds, by_queries, metric_columns, null_for_nan, unit_range

UNKNOWN = "unknown"
OTHER = "other"
ENERGY_EDGES = (10.0, 20.0, 30.0, 45.0, 60.0)
#: Kinds whose `collision_energy` is in eV (converted where the kind is not eV itself, see `spectra.energy`).
IN_EV = ("eV", "NCE", "ramp", "stepped")
MASS_EDGES = (200.0, 300.0, 400.0, 500.0, 700.0)
HEAVY_ATOM_EDGES = (15, 20, 25, 30, 40)
ROTATABLE_EDGES = (2, 4, 6, 9)
PEAK_EDGES = (5, 10, 20, 50, 100)
SURVIVAL_EDGES = (0.01, 0.1, 0.3, 0.6, 0.9)
SIMILARITY_EDGES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.85)
#: Adducts with a level of their own; the rest are `other`.
TOP_ADDUCTS = 6


def stratify(
    scores: pl.DataFrame,
    meta: pl.DataFrame,
    metrics: Sequence[str] | None = None,
    fold: str = "test",
    average: str = "spectrum",
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    clusters: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Mean and BCa interval of every model within each level of each stratum, in schema STRATA.

    Args:
        scores: as for `summary.summarise`; seeds are averaged per query first.
        meta: one row an `identifier`; strata are made of the columns it has: `collision_energy` with
            `collision_energy_kind` (kinds never share a level), `adduct`, `instrument_type`, `precursor_mz`,
            `similarity_to_train` (0 to 1; one value a query, or with a `split` column one a query and split),
            `heavy_atoms`, `rotatable_bonds`, `peaks` (measured) and `survival` (share of the intensity in the
            precursor peak).
        average: `"spectrum"` or `"molecule"`, within the level.
        clusters: columns inchikey14 and cluster; molecules of one cluster are resampled together.

    A query that `meta` does not know, or that lacks the value, is in the level `unknown`, never dropped: the levels of
    a stratum add up to all queries. Levels of one molecule have a mean and a null interval.
    """
    if average not in AVERAGES:
        raise ConfigError(f"average {average!r} is not known", remedy="'spectrum' or 'molecule'")
    metrics = metric_columns(scores, metrics)
    merged = average_seeds(scores.filter(pl.col("fold") == fold), metrics)
    keys = ["identifier", "split"] if "split" in meta.columns else ["identifier"]
    wanted = [c for c in meta.columns if c not in merged.columns or c in keys]
    merged = merged.join(meta.select(wanted).unique(keys, keep="first", maintain_order=True), on=keys, how="left")
    rows: list[dict[str, object]] = []
    for (split,), part in merged.group_by("split", maintain_order=True):
        for stratum, columns, make in STRATUM_MAKERS:
            if not set(columns) <= set(part.columns):
                continue
            levels = make(part)
            named = part.with_columns(levels.alias("_level"))
            for place, name in enumerate(ordered_levels(levels)):
                members = named.filter(pl.col("_level") == name)
                head = {"split": split, "stratum": stratum, "level": name, "order": place}
                rows += _level_rows(
                    by_queries(members, metrics, clusters), metrics, head, average, resamples, seed, level
                )
    return null_for_nan(conform(pl.DataFrame(rows, schema=dict(STRATA)), STRATA))


def _level_rows(
    groups: Iterable[Queries],
    metrics: Sequence[str],
    head: dict[str, object],
    average: str,
    resamples: int,
    seed: int,
    level: float,
) -> list[dict[str, object]]:
    rows = []
    for queries in groups:
        n, columns, m = queries.values.shape
        values = queries.values.reshape(n, columns * m)
        bounded = np.tile(unit_range(metrics), columns)
        estimates = both_averages(
            values, queries.clusters, resamples, seed, level, (average,), queries.molecules, bounded
        )
        estimate = estimates[average]
        for k, (model, _) in enumerate(queries.labels):
            for j, metric in enumerate(metrics):
                numbers = {"mean": estimate.mean, "low": estimate.low, "high": estimate.high}
                row = head | {"model": model, "metric": metric, "n_queries": n, "n_molecules": estimate.n_molecules}
                rows.append(row | {name: array[k * m + j] for name, array in numbers.items()})
    return rows


def ordered_levels(levels: pl.Series) -> list[str]:
    """The levels that occur, in the order of the Enum's categories: `other` and `unknown` last."""
    present = set(levels.to_list())
    return [name for name in levels.dtype.categories.to_list() if name in present]  # type: ignore[attr-defined]


def binned(frame: pl.DataFrame, column: str, edges: Sequence[float], unit: str) -> pl.Series:
    """Level of each row by half-open bins [low, high) of a number."""
    names = _bin_names(edges, unit)
    value = pl.col(column).cast(pl.Float64).fill_nan(None)
    place = pl.sum_horizontal([(value >= edge).cast(pl.Int64) for edge in edges])
    label = pl.when(value.is_null()).then(pl.lit(UNKNOWN)).otherwise(_pick(place, names))
    return frame.select(label.cast(pl.Enum([*names, UNKNOWN]))).to_series()


def _bin_names(edges: Sequence[float], unit: str) -> list[str]:
    """Names of the levels; whole edges are those of counts, whose levels end at the last count that belongs to them."""
    texts = [f"{edge:g}" for edge in edges]
    inner = [f"{low}–{high}" for low, high in pairwise(texts)]
    if all(isinstance(edge, int) for edge in edges):
        inner = [f"{low}–{high - 1:g}" if high - 1 > low else f"{low:g}" for low, high in pairwise(edges)]
    return [f"{text}{unit}" for text in (f"< {texts[0]}", *inner, f"≥ {texts[-1]}")]


def _pick(place: pl.Expr, names: Sequence[str]) -> pl.Expr:
    return place.replace_strict(dict(enumerate(names)), return_dtype=pl.String)


def _energy(frame: pl.DataFrame) -> pl.Series:
    """Energy bins, one set a kind: the number means something else for each (`schemas.ENERGY_KINDS`), and an eV stated
    is not an eV converted from NCE or averaged over a ramp."""
    kinds = frame.get_column("collision_energy_kind")
    tally = kinds.drop_nulls().value_counts(sort=True)
    names: list[str] = []
    label = pl.lit(UNKNOWN)
    value = pl.col("collision_energy").cast(pl.Float64).fill_nan(None)
    place = pl.sum_horizontal([(value >= edge).cast(pl.Int64) for edge in ENERGY_EDGES])
    for kind in tally.get_column("collision_energy_kind").to_list():
        unit = " eV" if kind in IN_EV else ""
        own = _bin_names(ENERGY_EDGES, unit if kind == "eV" else f"{unit} ({kind})")
        names += own
        known = (pl.col("collision_energy_kind") == kind) & value.is_not_null()
        label = pl.when(known).then(_pick(place, own)).otherwise(label)
    return frame.select(label.cast(pl.Enum([*names, UNKNOWN]))).to_series()


def most_frequent(frame: pl.DataFrame, column: str, top: int) -> pl.Series:
    """The `top` most frequent values (of distinct queries) in falling order, then `other`, then `unknown`."""
    unique = frame.unique("identifier", maintain_order=True).get_column(column).drop_nulls()
    counts = unique.value_counts(name="n").sort(["n", column], descending=[True, False])
    names = [str(v) for v in counts.get_column(column).to_list() if v not in (OTHER, UNKNOWN)][:top]
    value = pl.col(column)
    label = pl.when(value.is_null() | (value == UNKNOWN)).then(pl.lit(UNKNOWN))
    label = label.when(value.is_in(names)).then(value).otherwise(pl.lit(OTHER))  # type: ignore[assignment]
    return frame.select(label.cast(pl.Enum([*names, OTHER, UNKNOWN]))).to_series()


_Maker = Callable[[pl.DataFrame], pl.Series]
#: Stratum → the columns of `meta` it needs, and how its levels are made.
STRATUM_MAKERS: tuple[tuple[str, tuple[str, ...], _Maker], ...] = (
    ("energy", ("collision_energy", "collision_energy_kind"), _energy),
    ("adduct", ("adduct",), lambda f: most_frequent(f, "adduct", TOP_ADDUCTS)),
    ("instrument", ("instrument_type",), lambda f: most_frequent(f, "instrument_type", 10)),
    ("precursor mass", ("precursor_mz",), lambda f: binned(f, "precursor_mz", MASS_EDGES, " Da")),
    (
        "similarity to train",
        ("similarity_to_train",),
        lambda f: binned(f, "similarity_to_train", SIMILARITY_EDGES, ""),
    ),
    ("heavy atoms", ("heavy_atoms",), lambda f: binned(f, "heavy_atoms", HEAVY_ATOM_EDGES, "")),
    ("rotatable bonds", ("rotatable_bonds",), lambda f: binned(f, "rotatable_bonds", ROTATABLE_EDGES, "")),
    ("measured peaks", ("peaks",), lambda f: binned(f, "peaks", PEAK_EDGES, "")),
    ("answer in the library", ("library_answer",), lambda f: most_frequent(f, "library_answer", 3)),
    ("rivals", ("library_rivals",), lambda f: most_frequent(f, "library_rivals", 4)),
    ("precursor survival", ("survival",), lambda f: binned(f, "survival", SURVIVAL_EDGES, "")),
)
