"""A candidate set in numbers: how large its pools are, what chance earns on them, where the candidates come from."""

from __future__ import annotations

from typing import Any

import polars as pl

from .sets import CandidateSet, origins

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
#: Pools with fewer candidates tell little: the headline is over queries with at least so many.
HEADLINE = 8


def describe(candidates: CandidateSet) -> dict[str, Any]:
    """JSON values: molecules, quantiles of pool size with and without decoys, chance of a hit at 1, shares of origins.

    `chance` is the mean of 1/n over molecules: what a constant scorer earns as hit@1 per molecule.
    """
    sizes = candidates.sizes()
    return {
        "name": candidates.name,
        "kind": candidates.kind,
        "hash": candidates.hash,
        "settings": dict(candidates.settings),
        "molecules": sizes.height,
        "candidates": candidates.pools.height,
        "size": _quantiles(sizes["candidates"]),
        "real": _quantiles(sizes["real"]),
        "chance": sizes.select((1 / pl.col("candidates")).mean()).item(),
        "chance_real": sizes.select((1 / pl.col("real").clip(1)).mean()).item(),
        "at_least": HEADLINE,
        "large_enough": int((sizes["candidates"] >= HEADLINE).sum()),
        "large_enough_real": int((sizes["real"] >= HEADLINE).sum()),
        "origins": origins(candidates.pools),
    }


def _quantiles(column: pl.Series) -> dict[str, float | None]:
    return {f"{q:g}": column.quantile(q, "nearest") for q in QUANTILES}
