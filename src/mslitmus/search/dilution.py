"""Low concentration: what a search finds of a reference sample in ever thinner mixtures.

A series holds runs of the reference at 100 %, mixtures with less of it, and runs without it (the other ingredients, and
blanks). No list says what the reference truly holds, so the hits of the undiluted runs stand in for it: the figures are
the *consistency* of a search with itself and no accuracy. With R the molecules found in every undiluted run of the
other replicates, a run's hits are

- true: in R;
- spurious: neither in R nor in any undiluted run of the other replicates nor in a run without the reference. What the
  other ingredients hold is judged neither way.

precision = true / (true + spurious), true-hit rate = true / |R|, F1 their harmonic mean. R is made with fixed, strict
limits, so that it does not move with the threshold that is judged, and never from the replicate that is judged. The
threshold for a replicate is chosen as if its runs were not there: the others are judged by lists made from each other,
so three replicates are the least. R may
hold molecules that the other ingredients bring too; `exclusive` takes these out: a fairer and shorter list.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from ..errors import DataError, SchemaError

THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(4, 20))
MATCHED = (1, 2, 3, 4, 5)
#: Of a molecule in the reference list, and of one that a run without the reference holds.
STRICT = (0.6, 3)
LENIENT = (0.5, 1)
RUNS = {"file": pl.String(), "replicate": pl.Int64(), "level": pl.Float64()}
COUNTS = ("true", "spurious", "listed", "hits", "shared")


@dataclass(frozen=True)
class Dilution:
    """Tables of a series.

    runs: file, replicate, level, threshold, matched_peaks, and true, spurious, listed (size of R), hits, shared (hits
        that an undiluted run of another replicate has too), precision, true_rate, f1, overlap (shared / hits);
    levels: the same means by level, at thresholds chosen on other replicates alone (`held-out`) and, for comparison, at
        the one that is best for the very runs that are judged (`in-sample`, as LSM-MS2's table has it).
    """

    runs: pl.DataFrame
    levels: pl.DataFrame


def dilution(
    hits: pl.DataFrame,
    samples: pl.DataFrame,
    thresholds: Sequence[float] = THRESHOLDS,
    matched: Sequence[int] = MATCHED,
    exclusive: bool = False,
) -> Dilution:
    """Judge a series of runs.

    Args:
        hits: file, molecule, score, matched_peaks: first hits of the spectra of each run.
        samples: schema `RUNS`: level in percent, 0 for a run without the reference.
        thresholds: of the score, at least; matched: of the matched peaks, at least.
        exclusive: list no molecule that a run without the reference holds.

    Raises DataError without runs at 100 % of three replicates, or without a diluted run.
    """
    best = _best(hits, samples)
    pure = samples.filter(pl.col("level") == 100)
    diluted = samples.filter(pl.col("level") > 0)
    if pure["replicate"].n_unique() < 3 or diluted.height == pure.height:
        remedy = "at least one mixture, and three replicates at 100 %: one is judged, two choose its threshold"
        raise DataError("no series of dilutions", where="samples", remedy=remedy)
    settings = [(threshold, least) for threshold in thresholds for least in matched]
    runs = _judged(best, samples, settings, exclusive)
    runs = runs.sort("level", "file", "matched_peaks", "threshold", descending=[True, False, False, False])
    parts = []
    for number in _numbers(diluted):
        others = pl.col("replicate") != number
        rest = _judged(best.filter(others), samples.filter(others), settings, exclusive)
        parts.append(_held_out(runs.filter(pl.col("replicate") == number), rest))
    chosen = {"held-out": pl.concat(parts), "in-sample": _in_sample(runs)}
    levels = [_means(table).with_columns(chosen=pl.lit(name)) for name, table in chosen.items()]
    return Dilution(runs, pl.concat(levels).select("chosen", pl.exclude("chosen")))


def _judged(
    best: pl.DataFrame, samples: pl.DataFrame, settings: Sequence[tuple[float, int]], exclusive: bool
) -> pl.DataFrame:
    """Every run with the reference at every setting, by lists of the other replicates among `samples`."""
    absent = best.filter((pl.col("level") == 0) & _passes(*LENIENT)).select("molecule").unique()
    numbers = _numbers(samples.filter(pl.col("level") > 0))
    runs = pl.concat([_replicate(best, samples, absent, number, settings, exclusive) for number in numbers])
    return runs.with_columns(
        precision=_share(pl.col("true"), pl.col("true") + pl.col("spurious")),
        true_rate=_share(pl.col("true"), pl.col("listed")),
        f1=_share(2 * pl.col("true"), pl.col("true") + pl.col("spurious") + pl.col("listed")),
        overlap=_share(pl.col("shared"), pl.col("hits")),
    )


def _best(hits: pl.DataFrame, samples: pl.DataFrame) -> pl.DataFrame:
    """The best hit of every molecule in every run, with the run's level and replicate."""
    for name, table, needed in (("hits", hits, ("file", "molecule", "score", "matched_peaks")),
                                ("samples", samples, tuple(RUNS))):  # fmt: skip
        if absent := [column for column in needed if column not in table.columns]:
            remedy = "see mslitmus.search.dilution.dilution"
            raise SchemaError(f"columns absent: {', '.join(absent)}", where=name, remedy=remedy)
    return hits.join(samples, on="file", how="inner").filter(pl.col("molecule").is_not_null())


def _numbers(samples: pl.DataFrame) -> list[int]:
    return sorted(samples["replicate"].unique().to_list())


def _passes(threshold: float, matched: int) -> pl.Expr:
    return (pl.col("score") >= threshold) & (pl.col("matched_peaks") >= matched)


def _share(part: pl.Expr, whole: pl.Expr) -> pl.Expr:
    return pl.when(whole > 0).then(part / whole).otherwise(0.0)


def _replicate(
    best: pl.DataFrame,
    samples: pl.DataFrame,
    absent: pl.DataFrame,
    number: int,
    settings: Sequence[tuple[float, int]],
    exclusive: bool,
) -> pl.DataFrame:
    """Counts of every run of one replicate at every setting."""
    others = best.filter((pl.col("level") == 100) & (pl.col("replicate") != number))
    files = samples.filter((pl.col("level") == 100) & (pl.col("replicate") != number))["file"].n_unique()
    strict = others.filter(_passes(*STRICT)).group_by("molecule").agg(runs=pl.col("file").n_unique())
    listed = strict.filter(pl.col("runs") == files).select("molecule")
    listed = listed.join(absent, on="molecule", how="anti") if exclusive else listed
    seen = others.filter(_passes(*LENIENT)).select("molecule").unique()
    mine = best.filter((pl.col("level") > 0) & (pl.col("replicate") == number))
    in_list = pl.col("molecule").is_in(listed["molecule"].implode())
    in_pure, elsewhere = (pl.col("molecule").is_in(t["molecule"].implode()) for t in (seen, absent))
    marked = mine.with_columns(true=in_list, shared=in_pure, spurious=~in_list & ~in_pure & ~elsewhere)
    runs = samples.filter((pl.col("level") > 0) & (pl.col("replicate") == number))
    tables = []
    for threshold, least in settings:
        molecules = marked.filter(_passes(threshold, least)).unique(["file", "molecule"])
        counted = molecules.group_by("file").agg(
            pl.col("true", "spurious", "shared").sum().cast(pl.Int64), hits=pl.len().cast(pl.Int64)
        )
        table = runs.join(counted, on="file", how="left").with_columns(
            pl.col("true", "spurious", "shared", "hits").fill_null(0),
            listed=pl.lit(listed.height, pl.Int64),
            threshold=pl.lit(threshold, pl.Float64),
            matched_peaks=pl.lit(least, pl.Int64),
        )
        tables.append(table.select("file", "replicate", "level", "threshold", "matched_peaks", *COUNTS))
    return pl.concat(tables)


def _held_out(mine: pl.DataFrame, rest: pl.DataFrame) -> pl.DataFrame:
    """The runs of one replicate at the threshold of the largest mean F1 of the diluted runs of the rest."""
    setting = ["matched_peaks", "threshold"]
    mean = rest.filter(pl.col("level") < 100).group_by(setting).agg(pl.col("f1").mean())
    best = mean.sort("f1", "threshold", descending=[True, False])
    chosen = best.unique("matched_peaks", keep="first", maintain_order=True).select(setting)
    return mine.join(chosen, on=setting, how="inner")


def _in_sample(runs: pl.DataFrame) -> pl.DataFrame:
    """Every run at the threshold that is best for its level."""
    keys = ["level", "matched_peaks", "threshold"]
    mean = runs.group_by(keys).agg(pl.col("f1").mean()).sort("f1", "threshold", descending=[True, False])
    chosen = mean.unique(["level", "matched_peaks"], keep="first", maintain_order=True).select(keys)
    return runs.join(chosen, on=keys, how="inner")


def _means(runs: pl.DataFrame) -> pl.DataFrame:
    numbers = (*COUNTS, "precision", "true_rate", "f1", "overlap", "threshold")
    table = runs.group_by("level", "matched_peaks").agg(pl.len().alias("files").cast(pl.Int64), pl.col(numbers).mean())
    return table.sort("level", "matched_peaks", descending=[True, False])
