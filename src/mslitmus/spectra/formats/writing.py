"""Spectra out: MGF, MSP, MassSpecGym TSV and Parquet, each keeping every field of the schema.

Text formats carry the fields twice over: under the keys other programs know, and under the schema's own names with a
schema mark, so that reading back restores the table bit for bit. Files appear whole or not at all.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl

from ...errors import FormatError, SchemaError, unknown_name
from ...schemas import REQUIRED, conform
from ._format import Format
from .keys import OWN, OWN_COLUMNS, own_text
from .registry import FORMATS, MODULES

CHUNK = 20_000
WRITERS = ("mgf", "msp", "massspecgym", "parquet")


def write(frame: pl.DataFrame, path: str | Path, format: str | None = None) -> None:
    """Write spectra to `path`; the format is named, or found by the suffix (.mgf, .msp, .tsv, .parquet).

    Raises FormatError where the suffix names no format or the file cannot be written, SchemaError for a frame that does
    not keep the schema. An existing file is replaced only by a complete new one.
    """
    path = Path(path)
    writer = _WRITERS[format_for(path, format)]
    table = conform(frame, where="the frame to write")
    _check(table)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        writer(table, temporary)
        temporary.replace(path)
    except (OSError, pl.exceptions.ComputeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise FormatError(
            f"the file cannot be written ({reason})",
            where=str(path),
            remedy="check that the folder exists, may be written to and has space left",
        ) from error
    finally:
        with contextlib.suppress(OSError):  # a read-only folder refuses that too; its own error is raised above
            temporary.unlink()


def format_for(path: Path, format: str | None) -> str:
    """The name of the format to write."""
    if format is not None:
        if format not in WRITERS:
            raise unknown_name("format to write", format, WRITERS)
        return format
    for name in WRITERS:
        found: Format = FORMATS[name]
        if path.suffix.lower() in found.suffixes:
            return name
    known = ", ".join(f"{FORMATS[name].suffixes[0]} ({MODULES[name]})" for name in WRITERS)
    raise FormatError(
        f"no format is known by the suffix {path.suffix!r}", where=str(path), remedy=f"use one of {known}"
    )


def _check(frame: pl.DataFrame) -> None:
    remedy = "drop or repair these rows before writing"
    for name in REQUIRED:
        if name != "precursor_mz" and (nulls := frame[name].is_null().arg_true()).len():
            raise SchemaError(f"{name} is missing", where=f"row {nulls[0]}", remedy=remedy)
    unequal = frame.select(row=pl.col("mzs").list.len() != pl.col("intensities").list.len())["row"].arg_true()
    if unequal.len():
        raise SchemaError("m/z and intensities differ in number", where=f"row {unequal[0]}", remedy=remedy)
    empty = (frame["mzs"].list.len() == 0).arg_true()
    if empty.len():
        raise SchemaError("a spectrum without peaks", where=f"row {empty[0]}", remedy=remedy)


def _chunks(frame: pl.DataFrame) -> Iterator[pl.DataFrame]:
    for start in range(0, len(frame), CHUNK):
        yield frame[start : start + CHUNK]


def _lines(given: list[tuple[str, pl.Expr]], separator: str) -> list[pl.Expr]:
    """`KEY<separator>value\\n` of each (key, text) pair, empty where the value is null."""
    return [(pl.lit(f"{key}{separator}") + text + "\n").fill_null("") for key, text in given]


def _peak_lines(frame: pl.DataFrame) -> pl.Series:
    """One text a spectrum: `m/z intensity` lines, shortest decimals that read back exactly."""
    sizes = frame["mzs"].list.len()
    flat = pl.DataFrame({
        "row": pl.Series(range(len(frame)), dtype=pl.UInt32).gather(_repeat(sizes)),
        "line": frame["mzs"].explode().cast(pl.String) + " " + frame["intensities"].explode().cast(pl.String) + "\n",
    })  # fmt: skip
    return flat.group_by("row", maintain_order=True).agg(pl.col("line").str.join(""))["line"]


def _repeat(sizes: pl.Series) -> pl.Series:
    return pl.Series(np.repeat(np.arange(len(sizes), dtype=np.uint32), sizes.to_numpy()))


def _charge() -> pl.Expr:
    size = pl.col("charge").abs()
    return pl.concat_str(size, pl.when(pl.col("charge") < 0).then(pl.lit("-")).otherwise(pl.lit("+")))


def _flat(name: str) -> pl.Expr:
    """The text of a column on one line, for programs that know nothing of our escapes."""
    return pl.col(name).cast(pl.String).str.replace_all(r"[\r\n\t\x00]+", " ")


def _write_records(frame: pl.DataFrame, path: Path, record: Callable[[], list[pl.Expr]]) -> None:
    """Write `record` of every row, an expression list over the columns, `peaks` and `size`; chunk by chunk."""
    with path.open("wb") as file:
        for chunk in _chunks(frame):
            extra = [_peak_lines(chunk).alias("peaks"), chunk["mzs"].list.len().cast(pl.String).alias("size")]
            known = chunk.select(
                _charge().alias("charge"),
                *(
                    _flat(name)
                    for name in ("identifier", "name", "precursor_mz", "retention_time", "ion_mode", "adduct")
                ),
            )
            table = own_text(chunk).rename(lambda name: f"own_{name}").with_columns(*known, *extra)
            text = table.select(pl.concat_str(record())).to_series()
            file.write("".join(text.to_list()).encode())


def _own_lines(separator: str, spell: Callable[[str], str]) -> list[pl.Expr]:
    pairs = [(spell(name), pl.col(f"own_{name}")) for name in OWN_COLUMNS]
    return [pl.lit(f"{spell(OWN)}{separator}1\n"), *_lines(pairs, separator)]


def _write_mgf(frame: pl.DataFrame, path: Path) -> None:
    """Keys for other programs stand last: where a key comes twice, most of them keep the last."""

    def record() -> list[pl.Expr]:
        known = {"TITLE": "identifier", "PEPMASS": "precursor_mz", "CHARGE": "charge", "RTINSECONDS": "retention_time",
                 "IONMODE": "ion_mode"}  # fmt: skip
        theirs = _lines([(key, pl.col(name)) for key, name in known.items()], "=")
        return [pl.lit("BEGIN IONS\n"), *_own_lines("=", str.upper), *theirs, pl.col("peaks"), pl.lit("END IONS\n\n")]

    _write_records(frame, path, record)


def _write_msp(frame: pl.DataFrame, path: Path) -> None:
    """`Name` stands first, as NIST asks, and holds the identifier where there is no name."""

    def record() -> list[pl.Expr]:
        known = {"DB#": "identifier", "PrecursorMZ": "precursor_mz", "Precursor_type": "adduct"}
        theirs = [("Name", pl.coalesce("name", "identifier")), *((key, pl.col(name)) for key, name in known.items())]
        mode = ("Ion_mode", pl.col("ion_mode").str.to_uppercase())
        own = _own_lines(": ", lambda name: "compound_name" if name == "name" else name)
        ending = [pl.lit("Num Peaks: "), pl.col("size"), pl.lit("\n"), pl.col("peaks"), pl.lit("\n")]
        return [*_lines([*theirs, mode], ": "), *own, *ending]

    _write_records(frame, path, record)


def _write_tsv(frame: pl.DataFrame, path: Path) -> None:
    """MassSpecGym's columns and ours; `inchikey` is repeated under MassSpecGym's name for the first block."""
    columns = ["identifier", "mzs", "intensities", "inchikey", *(n for n in OWN_COLUMNS if n != "identifier"), OWN]
    with path.open("wb") as file:
        file.write(("\t".join(columns) + "\n").encode())
        for chunk in _chunks(frame):
            peaks = [chunk.select(pl.col(name).cast(pl.List(pl.String)).list.join(",")).to_series()
                     for name in ("mzs", "intensities")]  # fmt: skip
            table = own_text(chunk).with_columns(*peaks, pl.col("inchikey14").alias("inchikey"), pl.lit("1").alias(OWN))
            table = table.select(pl.col(columns).fill_null(""))
            lines = table.select(pl.concat_str(pl.all(), separator="\t") + "\n").to_series()
            file.write("".join(lines.to_list()).encode())


def _write_parquet(frame: pl.DataFrame, path: Path) -> None:
    frame.write_parquet(path, compression="zstd", statistics=False)


_WRITERS: dict[str, Callable[[pl.DataFrame, Path], None]] = {
    "mgf": _write_mgf,
    "msp": _write_msp,
    "massspecgym": _write_tsv,
    "parquet": _write_parquet,
}
