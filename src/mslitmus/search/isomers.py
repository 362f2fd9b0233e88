"""Well-known isomers in groups of one formula: which of them does a search tell apart?

LSM-MS2 (Asher et al. 2025) reports 61 isomers in 22 groups. Its table was not at hand: the groups here, in
`data/isomers.tsv`, are our own choice of metabolites, drugs, flavonoids and pesticides, and no number of theirs
compares with the paper's. Stereoisomers are one molecule here, since InChIKey-14 knows no stereo.
"""

from __future__ import annotations

from importlib.resources import files
from io import StringIO

import polars as pl

#: One row a group: members there are spectra of, mean of their top-1, the worst member.
GROUPS = {
    "group": pl.String(),
    "members": pl.Int64(),  # of the list
    "judged": pl.Int64(),  # with at least one answer
    "queries": pl.Int64(),
    "top1": pl.Float64(),  # mean over the members, each weighing one
    "worst": pl.String(),
    "worst_top1": pl.Float64(),
}


def isomers() -> pl.DataFrame:
    """group, name, smiles, inchikey14, formula."""
    text = files("mslitmus.data").joinpath("isomers.tsv").read_text(encoding="utf-8")
    return pl.read_csv(StringIO(text), separator="\t")


def by_isomer(answers: pl.DataFrame) -> pl.DataFrame:
    """Every isomer of the list: group, name, inchikey14, queries, top1 (null without a query), taken_for.

    Args:
        answers: identifier, inchikey14 (of the query), molecule (of the answer), right (0 to 1); one row a query.

    `taken_for` is the most frequent wrong answer that is in the list, by its name; null where there is none.
    """
    listed = isomers().select("group", "name", "inchikey14")
    mine = answers.join(listed, on="inchikey14", how="inner")
    right = pl.col("right").cast(pl.Float64)
    means = mine.group_by("inchikey14").agg(queries=pl.len().cast(pl.Int64), top1=right.mean())
    wrong = mine.filter(pl.col("molecule") != pl.col("inchikey14")).join(
        listed.select(molecule="inchikey14", taken_for="name"), on="molecule", how="inner"
    )
    often = wrong.group_by("inchikey14", "taken_for").len().sort("len", "taken_for", descending=[True, False])
    often = often.unique("inchikey14", keep="first", maintain_order=True).select("inchikey14", "taken_for")
    found = listed.join(means, on="inchikey14", how="left", maintain_order="left")
    found = found.join(often, on="inchikey14", how="left", maintain_order="left")
    return found.with_columns(pl.col("queries").fill_null(0))


def by_group(answers: pl.DataFrame) -> pl.DataFrame:
    """Schema `GROUPS`, in the order of the list. The worst member is the one with the lowest top-1."""
    rows = by_isomer(answers).sort("top1", "name", nulls_last=True, maintain_order=True)
    found = rows.group_by("group").agg(
        members=pl.len(),
        judged=pl.col("top1").is_not_null().sum(),
        queries=pl.col("queries").sum(),
        top1=pl.col("top1").mean(),
        worst=pl.col("name").filter(pl.col("top1").is_not_null()).first(),
        worst_top1=pl.col("top1").min(),
    )
    order = isomers().select("group").unique(maintain_order=True)
    table = order.join(found, on="group", how="left", maintain_order="left")
    return table.select(pl.col(name).cast(dtype) for name, dtype in GROUPS.items())
