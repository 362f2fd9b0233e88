"""The sample sheet: one row a run, what it is a sample of, and what is to be told of it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
import polars as pl

from ..errors import ConfigError, DataError, SchemaError, unknown_name
from .tables import ALL, TOGETHER

#: Columns that mean something; all others are targets or of no concern.
KNOWN = ("file", "sample", "replicate", "batch", "subject", "order", "acquisition", "role")
ROLES = ("sample", "blank", "pool", "qc")
_UNKNOWN = ["", "NA", "N/A", "#N/A", "n/a", "NaN", "nan", "NAN", "-nan", "null", "NULL", "None", "none"]
_DEFAULT_TARGETS = ("group", "value", "class", "label", "phenotype")
_TWICE = re.compile(r"_duplicated_\d+$")  # polars' name for a heading that is there already
_ENDINGS = (".gz", ".mzml", ".mzxml", ".mgf", ".msp", ".parquet", ".raw", ".json", ".txt", ".d")


@dataclass(frozen=True)
class Sheet:
    """A sample sheet that was checked.

    Attributes:
        rows: `sample` (name of the run, unique), `unit` (the sample; several runs of one where there are several
            acquisitions), `file`, replicate, batch, subject, acquisition (str?), order (f64?), role, and the targets:
            str for classes, f64 for numbers; null where unknown.
        classes, numbers: names of the targets of each kind.
        notes: what was assumed.
    """

    rows: pl.DataFrame
    classes: tuple[str, ...]
    numbers: tuple[str, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def acquisitions(self) -> list[str]:
        """Of the samples, sorted; empty where the sheet tells none apart."""
        found = self.rows.filter(pl.col("role") == "sample")["acquisition"].drop_nulls().unique().sort().to_list()
        return found if len(found) > 1 else []


def read_sheet(
    path: Path, *, columns: Mapping[str, str] | None = None, targets: Sequence[str] = (), classes: Collection[str] = ()
) -> Sheet:
    """Read and check a tab-separated sheet.

    Args:
        columns: our name → the sheet's, for sheets with headings of their own.
        targets: columns to predict; none: those that are called group, value, class, label or phenotype, or begin so.
        classes: targets whose numbers are names.

    Raises:
        SchemaError: an absent column, a file named twice, a role that there is not, a value that is no number, numbers
            with a decimal comma or with words among them.
        DataError: no such sheet or no rows; a target with one class or value only.
        ConfigError: no target.
    """
    table = _read(path)
    table = _renamed(table, columns or {}, str(path))
    if "file" not in table.columns:
        remedy = f"its columns are {', '.join(table.columns)}; `--column file=NAME` says which one names the files"
        if len(table.columns) == 1 and any(mark in table.columns[0] for mark in ",;"):
            remedy = "the columns seem to be parted by commas or semicolons: save the sheet as tab-separated text"
        raise SchemaError("no column 'file'", where=str(path), remedy=remedy)
    lacking = table.with_row_index("_line", 2).filter(pl.col("file").is_null())
    if lacking.height:
        raise SchemaError("a row without file", where=f"{path}:{lacking['_line'][0]}", remedy="fill in or drop the row")
    _refuse_repeated(table["file"], "file", str(path))
    rows = _runs(table, str(path))
    _refuse_reserved(rows["acquisition"], str(path))
    names = _targets(table.columns, targets, classes, str(path))
    out, kinds = [], {}
    for name in names:
        series, kind = _target(table[name], rows["role"] == "sample", name in classes, str(path))
        out.append(series)
        kinds[name] = kind
    rows = rows.with_columns(out)
    if not (rows["role"] == "sample").any():
        raise DataError("no row of role 'sample'", where=str(path), remedy="blanks, pools and qc alone answer nothing")
    notes = [] if names else ["no target: the samples are only laid out and compared"]
    of = {kind: tuple(n for n in names if kinds[n] == kind) for kind in ("class", "number")}
    return Sheet(rows, of["class"], of["number"], tuple(notes))


def _read(path: Path) -> pl.DataFrame:
    try:
        table = pl.read_csv(path, separator="\t", infer_schema=False, null_values=_UNKNOWN, quote_char=None)
        table = table.rename({name: name.strip().removeprefix("\ufeff") for name in table.columns})
    except (OSError, pl.exceptions.PolarsError) as error:
        what = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"the sheet cannot be read: {what}", where=str(path), remedy="a tab-separated table") from error
    if twice := [name for name in table.columns if _TWICE.search(name) and _TWICE.sub("", name) in table.columns]:
        name = _TWICE.sub("", twice[0])
        raise SchemaError(f"two columns called {name!r}", where=str(path), remedy="rename or drop one of them")
    table = table.with_columns(pl.all().str.strip_chars().replace(dict.fromkeys(_UNKNOWN)))
    table = table.filter(~pl.all_horizontal(pl.all().is_null()))
    if table.is_empty():
        raise DataError("the sheet has no rows", where=str(path), remedy="one row a run; see docs/cohorts.md")
    return table


def _renamed(table: pl.DataFrame, columns: Mapping[str, str], where: str) -> pl.DataFrame:
    for ours, theirs in columns.items():
        if ours not in KNOWN:
            error = unknown_name("column", ours, KNOWN)
            raise ConfigError(error.message, where=f"--column {ours}={theirs}", remedy=error.remedy)
        if theirs not in table.columns:
            raise SchemaError(
                f"no column {theirs!r}", where=where, remedy=unknown_name("", theirs, table.columns).remedy
            )
    clash = [ours for ours in columns if ours in table.columns and columns[ours] != ours]
    table = table.rename({name: f"{name} (sheet)" for name in clash})
    return table.with_columns(pl.col(theirs).alias(ours) for ours, theirs in columns.items())


def _refuse_repeated(names: pl.Series, what: str, where: str) -> None:
    repeated = names.filter(names.is_duplicated()).unique(maintain_order=True)
    if repeated.len():
        raise SchemaError(
            f"{what} named twice: {', '.join(repeated.head(5).to_list())}", where=where, remedy="one row a run"
        )


def stem(file: str) -> str:
    """Name without folders and endings: `a/x.mzML.gz` → `x`."""
    name = PurePosixPath(file.replace("\\", "/")).name
    while (lower := name.lower()).endswith(_ENDINGS):
        name = name[: lower.rindex(".")]
    return name


def _runs(table: pl.DataFrame, where: str) -> pl.DataFrame:
    """The known columns, each run with a name of its own."""
    unit = table["sample"] if "sample" in table.columns else pl.Series([None] * table.height, dtype=pl.String)
    unit = pl.Series("unit", [u or stem(f) for u, f in zip(unit, table["file"], strict=True)], dtype=pl.String)
    text = [
        (pl.col(name) if name in table.columns else pl.lit(None, pl.String)).alias(name)
        for name in ("replicate", "batch", "subject", "acquisition")
    ]
    rows = table.select("file", unit, *text)
    several = pl.col("unit").is_duplicated()
    named = pl.when(several).then(pl.format("{}@{}", "unit", pl.col("acquisition").fill_null("")))
    rows = rows.with_columns(sample=named.otherwise(pl.col("unit")))
    _refuse_repeated(rows["sample"], "sample", where)
    odd = rows.filter(pl.col("sample").str.contains(r"[/\\\x00]|^\."))
    if odd.height:
        raise SchemaError(f"sample {odd['sample'][0]!r}", where=where, remedy="no slash in a name, no dot before it")
    order = _number(table["order"], where) if "order" in table.columns else pl.lit(None, pl.Float64)
    role = table["role"] if "role" in table.columns else pl.Series([None] * table.height, dtype=pl.String)
    rows = rows.with_columns(order.alias("order"), pl.Series("role", [_role(r, where) for r in role]))
    return rows.select("sample", "unit", "file", "replicate", "batch", "subject", "order", "acquisition", "role")


def _role(text: str | None, where: str) -> str:
    if text is None:
        return "sample"
    found = [role for role in ROLES if text.lower().startswith(role)]
    if not found:
        known = f"one that begins with {', '.join(ROLES[:-1])} or {ROLES[-1]}; leave it empty for a sample"
        raise SchemaError(f"role {text!r}", where=where, remedy=known)
    return found[0]


def _refuse_reserved(acquisitions: pl.Series, where: str) -> None:
    taken = acquisitions.drop_nulls().filter(acquisitions.drop_nulls().is_in([ALL, TOGETHER]))
    if taken.len():
        remedy = "another name: these two stand for all runs in the results"
        raise SchemaError(f"acquisition {taken[0]!r}", where=where, remedy=remedy)
    odd = acquisitions.drop_nulls().filter(acquisitions.drop_nulls().str.contains(r"[/\\\x00]|^\."))
    if odd.len():
        raise SchemaError(f"acquisition {odd[0]!r}", where=where, remedy="no slash in a name, no dot before it")


def _parsed(series: pl.Series) -> pl.Series:
    """As numbers; null where an entry is none, or not a number (NaN)."""
    return series.cast(pl.Float64, strict=False).fill_nan(None)


def _number(series: pl.Series, where: str) -> pl.Series:
    out = _parsed(series)
    bad = series.filter((out.is_null() & series.is_not_null()) | out.is_infinite().fill_null(False))
    if bad.len():
        raise SchemaError(f"column {series.name!r}: {bad[0]!r} is no number", where=where, remedy="numbers or nothing")
    return out


def _refuse_nearly_numbers(series: pl.Series, number: pl.Series, where: str) -> None:
    """A column of numbers with a decimal comma, or with a word among them, must not become classes in silence."""
    name, as_names = series.name, f"`--as-class {series.name}` if these are names of classes"
    commas = series.filter(series.str.contains(r"^[+-]?\d+,\d+([eE][+-]?\d+)?$"))
    if commas.len() and _parsed(series.str.replace(",", ".", literal=True)).null_count() == series.null_count():
        what = f"target {name!r} has decimal commas: {commas[0]!r}"
        remedy = f"write {commas[0].replace(',', '.')!r} (a decimal point) throughout the column, or {as_names}"
        raise SchemaError(what, where=where, remedy=remedy)
    words = series.filter(number.is_null())
    if 2 * words.len() < series.len():
        shown = ", ".join(repr(text) for text in words.unique(maintain_order=True).head(3))
        what = f"target {name!r} has numbers, and {words.len()} of {series.len()} entries that are none: {shown}"
        raise SchemaError(what, where=where, remedy=f"leave unknown values empty, or {as_names}")


def _targets(columns: Sequence[str], wanted: Sequence[str], classes: Collection[str], where: str) -> list[str]:
    for name in [*wanted, *classes]:
        if name not in columns:
            raise SchemaError(f"no column {name!r}", where=where, remedy=unknown_name("", name, columns).remedy)
    if wanted:
        return list(dict.fromkeys(wanted))
    found = [c for c in columns if c.lower().startswith(_DEFAULT_TARGETS) and c not in KNOWN]
    return list(dict.fromkeys([*found, *classes]))


def _target(series: pl.Series, mine: pl.Series, named: bool, where: str) -> tuple[pl.Series, str]:
    """(the values, `class` or `number`)."""
    number = _parsed(series)
    told = series.filter(mine & series.is_not_null())
    is_number = not named and _parsed(told).null_count() == 0
    if not (is_number or named) and told.len():
        _refuse_nearly_numbers(told, _parsed(told), where)
    if is_number and number.is_infinite().any():
        raise SchemaError(f"target {series.name!r} is infinite", where=where, remedy="finite numbers, or nothing")
    values = number if is_number else series
    some = values.filter(mine).drop_nulls()
    if some.n_unique() < 2 or (is_number and np.ptp(some.to_numpy()) == 0):
        shown = f"only {some[0]!r}" if some.len() else "nothing"
        what = f"target {series.name!r} has {shown} among the samples"
        raise DataError(what, where=where, remedy="name another --target, or add samples that differ")
    return values, "number" if is_number else "class"
