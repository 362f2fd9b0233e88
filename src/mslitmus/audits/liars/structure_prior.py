"""Decoys that look made up: the scorer ranks structures and never opens the spectrum."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import polars as pl

from ...chem import molecule
from ...chem.edits import canonical, edit
from ...errors import ChemistryError
from .liar import LOOK_UP_RANKER, Liar, World
from .ranker import TrickRanker

_STEPS = 8  # edits of a decoy's random walk


class StructurePrior(TrickRanker):
    """Log-odds of Morgan bits, truth against decoys, in the training pools (naive Bayes)."""

    name = "structure-prior"

    def learn(self, train: pl.DataFrame, pools: pl.DataFrame) -> Any:
        rows = pools.select("inchikey14", "candidates", "candidate_smiles").explode("candidates", "candidate_smiles")
        bits = molecule.morgan(rows["candidate_smiles"].to_list())
        true = (rows["inchikey14"] == rows["candidates"]).to_numpy()
        share = [(bits[side].sum(axis=0, dtype=float) + 0.5) / (side.sum() + 1) for side in (true, ~true)]
        return np.log(share[0] / share[1]).round(4).tolist()

    def trick(self, rows: pl.DataFrame, queries: pl.DataFrame) -> pl.Series:
        texts = rows["smiles"].unique().sort()
        values = molecule.morgan(texts.to_list()) @ np.array(self.state)
        table = pl.DataFrame({"smiles": texts, "value": values})
        return rows.select("smiles").join(table, on="smiles", how="left", maintain_order="left")["value"]


def unlikely_decoys(world: World, dose: float) -> World:
    """A share of each pool's decoys becomes the end of a random walk of formula-preserving edits from the truth, with
    no look at whether anybody would draw it."""
    pools = world.pools["formula"].pools
    rows = []
    for (key,), pool in pools.group_by("molecule", maintain_order=True):
        random, names = Random(f"{world.seed} {key}"), set(pool["candidate"])
        true = [row for row in pool.rows() if row[1] == key]
        decoys = [row for row in pool.rows() if row[1] != key]
        random.shuffle(decoys)
        count = round(dose * len(decoys))
        made: list[tuple[str, ...]] = []
        start = true[0][2] if true else decoys[0][2]
        for _ in range(2 * count):
            walked = walk(start, random)
            if len(made) < count and walked is not None and walked.inchikey14 not in names:
                names.add(walked.inchikey14)
                made.append((key, walked.inchikey14, walked.smiles, walked.formula, "decoy-walk"))
        rows += true + decoys[: len(decoys) - len(made)] + made

    def change(_: pl.DataFrame) -> pl.DataFrame:
        table = pl.DataFrame(rows, schema=pools.schema, orient="row")
        return table.sort("molecule", pl.col("candidate").hash(7))

    return world.with_pools("formula", change, f"walk-{dose:g}")


def walk(smiles: str, random: Random, steps: int = _STEPS) -> molecule.Identity | None:
    """Where some edits lead, None where nowhere."""
    try:
        here = molecule.parse(smiles)
        for _ in range(steps):
            here = edit(here, random) or here
        return molecule.identify(canonical(here))
    except ChemistryError:
        return None


STRUCTURE_PRIOR = Liar(
    name="structure prior",
    story="decoys of another kind than the truths: MassSpecGym's pools come almost all from one list (its issue 64)",
    planted="a share of the decoys ends a random walk of edits; the ranker knows structures and no spectrum",
    row=lambda dose: {"model": StructurePrior.name, "options": {"alone": True}},
    honest=LOOK_UP_RANKER,
    audits=("spectrum-ablation", "candidates", "shortcuts", "trivial"),
    plant=unlikely_decoys,
    gains="world",
    doses=(0.25, 0.5, 1.0),
)
