"""Hits as mzTab-M 2.0.0-M: metadata, one small molecule and one feature a query, one line of evidence a hit.

Specification: https://hupo-psi.github.io/mzTab (2.0.0-M, 2019). All columns of the four sections are there, in order.
Nothing is quantified, so abundances are null. Sections must follow each other, so they grow in temporary files.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, NamedTuple

import polars as pl

from .. import __version__
from ..chem.formula import parse_formula
from ..errors import ChemistryError
from .libraries import Reference
from .queries import FILE, Intake
from .repeats import MEMBERS
from .searching import Search

MEASURES = ("score", "probability", "q_value", "matched_peaks")
_SML = (
    "SML_ID", "SMF_ID_REFS", "database_identifier", "chemical_formula", "smiles", "inchi", "chemical_name", "uri",
    "theoretical_neutral_mass", "adduct_ions", "reliability", "best_id_confidence_measure", "best_id_confidence_value",
)  # fmt: skip
_SMF = (
    "SMF_ID", "SME_ID_REFS", "SME_ID_REF_ambiguity_code", "adduct_ion", "isotopomer", "exp_mass_to_charge", "charge",
    "retention_time_in_seconds", "retention_time_in_seconds_start", "retention_time_in_seconds_end",
)  # fmt: skip
_SME = (
    "SME_ID", "evidence_input_id", "database_identifier", "chemical_formula", "smiles", "inchi", "chemical_name", "uri",
    "derivatized_form", "adduct_ion", "exp_mass_to_charge", "charge", "theoretical_mass_to_charge", "spectra_ref",
    "identification_method", "ms_level", *(f"id_confidence_measure[{n}]" for n in range(1, len(MEASURES) + 1)), "rank",
    "opt_global_library", "opt_global_explained", "opt_global_explained_library", "opt_global_inchikey14",
)  # fmt: skip
_ADDUCT = r"^\[\d*M([+-]\w+)*\]\d*[+-]$"
_POLARITIES = {"positive": "[MS, MS:1000130, positive scan, ]", "negative": "[MS, MS:1000129, negative scan, ]"}
_LEVEL = "[MS, MS:1000511, ms level, 2]"
NULL = pl.lit(None, dtype=pl.String)


class Section(NamedTuple):
    """The lines of one table so far; `tail` names the columns of abundances that follow in every line."""

    head: str
    line: str
    columns: tuple[str, ...]
    file: BinaryIO


class MzTab:
    """A `writing.Writer`. The metadata are those of `intake` when it is closed."""

    def __init__(self, stream: BinaryIO, asked: Search, references: Sequence[Reference], intake: Intake) -> None:
        self._stream, self._asked, self._references, self._intake = stream, asked, references, intake
        self._sections = [
            Section(head, line, columns, tempfile.TemporaryFile())  # noqa: SIM115  closed in `close`
            for head, line, columns in (("SMH", "SML", _SML), ("SFH", "SMF", _SMF), ("SEH", "SME", _SME))
        ]
        self._features, self._evidence = 0, 0

    def write(self, queries: pl.DataFrame, hits: pl.DataFrame) -> None:
        features = queries.with_columns(_feature=pl.int_range(self._features + 1, self._features + queries.height + 1))
        evidence = hits.with_columns(_evidence=pl.int_range(self._evidence + 1, self._evidence + hits.height + 1))
        self._features += queries.height
        self._evidence += hits.height
        prefixes = {each.name: prefix for each, prefix in zip(self._references, self._prefixes(), strict=True)}
        rows = self._evidence_of(evidence, features, prefixes)
        found = rows.group_by("identifier", maintain_order=True).agg(
            pl.col("_evidence").cast(pl.String).str.join("|").alias("refs"), pl.len().alias("n")
        )
        best = rows.unique("identifier", keep="first", maintain_order=True)
        best = best.drop("_feature", "precursor_mz", "charge", "retention_time", FILE, MEMBERS)
        whole = features.select("identifier", "_feature", "precursor_mz", "charge", "retention_time")
        whole = whole.join(found, on="identifier", how="left", maintain_order="left")
        whole = whole.join(best, on="identifier", how="left", maintain_order="left")
        self._add(0, self._small_molecules(whole))
        self._add(1, _features(whole))
        self._add(2, self._evidence_lines(rows))

    def close(self) -> None:
        """Metadata and the three tables to the stream."""
        runs = range(1, len(self._intake.files) + 1)
        assays = [f"abundance_assay[{n}]" for n in runs]
        tails: tuple[list[str], ...] = (
            [*assays, "abundance_study_variable[1]", "abundance_variation_study_variable[1]"],
            assays,
            [],
        )
        try:
            self._stream.write("".join(f"MTD\t{key}\t{value}\n" for key, value in self._metadata()).encode())
            for section, tail in zip(self._sections, tails, strict=True):
                header = "\t".join([section.head, *section.columns, *tail])
                self._stream.write(f"\n{header}\n".encode())
                section.file.seek(0)
                if tail:
                    end = b"\tnull" * len(tail) + b"\n"
                    self._stream.writelines(line[:-1] + end for line in section.file)
                else:
                    shutil.copyfileobj(section.file, self._stream)
        finally:
            for section in self._sections:
                section.file.close()

    # --- tables

    def _evidence_of(self, hits: pl.DataFrame, features: pl.DataFrame, prefixes: dict[str, str]) -> pl.DataFrame:
        """Hits beside their query, with what the tables of molecules and of evidence share."""
        of_query = features.select("identifier", "_feature", "precursor_mz", "charge", "retention_time", FILE, MEMBERS)
        rows = hits.join(of_query, on="identifier", how="left", maintain_order="left")
        prefix = pl.col("library").replace_strict(prefixes, return_dtype=pl.String)
        smiles, name, formula, adduct = (_clean(n) for n in ("smiles", "name", "formula", "adduct"))
        return rows.with_columns(
            smiles, name, formula,
            (prefix + ":" + _clean("library_identifier")).alias("entry"),
            pl.when(adduct.str.contains(_ADDUCT)).then(adduct).alias("adduct"),
            _number("score", 6).alias("shown"),
            pl.col("formula").map_elements(_mass, return_dtype=pl.Float64, skip_nulls=True).alias("mass"),
        )  # fmt: skip

    def _small_molecules(self, whole: pl.DataFrame) -> pl.DataFrame:
        # level 2 of the Metabolomics Standards Initiative is a match with a library, 3 a likeness to it, 4 nothing
        level = "3" if self._asked.shift is not None or self._asked.precursor is None else "2"
        hit = pl.col("entry").is_not_null()
        number = pl.col("_feature").cast(pl.String)
        return whole.select(
            number.alias("id"), number.alias("refs"), "entry", "formula", "smiles", NULL.alias("inchi"), "name",
            NULL.alias("uri"), _number("mass", 6), pl.col("adduct"),
            pl.when(hit).then(pl.lit(level)).otherwise(pl.lit("4")).alias("reliability"),
            pl.when(hit).then(pl.lit(self._method())).alias("measure"), "shown",
        )  # fmt: skip

    def _evidence_lines(self, rows: pl.DataFrame) -> pl.DataFrame:
        numbers = {label: f"ms_run[{n}]" for n, label in enumerate(self._intake.files, 1)}
        run = pl.col(FILE).replace_strict(numbers, return_dtype=pl.String)
        one = pl.element()
        native = pl.coalesce(one.str.extract(r"(scan=\d+)"), one.str.replace_all(r"[\t\r\n|]+", "/"))
        members = pl.col(MEMBERS).list.eval(native)
        spectrum = run + ":" + members.list.join(pl.concat_str(pl.lit("|"), run, pl.lit(":")))
        first = run + ":" + members.list.first()
        measured = pl.col("precursor_mz")
        digits = (6, 4, 6)
        return rows.select(
            pl.col("_evidence").cast(pl.String), first.alias("input"), "entry", "formula", "smiles",
            NULL.alias("inchi"), "name", NULL.alias("uri"), NULL.alias("derivatized"), "adduct",
            _mz(measured).alias("measured"), _charge(), _mz(measured - pl.col("precursor_difference")).alias("theory"),
            spectrum.alias("spectrum"), pl.lit(self._method()).alias("method"), pl.lit(_LEVEL).alias("level"),
            *(_number(name, d).alias(f"m_{name}") for name, d in zip(MEASURES[:3], digits, strict=True)),
            pl.col("matched_peaks").cast(pl.String), pl.col("rank").cast(pl.String), _clean("library"),
            _number("explained", 4), _number("explained_library", 4), "inchikey14",
        )  # fmt: skip

    def _add(self, number: int, rows: pl.DataFrame) -> None:
        section = self._sections[number]
        cells = [pl.col(name).fill_null("null") for name in rows.columns]
        lines = rows.select(pl.concat_str(pl.lit(section.line), *cells, separator="\t") + "\n").to_series()
        section.file.write("".join(lines.to_list()).encode())

    # --- metadata

    def _method(self) -> str:
        return f"[, , mslitmus {self._asked.score} similarity, ]"

    def _prefixes(self) -> list[str]:
        return [re.sub(r"[^A-Za-z0-9._-]", "_", each.name) for each in self._references]

    def _metadata(self) -> list[tuple[str, str]]:
        first = Path(self._intake.files[0]).name if self._intake.files else "search"
        lines = [
            ("mzTab-version", "2.0.0-M"),
            ("mzTab-ID", _plain(first)),
            ("description", "Library search of MS/MS spectra; nothing was quantified"),
            ("software[1]", f"[, , mslitmus, {__version__}]"),
            ("software[1]-setting[1]", self._asked.told()),
            ("quantification_method", "[, , no quantification, ]"),
        ]
        for n, label in enumerate(self._intake.files, 1):
            lines += self._run(f"ms_run[{n}]", label)
        for n, label in enumerate(self._intake.files, 1):
            lines += [(f"assay[{n}]", _plain(Path(label).name)), (f"assay[{n}]-ms_run_ref", f"ms_run[{n}]")]
        assays = "|".join(f"assay[{n}]" for n in range(1, len(self._intake.files) + 1))
        lines += [
            ("study_variable[1]", "undefined"),
            ("study_variable[1]-assay_refs", assays),
            ("study_variable[1]-description", "all runs"),
            ("cv[1]-label", "MS"),
            ("cv[1]-full_name", "PSI-MS controlled vocabulary"),
            ("cv[1]-version", "4.1.11"),
            ("cv[1]-uri", "https://raw.githubusercontent.com/HUPO-PSI/psi-ms-CV/master/psi-ms.obo"),
        ]
        for n, (each, prefix) in enumerate(zip(self._references, self._prefixes(), strict=True), 1):
            lines += [
                (f"database[{n}]", f"[, , {_plain(each.name).replace(',', ' ')}, ]"),
                (f"database[{n}]-prefix", prefix),
                (f"database[{n}]-version", each.hash or "Unknown"),
                (f"database[{n}]-uri", each.place.resolve().as_uri()),
            ]
        unit = "[, , not quantified, ]"
        lines += [("small_molecule-quantification_unit", unit), ("small_molecule_feature-quantification_unit", unit)]
        names = (f"mslitmus {self._asked.score} similarity", "probability", "q-value", "matched peaks")
        return lines + [(f"id_confidence_measure[{n}]", f"[, , {name}, ]") for n, name in enumerate(names, 1)]

    def _run(self, key: str, label: str) -> list[tuple[str, str]]:
        lines = [(f"{key}-location", Path(label).resolve().as_uri())]
        if ".mzml" in label.lower():
            lines.append((f"{key}-format", "[MS, MS:1000584, mzML file, ]"))
            lines.append((f"{key}-id_format", "[MS, MS:1000776, scan number only nativeID format, ]"))
        modes = sorted(self._intake.ion_modes.get(label, ()), reverse=True)
        said = [_POLARITIES[mode] for mode in modes if mode in _POLARITIES] or ["[, , polarity not stated, ]"]
        return lines + [(f"{key}-scan_polarity[{n}]", text) for n, text in enumerate(said, 1)]


def _features(whole: pl.DataFrame) -> pl.DataFrame:
    time = _number("retention_time", 3)
    return whole.select(
        pl.col("_feature").cast(pl.String), "refs", pl.when(pl.col("n") > 1).then(pl.lit("1")).alias("code"), "adduct",
        NULL.alias("isotopomer"), _mz(pl.col("precursor_mz")).alias("mz"), _charge(), time.alias("rt"),
        NULL.alias("start"), NULL.alias("end"),
    )  # fmt: skip


def _charge() -> pl.Expr:
    """Of the query, else of the hit's adduct, else 1; without sign, never null, as the format wants."""
    of_adduct = pl.col("adduct").str.extract(r"\](\d+)[+-]$").cast(pl.Int8, strict=False)
    return pl.coalesce(pl.col("charge").abs(), of_adduct, pl.lit(1, pl.Int8)).cast(pl.String).alias("charge")


def _number(name: str, digits: int) -> pl.Expr:
    """As plain decimals: the format knows no exponents."""
    return pl.col(name).cast(pl.Float64).round(digits).cast(pl.Decimal(30, digits)).cast(pl.String)


def _mz(value: pl.Expr) -> pl.Expr:
    """m/z, `NaN` where unknown: the format allows no null there."""
    return value.round(6).cast(pl.Decimal(30, 6)).cast(pl.String).fill_null("NaN")


def _clean(name: str) -> pl.Expr:
    """Text without what separates fields and lists."""
    return pl.col(name).str.replace_all(r"[\t\r\n]+", " ").str.replace_all("|", "/", literal=True)


def _plain(text: str) -> str:
    return re.sub(r"[\t\r\n|]+", " ", text)


@lru_cache(maxsize=100_000)
def _mass(formula: str) -> float | None:
    try:
        return float(parse_formula(formula).mass)
    except ChemistryError:
        return None
