"""Rules on the ion: adduct, precursor m/z, structure and ion mode agree; what follows from the others is derived."""

from __future__ import annotations

import polars as pl

from ...chem.formula import ELECTRON, parse_adduct, parse_formula
from ...errors import ChemistryError
from ...spectra.energy import with_energies
from ...spectra.instruments import classify
from .outcome import Outcome, change, drop, mark, touched, with_flag

PPM, DALTON, UNIT_DALTON = 10.0, 0.01, 0.5
#: Adducts that `derive_adduct` considers.
COMMON = (
    "[M+H]+", "[M+Na]+", "[M+NH4]+", "[M+K]+", "[M+H-H2O]+", "[M]+",
    "[M-H]-", "[M+CHO2]-", "[M+C2H3O2]-", "[M+Cl]-",
)  # fmt: skip
UNIT_RESOLUTION, INFERRED = "unit-resolution", "adduct-inferred"
_UNIT_INSTRUMENTS = ("IonTrap", "QqQ")


def _table(names: list[str]) -> pl.DataFrame:
    """Adduct → molecules, mass added (Da, electrons aside), charge."""
    adducts = [parse_adduct(name) for name in names]
    return pl.DataFrame(
        {
            "adduct": names,
            "_molecules": [a.molecules for a in adducts],
            "_delta": [a.delta.mass - a.charge * ELECTRON for a in adducts],
            "_z": [a.charge for a in adducts],
        },
        schema={"adduct": pl.String, "_molecules": pl.Int64, "_delta": pl.Float64, "_z": pl.Int64},
    )


def with_expected(frame: pl.DataFrame) -> pl.DataFrame:
    """Adds `_expected`, the m/z of structure and adduct (null where one lacks), `_molecules`, `_delta` and `_z`."""
    names = frame.get_column("adduct").drop_nulls().unique().sort().to_list()
    joined = frame.drop([c for c in ("_expected", "_molecules", "_delta", "_z") if c in frame.columns])
    joined = joined.join(_table(names), on="adduct", how="left", maintain_order="left")
    expected = (pl.col("_molecules") * pl.col("_mass") + pl.col("_delta")) / pl.col("_z").abs()
    return joined.with_columns(expected.alias("_expected"))


def mark_unit_resolution(frame: pl.DataFrame) -> Outcome:
    """Unit mass resolution: a triple quadrupole or ion trap detected, or no m/z has a second decimal."""
    tenths = pl.col("mzs").list.eval((pl.element() * 10 - (pl.element() * 10).round()).abs() < 1e-5).list.all()
    where = pl.col("instrument_type").is_in(_UNIT_INSTRUMENTS) | (tenths & (pl.col("mzs").list.len() > 0))
    reason = pl.format("{}, first m/z {}", pl.col("instrument_type").fill_null("unknown"), pl.col("mzs").list.first())
    return mark(frame, where, UNIT_RESOLUTION, reason)


def derive_adduct(frame: pl.DataFrame) -> Outcome:
    """No adduct stated, and precursor m/z agrees with exactly one common adduct of the structure: that one."""
    open_rows = (
        frame.filter(pl.col("adduct").is_null() & pl.col("_mass").is_not_null() & pl.col("precursor_mz").is_not_null())
        .select("identifier", "_mass", "precursor_mz", "ion_mode", unit=pl.col("flags").list.contains(UNIT_RESOLUTION))
        .filter(~pl.col("unit"))
    )
    crossed = open_rows.join(_table(list(COMMON)).rename({"adduct": "_adduct"}), how="cross")
    mode = pl.when(pl.col("_z") > 0).then(pl.lit("positive")).otherwise(pl.lit("negative"))
    close = (pl.col("_mass") + pl.col("_delta") - pl.col("precursor_mz")).abs() <= _tolerance()
    fits = crossed.filter(close & (pl.col("ion_mode").is_null() | (pl.col("ion_mode") == mode)))
    single = fits.filter(pl.len().over("identifier") == 1).select("identifier", "_adduct", pl.col("_z").alias("_new_z"))
    joined = frame.join(single, on="identifier", how="left", maintain_order="left")
    where = pl.col("_adduct").is_not_null()
    by_charge = pl.when(pl.col("_new_z") > 0).then(pl.lit("positive")).otherwise(pl.lit("negative"))
    outcome = change(
        with_flag(joined, where, INFERRED),
        where,
        pl.format("m/z {} is {}", pl.col("precursor_mz"), pl.col("_adduct")),
        pl.col("_adduct").alias("adduct"),
        pl.col("_new_z").cast(pl.Int8).alias("charge"),
        pl.coalesce("ion_mode", by_charge).alias("ion_mode"),
    )
    return Outcome(outcome.frame.drop("_adduct", "_new_z"), changed=outcome.changed)


def derive_precursor_mz(frame: pl.DataFrame) -> Outcome:
    """No precursor m/z stated, but structure and adduct: theirs. Not for a salt or hydrate: which part flew is open."""
    one_part = ~pl.col("smiles").str.contains(".", literal=True)
    where = pl.col("precursor_mz").is_null() & pl.col("_expected").is_not_null() & one_part
    reason = pl.format("{} → m/z {}", pl.col("adduct"), pl.col("_expected").round(4))
    return change(with_expected(frame), where, reason, pl.col("_expected").alias("precursor_mz"))


def require_precursor_mz(frame: pl.DataFrame) -> Outcome:
    """A precursor m/z is stated or derived."""
    bad = pl.col("precursor_mz").is_null() | ~pl.col("precursor_mz").is_finite() | (pl.col("precursor_mz") <= 0)
    return drop(frame, bad, pl.lit("no precursor m/z, adduct ") + pl.col("adduct").fill_null("unknown"))


def require_adduct_fits_ion_mode(frame: pl.DataFrame) -> Outcome:
    """The adduct's charge has the sign of the ion mode."""
    sign = pl.when(pl.col("ion_mode") == "negative").then(-1).when(pl.col("ion_mode") == "positive").then(1)
    wrong = pl.col("adduct").is_not_null() & (pl.col("charge").sign() != sign)
    return drop(frame, wrong, pl.format("{} in {} mode", pl.col("adduct"), pl.col("ion_mode")))


def require_precursor_agrees(frame: pl.DataFrame) -> Outcome:
    """Precursor m/z agrees with structure and adduct: 10 ppm or 0.01 Da, the larger; 0.5 Da at unit resolution."""
    frame = with_expected(frame)
    unit = pl.col("flags").list.contains(UNIT_RESOLUTION)
    tolerance = pl.when(unit).then(UNIT_DALTON).otherwise(_tolerance())
    difference = pl.col("precursor_mz") - pl.col("_expected")
    reason = pl.format(
        "m/z {} stated, {} of structure and {} ({} Da)",
        pl.col("precursor_mz"), pl.col("_expected").round(4), pl.col("adduct"), difference.round(4),
    )  # fmt: skip
    return drop(frame, difference.abs() > tolerance, reason)


def _tolerance() -> pl.Expr:
    return pl.max_horizontal(pl.col("precursor_mz") * PPM * 1e-6, pl.lit(DALTON))


def derive_parent_mass(frame: pl.DataFrame) -> Outcome:
    """Neutral monoisotopic mass from the structure, else from precursor m/z and adduct; counts new and corrected."""
    frame = with_expected(frame)
    neutral = (pl.col("precursor_mz") * pl.col("_z").abs() - pl.col("_delta")) / pl.col("_molecules")
    frame = frame.with_columns(pl.coalesce("_mass", neutral).alias("_parent"))
    wrong = (pl.col("parent_mass") - pl.col("_parent")).abs() > DALTON
    where = pl.col("_parent").is_not_null() & (pl.col("parent_mass").is_null() | wrong)
    stated = pl.col("parent_mass").cast(pl.String).fill_null("none")
    changed = touched(frame, where, pl.format("stated {}, computed {}", stated, pl.col("_parent").round(4)))
    full = frame.with_columns(pl.coalesce("_parent", "parent_mass").alias("parent_mass"))
    return Outcome(full.drop("_parent"), changed=changed)


def derive_precursor_formula(frame: pl.DataFrame) -> Outcome:
    """Formula of the ion from formula and adduct, once per distinct pair; none where the adduct takes what it lacks, or
    the structure is isotopically labelled, which a formula here does not say."""
    pairs = frame.select("formula", "adduct").drop_nulls().unique(maintain_order=True)
    ions = [_ion(*pair) for pair in pairs.rows()]
    table = pairs.with_columns(pl.Series("_ion", ions, dtype=pl.String))
    joined = frame.join(table, on=["formula", "adduct"], how="left", maintain_order="left")
    labelled = pl.col("smiles").str.contains(r"\[\d").fill_null(False)
    where = pl.col("_ion").is_not_null() & ~labelled & pl.col("precursor_formula").ne_missing(pl.col("_ion"))
    outcome = change(joined, where, pl.col("_ion"), pl.col("_ion").alias("precursor_formula"))
    return Outcome(outcome.frame.drop("_ion"), changed=outcome.changed)


def _ion(formula: str, adduct: str) -> str | None:
    try:
        return str(parse_adduct(adduct).ion_formula(parse_formula(formula)))
    except ChemistryError:
        return None


def derive_fragmentation(frame: pl.DataFrame) -> Outcome:
    """No fragmentation mode stated, and the instrument knows one only: that one (Q Exactive HCD, QTOF and QqQ CID)."""
    written = "instrument_type_raw" if "instrument_type_raw" in frame.columns else "instrument_type"
    keys = [written, "instrument"]
    distinct = frame.select(keys).unique(maintain_order=True)
    sole = pl.Series("_sole", [classify(*row).fragmentation for row in distinct.rows()], dtype=pl.String)
    joined = frame.join(distinct.with_columns(sole), on=keys, how="left", nulls_equal=True, maintain_order="left")
    where = pl.col("fragmentation").is_null() & pl.col("_sole").is_not_null()
    reason = pl.format("{} does {} only", pl.col("instrument_type"), pl.col("_sole"))
    outcome = change(joined, where, reason, pl.col("_sole").alias("fragmentation"))
    return Outcome(outcome.frame.drop("_sole"), changed=outcome.changed)


def derive_collision_energy(frame: pl.DataFrame) -> Outcome:
    """Energies in eV that waited for a precursor m/z or charge derived by the rules above."""
    new = with_energies(frame)
    before, after = frame.get_column("collision_energy"), new.get_column("collision_energy")
    filled = before.is_null() & after.is_not_null()
    changed = touched(new.with_columns(filled.alias("_filled")), pl.col("_filled"), pl.col("collision_energy_raw"))
    return Outcome(new, changed=changed)
