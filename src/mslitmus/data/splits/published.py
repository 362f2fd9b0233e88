"""Folds that others made: MassSpecGym's by InChIKey-14, and anybody's by file."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from ...errors import SplitError
from ...provenance import file_hash
from ...schemas import FOLD_NAMES
from .split import Assignment


def massspecgym(frame: pl.DataFrame, *, seed: int, path: str | Path | None = None) -> Assignment:
    """`massspecgym`: the published fold of each molecule (Bushuiev et al. 2024). The seed plays no part.

    Args:
        path: CSV with the columns `inchikey14,fold`. Without it the frame's own column `fold` is taken.
    Molecules that are not in the file are left out and counted. A dataset joined to these folds is a subset: scores on
    it do not compare with the published leaderboard. Raises SplitError if the folds are absent, malformed, or put one
    molecule into two folds.
    """
    if path is None:
        table, where = frame.select("inchikey14", "fold"), "column 'fold'"
        parameters: dict[str, str | None] = {"path": None}
        if not table["fold"].drop_nulls().len():
            raise SplitError("this dataset ships no folds", remedy="give path=<CSV with the columns inchikey14,fold>")
    else:
        table, where = _read(Path(path)), str(path)
        parameters = {"path": Path(path).name, "sha256": file_hash(Path(path))}
    table = table.drop_nulls().unique()
    if strange := sorted(set(table["fold"]) - set(FOLD_NAMES)):
        raise SplitError(f"unknown fold {strange[0]!r}", where=where, remedy=f"folds are {', '.join(FOLD_NAMES)}")
    if (twice := table.filter(table["inchikey14"].is_duplicated())).height:
        raise SplitError(
            f"molecule {twice['inchikey14'].sort()[0]!r} is in two folds",
            where=where,
            remedy="give each molecule one fold",
        )
    known = frame.filter(pl.col("inchikey14").is_not_null()).drop("fold")
    folds = known.join(table, on="inchikey14").select("identifier", "fold", group="inchikey14")
    left_out = {
        "no structure": frame.height - known.height,
        "molecule not in the published folds": known.height - folds.height,
    }
    note = "A subset of MassSpecGym's molecules: scores do not compare with the published leaderboard."
    return Assignment(
        folds,
        parameters,
        left_out={reason: n for reason, n in left_out.items() if n},
        notes=(note,) if path else (),
        disjoint=("inchikey14",),
    )


def from_file(frame: pl.DataFrame, *, seed: int, path: str | Path | None = None) -> Assignment:
    """`folds`: as a file says. The seed plays no part.

    Args:
        path: CSV with the columns `fold` and `identifier` (by spectrum) or `inchikey14` (by molecule).
    What the file does not name is left out and counted; whether molecules straddle is measured, not assumed.
    """
    if path is None:
        raise SplitError("split 'folds' needs a file", remedy="give path=<CSV with identifier,fold or inchikey14,fold>")
    table = _read(Path(path), ("identifier", "inchikey14"))
    key = table.columns[0]
    table = table.drop_nulls().unique()
    if strange := sorted(set(table["fold"]) - set(FOLD_NAMES)):
        raise SplitError(f"unknown fold {strange[0]!r}", where=str(path), remedy=f"folds are {', '.join(FOLD_NAMES)}")
    if (twice := table.filter(table[key].is_duplicated())).height:
        raise SplitError(f"{twice[key].sort()[0]!r} is in two folds", where=str(path), remedy=f"one fold per {key}")
    folds = frame.drop("fold").join(table, on=key).select("identifier", "fold", "inchikey14", group=key)
    straddles = folds.group_by("inchikey14").agg(pl.col("fold").n_unique() > 1)["fold"].any()
    left_out = {f"{key} not in the file": frame.height - folds.height}
    return Assignment(
        folds.select("identifier", "fold", "group"),
        {"path": Path(path).name, "sha256": file_hash(Path(path))},
        left_out={reason: n for reason, n in left_out.items() if n},
        disjoint=() if straddles else ("inchikey14",),
    )


def _read(path: Path, keys: tuple[str, ...] = ("inchikey14",)) -> pl.DataFrame:
    remedy = f"give a CSV with the header {' or '.join(f'{key},fold' for key in keys)}"
    if not path.is_file():
        raise SplitError("fold file absent", where=str(path), remedy=remedy)
    try:
        table = pl.read_csv(path, infer_schema=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise SplitError(f"not a CSV: {error}", where=str(path), remedy=remedy) from error
    key = next((key for key in keys if key in table.columns), None)
    if key is None or "fold" not in table.columns:
        raise SplitError(f"columns {', '.join(table.columns)}", where=str(path), remedy=remedy)
    return table.select(key, "fold")
