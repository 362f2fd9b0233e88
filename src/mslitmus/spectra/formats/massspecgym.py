"""MassSpecGym TSV, versions 1 and 1.5, and any tab-separated table with `mzs` and `intensities` as comma lists.

Format: Bushuiev et al., MassSpecGym (NeurIPS 2024), https://huggingface.co/datasets/roman-bushuiev/MassSpecGym.
Columns are recognised by name through the alias table, in any order; in this table `inchikey` holds 14 characters.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator

import polars as pl

from ._container import Source
from ._format import Format
from ._peaks import FLAT
from ._problems import Problems, record_error
from ._rows import BATCH, Place, Rows
from ._text import decode, split_records
from .keys import OWN, translate


def looks_like(head: bytes) -> bool:
    """Does the first line name the columns mzs and intensities?"""
    columns = head.split(b"\n", 1)[0].replace(b'"', b"").split(b"\t")
    return b"mzs" in columns and b"intensities" in columns


def read(sources: Iterable[Source], problems: Problems, batch: int = BATCH, **_: object) -> Iterator[pl.DataFrame]:
    """Frames of at most `batch` spectra."""
    for source in sources:
        rows = Rows(FLAT, problems)
        columns: list[str] = []
        for line, text, _complete in split_records(source, problems, b"\n"):
            if not columns:
                columns = [name.strip('"') for name in decode(text, problems).split("\t")]
                if not {"mzs", "intensities"} <= set(columns):
                    what, remedy = "the first line names no columns mzs and intensities", "keep the header line"
                    problems.report(record_error(what, source.label, line, None, remedy))
                    break
            elif text and not text.isspace():
                _add(rows, source.label, line, decode(text, problems), columns, problems)
                if len(rows) >= batch:
                    yield from rows.finish()
        if len(rows):
            yield from rows.finish()


def _add(rows: Rows, label: str, line: int, text: str, columns: list[str], problems: Problems) -> None:
    values = text.split("\t")
    if len(text) < csv.field_size_limit() and ('\t"' in text or text[0] == '"'):
        values = next(csv.reader([text], delimiter="\t"), values)
    if len(values) != len(columns):
        what = f"{len(values)} columns where the header names {len(columns)}"
        remedy = 'the line may be cut: restore it, or read with on_error="skip"'
        problems.report(record_error(what, label, line, values[0][:40], remedy))
        return
    given = dict(zip(columns, values, strict=True))
    mzs, intensities = given.pop("mzs"), given.pop("intensities")
    fields: dict[str, str] = {}
    if OWN in given:
        fields = {name: value for name, value in given.items() if value}
    else:
        translate(given.items(), fields, {})
        if len(fields.get("inchikey", "")) == 14:  # MassSpecGym's name for the first block
            fields["inchikey14"] = fields.pop("inchikey")
    name = fields.get("identifier")
    rows.add(Place(label, line, name), fields, mzs.encode(), partner=intensities.encode())


FORMAT = Format("massspecgym", "MassSpecGym TSV", looks_like, read, suffixes=(".tsv",))
