"""The one table of metadata keys: how sources spell what the schema knows, and how text becomes typed columns."""

from __future__ import annotations

import polars as pl

#: Values that say "nothing here".
MISSING = ("", "N/A", "NA", "n/a", "na", "null", "NULL", "None", "none", "-", "NaN", "nan", "n/a, n/a", "N/A N/A")

#: Field that marks a record as written by mslitmus; its values are taken as they are.
OWN = "mslitmus_schema"


def _number(name: str) -> pl.Expr:
    return pl.col(name).cast(pl.Float64, strict=False)


def _seconds(name: str) -> pl.Expr:
    """`5.1 min`, `563 sec`, `PT4.2S`: seconds. A number without a unit, or a range, is left unknown."""
    number = pl.col(name).str.extract(r"^(?:PT)?([0-9.]+)\s*(?:[a-zA-Z]+)\.?(?:\s*\(.*\))?$", 1)
    unit = pl.col(name).str.extract(r"^(?:PT)?[0-9.]+\s*([a-zA-Z]+)", 1).str.to_lowercase()
    value = number.cast(pl.Float64, strict=False)
    return (
        pl.when(unit.is_in(["min", "m", "minutes", "minute"]))
        .then(value * 60)
        .when(unit.is_in(["s", "sec", "seconds", "second"]))
        .then(value)
        .cast(pl.Float32)
    )


def _charge() -> pl.Expr:
    """`1+`, `2-`, `-1`, `1`, `0` (unknown): signed; without a sign the ion mode decides."""
    text = pl.col("charge")
    size = text.str.extract(r"^[+-]?(\d{1,2})(?:\.0*)?[+-]?$", 1).cast(pl.Int8, strict=False)
    minus = text.str.contains("-") | (
        ~text.str.contains(r"\+") & pl.col("ion_mode").str.to_lowercase().str.starts_with("n")
    )
    return pl.when(size != 0).then(pl.when(minus).then(-size).otherwise(size))


def _boolean(name: str) -> pl.Expr:
    lower = pl.col(name).str.to_lowercase()
    return pl.when(lower.is_in(["true", "1", "1.0"])).then(True).when(lower.is_in(["false", "0", "0.0"])).then(False)


#: Columns of the raw contract → how the text is cast (None: it stays text, as the source wrote it).
RAW: dict[str, pl.Expr | None] = {
    "identifier": None,
    "precursor_mz": _number("precursor_mz"),
    "charge": _charge(),
    "ms_level": None,
    "retention_time": _seconds("retention_time"),
    "adduct": None,
    "ion_mode": None,
    "instrument_type": None,
    "instrument": None,
    "fragmentation": None,
    "collision_energy_raw": None,
    "parent_mass": _number("parent_mass"),
    "precursor_formula": None,
    "simulation_challenge": _boolean("simulation_challenge"),
    "smiles": None,
    "inchikey14": None,
    "inchikey": None,
    "inchi": None,
    "formula": None,
    "name": None,
    "source": None,
    "license": None,
    "fold": None,
    "ionization": None,
    "resolution": None,
    "ms_type": None,
}
