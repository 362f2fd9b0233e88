"""Labels: are the evaluation data what they say? Duplicates, conflicting labels, keys and masses that do not fit.

Only the test fold is looked at: that is what every number is made of.
"""

from __future__ import annotations

import polars as pl

from ..chem.formula import parse_adduct, parse_formula
from ..data.identities import compute
from ..errors import ChemistryError
from .audit import Audit
from .contrast import advantages, profiting, told
from .evidence import Evidence
from .finding import Finding
from .fragments import LEAST_IDENTICAL, NEAR, fragments, identical, near_duplicates
from .leakage import MATERIAL

#: Share of test spectra that repeat another one from which on an average per spectrum counts some molecules twice.
REPEATED = 0.05
#: The curation rule: a precursor may be off by the larger of the two.
PPM, DALTON = 10.0, 0.01
#: Letters of a key that an identifier holds by chance in one of 26⁵ places.
LETTERS = 5
ALPHA = 0.05
_FLAGS = ("conflicting-label",)


def labels(evidence: Evidence) -> list[Finding]:
    """Findings of every split's test fold; a pass where none is a warning."""
    findings: list[Finding] = []
    for split in evidence.tables.splits:
        test = evidence.folds(split)["test"]
        evidence.progress(f"{split}: {test.height:,} test spectra, {test['inchikey14'].n_unique():,} molecules")
        spectra = fragments(test)
        here = _repeated(split, spectra, test.height) + _conflicting(split, spectra, test)
        here += _flagged(split, test) + _keys(split, test) + _precursors(split, test)
        here += _identifiers(evidence, split, test)
        if all(found.severity == "note" for found in here):
            but = ", but for what is noted" if here else ""
            claim = f"the labels of the test fold of split {split} agree with each other{but}"
            shown = f"{test.height:,} spectra: repeats, conflicting labels, InChIKeys, formulae, precursor masses"
            here.append(Finding("labels", "pass", claim, test.height, shown, "nothing to do"))
        findings += here
    return findings


def _grade(split: str, share: float, at: float, claim: str, n: int, shown: str, remedy: str) -> list[Finding]:
    if not n:
        return []
    severity = "warning" if share >= at else "note"
    return [Finding("labels", severity, f"{claim} in the test fold of split {split}", n, shown, remedy)]


def _repeated(split: str, spectra: pl.DataFrame, of: int) -> list[Finding]:
    """Spectra of one molecule that are the same measurement."""
    several = pl.col("peaks") >= LEAST_IDENTICAL
    again = spectra.filter(several).filter(pl.struct("inchikey14", "mark", "adduct").is_duplicated())
    extra = again.height - again.select("inchikey14", "mark", "adduct").n_unique() if again.height else 0
    example = f"; e.g. {again['identifier'][0]}" if extra else ""
    shown = f"{extra:,} of {of:,} spectra repeat another of their molecule digit by digit{example}"
    claim = f"{extra:,} measurements count more than once"
    remedy = "average per molecule, or leave records marked duplicate out (exclude_flags)"
    return _grade(split, extra / max(of, 1), REPEATED, claim, extra, shown, remedy)


def _conflicting(split: str, spectra: pl.DataFrame, test: pl.DataFrame) -> list[Finding]:
    """Spectra of two test molecules that are the same, or nearly so."""
    pairs = near_duplicates(spectra, spectra, top=4).filter(pl.col("inchikey14") != pl.col("inchikey14_other"))
    same = pairs.filter(identical())
    molecules, of = same["inchikey14"].n_unique(), max(test["inchikey14"].n_unique(), 1)
    near = pairs["inchikey14"].n_unique()
    example = f", e.g. {same['identifier'][0]} and {same['library_identifier'][0]}" if same.height else ""
    shown = (
        f"{same['identifier'].n_unique():,} spectra of {molecules:,} of {of:,} molecules agree digit by digit with one "
        f"of another test molecule{example}; {near:,} molecules have a near-duplicate (entropy ≥ {NEAR}) of another"
    )
    claim = f"{molecules:,} molecules share a measurement with another molecule"
    remedy = "no answer can be right for both: leave records marked conflicting-label out (exclude_flags)"
    return _grade(split, molecules / of, MATERIAL, claim, molecules, shown, remedy)


def _flagged(split: str, test: pl.DataFrame) -> list[Finding]:
    if "flags" not in test.columns:
        return []
    marked = test.filter(pl.any_horizontal([pl.col("flags").list.contains(flag) for flag in _FLAGS]).fill_null(False))
    claim = f"{marked.height:,} spectra marked {' or '.join(_FLAGS)} by curation"
    shown = f"{marked.height:,} of {test.height:,} spectra, {marked['inchikey14'].n_unique():,} molecules"
    remedy = "leave them out: exclude_flags of the study"
    return _grade(split, marked.height / max(test.height, 1), MATERIAL, claim, marked.height, shown, remedy)


def _keys(split: str, test: pl.DataFrame) -> list[Finding]:
    """InChIKey-14 and formula against what the SMILES says."""
    stated = test.select("inchikey14", "smiles", "formula").drop_nulls(["inchikey14", "smiles"]).unique()
    known = compute(stated["smiles"].unique().sort().to_list()).select(
        "smiles", own_key="inchikey14", own_formula=pl.col("formula")
    )
    both = stated.join(known, on="smiles", how="left")
    wrong = both.filter((pl.col("inchikey14") != pl.col("own_key")) | pl.col("own_key").is_null()).sort("inchikey14")
    of, n = max(stated["inchikey14"].n_unique(), 1), wrong["inchikey14"].n_unique()
    example = f", e.g. {wrong['inchikey14'][0]} stands beside {wrong['smiles'][0]}" if n else ""
    shown = f"{n:,} of {of:,} molecules{example}"
    claim = f"{n:,} molecules whose InChIKey-14 is not that of their SMILES"
    findings = _grade(split, n / of, MATERIAL, claim, n, shown, "derive keys from structures (mslitmus data import)")
    off = both.filter(pl.col("formula") != pl.col("own_formula"))["inchikey14"].n_unique()
    claim = f"{off:,} molecules whose formula is not that of their SMILES"
    return findings + _grade(
        split, off / of, MATERIAL, claim, off, f"{off:,} of {of:,} molecules", "derive formulae from structures"
    )


def _precursors(split: str, test: pl.DataFrame) -> list[Finding]:
    """Stated precursor m/z against formula and adduct."""
    pairs = test.select("formula", "adduct").drop_nulls().unique()
    expected = [_mz(formula, adduct) for formula, adduct in pairs.iter_rows()]
    rows = test.join(pairs.with_columns(pl.Series("_mz", expected, dtype=pl.Float64)), on=["formula", "adduct"])
    rows = rows.filter(pl.col("_mz").is_not_null())
    off = (pl.col("precursor_mz") - pl.col("_mz")).abs()
    wrong = rows.filter(off > pl.max_horizontal(pl.lit(DALTON), pl.col("_mz") * PPM * 1e-6) + 1e-6)
    example = f", e.g. {wrong['identifier'][0]}" if wrong.height else ""
    shown = f"{wrong.height:,} of {rows.height:,} spectra by more than {PPM:g} ppm and {DALTON} Da{example}"
    claim = f"{wrong.height:,} precursors that do not fit molecule and adduct"
    remedy = "curate the records: mslitmus data import counts and drops them"
    return _grade(split, wrong.height / max(rows.height, 1), MATERIAL, claim, wrong.height, shown, remedy)


def _mz(formula: str, adduct: str) -> float | None:
    try:
        return parse_adduct(adduct).mz(parse_formula(formula).mass)
    except ChemistryError:
        return None


def _identifiers(evidence: Evidence, split: str, test: pl.DataFrame) -> list[Finding]:
    """Identifiers are shown to models. Where they hold the beginning of their InChIKey, a model can read the answer.

    Fatal where a trained model gains more on such molecules than others do (`contrast.profiting`); the same identifiers
    against the keys of other molecules, rotated by half of their list, are the chance level.
    """
    rows = test.select("inchikey14", name=pl.col("identifier").str.to_uppercase()).drop_nulls()
    if rows.is_empty():
        return []
    keys = rows["inchikey14"].unique().sort()
    half = len(keys) // 2
    others = pl.concat([keys.tail(len(keys) - half), keys.head(half)])
    rows = rows.with_columns(other=pl.col("inchikey14").replace_strict(keys, others, return_dtype=pl.String))
    named, by_chance = (
        rows.filter(pl.col("name").str.contains(pl.col(key).str.slice(0, LETTERS), literal=True))
        for key in ("inchikey14", "other")
    )
    molecules, of = named["inchikey14"].unique().sort().to_list(), max(rows["inchikey14"].n_unique(), 1)
    if named.height <= 10 * (by_chance.height + 1) or len(molecules) / of < MATERIAL:
        return []
    gains = advantages(evidence, split, molecules)
    better, _ = profiting(gains, ALPHA)
    shown = (
        f"{named.height:,} of {rows.height:,} identifiers hold the first {LETTERS} letters of their InChIKey (of "
        f"another molecule's {by_chance.height:,}), {len(molecules):,} of {of:,} molecules. {told(gains)}"
    )
    claim = f"identifiers name the molecule in the test fold of split {split}"
    claim += f", and {', '.join(better)} answers such queries better" if better else ""
    remedy = "name records by numbers that say nothing, and score anew"
    return [Finding("labels", "fatal" if better else "warning", claim, len(molecules), shown, remedy)]


LABELS = Audit("do the labels of the test fold agree with each other and with their spectra?", "files", labels)
