"""CFM-ID 4 (cfm-predict 4.0 to 4.4): predicted spectra as text.

One molecule a file or several in one: header lines `#ID=`, `#SMILES=`, `#InChiKey=`, `#In-silico ESI-MS/MS [M+H]+
Spectra`, then the blocks `energy0`, `energy1`, `energy2` (10, 20, 40 eV) of `m/z intensity …annotation`, a blank
line, and with annotations the table of fragments, which is skipped. Format:
https://bitbucket.org/wishartlab/cfm-id-code. CFM-ID 2 writes `low`, `medium` and `high` (or `energy0` alone) and no
header; those names are read too.

A prediction belongs to the query of its `#ID` (or file name), else to all queries of its molecule (InChIKey-14 of
`#InChiKey`, else of `#SMILES`) and adduct. Each gets the level nearest its energy; without one in eV, the mean of
all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ...chem.molecule import identify
from ...errors import ChemistryError, PredictionError
from ..intake_notes import Notes
from .adapter import Adapter, files_below, query_named
from .spectra import Peaks, at_energy, table

_FILES = "the output of cfm-predict: one file, or the folder of its .log or .txt files"
LEVELS = {"energy0": 10.0, "energy1": 20.0, "energy2": 40.0, "low": 10.0, "medium": 20.0, "high": 40.0}


@dataclass
class _Record:
    header: dict[str, str] = field(default_factory=dict)
    adduct: str | None = None
    levels: dict[float, list[tuple[float, float]]] = field(default_factory=dict)


def read(
    path: str | Path, queries: pl.DataFrame, unknown: str = "raise", notes: Notes | None = None, **_: Any
) -> pl.DataFrame:
    """PREDICTED_SPECTRA of the queries that a record answers. Raises PredictionError for a record of no query."""
    identifiers = frozenset(queries["identifier"].to_list())
    asked = {row["identifier"]: row for row in queries.drop("mzs", "intensities", strict=False).iter_rows(named=True)}
    of_molecule: dict[tuple[str, str | None], list[str]] = {}
    for identifier, row in asked.items():
        of_molecule.setdefault((row["inchikey14"], row["adduct"]), []).append(identifier)
    answers: dict[str, dict[float, Peaks]] = {}
    for file in files_below(path, ("*.log", "*.txt"), _FILES):
        records = list(_records(file))
        for record in records:
            levels = {level: _peaks(pairs) for level, pairs in record.levels.items()}
            meant = _meant(file, record, len(records), identifiers, of_molecule)
            if not meant and unknown != "drop":
                raise _nobody(file, record)
            if not meant and notes is not None:
                notes.dropped.append(_called(file, record))
            for identifier in meant:
                if identifier in answers:
                    raise PredictionError(f"query {identifier!r} is answered twice", where=str(file), remedy="keep one")
                answers[identifier] = levels
    return table((name, at_energy(asked[name], answers[name])) for name in asked if name in answers)


def _meant(
    file: Path,
    record: _Record,
    count: int,
    identifiers: frozenset[str],
    of_molecule: dict[tuple[str, str | None], list[str]],
) -> list[str]:
    """The queries that a record answers, by the rule of this file."""
    stated = record.header.get("id", "")
    if stated in identifiers:
        return [stated]
    if not stated and count == 1 and (name := query_named(file.stem, identifiers)):
        return [name]
    key = record.header.get("inchikey", "")[:14]
    if not key and "smiles" in record.header:
        try:
            key = identify(record.header["smiles"]).inchikey14
        except ChemistryError:  # named below
            key = ""
    adducts = [record.adduct] if record.adduct else ["[M+H]+", "[M-H]-"]
    found = [name for adduct in adducts for name in of_molecule.get((key, adduct), [])]
    if not found and count == 1 and (name := query_named(file.stem, identifiers)):
        return [name]
    return found


def _called(file: Path, record: _Record) -> str:
    return record.header.get("id") or record.header.get("smiles") or file.stem


def _nobody(file: Path, record: _Record) -> PredictionError:
    remedy = "give cfm-predict the queries' identifiers as ids, or the molecules and adducts of the query file"
    return PredictionError(f"record {_called(file, record)!r} answers no query", where=str(file), remedy=remedy)


def _records(file: Path) -> Iterator[_Record]:
    record, level, annotating = _Record(), None, False
    for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        text = line.strip()
        if text.startswith("#"):
            if record.levels:
                yield record
                record = _Record()
            level, annotating = None, False
            _header(record, text[1:])
        elif text.lower() in LEVELS:
            if LEVELS[text.lower()] in record.levels:  # several molecules without headers
                raise PredictionError(f"{text} comes twice", where=f"{file}:{number}", remedy="one molecule a file")
            level, annotating = record.levels.setdefault(LEVELS[text.lower()], []), False
        elif not text:
            annotating = bool(record.levels)
        elif level is not None and not annotating:
            level.append(_pair(file, number, text))
    if record.levels:
        yield record
    else:
        remedy = "give the text that cfm-predict prints, with its blocks energy0, energy1, energy2"
        if not record.header:
            raise PredictionError("no predicted spectrum inside", where=str(file), remedy=remedy)
        raise PredictionError("the last record has no peaks: the file is cut", where=str(file), remedy=remedy)


def _header(record: _Record, text: str) -> None:
    key, equals, value = text.partition("=")
    if equals:
        record.header[key.strip().lower()] = value.strip()
    elif "Spectra" in text and "[" in text:  # In-silico ESI-MS/MS [M+H]+ Spectra
        record.adduct = text[text.index("[") :].split()[0]


def _pair(file: Path, number: int, text: str) -> tuple[float, float]:
    try:
        mz, intensity = (float(part) for part in text.split()[:2])
    except ValueError:
        mz = intensity = float("nan")
    if not (np.isfinite([mz, intensity]).all() and mz > 0 and intensity >= 0):
        remedy = "peak lines hold m/z, intensity and annotations"
        raise PredictionError(f"not a peak: {text[:60]!r}", where=f"{file}:{number}", remedy=remedy)
    return mz, intensity


def _peaks(pairs: list[tuple[float, float]]) -> Peaks:
    values = np.array(pairs, np.float64).reshape(-1, 2)
    return Peaks(values[:, 0], values[:, 1])


ADAPTER = Adapter("CFM-ID 4", "spectrum-prediction", _FILES, read)
