"""Metadata as sources write it → the schema's canonical terms; and peaks sorted and scaled.

Every reader ends here. Texts are read once per distinct value and joined back, so that cost grows with the number of
spellings, not of spectra.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..chem.formula import parse_adduct
from ..errors import ChemistryError, FormatError
from ..schemas import SPECTRA
from .energy import with_energies
from .instruments import classify, fragmentation

#: Flags that `harmonise` sets, for curation to count.
ADDUCT_NOT_READ, CHARGE_CONFLICT = "adduct-not-read", "charge-conflict"
MAX_CHARGE = 99
_MODES = {"positive": "positive", "pos": "positive", "p": "positive", "+": "positive", "1": "positive",
          "positive-ion": "positive", "negative": "negative", "neg": "negative", "n": "negative", "-": "negative",
          "-1": "negative", "negative-ion": "negative"}  # fmt: skip


def harmonise(raw: pl.DataFrame) -> pl.DataFrame:
    """Raw strings → canonical adduct, charge, ion_mode, instrument_type, fragmentation, collision energies, ms_level.

    `raw` has schema column names; adduct, charge, ion_mode, instrument_type, fragmentation, collision_energy_raw,
    ms_level (or the extra `ms_type`) are texts as the source wrote them or canonical already (harmonising twice changes
    nothing). Columns that the schema does not know stay. An adduct that cannot be read becomes null and the row gets
    the flag `adduct-not-read`; an adduct whose charge contradicts the stated one wins and is flagged
    `charge-conflict`. Peaks come out ascending in m/z, relative to base peak = 1, with the base peak's intensity kept.

    Raises FormatError where a spectrum has unequally many m/z and intensities.
    """
    frame = _with_flags(raw)
    frame = _adducts_and_charges(frame)
    frame = _levels(frame)
    frame = _instruments(frame)
    return _peaks(with_energies(_types(frame)))


def _map(frame: pl.DataFrame, name: str, read: Callable[[str], Any], dtype: Any) -> pl.DataFrame:
    """Replace a column by `read` of its distinct non-null values; an absent column stays absent."""
    if name not in frame.columns:
        return frame
    texts = frame.get_column(name).cast(pl.String)
    distinct = texts.drop_nulls().unique()
    values = pl.Series(name, [read(text.strip()) for text in distinct.to_list()], dtype=dtype)
    if distinct.is_empty():
        return frame.with_columns(pl.lit(None, dtype=dtype).alias(name))
    return frame.with_columns(texts.replace_strict(distinct, values, default=None, return_dtype=dtype).alias(name))


def _with_flags(frame: pl.DataFrame) -> pl.DataFrame:
    empty = pl.lit([], dtype=pl.List(pl.String))
    return frame.with_columns(pl.col("flags").fill_null(empty) if "flags" in frame.columns else empty.alias("flags"))


def _flag(frame: pl.DataFrame, where: pl.Expr, flag: str) -> pl.DataFrame:
    new = where.fill_null(False) & ~pl.col("flags").list.contains(flag)
    added = pl.col("flags").list.concat(pl.lit([flag], dtype=pl.List(pl.String)))
    return frame.with_columns(pl.when(new).then(added).otherwise(pl.col("flags")).alias("flags"))


def _adducts_and_charges(frame: pl.DataFrame) -> pl.DataFrame:
    frame = _map(frame, "charge", _charge, pl.Int8)
    frame = _map(frame, "ion_mode", lambda text: _MODES.get(text.lower()), pl.String)
    for name, dtype in (("adduct", pl.String), ("charge", pl.Int8), ("ion_mode", pl.String)):
        if name not in frame.columns:
            frame = frame.with_columns(pl.lit(None, dtype=dtype).alias(name))
    stated = pl.col("adduct").is_not_null() & ~pl.col("adduct").str.to_lowercase().str.strip_chars().is_in(
        ["", "n/a", "na", "unknown", "none", "null", "?", "m+?", "[m+?]+", "[m+?]-", "other"]
    )
    frame = frame.with_columns(stated.alias("_stated"), pl.col("adduct").alias("_adduct_raw"))
    frame = _map(frame, "adduct", lambda text: _adduct(text, 0), pl.String)
    frame = _map(frame, "_adduct_raw", lambda text: _adduct(text, 1), pl.Int8)
    # GNPS writes M+H under the mode only; a positive `charge` there is a size, so the sign comes from the mode
    sign = pl.when(pl.col("ion_mode") == "negative").then(-1).otherwise(1)
    unsigned = pl.when(pl.col("charge") > 0).then(pl.col("charge") * sign).otherwise(pl.col("charge")).cast(pl.Int8)
    frame = _flag(frame, pl.col("_stated") & pl.col("adduct").is_null(), ADDUCT_NOT_READ)
    conflict = (pl.col("_adduct_raw") != unsigned) & (pl.col("_adduct_raw") != pl.col("charge"))
    frame = _flag(frame, conflict, CHARGE_CONFLICT)
    frame = frame.with_columns(pl.coalesce("_adduct_raw", unsigned).alias("charge")).drop("_stated", "_adduct_raw")
    by_charge = (
        pl.when(pl.col("charge") > 0).then(pl.lit("positive")).when(pl.col("charge") < 0).then(pl.lit("negative"))
    )
    return frame.with_columns(pl.coalesce("ion_mode", by_charge).alias("ion_mode"))


def _adduct(text: str, part: int) -> str | int | None:
    if len(text) > 80:
        return None
    try:
        adduct = parse_adduct(text)
    except ChemistryError:
        return None
    if abs(adduct.charge) > MAX_CHARGE or not 0 < adduct.molecules < 10:
        return None
    return (adduct.name, adduct.charge)[part]


def _charge(text: str) -> int | None:
    """`1+`, `+1`, `2-`, `-1`, `1`, `1.0` → signed size; 0 and anything else → None."""
    match = re.fullmatch(r"([+-]?)(\d{1,3})(?:\.0+)?([+-]?)", text.split(" ")[0].split(",")[0])
    if match is None or not 0 < int(match.group(2)) <= MAX_CHARGE:
        return None
    return -int(match.group(2)) if "-" in (match.group(1), match.group(3)) else int(match.group(2))


def _levels(frame: pl.DataFrame) -> pl.DataFrame:
    if "ms_level" not in frame.columns or (
        "ms_type" in frame.columns and frame["ms_level"].null_count() == frame.height
    ):
        source = pl.col("ms_type") if "ms_type" in frame.columns else pl.lit(None, dtype=pl.String)
        frame = frame.with_columns(source.alias("ms_level"))
    return _map(frame, "ms_level", _level, pl.Int8)


def _level(text: str) -> int | None:
    """`MS2`, `MS/MS`, `2`, `MS` → level. `MSn` names no level but says that it is above 2: 3."""
    plain = text.lower().replace(" ", "").replace("-", "").removesuffix(".0")
    if plain in ("msn", "mn"):
        return 3
    if plain in ("ms", "ms1", "fullscan"):
        return 1
    if plain.startswith("ms/ms") or plain in ("msms", "tandem"):
        return 2 + plain.count("/") - 1
    match = re.fullmatch(r"(?:ms|m)?\^?(\d{1,2})", plain)
    return int(match.group(1)) if match and int(match.group(1)) > 0 else None


def _instruments(frame: pl.DataFrame) -> pl.DataFrame:
    frame = _map(frame, "fragmentation", fragmentation, pl.String)
    keys = ("instrument_type", "instrument", "resolution")
    if "instrument_type" in frame.columns and "instrument_type_raw" not in frame.columns:
        frame = frame.with_columns(pl.col("instrument_type").cast(pl.String).alias("instrument_type_raw"))
    resolution_known = "resolution" in frame.columns
    absent = [pl.lit(None, dtype=pl.String).alias(name) for name in keys if name not in frame.columns]
    frame = frame.with_columns(absent)
    distinct = frame.select(pl.col(keys).cast(pl.String)).unique()
    types = [classify(*row).type for row in distinct.rows()]
    table = distinct.with_columns(pl.Series("_type", types, dtype=pl.String))
    frame = frame.with_columns(pl.col(keys).cast(pl.String))
    frame = frame.join(table, on=list(keys), how="left", nulls_equal=True, maintain_order="left")
    frame = frame.with_columns(pl.col("_type").alias("instrument_type")).drop("_type")
    return frame if resolution_known else frame.drop("resolution")


def _types(frame: pl.DataFrame) -> pl.DataFrame:
    """Schema columns that readers hand over as text get the schema's type; what does not cast becomes null."""
    wrong = [
        n for n, t in SPECTRA.items() if n in frame.columns and not isinstance(t, pl.List) and frame.schema[n] != t
    ]
    return frame.with_columns(pl.col(name).cast(SPECTRA[name], strict=False) for name in wrong)


def _peaks(frame: pl.DataFrame) -> pl.DataFrame:
    """Ascending m/z, intensities over the base peak's; rows without a positive finite base peak stay unscaled."""
    empty = pl.lit([], dtype=pl.List(pl.Float64))
    lists = frame.select(pl.col(n).cast(pl.List(pl.Float64)).fill_null(empty) for n in ("mzs", "intensities"))
    sizes = lists.get_column("mzs").list.len().to_numpy().astype(np.int64)
    if (unequal := sizes != lists.get_column("intensities").list.len().to_numpy()).any():
        row = int(np.flatnonzero(unequal)[0])
        name = frame.get_column("identifier")[row] if "identifier" in frame.columns else row
        raise FormatError("unequally many m/z and intensities", where=f"spectrum {name}", remedy="repair the peak list")
    mzs, intensities = (_flat(lists.get_column(n)) for n in ("mzs", "intensities"))
    mzs, intensities = _sorted(mzs, intensities, sizes)
    base = _row_maximum(intensities, sizes)
    scalable = np.isfinite(base) & (base > 0)
    relative = intensities / np.repeat(np.where(scalable, base, 1.0), sizes)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    recorded = pl.Series("_base", np.where(scalable, base, np.nan)).fill_nan(None).cast(pl.Float32)
    if "base_peak_intensity" in frame.columns:  # read back from a file of ours, already relative
        kept = frame.get_column("base_peak_intensity").cast(pl.Float32)
        recorded = kept.zip_with((recorded == 1).fill_null(False) & kept.is_not_null(), recorded)
    return frame.with_columns(
        _listed("mzs", mzs, offsets, pl.Float64()),
        _listed("intensities", relative, offsets, pl.Float32()),
        recorded.alias("base_peak_intensity"),
    )


def _flat(column: pl.Series) -> NDArray[np.float64]:
    return column.filter(column.list.len() > 0).explode().cast(pl.Float64).fill_null(np.nan).to_numpy()


def _sorted(
    mzs: NDArray[np.float64], intensities: NDArray[np.float64], sizes: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    row = np.repeat(np.arange(len(sizes)), sizes)
    if not ((np.diff(mzs) < 0) & (np.diff(row) == 0)).any():
        return mzs, intensities
    order = np.lexsort((mzs, row))
    return mzs[order], intensities[order]


def _row_maximum(values: NDArray[np.float64], sizes: NDArray[np.int64]) -> NDArray[np.float64]:
    out = np.full(len(sizes), np.nan)
    filled = np.flatnonzero(sizes)
    if len(filled):
        starts = (np.cumsum(sizes) - sizes)[filled]
        out[filled] = np.maximum.reduceat(values, starts)
    return out


def _listed(name: str, flat: NDArray[np.float64], offsets: NDArray[np.int64], dtype: Any) -> pl.Series:
    import pyarrow as pa

    values = pa.array(flat.astype(np.float32) if dtype == pl.Float32() else flat)
    column = pl.Series(pl.from_arrow(pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), values)))
    return column.alias(name).cast(pl.List(dtype))
