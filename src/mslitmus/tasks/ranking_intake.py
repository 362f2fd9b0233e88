"""Scores of candidates as people write them → (identifier, candidate as InChIKey-14, score).

Long form: one row a candidate, named by InChIKey (its first block counts) or SMILES. List form: one row a query with
`candidates` and `scores`, or `scores` alone in the order that the query file shows.
"""

from __future__ import annotations

import polars as pl

from ..chem.molecule import identify
from ..errors import ChemistryError, PredictionError
from .tables import ROW, Table, refuse

_REPEAT = r"#[0-9]+"  # a pool as published may list a molecule again, as `KEY#2`
_KEY = rf"^[A-Z]{{14}}(-[A-Z]{{10}}(-[A-Z])?)?({_REPEAT})?$"


def read_scores(table: Table, queries: pl.DataFrame | None) -> pl.DataFrame:
    """Columns identifier, candidate, score, checked. Raises PredictionError naming rows."""
    if "scores" in table.frame.columns:
        table = _long(table, queries)
    frame = table.frame
    if "candidate" in frame.columns:
        table = _by_key(table)
    else:
        table = _by_smiles(table, queries)
    table = _with_numbers(table)
    frame = table.frame
    marks = frame.select(_mark())
    if queries is not None:
        shown = queries.select("identifier", pl.col("candidates").alias("candidate")).explode("candidate")
        known = marks.select(pl.col("mark").is_in(shown.select(_mark()).to_series().implode())).to_series()
        remedy = "score the candidates that the query lists, by their InChIKey-14 or the SMILES shown"
        refuse(table, frame.filter(~known), "score candidates that are not in the query's pool", remedy, "candidate")
    if marks["mark"].n_unique() < frame.height:  # equal pairs have equal marks: else nothing is there twice
        again = frame.filter(~pl.struct("identifier", "candidate").is_first_distinct())
        remedy = "one score a candidate of a query; stereoisomers are one candidate: keep the best score"
        refuse(table, again, "score a candidate a second time", remedy, "candidate")
    return frame


def read_library_scores(table: Table) -> pl.DataFrame:
    """Columns identifier, candidate (an identifier of the library), score. Raises PredictionError naming rows."""
    unnamed = table.frame.filter(pl.col("candidate").is_null())
    refuse(table, unnamed, "without a library spectrum", "name the spectrum that is scored")
    named = table.frame.with_columns(pl.col("candidate").cast(pl.String).str.strip_chars())
    frame = _with_numbers(Table(table.path, table.format, named)).frame
    again = frame.filter(~pl.struct("identifier", "candidate").is_first_distinct())
    refuse(table, again, "score a library spectrum a second time", "one score a pair", "candidate")
    return frame


def _mark() -> pl.Expr:
    """64 bits of (identifier, candidate), six times faster to compare than the pair. Of 4.5 million rows one that is in
    no pool passes by chance with probability 1e-6; `task.check` compares the pairs themselves."""
    return (pl.col("identifier").hash(1) * 3 + pl.col("candidate").hash(2)).alias("mark")


def _long(table: Table, queries: pl.DataFrame | None) -> Table:
    """One row a query → one row a candidate; the row number stays that of the query."""
    frame = table.frame
    refuse(
        table, frame.filter(~pl.col("identifier").is_first_distinct()), "answer a query a second time", "keep one row"
    )
    refuse(table, frame.filter(pl.col("scores").is_null()), "without scores", "leave out queries without an answer")
    frame = frame.with_columns(_items("scores", frame.schema["scores"]))
    if "candidates" in frame.columns:
        frame = frame.with_columns(_items("candidates", frame.schema["candidates"]))
    elif queries is None:
        remedy = "add the column candidates, or give the queries whose order the scores follow"
        raise PredictionError("scores without candidates", where=str(table.path), remedy=remedy)
    else:
        shown = queries.select("identifier", "candidates")
        frame = frame.join(shown, on="identifier", how="left", maintain_order="left")
    unequal = frame.filter(pl.col("scores").list.len() != pl.col("candidates").list.len())
    refuse(table, unequal, "have scores and candidates of unequal number", "one score a candidate, in the shown order")
    frame = frame.filter(pl.col("scores").list.len() > 0).explode("candidates", "scores")
    names = {"candidates": "candidate", "scores": "score"}
    return Table(table.path, table.format, frame.select(ROW, "identifier", *names).rename(names))


def _items(column: str, dtype: pl.DataType) -> pl.Expr:
    if dtype == pl.String:
        plain = pl.col(column).str.replace_all(r"""[\[\](),;"'\s]+""", " ").str.strip_chars()
        return plain.str.split(" ").alias(column)
    return pl.col(column)


def _by_key(table: Table) -> Table:
    key = pl.col("candidate").cast(pl.String).str.strip_chars()
    frame = table.frame.with_columns(key.alias("candidate"))
    strange = frame.filter(~pl.col("candidate").str.contains(_KEY).fill_null(False))
    remedy = "an InChIKey or its first 14 letters; SMILES go into the column smiles"
    refuse(table, strange, "have a candidate that is no InChIKey", remedy, "candidate")
    short = pl.col("candidate").str.slice(0, 14)
    if frame["candidate"].str.contains("#", literal=True).any():
        short = short + pl.col("candidate").str.extract(f"({_REPEAT})$").fill_null("")
    return Table(table.path, table.format, frame.with_columns(short.alias("candidate")))


def _by_smiles(table: Table, queries: pl.DataFrame | None) -> Table:
    """Matched with the SMILES shown; what matches none is parsed and compared by InChIKey-14."""
    frame = table.frame.with_columns(pl.col("smiles").cast(pl.String).str.strip_chars())
    refuse(table, frame.filter(pl.col("smiles").is_null()), "without candidate", "name it in the column smiles")
    if queries is not None and "candidate_smiles" in queries.columns:
        shown = queries.select("identifier", candidate=pl.col("candidates"), smiles=pl.col("candidate_smiles"))
        shown = shown.explode("candidate", "smiles").unique(["identifier", "smiles"], keep="first", maintain_order=True)
        frame = frame.join(shown, on=["identifier", "smiles"], how="left", maintain_order="left")
    else:
        frame = frame.with_columns(candidate=pl.lit(None, pl.String))
    open_ = frame.filter(pl.col("candidate").is_null())["smiles"].unique(maintain_order=True)
    parsed = keys_of(open_)
    frame = frame.join(parsed, on="smiles", how="left", maintain_order="left")
    frame = frame.with_columns(pl.coalesce("candidate", "key").alias("candidate"))
    lost = frame.filter(pl.col("candidate").is_null())
    refuse(table, lost, "have SMILES that do not parse", "repeat the SMILES of the query file", "smiles")
    return Table(table.path, table.format, frame)


def keys_of(smiles: pl.Series) -> pl.DataFrame:
    """(smiles, key: InChIKey-14, null where it does not parse) of distinct SMILES; about 1 ms each."""
    found: list[str | None] = []
    for text in smiles:
        try:
            found.append(identify(text).inchikey14)
        except ChemistryError:  # the caller names the rows
            found.append(None)
    return pl.DataFrame({"smiles": smiles, "key": pl.Series(found, dtype=pl.String)})


def _with_numbers(table: Table) -> Table:
    frame = table.frame
    refuse(table, frame.filter(pl.col("score").is_null()), "without score", _NO_SCORE, "candidate")
    number = pl.col("score").cast(pl.Float64, strict=False)
    text = frame.filter(number.is_null())
    refuse(table, text, "have text where a number belongs", "write scores with a decimal point", "score")
    frame = frame.with_columns(number.alias("score"))
    remedy = "leave out what cannot be scored: it then counts as the worst case, where that is allowed"
    refuse(
        table, frame.filter(~pl.col("score").is_finite()), "have a score that is NaN or infinite", remedy, "candidate"
    )
    return Table(table.path, table.format, frame)


_NO_SCORE = "fill in the score, or leave the row out: a missing one counts as the worst case, where that is allowed"
