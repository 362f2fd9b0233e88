"""Rules on the molecule: it parses, and its canonical SMILES, InChIKey-14 and formula are computed, not believed."""

from __future__ import annotations

import polars as pl

from ...chem.formula import ELECTRON, parse_formula
from ...errors import ChemistryError
from ..identities import identities
from ..store import home
from .outcome import Outcome, change, drop, with_flag

MISMATCH = "inchikey-mismatch"
# What `identify` found, beside the schema's columns while the rules run.
FOUND = {"canonical": "_smiles", "inchikey14": "_inchikey14", "formula": "_formula"}


def require_structure(frame: pl.DataFrame) -> Outcome:
    """A SMILES is given."""
    return drop(frame, pl.col("smiles").is_null() | (pl.col("smiles").str.strip_chars() == ""), "no SMILES")


def require_readable_structure(frame: pl.DataFrame) -> Outcome:
    """A SMILES that is given parses, and has an InChIKey."""
    given = pl.col("smiles").str.strip_chars()
    frame = frame.with_columns(pl.when(given != "").then(given).alias("smiles"))
    table = identities(frame.get_column("smiles").drop_nulls().unique(), cache=home() / "cache")
    # RDKit takes the electrons off the mass of a charged molecule; adducts count them, so they are put back here
    mass = (pl.col("exact_mass") + pl.col("charge") * ELECTRON).round(11)  # beyond lies the order of summation
    found = [pl.col(old).alias(new) for old, new in FOUND.items()]
    columns = ["smiles", *found, mass.alias("_mass"), pl.col("problem").alias("_problem")]
    joined = frame.join(table.select(columns), on="smiles", how="left", maintain_order="left")
    outcome = drop(joined, pl.col("_problem").is_not_null(), pl.col("_problem"))
    return Outcome(_with_formula_mass(outcome.frame.drop("_problem")), dropped=outcome.dropped)


def _with_formula_mass(frame: pl.DataFrame) -> pl.DataFrame:
    """Without a structure, the stated formula still gives a mass."""
    lone = frame.filter(pl.col("_mass").is_null()).get_column("formula").drop_nulls().unique().to_list()
    masses: dict[str, float] = {}
    for text in lone:
        try:
            masses[text] = parse_formula(text).mass
        except ChemistryError:
            continue
    if not masses:
        return frame
    mass = pl.col("formula").replace_strict(list(masses), list(masses.values()), default=None, return_dtype=pl.Float64)
    return frame.with_columns(pl.coalesce("_mass", mass).alias("_mass"))


def repair_inchikey14(frame: pl.DataFrame) -> Outcome:
    """InChIKey-14 is recomputed from the SMILES; where the stated one differs it is replaced and flagged."""
    stated = pl.col("inchikey14").str.slice(0, 14)
    if "inchikey" in frame.columns:
        stated = pl.coalesce(stated, pl.col("inchikey").str.extract(r"([A-Z]{14})-[A-Z]{10}", 1))
    frame = frame.with_columns(stated.alias("inchikey14"))
    where = pl.col("_inchikey14").is_not_null() & (pl.col("inchikey14") != pl.col("_inchikey14"))
    reason = pl.format("stated {}, the SMILES gives {}", pl.col("inchikey14"), pl.col("_inchikey14"))
    outcome = change(with_flag(frame, where, MISMATCH), where, reason)
    return Outcome(outcome.frame, changed=outcome.changed)


def derive_identity(frame: pl.DataFrame) -> Outcome:
    """Canonical SMILES and InChIKey-14 from the structure. Counts rows that did not state these."""
    known = pl.col("_smiles").is_not_null()
    where = known & ((pl.col("smiles") != pl.col("_smiles")) | pl.col("inchikey14").is_null())
    outcome = change(frame, where, pl.lit("SMILES was ") + pl.col("smiles"))
    both = [pl.coalesce(f"_{name}", name).alias(name) for name in ("smiles", "inchikey14")]
    full = frame.with_columns(both)
    return Outcome(full.drop("_smiles", "_inchikey14"), changed=outcome.changed)


def repair_formula(frame: pl.DataFrame) -> Outcome:
    """Formula from the structure; counts where another one, or none, was stated (brackets and charge aside)."""
    plain = pl.coalesce(pl.col("formula").str.extract(r"^\[([^\]]+)\]"), pl.col("formula").str.strip_chars_end("+-"))
    frame = frame.with_columns(plain.alias("formula"))
    where = pl.col("_formula").is_not_null() & pl.col("formula").ne_missing(pl.col("_formula"))
    reason = pl.format("stated {}, the SMILES gives {}", pl.col("formula").fill_null("none"), pl.col("_formula"))
    outcome = change(frame, where, reason, pl.col("_formula").alias("formula"))
    return Outcome(outcome.frame.drop("_formula"), changed=outcome.changed)
