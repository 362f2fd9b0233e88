"""Pools cleared of everything like the truth: any look-up looks better, and no model did anything wrong."""

from __future__ import annotations

import polars as pl

from ....chem import molecule
from ..liar import LOOK_UP_RANKER, Liar, World, share
from ..ranker import PlainRanker

_CLEARED = 0.6  # of the decoys, the most similar first


def cleared_of_relatives(world: World, dose: float) -> World:
    """In a share of the pools the 60 % of decoys that are most similar to the truth are taken out, one decoy stays."""
    told = share(world.molecules("train", "val", "test"), dose, f"cleared {world.seed}")
    pools = world.pools["formula"].pools
    parts = []
    for (key,), pool in pools.group_by("molecule", maintain_order=True):
        true = pool.filter(candidate=pl.lit(key))
        if key in told and true.height and pool.height > 2:
            decoys = pool.filter(pl.col("candidate") != key)
            bits = molecule.morgan([true["smiles"][0], *decoys["smiles"]])
            alike = pl.Series("alike", molecule.tanimoto(bits[:1], bits[1:])[0].tolist())
            kept = max(1, decoys.height - round(_CLEARED * decoys.height))
            decoys = decoys.with_columns(alike).sort("alike", "candidate").head(kept).drop("alike")
            pool = pl.concat([true, decoys]).sort(pl.col("candidate").hash(7))
        parts.append(pool)
    return world.with_pools("formula", lambda _: pl.concat(parts), f"cleared-{dose:g}")


FAR_DECOYS = Liar(
    name="decoy clearer",
    story="our own, after decoys chosen to be unlike the actives, which make screening easy (DUD, DUD-E): candidates "
    "'too similar to be told apart' are removed, and only the truth has relatives among the training molecules",
    planted="a share of the pools loses the 60 % of its decoys that are most similar to the truth; the model is an "
    "honest look-up",
    row=lambda dose: {"model": PlainRanker.name},
    honest=LOOK_UP_RANKER,
    audits=("candidates", "trivial", "shortcuts"),
    plant=cleared_of_relatives,
    gains="world",
    doses=(0.25, 0.5, 1.0),
)
