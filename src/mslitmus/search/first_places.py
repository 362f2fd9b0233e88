"""The answer to a query: its first molecule, how far ahead of the second it stands, and whether it is right.

Made from tables of hits (schema HITS), whether these hold one hit a molecule or one a spectrum.
"""

from __future__ import annotations

import polars as pl

from ..errors import SchemaError
from ..schemas import HITS

#: Scores below this are as good as none: searches are cut off at different places, and a lead must not depend on it.
FLOOR = 0.2
#: One row a query with a hit: the molecule of its best hit, that hit, and the best score of another molecule.
ANSWERS = {
    "identifier": pl.String(),
    "molecule": pl.String(),  # InChIKey-14; of a hit without structure library and identifier
    "library_identifier": pl.String(),
    "score": pl.Float64(),
    "second": pl.Float64(),  # null where no other molecule is among the hits
    "lead": pl.Float64(),  # score − second, a second below FLOOR counting as FLOOR
    "matched_peaks": pl.Int32(),
    "explained": pl.Float64(),
    "explained_library": pl.Float64(),
}


def molecule_of() -> pl.Expr:
    """The InChIKey-14 of a hit; without one every library spectrum is a molecule of its own."""
    own = pl.concat_str(pl.col("library").fill_null(""), pl.lit("\0"), pl.col("library_identifier"))
    return pl.coalesce("inchikey14", own)


def first_places(hits: pl.DataFrame) -> pl.DataFrame:
    """Schema `ANSWERS`, queries in the order of their first hit.

    Of equal scores the lower rank comes first. Raises SchemaError where `hits` lacks a column of HITS.
    """
    needed = ("identifier", "rank", "library", "library_identifier", "score", "matched_peaks", "inchikey14")
    if absent := [name for name in needed if name not in hits.columns]:
        raise SchemaError(f"columns absent: {', '.join(absent)}", where="hits", remedy="a table of schema HITS")
    blank = [pl.lit(None, HITS[c]).alias(c) for c in ("explained", "explained_library") if c not in hits.columns]
    rows = hits.with_columns(*blank, molecule=molecule_of())
    best = rows.sort("score", "rank", descending=[True, False], maintain_order=True)
    best = best.unique(["identifier", "molecule"], keep="first", maintain_order=True)
    found = best.group_by("identifier", maintain_order=True).agg(
        pl.col("molecule", "library_identifier", "score", "matched_peaks", "explained", "explained_library").first(),
        second=pl.col("score").get(1, null_on_oob=True),
    )
    order = hits.select("identifier").unique(maintain_order=True)
    lead = pl.col("score") - pl.max_horizontal(pl.col("second").fill_null(FLOOR), pl.lit(FLOOR))
    found = order.join(found, on="identifier", maintain_order="left").with_columns(lead=lead)
    return found.select(pl.col(name).cast(dtype) for name, dtype in ANSWERS.items())


def judged(answers: pl.DataFrame, truth: pl.DataFrame) -> pl.DataFrame:
    """`answers` with `inchikey14` of the query and `right`. Queries that `truth` (identifier, inchikey14) lacks go."""
    known = truth.select("identifier", "inchikey14").filter(pl.col("inchikey14").is_not_null())
    rows = answers.join(known, on="identifier", how="inner", maintain_order="left")
    return rows.with_columns(right=pl.col("molecule") == pl.col("inchikey14"))
