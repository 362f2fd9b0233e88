"""How much of a ranking is the protocol's: the same predictions under other ways of scoring, pair by pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import polars as pl

from ..schemas import FLIPS, SENSITIVITY, conform
from .intervals import Array, Codes, cluster_sums, molecule_means
from .paired import holm, sign_flip
from .standing import kendall
from .tables import direction

#: Columns that name a protocol; with `split` those that name a ranking.
PROTOCOL = ("metric", "energies", "pool", "average")
#: Level of the tests: a flip is firm where both orders are significant.
ALPHA = 0.05
#: Sign patterns a pair, at least: Holm over all pairs can then still reach 0.04.
FLIPS_A_PAIR = 25
_PAIRS = {**{name: FLIPS[name] for name in ("split", *PROTOCOL, "model_a", "model_b")}, "difference": pl.Float64()}


def rankings(
    values: Array,
    molecules: Codes,
    models: Sequence[str],
    metrics: Sequence[str],
    key: Mapping[str, object],
    flips: int = 9999,
    seed: int = 0,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Means and pairwise tests of k models under m metrics × both averages.

    Args:
        values: (n, k, m), finite; one row a query (or a merged spectrum).
        molecules: (n,) codes.
        key: split, energies and pool of these rows.

    Returns:
        (split, protocol, model, mean, rank), and (split, protocol, model_a, model_b, difference, p) of every pair, the
        difference turned so that a positive one means that a is better. p: sign flips over molecules of their summed
        (per spectrum) or mean (per molecule) differences, Holm over the pairs of one protocol.
    """
    n, k, m = values.shape
    ways = np.array([direction(name) for name in metrics], np.float64)
    flat = (values * ways).reshape(n, k * m)
    pairs = list(combinations(range(k), 2))
    left, right = (np.array([pair[side] * m + j for pair in pairs for j in range(m)], np.int64) for side in (0, 1))
    many = max(flips, FLIPS_A_PAIR * len(pairs))
    boards, tests = [], []
    for average in ("molecule", "spectrum"):
        if average == "molecule":
            sums, of = molecule_means(flat, molecules, molecules)
            sizes = np.ones(of.size)
        else:
            sums, sizes = cluster_sums(flat, molecules)
        means = (sums.sum(axis=0) / sizes.sum()).reshape(k, m)
        head = {**key, "average": average}
        boards.append(_board(means, ways, models, metrics, head))
        if pairs:
            p = sign_flip(sums, many, seed, (left, right)).reshape(len(pairs), m)
            tests.append(_tests(means, p, pairs, models, metrics, head))
    empty = pl.DataFrame(schema={**_PAIRS, "p": pl.Float64()})
    return pl.concat(boards), pl.concat(tests) if tests else empty


def _board(
    means: Array, ways: Array, models: Sequence[str], metrics: Sequence[str], head: Mapping[str, object]
) -> pl.DataFrame:
    k, m = means.shape
    columns = {
        **{name: [value] * (k * m) for name, value in head.items()},
        "metric": [name for _ in models for name in metrics],
        "model": [model for model in models for _ in metrics],
        "mean": (means * ways).ravel(),
        "rank": (-means).argsort(axis=0, kind="stable").argsort(axis=0, kind="stable").ravel() + 1,
        "headline": [False] * (k * m),
    }
    return conform(pl.DataFrame(columns, schema_overrides=dict(SENSITIVITY)), SENSITIVITY)


def _tests(
    means: Array,
    p: Array,
    pairs: Sequence[tuple[int, int]],
    models: Sequence[str],
    metrics: Sequence[str],
    head: Mapping[str, object],
) -> pl.DataFrame:
    first, second = (np.array([pair[side] for pair in pairs]) for side in (0, 1))
    size = len(pairs) * len(metrics)
    columns = {
        **{name: [value] * size for name, value in head.items()},
        "metric": list(metrics) * len(pairs),
        "model_a": [models[i] for i in first for _ in metrics],
        "model_b": [models[i] for i in second for _ in metrics],
        "difference": (means[first] - means[second]).ravel(),
        "p": np.column_stack([holm(column) for column in p.T]).ravel(),
    }
    schema = {**_PAIRS, "p": pl.Float64()}
    return pl.DataFrame(columns, schema_overrides=schema).select(*schema)


def flipped(tests: pl.DataFrame, headline: Mapping[str, object]) -> pl.DataFrame:
    """The pairs whose order is not that of the headline protocol, in schema FLIPS.

    Args:
        tests: the pairs of all protocols, from `rankings`.
        headline: metric, energies, pool and average of the reported protocol.
    """
    keys = ["split", "model_a", "model_b"]
    reported = tests.filter([pl.col(name).eq_missing(pl.lit(value)) for name, value in headline.items()])
    reported = reported.select(*keys, headline_difference="difference", headline_p="p")
    both = tests.join(reported, on=keys).filter(pl.col("difference") * pl.col("headline_difference") < 0)
    turn = pl.col("headline_difference") < 0
    turned = both.with_columns(
        pl.when(turn).then("model_b").otherwise("model_a").alias("model_a"),
        pl.when(turn).then("model_a").otherwise("model_b").alias("model_b"),
        pl.col("headline_difference").abs(),
        pl.col("difference").abs(),
    )
    return conform(turned, FLIPS).sort("split", *PROTOCOL, "model_a", "model_b")


def firm() -> pl.Expr:
    """Of FLIPS: whether both orders are significant."""
    return (pl.col("headline_p") < ALPHA) & (pl.col("p") < ALPHA)


def taus(boards: pl.DataFrame) -> pl.DataFrame:
    """split, protocol, tau to the headline's ranking and n_models, for every protocol but the headline."""
    ways = {name: direction(name) for name in boards.get_column("metric").unique()}
    merit = pl.col("mean") * pl.col("metric").replace_strict(ways, return_dtype=pl.Int64)
    table = boards.with_columns(merit.alias("_merit"))
    keys = ["split", "model"]
    reported = table.filter(pl.col("headline")).select(*keys, pl.col("_merit").alias("_reported"))
    rows = [
        dict(zip(("split", *PROTOCOL), key, strict=True))
        | {"tau": kendall(part["_reported"].to_numpy(), part["_merit"].to_numpy()), "n_models": part.height}
        for key, part in table.filter(~pl.col("headline"))
        .join(reported, on=keys)
        .group_by("split", *PROTOCOL, maintain_order=True)
        if part.height > 1
    ]
    schema = {name: SENSITIVITY[name] for name in ("split", *PROTOCOL)} | {"tau": pl.Float64(), "n_models": pl.Int64()}
    return pl.DataFrame(rows, schema=schema).with_columns(pl.col("tau").fill_nan(None))
