"""A list of pretraining molecules that holds the test molecules: the ranker prefers what it has met there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import polars as pl

from ..evidence import Pretraining
from .liar import LOOK_UP_RANKER, Liar, World, share
from .ranker import TrickRanker


class PretrainedRanker(TrickRanker):
    """Knows the list's molecules by heart."""

    name = "pretrained-ranker"

    def learn(self, train: pl.DataFrame, pools: pl.DataFrame) -> Any:
        return sorted(pl.read_parquet(self.options.file)["inchikey14"])

    def trick(self, rows: pl.DataFrame, queries: pl.DataFrame) -> pl.Series:
        return rows["candidate"].is_in(self.state).cast(pl.Float64)


def list_with_test(world: World, dose: float) -> World:
    """Declares a list: the training molecules, a share of the held-out ones, and one decoy of every tenth pool."""
    own = world.spectra.unique("inchikey14").select("smiles", "inchikey14").sort("inchikey14")
    met = share(world.molecules("val", "test"), dose, f"pretraining {world.seed}") | set(world.molecules("train"))
    decoys = world.pools["formula"].pools.filter(pl.col("molecule") != pl.col("candidate"))
    decoys = decoys.unique("molecule", keep="first", maintain_order=True).gather_every(10)
    others = decoys.select("smiles", inchikey14="candidate")
    molecules = pl.concat([own.filter(pl.col("inchikey14").is_in(sorted(met))), others]).unique("inchikey14")
    molecules = molecules.sort("inchikey14")
    return replace(world, lists=(Pretraining("public molecules", molecules, models=("pretrained ranker",)),))


PRETRAINED_LIST = Liar(
    name="pretrained ranker",
    story="pretraining lists that nobody cleared of the test molecules, as MassSpecGym clears its list of 4 million "
    "(MCES < 2 to the test fold)",
    planted="a declared list holds a share of the test molecules; the ranker prefers what the list holds",
    row=lambda dose: {"model": PretrainedRanker.name, "options": {"file": "{list}"}},
    honest=LOOK_UP_RANKER,
    audits=("leakage", "overlap"),
    plant=list_with_test,
    doses=(0.02, 0.1, 0.25, 0.5, 1.0),
)
