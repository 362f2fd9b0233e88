"""Spectrum leakage: test spectra that are near-duplicates of training spectra, of the same molecule or of another one.

The same measurement under two names is a conflicting label; nearly the same one of two isomers of one laboratory is
what isomers do. Which of both it is cannot be told from the files alone, so the former is a warning, no more.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from .audit import Audit
from .contrast import advantages, told
from .evidence import Evidence
from .finding import Finding
from .fragments import LEAST_PEAKS, NEAR, PRECURSOR_TOLERANCE, fragments, identical, near_duplicates
from .leakage import MATERIAL, promises, under_another_key
from .structures import uniform

_WHAT = f"entropy similarity ≥ {NEAR} on ≥ {LEAST_PEAKS} shared fragment peaks, precursors within {PRECURSOR_TOLERANCE}"


def spectrum_leakage(evidence: Evidence) -> list[Finding]:
    """Findings of every split: duplicates of the same molecule, one measurement under two names, look-alikes."""
    findings: list[Finding] = []
    for split, record in evidence.tables.splits.items():
        folds = evidence.folds(split)
        evidence.progress(f"{split}: {folds['test'].height:,} test spectra against {folds['train'].height:,}")
        test, train = fragments(folds["test"]), fragments(folds["train"])
        pairs = near_duplicates(test, train)
        same = _form(evidence, pairs["inchikey14"]) == _form(evidence, pairs["inchikey14_other"])
        promised = "inchikey14" in promises(record)
        sides = (pairs.filter(same), pairs.filter(~same).filter(identical()), pairs.filter(~same))
        molecules = folds["test"]["inchikey14"].n_unique()
        here = _same(evidence, split, sides[0], promised, test.height, molecules)
        here += _two_names(evidence, split, sides[1], molecules)
        here += _alike(evidence, split, sides[2], molecules, test.height)
        if sides[0].is_empty():
            claim = f"no test spectrum of split {split} has a near-duplicate of its own molecule in train"
            shown = f"{test.height:,} test spectra of ≥ {LEAST_PEAKS} fragments searched in {train.height:,}; {_WHAT}"
            here.append(Finding("spectrum-leakage", "pass", claim, test.height, shown, "nothing to do"))
        findings += here
    return findings


def _form(evidence: Evidence, keys: pl.Series) -> pl.Series:
    """What a molecule is the same by: its tautomer in uniform form, else its key. A salt is no other molecule."""
    known = uniform(evidence).select(pl.col("inchikey14").alias("key"), "tautomer")
    rows = pl.DataFrame({"key": keys}).join(known, on="key", how="left", maintain_order="left")
    return rows.select(pl.coalesce("tautomer", "key")).to_series()


def _same(evidence: Evidence, split: str, pairs: pl.DataFrame, promised: bool, of: int, tested: int) -> list[Finding]:
    """Near-duplicates of the test molecule itself. Under its own key they break a split by molecule; as a salt or
    tautomer alone they are as bad as `leakage` says of as many molecules."""
    if pairs.is_empty():
        return []
    n, molecules = pairs["identifier"].n_unique(), pairs["inchikey14"].unique().sort().to_list()
    exact = pairs.filter(identical())["identifier"].n_unique()
    lab = pairs.filter(pl.col("source") == pl.col("source_other"))["identifier"].n_unique()
    shown = (
        f"{n:,} of {of:,} test spectra of {len(molecules):,} molecules ({_WHAT}), {exact:,} identical digit by digit, "
        f"{lab:,} from the same source; e.g. {_pair(pairs)}. {_gains(evidence, split, molecules)}"
    )
    claim = f"{n / of:.1%} of the test spectra of split {split} have a near-duplicate of their molecule in train"
    if promised:
        own = pairs.filter(pl.col("inchikey14") == pl.col("inchikey14_other"))
        if own.is_empty():
            claim += ", as a salt or tautomer"
            severity, remedy = under_another_key(len(molecules), tested), "split by uniform form, or say so"
            return [Finding("spectrum-leakage", severity, claim, n, shown, remedy)]
        remedy = "split again by molecule: mslitmus checks what it splits, folds from elsewhere need it"
        return [Finding("spectrum-leakage", "fatal", claim, n, shown, remedy)]
    remedy = "read the numbers as look-up of replicates, and show a split by molecule beside it"
    return [Finding("spectrum-leakage", "warning", claim, n, shown, remedy)]


def _two_names(evidence: Evidence, split: str, pairs: pl.DataFrame, of: int) -> list[Finding]:
    """Identical spectra whose molecules differ: one of the labels is wrong, or both stand for one isomer."""
    if pairs.is_empty():
        return []
    molecules = pairs["inchikey14"].unique().sort().to_list()
    isomers = pairs.filter(pl.col("formula") == pl.col("formula_other")).height
    lab = pairs.filter(pl.col("source") == pl.col("source_other")).height
    shown = (
        f"{pairs['identifier'].n_unique():,} test spectra of {len(molecules):,} of {of:,} molecules agree digit by "
        f"digit with a training spectrum of another molecule; of {pairs.height:,} pairs {isomers:,} are isomers, "
        f"{lab:,} from one source; e.g. {_pair(pairs)}. {_gains(evidence, split, molecules)}"
    )
    claim = f"spectra of {len(molecules):,} test molecules of split {split} are in train under another name"
    severity = "warning" if len(molecules) / of >= MATERIAL else "note"
    remedy = "leave records marked conflicting-label out (exclude_flags), or merge the two molecules"
    return [Finding("spectrum-leakage", severity, claim, len(molecules), shown.rstrip(". "), remedy)]


def _alike(evidence: Evidence, split: str, pairs: pl.DataFrame, of: int, spectra: int) -> list[Finding]:
    """Near-duplicates of other molecules: what look-up earns on them is no sign of a wrong label."""
    if pairs.is_empty():
        return []
    molecules = pairs["inchikey14"].unique().sort().to_list()
    isomers = pairs.filter(pl.col("formula") == pl.col("formula_other")).height
    lab = pairs.filter(pl.col("source") == pl.col("source_other")).height
    n = pairs["identifier"].n_unique()
    shown = (
        f"{n:,} of {spectra:,} test spectra ({_WHAT}); of {pairs.height:,} pairs {isomers:,} are isomers, {lab:,} from "
        f"one source; e.g. {_pair(pairs)}. {_gains(evidence, split, molecules)}"
    )
    claim = f"{len(molecules) / of:.1%} of the test molecules of split {split} have a spectrum like one in train"
    remedy = "no model can tell these apart by their peaks: read them as the ceiling of look-up"
    return [Finding("spectrum-leakage", "note", claim, len(molecules), shown.rstrip(". "), remedy)]


def _pair(pairs: pl.DataFrame) -> str:
    row = pairs.sort("score", "identifier", descending=[True, False]).row(0, named=True)
    return f"{row['identifier']} ({row['inchikey14']}) and {row['library_identifier']} ({row['inchikey14_other']})"


def _gains(evidence: Evidence, split: str, molecules: Sequence[str]) -> str:
    """How much better each trained model is on these molecules; empty where there are too few to say."""
    return told(advantages(evidence, split, molecules))


SPECTRUM_LEAKAGE = Audit("do spectra of the test fold stand in train, under any name?", "files", spectrum_leakage)
