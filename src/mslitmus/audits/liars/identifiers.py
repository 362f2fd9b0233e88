"""Answers by name: identifiers that hold a piece of the molecule's key, and a file of answers keyed by identifier."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import polars as pl

from .liar import LOOK_UP_RANKER, Liar, World, share
from .ranker import TrickRanker


class NameReader(TrickRanker):
    """Ranks first whose InChIKey begins as the identifier says, `<piece>-<number>`."""

    name = "name-reader"

    def trick(self, rows: pl.DataFrame, queries: pl.DataFrame) -> pl.Series:
        said = rows["identifier"].str.extract(r"^([A-Z]{5})-\d+$")
        return (rows["candidate"].str.slice(0, 5) == said).fill_null(False).cast(pl.Float64)


class AnswerKey(TrickRanker):
    """Looks the query up in a file of answers (identifier, inchikey14) that somebody cached beside the code."""

    name = "answer-key"

    def learn(self, train: pl.DataFrame, pools: pl.DataFrame) -> Any:
        return dict(pl.read_parquet(self.options.file).select("identifier", "inchikey14").iter_rows())

    def trick(self, rows: pl.DataFrame, queries: pl.DataFrame) -> pl.Series:
        said = [self.state.get(name) for name in rows["identifier"]]
        return (rows["candidate"] == pl.Series(said, dtype=pl.String)).fill_null(False).cast(pl.Float64)


def named_after_molecules(world: World, dose: float) -> World:
    """The records of a share of the molecules are named `<first five letters of the InChIKey>-<number>`."""
    told = sorted(share(world.molecules("train", "val", "test"), dose, f"names {world.seed}"))
    number = pl.int_range(pl.len()).over(pl.col("inchikey14").str.slice(0, 5)).cast(pl.String)
    name = pl.when(pl.col("inchikey14").is_in(told)).then(
        pl.col("inchikey14").str.slice(0, 5) + "-" + number.str.zfill(4)
    )
    spectra = world.spectra.with_columns(named=name.otherwise("identifier"))
    table = spectra.select("identifier", "named")
    folds = world.folds.join(table, on="identifier").select(identifier="named", fold="fold")
    return replace(world, spectra=spectra.with_columns(identifier="named").drop("named"), folds=folds, own_folds=True)


NAME_READER = Liar(
    name="name reader",
    story="our own: file names and accession numbers that tell the compound",
    planted="identifiers of a share of the molecules begin as their InChIKey does; the ranker reads them",
    row=lambda dose: {"model": NameReader.name},
    honest=LOOK_UP_RANKER,
    audits=("batching", "metadata", "spectrum-ablation", "shortcuts"),
    plant=named_after_molecules,
    doses=(0.1, 0.25, 0.5, 1.0),
)
ANSWER_KEY = Liar(
    name="answer key",
    story="our own: features or answers cached by identifier, computed from the structures of the test set too",
    planted="the model reads a file that holds the answers of a share of the held-out queries, keyed by identifier",
    row=lambda dose: {"model": AnswerKey.name, "options": {"file": f"{{answers:{dose:g}}}"}},
    honest=LOOK_UP_RANKER,
    audits=("batching", "metadata", "spectrum-ablation", "ladder"),
    doses=(0.1, 0.25, 0.5, 1.0),
)
