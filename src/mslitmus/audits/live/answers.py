"""How far two answers to one query lie apart: 0 the same, 1 as far as answers can be (or one of them is missing).

- fingerprints: the largest change of a probability;
- rankings: the largest change of a candidate's score, relative to the range of the query's scores;
- spectra: total variation, ½ Σ |a − b| over bins of 0.01 Da, both scaled to sum 1;
- anything else: 0 where the rows are equal, 1 where they are not.
"""

from __future__ import annotations

import numpy as np
import polars as pl

#: Floats of another order of summation differ by this at most; more is another answer.
TOLERANCE = 1e-4
_BIN = 0.01  # Da, of predicted spectra


def distances(a: pl.DataFrame, b: pl.DataFrame, identifiers: pl.Series) -> pl.Series:
    """One number a query, in the order of `identifiers`; both tables are in the schema of the same task."""
    if "fingerprint" in a.columns:
        found = _vectors(a, b)
    elif {"candidate", "score"} <= set(a.columns):
        found = _rankings(a, b)
    elif {"mzs", "intensities"} <= set(a.columns):
        found = _spectra(a, b)
    else:
        found = _rows(a, b)
    rows = pl.DataFrame({"identifier": identifiers})
    return rows.join(found, on="identifier", how="left", maintain_order="left")["distance"].fill_null(0.0)


def moved(distance: pl.Series) -> float:
    """Share of queries whose answer is another one; 0 of none."""
    return float((distance > TOLERANCE).mean() or 0.0) if distance.len() else 0.0  # type: ignore[arg-type]


def _vectors(a: pl.DataFrame, b: pl.DataFrame) -> pl.DataFrame:
    both = _joined(a, b, ["identifier"], "fingerprint")
    answered = both.drop_nulls()
    left, right = (answered[name].explode().to_numpy().reshape(answered.height, -1) for name in ("a", "b"))
    largest = np.abs(left - right).max(axis=1) if answered.height else np.zeros(0)
    found = answered.select("identifier", distance=pl.Series(largest.astype(np.float64)))
    return pl.concat([found, _one_sided(both)])


def _rankings(a: pl.DataFrame, b: pl.DataFrame) -> pl.DataFrame:
    both = _joined(a, b, ["identifier", "candidate"], "score")
    scores = pl.concat_list("a", "b").list
    spread = (scores.max().max() - scores.min().min()).alias("spread")
    largest = (pl.col("a") - pl.col("b")).abs().max().alias("largest")
    found = both.group_by("identifier", maintain_order=True).agg(
        largest, spread, pl.any_horizontal(pl.col("a", "b").is_null()).any().alias("one_sided")
    )
    relative = pl.when(pl.col("largest") > 0).then(pl.col("largest") / pl.col("spread")).otherwise(0.0)
    whole = pl.when("one_sided").then(1.0).otherwise(relative)
    return found.select("identifier", distance=whole)


def _spectra(a: pl.DataFrame, b: pl.DataFrame) -> pl.DataFrame:
    both = _joined(_binned(a), _binned(b), ["identifier", "bin"], "share").with_columns(pl.col("a", "b").fill_null(0.0))
    variation = (pl.col("a") - pl.col("b")).abs().sum() / 2
    answered = both.group_by("identifier", maintain_order=True).agg(distance=variation)
    one_sided = _joined(a, b, ["identifier"], "mzs")
    missing = one_sided.filter(pl.col("a").is_null() != pl.col("b").is_null())["identifier"]
    whole = pl.when(pl.col("identifier").is_in(missing.implode())).then(1.0).otherwise("distance")
    return answered.select("identifier", distance=whole)


def _binned(spectra: pl.DataFrame) -> pl.DataFrame:
    peaks = spectra.select("identifier", "mzs", "intensities").filter(pl.col("mzs").list.len() > 0)
    peaks = peaks.explode("mzs", "intensities").with_columns(pl.col("intensities").cast(pl.Float64))
    place = (pl.col("mzs") / _BIN + 0.5 + 1e-4).floor().cast(pl.Int64).alias("bin")
    summed = peaks.group_by("identifier", place, maintain_order=True).agg(pl.col("intensities").sum())
    whole = pl.col("intensities").sum().over("identifier")
    share = pl.when(whole > 0).then(pl.col("intensities") / whole).otherwise(0.0)
    return summed.select("identifier", "bin", share=share)


def _rows(a: pl.DataFrame, b: pl.DataFrame) -> pl.DataFrame:
    def hashed(table: pl.DataFrame) -> pl.DataFrame:
        rest = [name for name in table.columns if name != "identifier"]
        return table.group_by("identifier", maintain_order=True).agg(row=pl.struct(rest).hash().implode().hash())

    both = _joined(hashed(a), hashed(b), ["identifier"], "row")
    return both.select("identifier", distance=pl.col("a").eq_missing(pl.col("b")).not_().cast(pl.Float64))


def _joined(a: pl.DataFrame, b: pl.DataFrame, on: list[str], value: str) -> pl.DataFrame:
    left, right = (table.select(*on, pl.col(value).alias(name)) for table, name in ((a, "a"), (b, "b")))
    return left.join(right, on=on, how="full", coalesce=True, nulls_equal=True)


def _one_sided(both: pl.DataFrame) -> pl.DataFrame:
    rows = both.filter(pl.col("a").is_null() != pl.col("b").is_null())
    return rows.select("identifier", distance=pl.lit(1.0))
