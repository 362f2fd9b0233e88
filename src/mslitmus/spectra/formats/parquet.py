"""Our own table: Parquet in the schema of `mslitmus.schemas.SPECTRA`."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from ...errors import FormatError, SchemaError
from ...schemas import REQUIRED, conform
from ..flat import MOST_MZ
from ._container import Source
from ._format import Format
from ._problems import Problems
from ._rows import BATCH


def looks_like(head: bytes) -> bool:
    """Does the file begin with Parquet's magic?"""
    return head.startswith(b"PAR1")


def read(sources: Iterable[Source], problems: Problems, batch: int = BATCH, **_: object) -> Iterator[pl.DataFrame]:
    """Frames of at most `batch` spectra."""
    for source in sources:
        try:
            data = b"".join(source.blocks(problems))
            frame = pl.DataFrame(pl.from_arrow(pq.read_table(io.BytesIO(data))))
        except (pa.ArrowException, pl.exceptions.PolarsError, OSError, ValueError, TypeError) as error:
            reason = str(error).split("\n")[0]
            problems.report(
                FormatError(
                    f"the Parquet file is cut or damaged ({reason})",
                    where=source.label,
                    remedy="write or copy it again",
                )
            )
            continue
        try:
            frame = conform(frame, where=source.label)
            _check(frame, source.label)
        except (SchemaError, FormatError) as error:
            problems.report(FormatError(error.message, where=source.label, remedy=error.remedy))
            continue
        for start in range(0, len(frame), batch):
            yield frame[start : start + batch]


def _check(frame: pl.DataFrame, label: str) -> None:
    remedy = "write the table with mslitmus.spectra.formats.write"
    required = [name for name in REQUIRED if name != "precursor_mz"]
    if empty := [name for name in required if frame[name].null_count()]:
        raise FormatError(f"missing values in {', '.join(empty)}", where=label, remedy=remedy)
    unequal = frame.select(row=pl.col("mzs").list.len() != pl.col("intensities").list.len())["row"].arg_true()
    if len(unequal):
        raise FormatError(f"row {unequal[0]}: m/z and intensities differ in number", where=label, remedy=remedy)
    peaks = frame["mzs"].explode(), frame["intensities"].explode()
    if any(not column.drop_nulls().is_finite().all() for column in peaks):
        raise FormatError("an m/z or intensity is not finite", where=label, remedy=remedy)
    if not ((peaks[0] > 0) & (peaks[0] <= MOST_MZ)).all() or (peaks[1] < 0).any():
        raise FormatError(f"an m/z not from 0 to {MOST_MZ:,.0f}, or a negative intensity", where=label, remedy=remedy)


FORMAT = Format("parquet", "mslitmus Parquet", looks_like, read, suffixes=(".parquet",))
