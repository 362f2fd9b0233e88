"""The truth in the middle: decoys drawn around it point at it, whatever the spectrum says."""

from __future__ import annotations

from random import Random

import numpy as np
import polars as pl

from ....chem import molecule
from ..liar import LOOK_UP_RANKER, Liar, World
from ..ranker import TrickRanker
from ..structure_prior import walk

_STEPS = 2  # edits from the truth to a decoy


class PoolCentre(TrickRanker):
    """Mean Tanimoto similarity of a candidate to the others of its pool. Nothing is learned."""

    name = "pool-centre"

    def trick(self, rows: pl.DataFrame, queries: pl.DataFrame) -> pl.Series:
        lists = rows.group_by("identifier", maintain_order=True).agg("smiles")["smiles"].to_list()
        known: dict[tuple[str, ...], list[float]] = {}
        for pool in lists:
            if tuple(pool) not in known:
                bits = molecule.morgan(pool)
                known[tuple(pool)] = np.asarray(molecule.tanimoto(bits, bits).mean(axis=1), float).tolist()
        return pl.Series([value for pool in lists for value in known[tuple(pool)]], dtype=pl.Float64)


def decorated_truth(world: World, dose: float) -> World:
    """A share of each pool's decoys is made by one or two edits of the truth itself: its skeleton, its branches."""
    pools = world.pools["formula"].pools
    rows = []
    for (key,), pool in pools.group_by("molecule", maintain_order=True):
        random, names = Random(f"centre {world.seed} {key}"), set(pool["candidate"])
        true = [row for row in pool.rows() if row[1] == key]
        decoys = [row for row in pool.rows() if row[1] != key]
        random.shuffle(decoys)
        wanted = round(dose * len(decoys)) if true else 0
        made: list[tuple[str, ...]] = []
        for _ in range(3 * wanted):
            found = walk(true[0][2], random, random.randint(1, _STEPS)) if len(made) < wanted else None
            if found is not None and found.inchikey14 not in names:
                names.add(found.inchikey14)
                made.append((key, found.inchikey14, found.smiles, found.formula, "decoy-decorated"))
        rows += true + decoys[: len(decoys) - len(made)] + made

    def change(_: pl.DataFrame) -> pl.DataFrame:
        table = pl.DataFrame(rows, schema=pools.schema, orient="row")
        return table.sort("molecule", pl.col("candidate").hash(7))

    return world.with_pools("formula", change, f"centre-{dose:g}")


POOL_CENTRE = Liar(
    name="pool centre reader",
    story="decoys made from the active itself give it away by similarity: analogue bias in virtual screening (Chen et "
    "al. 2019 on DUD-E, doi 10.1371/journal.pone.0220113), here a generator that is given the truth's skeleton",
    planted="a share of each pool's decoys is one or two edits away from the truth; the ranker adds how alike a "
    "candidate is to the rest of its pool",
    row=lambda dose: {"model": PoolCentre.name},
    honest=LOOK_UP_RANKER,
    audits=("candidates", "shortcuts", "trivial", "spectrum-ablation"),
    plant=decorated_truth,
    dose=0.75,
    doses=(0.25, 0.5, 0.75, 1.0),
)
