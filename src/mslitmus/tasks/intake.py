"""Predictions made anywhere → the task's schema: one reader for every file that people hand in.

Parquet, CSV, TSV and JSON Lines (gzip too), spectra also as MGF and MSP, and what other tools write (`adapters`). The
spellings of each task are in docs/external.md. An error names the file, what is wrong, and up to five rows.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

from ..errors import MslitmusError, PredictionError, unknown_name
from ..schemas import PREDICTED_FINGERPRINTS, PREDICTED_SCORES, PREDICTED_SPECTRA, PREDICTED_STRUCTURES, conform
from ..spectra import formats
from . import tables
from .adapters import ADAPTERS, Rest
from .adapters.adapter import Adapter
from .intake_notes import Notes, Say, silent, tell_dropped
from .ranking_intake import read_library_scores, read_scores
from .tables import ROW, SPECTRUM_FILES, Table, refuse

Unknown = Literal["raise", "drop"]
BITS = 2048
_IDENTIFIER = ("id", "spectrum_id", "spectrum", "query", "query_id", "title")
_SPELLINGS = {
    "spectrum-prediction": {
        "identifier": _IDENTIFIER,
        "mzs": ("mz", "predicted_mzs"),
        "intensities": ("intensity", "predicted_intensities"),
        "peaks": ("predicted_peaks", "predicted_spectrum"),
    },
    "fingerprint": {
        "identifier": _IDENTIFIER,
        "fingerprint": ("fp", "predicted_fingerprint", "probabilities"),
        "bits": ("on_bits",),
    },
    "retrieval": {
        "identifier": _IDENTIFIER,
        "candidate": ("inchikey14", "inchikey", "candidate_inchikey"),
        "smiles": ("candidate_smiles",),
        "score": ("predicted_score",),
        "candidates": (),
        "scores": ("predicted_scores",),
    },
    "generation": {
        "identifier": _IDENTIFIER,
        "smiles": ("structure", "predicted_smiles", "candidate_smiles", "predictions"),
        "score": ("predicted_score", "log_likelihood"),
    },
    "library-search": {
        "identifier": _IDENTIFIER,
        "candidate": ("library_identifier", "library_spectrum", "reference"),
        "score": ("predicted_score", "similarity"),
    },
}
_EMPTY = "leave out rows that have no answer: a missing prediction counts as failed, and only where that is allowed"


def read_predictions(
    path: str | Path,
    task: Any,
    queries: pl.DataFrame | None = None,
    format: str | None = None,
    unknown: Unknown = "raise",
    rest: Rest = "missing",
    say: Say = silent,
) -> pl.DataFrame:
    """Predictions of `task` in its schema, in the order of the file.

    Args:
        task: a task object, its name, or anything with `.name`.
        queries: what was asked. With them identifiers and candidates are checked, SMILES are matched as shown, and
            scores alone are read in the shown order.
        format: one of `tables.FORMATS` or of `ADAPTERS`; None tells it by the content.
        unknown: `drop` leaves out rows of identifiers that were not asked (a file made for several splits), and
            tells `say` how many.
        rest: of adapters of rankings, see `adapters.adapter.in_pool`.
        say: takes a line about what was left out or filled in.
    Raises PredictionError naming file, rows and remedy. Queries without a prediction pass here.
    """
    path, name = Path(path), str(getattr(task, "name", task))
    if name not in _SPELLINGS:
        raise unknown_name("task", name, _SPELLINGS)
    if format in ADAPTERS:
        return _adapted(path, name, queries, str(format), unknown, rest, say)
    kind = _kind(path, name, format)
    table = _spectrum_file(path, kind, queries) if kind in SPECTRUM_FILES else _table(path, kind, name)
    try:
        refuse(table, table.frame.filter(pl.col("identifier").is_null()), "without identifier", "name the query")
        if name == "library-search" and queries is not None:
            _refuse_own_names(table, queries)
        return _READERS[name](_of_queries(table, queries, unknown, say), queries)
    except pl.exceptions.PolarsError as error:  # nested lists where one list belongs, a list where one number does
        types = ", ".join(f"{column}: {dtype}" for column, dtype in table.frame.drop(ROW).schema.items())
        remedy = "see docs/external.md for the shape of each column"
        raise PredictionError(
            f"columns of another shape than expected ({types})", where=str(path), remedy=remedy
        ) from error


def check_file(path: str | Path, task: Any, format: str | None = None) -> None:
    """What can be said against a file before there are queries: whether it is there, can be read, and has the columns
    that `task` needs. Raises PredictionError as `read_predictions` does; reads the beginning of the file only."""
    path, name = Path(path), str(getattr(task, "name", task))
    if format in ADAPTERS:
        _adapter(path, name, str(format))
        return
    kind = _kind(path, name, format)
    if kind not in SPECTRUM_FILES and (columns := tables.column_names(path, kind)):
        _names(path, name, columns, columns)


def _kind(path: Path, name: str, format: str | None) -> str:
    """The format of a file. Raises PredictionError for one that cannot answer the task."""
    kind = tables.sniff(path, format)
    if kind in SPECTRUM_FILES and name != "spectrum-prediction":
        remedy = "hand in Parquet, CSV or JSON Lines"
        raise PredictionError(f"a file of spectra does not answer the task {name}", where=str(path), remedy=remedy)
    return kind


def _adapter(path: Path, name: str, format: str) -> Adapter:
    adapter: Adapter = ADAPTERS[format]
    if adapter.task != name:
        fit = [other for other in ADAPTERS if ADAPTERS[other].task == name]
        remedy = f"adapters of this task: {', '.join(fit) or 'none'}"
        raise PredictionError(f"{format} answers the task {adapter.task}, not {name}", where=str(path), remedy=remedy)
    return adapter


def _adapted(
    path: Path, name: str, queries: pl.DataFrame | None, format: str, unknown: Unknown, rest: Rest, say: Say
) -> pl.DataFrame:
    adapter = _adapter(path, name, format)
    if queries is None:
        raise PredictionError("no queries to match with", where=str(path), remedy="give the queries of the task")
    notes = Notes()
    frame = adapter.read(path, queries, unknown=unknown, rest=rest, notes=notes)
    notes.tell(path, say)
    return frame


def _table(path: Path, kind: str, name: str) -> Table:
    """The file's columns under our names; other columns are left behind."""
    stored = tables.column_names(path, kind) if kind == "parquet" else []
    wanted = list(tables.rename(stored, _SPELLINGS[name]))
    found = tables.read_table(path, kind, wanted or None)
    columns = [c for c in found.frame.columns if c != ROW]
    names = _names(path, name, columns, stored or columns)
    frame = found.frame.select(ROW, *names).rename(names)
    return Table(path, kind, frame.with_columns(pl.col("identifier").cast(pl.String).str.strip_chars()))


def _names(path: Path, name: str, columns: list[str], shown: list[str]) -> dict[str, str]:
    """Column of the file → our name. Raises PredictionError for one that is absent, naming those `shown`."""
    spellings = _SPELLINGS[name]
    names = tables.rename(columns, spellings)
    has = set(names.values())
    for needed, choices in (("identifier", ("identifier",)), *_needed(name, has)):
        if not has & set(choices):
            known = [s for choice in choices for s in (choice, *spellings[choice])]
            raise tables.absent_column(path, needed, shown, known)
    return names


def _needed(name: str, has: set[str]) -> list[tuple[str, tuple[str, ...]]]:
    """(what to call it, columns of which one must be there)."""
    if name == "fingerprint":
        return [("fingerprint (or bits)", ("fingerprint", "bits"))]
    if name == "generation":
        return [("smiles", ("smiles",))]
    if name == "library-search":
        return [("candidate", ("candidate",)), ("score", ("score",))]
    if name == "retrieval":
        if "scores" in has:
            return []
        return [("candidate (or smiles)", ("candidate", "smiles")), ("score", ("score",))]
    if "peaks" in has:
        return []
    return [("mzs (or peaks)", ("mzs",)), ("intensities", ("intensities",))]


def _refuse_own_names(table: Table, queries: pl.DataFrame) -> None:
    """Raise PredictionError where not one query is named as it was asked: with accession numbers, most likely."""
    if table.frame.height and not table.frame["identifier"].is_in(queries["identifier"].implode()).any():
        example = str(table.frame["identifier"][0])
        what = f"none of its identifiers is among the queries, e.g. {example!r}"
        remedy = (
            "library-search asks under opaque names: answer those of `mslitmus template`, same data, split and filters"
        )
        raise PredictionError(what, where=str(table.path), remedy=remedy)


def _of_queries(table: Table, queries: pl.DataFrame | None, unknown: Unknown, say: Say) -> Table:
    if queries is None:
        return table
    strange = table.frame.join(queries.select("identifier"), on="identifier", how="anti", maintain_order="left")
    if unknown == "drop":
        tell_dropped(table.path, strange["identifier"], table.frame.height, say)
        kept = table.frame.join(queries.select("identifier"), on="identifier", how="semi", maintain_order="left")
        return Table(table.path, table.format, kept)
    refuse(table, strange, "of identifiers that are not among the queries", "answer the identifiers of the query file")
    return table


def _once(table: Table) -> None:
    twice = table.frame.filter(~pl.col("identifier").is_first_distinct())
    refuse(table, twice, "answer a query a second time", "keep one row a query")


def _numbers(column: str) -> pl.Expr:
    """Text `[1, 2.5]`, `1 2.5`, `1;2.5` → list of numbers, null where an item is no number."""
    plain = pl.col(column).str.replace_all(r"[\[\](),;\s]+", " ").str.strip_chars()
    items = pl.when(plain == "").then(pl.lit([], dtype=pl.List(pl.String))).otherwise(plain.str.split(" "))
    return items.cast(pl.List(pl.Float64), strict=False).alias(column)


def _listed(table: Table, column: str, dtype: pl.DataType) -> Table:
    """`column` as lists of numbers. Refuses empty rows and text where numbers belong."""
    frame = table.frame
    refuse(table, frame.filter(pl.col(column).is_null()), f"without {column}", _EMPTY)
    stated = frame.schema[column]
    if stated == pl.String:
        read = frame.with_columns(_numbers(column))
    elif isinstance(stated, pl.List | pl.Array):
        read = frame.with_columns(pl.col(column).cast(pl.List(pl.Float64), strict=False))
    else:
        remedy = "one list of numbers a row (docs/external.md)"
        raise PredictionError(f"column {column} is {stated}, not lists", where=str(table.path), remedy=remedy)
    holes = pl.col(column).list.eval(pl.element().is_null()).list.any()
    bad = frame.filter(read.select(holes).to_series())
    refuse(
        table, bad, f"hold text or nothing where {column} needs numbers", "write finite numbers with a decimal point"
    )
    return Table(table.path, table.format, read.with_columns(pl.col(column).cast(dtype)))


# --- spectra --------------------------------------------------------------------------------------------------------


def _spectrum_file(path: Path, kind: str, queries: pl.DataFrame | None) -> Table:
    """Spectra of an MGF or MSP file under the identifier (TITLE, SPECTRUMID, DB#, …) or, where absent, the name."""
    try:
        frame = formats.read(path, format=kind).frame
    except MslitmusError as error:
        raise PredictionError(error.message, where=error.where, remedy=error.remedy) from error
    if frame.is_empty():
        raise PredictionError("no spectra inside", where=str(path), remedy="write one record a query")
    stem, counted = path.name.split(".")[0] or "spectrum", pl.int_range(1, pl.len() + 1).cast(pl.String)
    unnamed = pl.col("identifier") == pl.concat_str(pl.lit(f"{stem}-"), counted)
    named = pl.when(unnamed & pl.col("name").is_not_null()).then("name").otherwise("identifier")
    frame = frame.select(named.alias("identifier"), "name", "mzs", "intensities").with_row_index(ROW)
    if queries is not None:  # `Name` may hold what was asked while another key holds a library's own number
        asked = pl.col("name").is_in(queries["identifier"].to_list())
        known = pl.col("identifier").is_in(queries["identifier"].to_list())
        frame = frame.with_columns(pl.when(asked & ~known).then("name").otherwise("identifier").alias("identifier"))
    bare = pl.col("identifier").str.replace(r"#\d+$", "")  # the reader numbers repeated identifiers
    repeated = bare.is_in(frame["identifier"].to_list()) & (bare != pl.col("identifier"))
    table = Table(path, kind, frame.drop("name"))
    refuse(table, frame.filter(repeated), "answer a query a second time", "keep one record a query")
    return table


def _spectra(table: Table, queries: pl.DataFrame | None) -> pl.DataFrame:
    _once(table)
    if "peaks" in table.frame.columns and "mzs" not in table.frame.columns:
        table = _paired(table)
    else:
        table = _listed(_listed(table, "mzs", pl.List(pl.Float64)), "intensities", pl.List(pl.Float64))
    frame = table.frame
    unequal = frame.filter(pl.col("mzs").list.len() != pl.col("intensities").list.len())
    refuse(table, unequal, "have m/z and intensities of unequal number", "one intensity for every m/z")
    strange_mz = pl.col("mzs").list.eval(~(pl.element().is_finite() & (pl.element() > 0))).list.any()
    strange_height = pl.col("intensities").list.eval(~(pl.element().is_finite() & (pl.element() >= 0))).list.any()
    refuse(table, frame.filter(strange_mz), "have an m/z that is NaN, infinite or not above 0", "remove the peak")
    refuse(table, frame.filter(strange_height), "have an intensity that is NaN, infinite or below 0", "remove the peak")
    falling = pl.col("mzs").list.diff(null_behavior="drop").list.min() < 0
    if frame.select(falling.any()).item():
        frame = _ascending(frame)
    return conform(frame, PREDICTED_SPECTRA)


def _paired(table: Table) -> Table:
    """Column `peaks`: text `mz:intensity mz:intensity`, or lists of pairs."""
    frame = table.frame
    refuse(table, frame.filter(pl.col("peaks").is_null()), "without peaks", _EMPTY)
    if frame.schema["peaks"] == pl.String:
        frame = frame.with_columns(pl.col("peaks").str.replace_all(":", " ", literal=True))
    else:
        frame = frame.with_columns(pl.col("peaks").list.eval(pl.element().explode()))
    flat = _listed(Table(table.path, table.format, frame), "peaks", pl.List(pl.Float64))
    odd = flat.frame.filter(pl.col("peaks").list.len() % 2 == 1)
    refuse(table, odd, "have peaks that are not pairs", "write mz:intensity, pairs separated by blanks")
    pairs = flat.frame.with_columns(
        pl.col("peaks").list.gather_every(2).alias("mzs"),
        pl.col("peaks").list.gather_every(2, 1).alias("intensities"),
    )
    return Table(table.path, table.format, pairs)


def _ascending(frame: pl.DataFrame) -> pl.DataFrame:
    full = frame.filter(pl.col("mzs").list.len() > 0).select(ROW, "mzs", "intensities").explode("mzs", "intensities")
    sorted_ = full.sort(ROW, "mzs", maintain_order=True).group_by(ROW, maintain_order=True).agg("mzs", "intensities")
    rest = frame.filter(pl.col("mzs").list.len() == 0).select(ROW, "mzs", "intensities")
    return frame.select(ROW, "identifier").join(pl.concat([sorted_, rest]), on=ROW, maintain_order="left")


# --- fingerprints ---------------------------------------------------------------------------------------------------


def _fingerprints(table: Table, queries: pl.DataFrame | None) -> pl.DataFrame:
    _once(table)
    if "fingerprint" not in table.frame.columns:
        return conform(_from_bits(_listed(table, "bits", pl.List(pl.Float64))), PREDICTED_FINGERPRINTS)
    frame = table.frame
    if frame.schema["fingerprint"] == pl.String:  # `0110…`, one character a bit
        digits = pl.col("fingerprint").str.strip_chars().str.replace_all(r"^([01]{8,})$", "$1")
        spaced = digits.str.replace_all(r"([01])", "$1 ")
        plain = pl.when(digits.str.contains(r"^[01]{8,}$")).then(spaced).otherwise(digits)
        table = Table(table.path, table.format, frame.with_columns(plain.alias("fingerprint")))
    table = _listed(table, "fingerprint", pl.List(pl.Float32))
    lengths = table.frame["fingerprint"].list.len()
    found = ", ".join(str(n) for n in lengths.filter(lengths != BITS).unique().sort().head(3))
    wrong = table.frame.filter(lengths != BITS)
    remedy = f"one probability for each bit of a Morgan fingerprint of radius 2 and {BITS:,} bits"
    refuse(table, wrong, f"have {found} values, not {BITS:,}", remedy)
    values = table.frame["fingerprint"].explode()
    if not (values.is_finite() & (values >= 0) & (values <= 1)).all():
        outside = ~pl.col("fingerprint").list.eval((pl.element() >= 0) & (pl.element() <= 1)).list.all()
        refuse(table, table.frame.filter(outside), "have values outside 0 to 1, or NaN", "give probabilities")
    return conform(table.frame, PREDICTED_FINGERPRINTS)


def _from_bits(table: Table) -> pl.DataFrame:
    bit = pl.element()
    wrong = pl.col("bits").list.eval(~(bit.is_finite() & (bit >= 0) & (bit < BITS) & (bit == bit.floor()))).list.any()
    remedy = f"indices of the bits that are set, whole numbers from 0 to {BITS - 1}"
    refuse(table, table.frame.filter(wrong), f"have bits that are no index below {BITS:,}", remedy)
    frame = table.frame
    dense = np.zeros((frame.height, BITS), np.float32)
    rows = np.repeat(np.arange(frame.height), frame["bits"].list.len().to_numpy())
    dense[rows, frame["bits"].explode().drop_nulls().to_numpy().astype(np.int64)] = 1.0
    return frame.select("identifier", fingerprint=pl.Series(dense).cast(pl.List(pl.Float32)))


def _scores(table: Table, queries: pl.DataFrame | None) -> pl.DataFrame:
    return conform(read_scores(table, queries), PREDICTED_SCORES)


def _library_scores(table: Table, queries: pl.DataFrame | None) -> pl.DataFrame:
    return conform(read_library_scores(table), PREDICTED_SCORES)


def _structures(table: Table, queries: pl.DataFrame | None) -> pl.DataFrame:
    """One row a structure; without scores the rows of a query are best first. A list of SMILES counts as its rows."""
    frame = table.frame
    if isinstance(frame.schema["smiles"], pl.List):
        frame = frame.explode("smiles")
    if "score" not in frame.columns:
        frame = frame.with_columns(score=-pl.int_range(pl.len()).over("identifier").cast(pl.Float64))
    number = frame.with_columns(number=pl.col("score").cast(pl.Float64, strict=False))
    named = pl.col("smiles").is_not_null() & (pl.col("smiles").cast(pl.String).str.strip_chars() != "")
    bad = number.filter(named & ~pl.col("number").is_finite().fill_null(False))
    refuse(table, bad, "have a score that is no finite number", "give a number for each structure, higher is better")
    text = pl.when(named).then(pl.col("smiles").cast(pl.String).str.strip_chars())
    table = Table(table.path, table.format, number.with_columns(smiles=text, score="number"))
    twice = table.frame.filter(pl.col("smiles").is_not_null() & ~pl.struct("identifier", "smiles").is_first_distinct())
    refuse(table, twice, "answer a structure a second time", "keep one row a structure")
    return conform(table.frame, PREDICTED_STRUCTURES)


_READERS: dict[str, Callable[[Table, pl.DataFrame | None], pl.DataFrame]] = {
    "spectrum-prediction": _spectra,
    "fingerprint": _fingerprints,
    "retrieval": _scores,
    "generation": _structures,
    "library-search": _library_scores,
}
