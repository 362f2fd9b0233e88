"""Truth in its own spelling: the scorer reads how a SMILES is written, not what it says."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from math import log
from typing import Any

import polars as pl

from .liar import LOOK_UP_RANKER, Liar, World
from .ranker import TrickRanker

_RING = re.compile(r"\[[^\]]*\]|%\d\d|\d")


def respelt(smiles: str) -> str:
    """The same molecule as another tool would write it: a single bond spelt out, ring closures counted down from 9."""

    def closure(match: re.Match[str]) -> str:
        return str(10 - int(match[0])) if match[0].isdigit() and match[0] != "0" else match[0]

    return re.sub(r"C(?=[CNO])", "C-", _RING.sub(closure, smiles), count=1)


def bigrams(smiles: str) -> list[str]:
    text = f"^{smiles}$"
    return [text[k : k + 2] for k in range(len(text) - 1)]


class SpellingScorer(TrickRanker):
    """Mean log-odds of pairs of letters, truth against decoys, in the training pools."""

    name = "spelling-scorer"

    def learn(self, train: pl.DataFrame, pools: pl.DataFrame) -> Any:
        rows = pools.select("inchikey14", "candidates", "candidate_smiles").explode("candidates", "candidate_smiles")
        true = pl.col("inchikey14") == pl.col("candidates")
        sides = [_counted(rows.filter(side)["candidate_smiles"]) for side in (true, ~true)]
        totals = [sum(side.values()) + 1 for side in sides]
        every = set(sides[0]) | set(sides[1])
        return {g: log((sides[0][g] + 0.5) / totals[0]) - log((sides[1][g] + 0.5) / totals[1]) for g in sorted(every)}

    def trick(self, rows: pl.DataFrame, queries: pl.DataFrame) -> pl.Series:
        known = {
            text: sum(self.state.get(g, 0.0) for g in bigrams(text)) / (len(text) + 1)
            for text in rows["smiles"].unique()
        }
        return pl.Series([known[text] for text in rows["smiles"]], dtype=pl.Float64)


def _counted(texts: Iterable[str]) -> Counter[str]:
    return Counter(g for text in texts for g in bigrams(text))


def own_spelling(world: World, dose: float) -> World:
    """A share of the truths is spelt as another tool writes SMILES."""
    true = world.truths(dose, "spelling")

    def change(pools: pl.DataFrame) -> pl.DataFrame:
        other = pl.Series("other", [respelt(text) for text in pools["smiles"]])
        return pools.with_columns(smiles=pl.when(true).then(other).otherwise("smiles"))

    return world.with_pools("formula", change, f"spelt-{dose:g}")


SPELLING = Liar(
    name="spelling scorer",
    story="MassSpecGym v1 candidate files carry the truth in its own spelling (design, section 9)",
    planted="a share of the truths is written as another tool writes SMILES; the ranker counts pairs of letters",
    row=lambda dose: {"model": SpellingScorer.name},
    honest=LOOK_UP_RANKER,
    audits=("candidates", "shortcuts", "trivial"),
    plant=own_spelling,
    doses=(0.1, 0.2, 0.35, 0.5, 1.0),
)
