"""Are blanks asked about as if they were samples, and are samples blanks, or blanks samples?"""

from __future__ import annotations

import re

import numpy as np
import polars as pl

from ...cohort.markers import by_acquisition
from ..finding import Finding
from .tables import CohortTables

NAME = "blanks"
_CALLED = re.compile(r"blank|solvent|^mock$|\bqc\b|quality.?control|\bpool", re.IGNORECASE)
#: Runs with less than this share of the samples' median number of spectra hold next to nothing.
EMPTY = 0.2
#: Blanks with more than this share hold what a sample holds.
FULL = 0.5


def blanks(tables: CohortTables) -> list[Finding]:
    """Blanks among the classes or the predictions, samples that look like blanks, blanks that look like samples."""
    out = [*_as_class(tables), *_predicted(tables)]
    n = tables.samples.filter(pl.col("role") == "blank").height
    if not n:
        told = "the sheet has no run of role blank"
        remedy = "inject blanks: without them what the solvent and the column give cannot be told from the samples"
        return [*out, Finding(NAME, "note", "there are no blanks", 0, told, remedy)]
    for acquisition, rows in by_acquisition(tables.samples):  # each has its own usual number of spectra
        where = "" if acquisition is None else f" in {acquisition}"
        out += [*_empty(rows, where), *_full(rows, where)]
    if not out:
        told = f"{n} blanks, {tables.samples.height} runs"
        out.append(Finding(NAME, "pass", "blanks stay apart from the samples", n, told, "nothing to do"))
    return out


def _as_class(tables: CohortTables) -> list[Finding]:
    out = []
    for target in tables.targets:
        rows = tables.labelled(target)
        if rows.schema[target].is_numeric():
            continue
        sizes = rows.group_by(target).agg(pl.len(), pl.col("n_spectra").median().alias("spectra"))
        for name, n, spectra in sizes.sort(target).iter_rows():
            rest = rows.filter(pl.col(target) != name)["n_spectra"].drop_nulls().to_numpy()
            others = float(np.median(rest)) if rest.size else 0.0
            few = spectra is not None and spectra < EMPTY * others
            if not (few or _CALLED.search(name)):
                continue
            told = f"{n} runs, {spectra or 0:g} spectra in the median; the other classes {others:g}"
            claim = f"the class {name!r} of {target} looks like blanks or controls: telling it apart is no result"
            remedy = "give these rows the role blank, qc or pool in the sheet; if they are real samples, say so"
            out.append(Finding(NAME, "fatal", claim, int(n), told, remedy))
    return out


def _predicted(tables: CohortTables) -> list[Finding]:
    if tables.predictions is None:
        return []
    other = tables.asked.filter(pl.col("role") != "sample").select("sample", "role").unique("sample")
    found = tables.predictions.select("sample").unique().join(other, on="sample")
    if found.is_empty():
        return []
    told = ", ".join(found["sample"].sort().head(5).to_list())
    claim = "runs that are no samples are among the predictions: they flatter the scores"
    remedy = "leave blanks, pools and quality controls out of the questions"
    return [Finding(NAME, "fatal", claim, found.height, told, remedy)]


def _empty(rows: pl.DataFrame, where: str) -> list[Finding]:
    samples, middle = _samples(rows)
    found = samples.filter(pl.col("n_spectra") < EMPTY * middle)
    if found.is_empty():
        return []
    told = ", ".join(f"{s} {n}" for s, n in found.select("sample", "n_spectra").head(5).iter_rows())
    told += f"; the median sample has {middle:g} spectra"
    claim = f"{found.height} {'sample has' if found.height == 1 else 'samples have'} hardly more spectra than a blank"
    remedy = "failed injections? leave them out, or say why not"
    return [Finding(NAME, "warning", claim + where, found.height, told, remedy)]


def _full(rows: pl.DataFrame, where: str) -> list[Finding]:
    middle = _samples(rows)[1]
    there = rows.filter(pl.col("role") == "blank")
    found = there.filter(pl.col("n_spectra") > FULL * middle)
    if found.is_empty():
        return []
    told = ", ".join(f"{s} {n}" for s, n in found.select("sample", "n_spectra").head(5).iter_rows())
    told += f" spectra; the median sample has {middle:g}"
    claim = f"{found.height} of {there.height} blanks have half as many spectra as a sample, or more{where}"
    remedy = "carry-over, or a rule that triggers MS/MS on noise: look at what they hold, wash longer"
    return [Finding(NAME, "warning", claim, found.height, told, remedy)]


def _samples(rows: pl.DataFrame) -> tuple[pl.DataFrame, float]:
    """The samples, and their median number of spectra."""
    samples = rows.filter(pl.col("role") == "sample")
    return samples, float(samples["n_spectra"].median() or 0)  # type: ignore[arg-type]
