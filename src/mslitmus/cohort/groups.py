"""Samples that belong together: who shares a fold, how folds are drawn, which labels may be swapped under chance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.special import gammaln

from ..errors import SchemaError, SplitError, unknown_name
from .settings import TOGETHER, CohortSettings

Ints = NDArray[np.int64]
Fold = tuple[Ints, Ints]


@dataclass(frozen=True)
class Grouping:
    """Samples that share a fold have the same number.

    Attributes:
        of: (n,) 0 … G − 1.
        columns: of the sheet, that made it so.
        note: what could not be kept together, in words.
    """

    of: Ints
    columns: tuple[str, ...]
    note: str = ""


def group(rows: pl.DataFrame, together: Sequence[str] | None, least: int) -> Grouping:
    """Samples with an equal value in any of the columns, directly or through others, are one group.

    Args:
        together: None takes replicate, subject and unit, and batch where enough groups are left.
        least: so many groups there must be at least with batches.

    Raises SchemaError for an absent column.
    """
    for name in together or ():
        if name not in rows.columns:
            raise SchemaError(
                f"no column {name!r}", where="--together", remedy=unknown_name("", name, rows.columns).remedy
            )
    wanted = ["unit", *(TOGETHER if together is None else together)]
    wanted = [name for name in dict.fromkeys(wanted) if rows[name].null_count() < rows.height]
    of = _components(rows, wanted)
    told = tuple(name for name in wanted if name != "unit" or rows["unit"].is_duplicated().any())
    if together is not None or rows["batch"].null_count() == rows.height:
        return Grouping(of, told)
    with_batches = _components(rows, [*wanted, "batch"])
    if with_batches.max() + 1 >= least:
        return Grouping(with_batches, (*told, "batch"))
    n, left = rows["batch"].drop_nulls().n_unique(), int(with_batches.max()) + 1
    if n < 2:  # a single batch cannot be told from another one
        return Grouping(of, told)
    why = f"that would leave {left} group{'s' * (left > 1)} to hold out, and {least} are needed"
    note = f"the {n} batches are not kept together in the folds: {why}; what the batch tells may help a prediction"
    return Grouping(of, told, note)


def linked(columns: Sequence[Sequence[str | None]]) -> pl.Series:
    """(n,) one name for all rows that agree in any column, directly or through others; null where no column tells."""
    names = [f"_{k}" for k in range(len(columns))]
    rows = pl.DataFrame(dict(zip(names, columns, strict=True)), schema=dict.fromkeys(names, pl.String))
    told = rows.select(pl.any_horizontal(pl.all().is_not_null())).to_series()
    return pl.Series([str(k) if known else None for k, known in zip(_components(rows, names), told, strict=True)],
                     dtype=pl.String)  # fmt: skip


def _components(rows: pl.DataFrame, columns: Sequence[str]) -> Ints:
    n = rows.height
    first, second = [np.arange(n)], [np.arange(n)]
    for name in columns:
        pairs = rows.select(pl.col(name), _row=pl.int_range(n)).drop_nulls()
        pairs = pairs.with_columns(_first=pl.col("_row").first().over(name))
        first.append(pairs["_first"].to_numpy())
        second.append(pairs["_row"].to_numpy())
    a, b = np.concatenate(first), np.concatenate(second)
    _, of = connected_components(sparse.coo_matrix((np.ones(a.size), (a, b)), shape=(n, n)), directed=False)
    return np.unique(of, return_inverse=True)[1].astype(np.int64)


def folds(groups: Ints, labels: Ints | None, how: CohortSettings, seed: int, rows: Ints | None = None) -> list[Fold]:
    """(train, test) of the outer loop, or with `rows` of an inner loop within these; groups whole, classes even.

    Args:
        groups: (n,).
        labels: (n,) of classes; None for numbers.

    Raises SplitError where there are too few groups.
    """
    inner = rows is not None
    rows = np.arange(groups.size) if rows is None else rows
    mine, of = groups[rows], None if labels is None else labels[rows]
    n_groups = np.unique(mine).size
    if n_groups < 2:
        what = "all samples belong together: nothing can be held out"
        raise SplitError(what, remedy="fewer columns in --together, or more replicates, subjects or batches")
    if not inner and how.splits == "leave-one-group-out":
        return [(np.flatnonzero(groups != g), np.flatnonzero(groups == g)) for g in range(n_groups)]
    if not inner and how.splits == "holdout":
        return [_holdout(groups, labels, how.test_share, seed)]
    wanted = min(how.inner_folds if inner else how.folds, n_groups)
    number = _number(mine, of, wanted, seed)
    found = [(rows[number != k], rows[number == k]) for k in range(wanted)]
    return [(train, test) for train, test in found if train.size and test.size]


def _number(groups: Ints, labels: Ints | None, k: int, seed: int) -> Ints:
    """(n,) fold of each sample: groups in random order, the larger first, to the fold that lacks their classes most."""
    rng = np.random.default_rng(seed)
    names, of = np.unique(groups, return_inverse=True)
    classes = np.zeros(groups.size, np.int64) if labels is None else np.unique(labels, return_inverse=True)[1]
    counts = np.zeros((names.size, int(classes.max()) + 1))
    np.add.at(counts, (of, classes), 1)
    share = counts / counts.sum(axis=0)
    order = rng.permutation(names.size)
    order = order[np.argsort(-counts[order].sum(axis=1), kind="stable")]
    held, fold = np.zeros((k, counts.shape[1])), np.zeros(names.size, np.int64)
    for place in order.tolist():
        uneven = ((held + share[place]) ** 2).sum(axis=1) - (held**2).sum(axis=1) + 1e-9 * held.sum(axis=1)
        best = np.flatnonzero(uneven <= uneven.min() + 1e-12)
        fold[place] = rng.choice(best)
        held[fold[place]] += share[place]
    return fold[of]


def _holdout(groups: Ints, labels: Ints | None, share: float, seed: int) -> Fold:
    """About `share` of the groups of each class as test."""
    rng = np.random.default_rng(seed)
    names, first = np.unique(groups, return_index=True)
    kind = np.zeros(names.size, np.int64) if labels is None else labels[first]
    test: list[int] = []
    for each in np.unique(kind):
        some = rng.permutation(names[kind == each])
        test += some[: min(max(1, round(share * some.size)), some.size - 1)].tolist()
    if not test:
        raise SplitError("every class has one group only", remedy="more groups, or splits: leave-one-group-out")
    chosen = np.isin(groups, test)
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def shuffles(groups: Ints, values: NDArray[np.float64], cells: Ints | None, n: int, seed: int) -> Iterator[Ints]:
    """n arrays (rows,): sample i gets the values of sample `array[i]`.

    Whole groups swap values where these are the same throughout every group; where they vary within groups, samples
    swap within their group.

    Args:
        values: (rows, k) of the targets.
        cells: (rows,) fold of each sample; swaps stay within, so that folds with even classes keep them even. None:
            folds were drawn without a look at the values.
    """
    rng = np.random.default_rng(seed)
    names, first, of = np.unique(groups, return_index=True, return_inverse=True)
    constant = bool((values == values[first[of]]).all())
    cells = np.zeros(groups.size, np.int64) if cells is None else cells
    if constant:
        blocks = [np.flatnonzero(cells[first] == c) for c in np.unique(cells)]
        for _ in range(n):
            source = np.arange(names.size)
            for block in blocks:
                source[block] = rng.permutation(block)
            yield first[source][of]
        return
    pairs = np.unique(np.stack([cells, groups]), axis=1).T
    inside = [np.flatnonzero((cells == c) & (groups == g)) for c, g in pairs]
    for _ in range(n):
        out = np.arange(groups.size)
        for block in inside:
            out[block] = rng.permutation(block)
        yield out


def arrangements(groups: Ints, labels: Ints, cells: Ints) -> float:
    """Logarithm of the number of ways to swap the labels of whole groups within cells."""
    _, first = np.unique(groups, return_index=True)
    out = 0.0
    for cell in np.unique(cells[first]):
        counts = np.unique(labels[first][cells[first] == cell], return_counts=True)[1]
        out += gammaln(counts.sum() + 1) - gammaln(counts + 1).sum()
    return float(out)
