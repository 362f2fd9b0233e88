"""Named evaluation sets, each with its rule: CASMI 2012 and 2016 inside MassBank, NPLIB1 by its published folds.

The rule of all: test is the set, and a molecule of the set (InChIKey-14) is in no other fold, whoever measured it. The
same molecules must leave pretraining, simulation and neighbour libraries: `held_out_keys` says which they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import polars as pl

from ...errors import SplitError, unknown_name
from ...provenance import file_hash
from ...schemas import FOLD_NAMES
from .. import store
from .allocate import allocate
from .split import Assignment


@dataclass(frozen=True)
class EvaluationSet:
    """One named set.

    Args:
        title: for people.
        dataset: name in the catalogue that holds it.
        source: contributor whose records are the test fold; None where a published fold file says it.
    """

    title: str
    dataset: str
    source: str | None = None


SETS = {
    "casmi-2012": EvaluationSet("CASMI 2012", "massbank", "CASMI_2012"),
    "casmi-2016": EvaluationSet("CASMI 2016", "massbank", "CASMI_2016"),
    "nplib1": EvaluationSet("NPLIB1 (CANOPUS training spectra)", "nplib1"),
}
_ELSEWHERE = "molecule of the evaluation set, measured elsewhere"
_NAMES = ("spec", "identifier", "name")  # of the identifier in a fold file


def evaluation(
    frame: pl.DataFrame,
    *,
    seed: int,
    set: str = "casmi-2016",
    val: float = 0.1,
    path: str | Path | None = None,
    column: str | None = None,
) -> Assignment:
    """`evaluation`: test on a named set, train on everything else that holds none of its molecules.

    Args:
        set: a name in `SETS`. Records of the other CASMI are ordinary ones.
        val: share of the remaining spectra that validate, drawn by molecule with the seed (CASMI; published folds bring
            their own).
        path: of nplib1: CSV or TSV with the columns `spec` (or identifier) and a fold (train, val, test), e.g. MIST's
            `canopus_hplus_100_0.tsv`. Without it the frame's column `fold` is taken.
        column: of that file, where it has several fold columns.
    Raises SplitError if the set is not in this dataset or a fold file is absent or malformed.
    """
    wanted = _named(set)
    known = frame.filter(pl.col("inchikey14").is_not_null())
    left_out = {"no structure": frame.height - known.height}
    parameters: dict[str, object] = {"set": set}
    if wanted.source is not None:
        if path is not None or column is not None:
            raise SplitError(f"{set} takes no fold file", remedy="path and column are for nplib1")
        if not 0 < val < 1:
            raise SplitError(f"val {val!r} is no share", remedy="give a number between 0 and 1, e.g. 0.1")
        folds, elsewhere = _by_source(known, wanted, set, val, seed)
        parameters["val"] = val
    else:
        folds, elsewhere, where = _by_file(known, set, path, column)
        parameters |= where
        left_out["not in the published folds"] = known.height - folds.height - elsewhere
    left_out[_ELSEWHERE] = elsewhere
    keys = frozenset(known.join(folds.filter(pl.col("fold") == "test"), on="identifier", how="semi")["inchikey14"])
    parameters |= {"held_out_molecules": len(keys), "held_out_hash": keys_hash(keys)}
    note = (
        f"{len(keys):,} molecules of {wanted.title} are held out: they must leave pretraining, simulation and "
        f"neighbour libraries too (held_out_keys, hash {keys_hash(keys)})."
    )
    return Assignment(
        folds,
        parameters,
        left_out={reason: n for reason, n in left_out.items() if n},
        notes=(note,),
        disjoint=("inchikey14",),
    )


def held_out_keys(
    sets: Iterable[str] | str,
    frame: pl.DataFrame | None = None,
    path: str | Path | None = None,
    column: str | None = None,
) -> frozenset[str]:
    """InChIKey-14 of all test molecules of the sets: what training of any kind must not see once a set is scored.

    Args:
        frame: the dataset that holds them (columns identifier, inchikey14, source, fold); None loads it from the store.
        path, column: as of `evaluation`, for nplib1.
    Raises SplitError for a set that is not in the dataset, DataError if the dataset is not in the store.
    """
    keys: set[str] = set()
    for name in [sets] if isinstance(sets, str) else sets:
        wanted = _named(name)
        rows = (store.load(wanted.dataset).frame() if frame is None else frame).filter(
            pl.col("inchikey14").is_not_null()
        )
        if wanted.source is not None:
            found = _of_source(rows, wanted, name)
        else:
            folds, _, _ = _by_file(rows, name, path, column)
            found = rows.join(folds.filter(pl.col("fold") == "test"), on="identifier", how="semi")
        keys.update(found["inchikey14"].to_list())
    return frozenset(keys)


def keys_hash(keys: Iterable[str]) -> str:
    """Hash of a set of molecules, 16 hex digits: two groups that state it held out the same ones."""
    return sha256("\n".join(sorted(keys)).encode()).hexdigest()[:16]


def _named(name: str) -> EvaluationSet:
    if name not in SETS:
        raise unknown_name("evaluation set", name, SETS)
    return SETS[name]


def _of_source(rows: pl.DataFrame, wanted: EvaluationSet, name: str) -> pl.DataFrame:
    inside = rows.filter(pl.col("source") == wanted.source)
    if inside.is_empty():
        remedy = f"it is the records of contributor {wanted.source} in {wanted.dataset}: import that dataset"
        raise SplitError(f"no spectrum of {name} in this dataset", remedy=remedy)
    return inside


def _by_source(
    known: pl.DataFrame, wanted: EvaluationSet, name: str, val: float, seed: int
) -> tuple[pl.DataFrame, int]:
    """(folds, spectra of test molecules from other contributors)."""
    test = _of_source(known, wanted, name)
    keys = test.select("inchikey14").unique()
    others = known.filter(pl.col("source").ne_missing(wanted.source))
    rest = others.join(keys, on="inchikey14", how="anti")
    sizes = dict(rest.group_by("inchikey14").agg(pl.len()).iter_rows())
    fold = allocate(sizes, {"train": 1.0 - val, "val": val}, seed)
    table = pl.DataFrame({"inchikey14": list(fold), "fold": list(fold.values())})
    drawn = (
        rest.drop("fold", strict=False).join(table, on="inchikey14").select("identifier", "fold", group="inchikey14")
    )
    tested = test.select("identifier", fold=pl.lit("test"), group="inchikey14")
    return pl.concat([drawn, tested]), others.height - rest.height


def _by_file(
    known: pl.DataFrame, name: str, path: str | Path | None, column: str | None
) -> tuple[pl.DataFrame, int, dict[str, object]]:
    """(folds, train and val spectra of test molecules, where the folds come from)."""
    if path is None:
        table = known.select(spec="identifier", fold="fold").drop_nulls()
        if table.is_empty():
            remedy = "give path=<CSV or TSV with the columns spec, fold>; the published folds are no part of mslitmus"
            raise SplitError(f"{name} ships no folds in this dataset", remedy=remedy)
        where: dict[str, object] = {"path": None}
    else:
        table = _read(Path(path), column)
        where = {"path": Path(path).name, "sha256": file_hash(Path(path)), "column": column}
    if strange := sorted({*table["fold"].unique()} - {*FOLD_NAMES, "exclude"}):
        raise SplitError(f"unknown fold {strange[0]!r}", where=str(path), remedy=f"folds are {', '.join(FOLD_NAMES)}")
    if (twice := table.unique().filter(pl.col("spec").is_duplicated())).height:
        raise SplitError(f"{twice['spec'].min()!r} is in two folds", where=str(path), remedy="give each one fold")
    known = known.drop("fold", strict=False)
    # an import with several energies of one record numbers them: spec-1, spec-2, …
    bare = known.with_columns(spec=pl.col("identifier").str.replace(r"-\d+$", ""))
    direct = known.with_columns(spec=pl.col("identifier")).join(table, on="spec", how="semi")
    rows = pl.concat([direct.with_columns(spec="identifier"), bare.join(direct, on="identifier", how="anti")])
    placed = rows.join(table.unique(), on="spec").filter(pl.col("fold") != "exclude")
    if placed.is_empty():
        raise SplitError("no spectrum of this dataset is in the fold file", where=str(path), remedy="check its names")
    test = placed.filter(pl.col("fold") == "test")
    others = placed.filter(pl.col("fold") != "test").join(test, on="inchikey14", how="anti")
    kept = pl.concat([others, test])
    return kept.select("identifier", "fold", group="inchikey14"), placed.height - kept.height, where


def _read(path: Path, column: str | None) -> pl.DataFrame:
    """Columns `spec`, `fold` of a CSV or TSV."""
    remedy = "give a CSV or TSV with the columns spec and fold"
    if not path.is_file():
        raise SplitError("fold file absent", where=str(path), remedy=remedy)
    try:
        with path.open(encoding="utf-8") as file:
            tabs = "\t" in file.readline()
        table = pl.read_csv(path, separator="\t" if tabs else ",", infer_schema=False)
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
        raise SplitError(f"not a table: {error}", where=str(path), remedy=remedy) from error
    spec = next((name for name in _NAMES if name in table.columns), None)
    choices = [name for name in table.columns if "fold" in name.lower() or name.lower() == "split"]
    if column is not None and column not in table.columns:
        unknown = unknown_name("column", column, table.columns)
        raise SplitError(unknown.message, where=str(path), remedy=unknown.remedy)
    if spec is None or (column is None and len(choices) != 1):
        what = f"columns {', '.join(table.columns)}"
        raise SplitError(what, where=str(path), remedy=f"{remedy}; with several folds say column=<one of them>")
    return table.select(spec=spec, fold=column or choices[0]).drop_nulls()
