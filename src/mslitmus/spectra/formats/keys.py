"""The one table of metadata keys: how sources spell what the schema knows, and how text becomes typed columns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

import polars as pl

from ...schemas import SPECTRA

#: Values that say "nothing here".
MISSING = ("", "N/A", "NA", "n/a", "na", "null", "NULL", "None", "none", "-", "NaN", "nan", "n/a, n/a", "N/A N/A")

#: Field that marks a record as written by mslitmus; its values are taken as they are.
OWN = "mslitmus_schema"


def _number(name: str) -> pl.Expr:
    """The leading number (MGF writes m/z and intensity in one field); zero and below mean unknown."""
    value = pl.col(name).str.extract(r"^([0-9.]+(?:[eE][+-]?[0-9]+)?)(?:\s|$)", 1).cast(pl.Float64, strict=False)
    return pl.when(value > 0).then(value)


def _seconds() -> pl.Expr:
    """`5.1 min`, `563 sec`, `PT4.2S` → seconds. A number without a unit, or a range, is left unknown."""
    text = pl.col("retention_time")
    number = text.str.extract(r"^(?:PT)?([0-9.]+)\s*(?:[a-zA-Z]+)\.?(?:\s*\(.*\))?$", 1).cast(pl.Float64, strict=False)
    unit = text.str.extract(r"^(?:PT)?[0-9.]+\s*([a-zA-Z]+)", 1).str.to_lowercase()
    minutes = unit.is_in(["min", "m", "minutes", "minute"])
    return (
        pl.when(minutes)
        .then(number * 60)
        .when(unit.is_in(["s", "sec", "seconds", "second"]))
        .then(number)
        .when(text.is_null())
        .then(pl.coalesce(_number("rt_seconds"), _number("rt_minutes") * 60))
        .cast(pl.Float32)
    )


def _adduct() -> pl.Expr:
    """As stated; GNPS libraries write it as the last word of the name instead."""
    from_name = pl.col("name").str.extract(r"\s(\[?\d?M[+-][A-Za-z0-9+-]*\]?\d?[+-]?)$", 1)
    return pl.coalesce(pl.col("adduct"), pl.when(pl.col("identifier").str.starts_with("CCMSLIB")).then(from_name))


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
    "retention_time": _seconds(),
    "adduct": _adduct(),
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
    "rt_seconds": None,
    "rt_minutes": None,
}

#: Helper columns that only feed others.
HELPERS = ("rt_seconds", "rt_minutes")

#: Column → how sources spell its key, letters and digits only, in order of preference.
ALIASES: dict[str, tuple[str, ...]] = {
    "identifier": (
        "identifier",
        "spectrumid",
        "accession",
        "massbankid",
        "db",
        "dbid",
        "nistno",
        "nist",
        "usi",
        "title",
        "featureid",
        "scans",
        "scan",
        "scannumber",
        "id",
    ),
    "precursor_mz": ("precursormz", "precursor", "precursormass", "pepmass", "parentmz", "parent", "selectedionmz"),
    "charge": ("charge", "precursorcharge", "z"),
    "ms_level": ("mslevel", "spectrumtype", "spectype", "mstype"),
    "retention_time": ("rt", "retentiontimewithunit"),
    "rt_seconds": ("rtinseconds",),
    "rt_minutes": ("retentiontime", "rtinminutes"),
    "adduct": ("adduct", "precursortype", "iontype", "adducttype", "adductionname"),
    "ion_mode": ("ionmode", "ionmodes", "polarity", "ionpolarity"),
    "instrument_type": ("instrumenttype", "massanalyzer"),
    "instrument": ("instrument", "sourceinstrument", "instrumentname", "msinstrument"),
    "fragmentation": ("fragmentation", "fragmentationmethod", "fragmentationmode", "activation", "activationmethod"),
    "collision_energy_raw": (
        "collisionenergyraw",
        "collisionenergy",
        "collisionenergyvoltage",
        "ce",
        "fragmentationenergy",
        "hcdenergy",
    ),
    "parent_mass": ("parentmass", "exactmass", "monoisotopicmass", "molecularweightexact"),
    "precursor_formula": ("precursorformula",),
    "simulation_challenge": ("simulationchallenge",),
    "smiles": ("smiles", "computedsmiles", "canonicalsmiles"),
    "inchikey14": ("inchikey14",),
    "inchikey": ("inchikey", "inchikeysmiles", "inchikeyinchi", "inchiaux", "computedinchikey"),
    "inchi": ("inchi", "computedinchi"),
    "formula": ("formula", "molecularformula", "formulasmiles", "formulainchi", "sumformula"),
    "name": ("name", "compoundname", "description"),
    "source": ("source", "contributor", "librarymembership", "organism", "library", "datasetid"),
    "license": ("license", "licence", "copyrightlicense"),
    "fold": ("fold", "split"),
    "ionization": ("ionization", "ionsource", "ionisation", "ionizationmode", "ionizationmethod"),
    "resolution": ("resolution", "resolvingpower"),
}
_PLACES = {alias: (column, rank) for column, names in reversed(ALIASES.items()) for rank, alias in enumerate(names)}
_NO_IDENTIFIER = frozenset({"-1", "0"})
_MISSING = frozenset(MISSING)
_LETTERS = re.compile(r"[^a-z0-9]")


@lru_cache(maxsize=4096)
def place_of(key: str) -> tuple[str, int] | None:
    """(column, rank of preference) of a source's key in any spelling, None where the schema has no place for it."""
    letters = _LETTERS.sub("", key.lower())
    if letters == "retentiontime" and key.strip().upper() != "RETENTIONTIME":
        return "retention_time", 0  # only MS-DIAL's one-word key means minutes; any other must state its unit
    return _PLACES.get(letters)


def translate(
    pairs: Iterable[tuple[str, str]], fields: dict[str, str], ranks: dict[str, int], penalty: int = 0
) -> None:
    """Put (key, value) pairs into `fields` by column; the preferred spelling wins, then the first."""
    for key, value in pairs:
        place = place_of(key)
        if place is None or value in _MISSING:
            continue
        column, rank = place
        if column == "identifier" and value in _NO_IDENTIFIER:
            continue
        rank += penalty
        if rank < ranks.get(column, 1000):
            fields[column] = value
            ranks[column] = rank


# --- records of our own: every schema column by its own name, verbatim -------------------------------------------

#: Columns that travel as text fields (the peak lists have their own place in each format).
OWN_COLUMNS = tuple(name for name in SPECTRA if name not in ("mzs", "intensities"))
_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": "\\0", '"': '\\"'}
_EMPTY = "\\e"
LIST_SEPARATOR = ";"


def _escaped(expression: pl.Expr) -> pl.Expr:
    for plain, code in _ESCAPES.items():
        expression = expression.str.replace_all(plain, code, literal=True)
    return expression


_CODES = re.compile(r"\\(.)")
_PLAIN = {"n": "\n", "r": "\r", "t": "\t", "0": "\0", "e": "", "s": LIST_SEPARATOR}


def _unescape(text: str) -> str:
    return _CODES.sub(lambda code: _PLAIN.get(code[1], code[1]), text)


def own_text(frame: pl.DataFrame) -> pl.DataFrame:
    """Every own column as escaped text on one line (nulls stay null); list items end in `;`."""
    out = []
    for name in OWN_COLUMNS:
        column, dtype = pl.col(name), frame.schema[name]
        if isinstance(dtype, pl.List):
            inner = pl.element().cast(pl.String)
            if dtype.inner == pl.String:
                inner = _escaped(inner).str.replace_all(LIST_SEPARATOR, "\\s", literal=True)
            closed = column.list.eval(inner).list.join(LIST_SEPARATOR) + LIST_SEPARATOR
            out.append(pl.when(column.list.len() == 0).then(pl.lit(_EMPTY)).otherwise(closed).alias(name))
        elif dtype == pl.String:
            out.append(pl.when(column == "").then(pl.lit(_EMPTY)).otherwise(_escaped(column)).alias(name))
        else:
            out.append(column.cast(pl.String))
    return frame.select(out)


def own_columns(fields: Sequence[Mapping[str, str]]) -> list[pl.Series]:
    """Typed schema columns from the text of `own_text`, bit for bit."""
    columns = []
    for name in OWN_COLUMNS:
        dtype = SPECTRA[name]
        texts = [f.get(name) for f in fields]
        if isinstance(dtype, pl.List):
            columns.append(pl.Series(name, [_own_list(text, dtype) for text in texts], dtype=dtype))
        elif dtype == pl.String:
            columns.append(pl.Series(name, [text if text is None else _unescape(text) for text in texts], dtype=dtype))
        elif dtype == pl.Boolean:
            columns.append(pl.Series(name, [None if text is None else text == "true" for text in texts], dtype=dtype))
        else:
            columns.append(pl.Series(name, texts, dtype=pl.String).cast(dtype, strict=False))
    return columns


def _own_list(text: str | None, dtype: pl.List) -> list[str] | list[float] | None:
    if text is None or text == _EMPTY:
        return None if text is None else []
    items = text.split(LIST_SEPARATOR)[:-1]
    if dtype.inner == pl.String:
        return [_unescape(item) for item in items]
    return [float(item) for item in items]
