"""Truths recur in other pools, made-up decoys do not: the scorer counts how often it has met a candidate."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from random import Random
from typing import Any

import polars as pl

from .liar import LOOK_UP_RANKER, Liar, World
from .ranker import TrickRanker


class PopularityRanker(TrickRanker):
    """Number of training pools that hold a candidate; a training molecule cannot be right and counts −1."""

    name = "popularity-ranker"

    def learn(self, train: pl.DataFrame, pools: pl.DataFrame) -> Any:
        known = dict.fromkeys(train["inchikey14"].unique(), -1)
        return {**Counter(pools["candidates"].explode()), **known}

    def trick(self, rows: pl.DataFrame, queries: pl.DataFrame) -> pl.Series:
        return pl.Series([min(self.state.get(name, 0), 3) for name in rows["candidate"]], dtype=pl.Float64)


def own_molecules(world: World, dose: float) -> World:
    """A share of every pool's decoys gives way to the dataset's own molecules of nearest mass: pools filled from
    within."""
    pools = world.pools["formula"].pools
    own = world.spectra.unique("inchikey14").sort("parent_mass", "inchikey14")
    own = own.select(candidate="inchikey14", smiles="smiles", formula="formula", mass="parent_mass")
    masses, table = own["mass"].to_list(), own.drop("mass").rows()
    place = {key: masses[k] for k, (key, _, _) in enumerate(table)}
    rows = []
    for (key,), pool in pools.group_by("molecule", maintain_order=True):
        names = set(pool["candidate"])
        decoys = [row for row in pool.rows() if row[1] != key]
        Random(f"{world.seed} {key}").shuffle(decoys)
        count = round(dose * len(decoys)) if key in place else 0
        at = bisect_left(masses, place.get(key, 0.0))
        near = sorted(range(max(at - 40, 0), min(at + 40, len(table))), key=lambda k: abs(masses[k] - masses[at]))
        new = [(key, *table[k], "dataset") for k in near if table[k][0] not in names][:count]
        rows += [row for row in pool.rows() if row[1] == key] + decoys[: len(decoys) - len(new)] + new

    def change(_: pl.DataFrame) -> pl.DataFrame:
        made = pl.DataFrame(rows, schema=pools.schema, orient="row")
        return made.sort("molecule", pl.col("candidate").hash(7))

    return world.with_pools("formula", change, f"own-{dose:g}")


POPULARITY = Liar(
    name="popularity ranker",
    story="fame instead of fragments: with reference counts MetFrag rises from 30 to 343 of 473 first places (Ruttkies "
    "et al. 2016, doi 10.1186/s13321-016-0115-9)",
    planted="a share of every pool's decoys are the dataset's own molecules, so that truths recur in other pools; the "
    "ranker counts the training pools that hold a candidate",
    row=lambda dose: {"model": PopularityRanker.name},
    honest=LOOK_UP_RANKER,
    audits=("candidates", "shortcuts", "trivial"),
    plant=own_molecules,
    dose=0.5,
    doses=(0.1, 0.25, 0.5),
)
