"""Rules on the record itself: identifier, MS level, intensities, and whether it holds a fragment at all."""

from __future__ import annotations

import polars as pl

from .outcome import Outcome, change, drop, mark

_HARD_IONISATION = r"(?i)^(ei|ci|fi|fd|fab|maldi|sims)\b"


def repair_identifiers(frame: pl.DataFrame) -> Outcome:
    """Every spectrum has an identifier of its own: absent ones are numbered, repeated ones get `#2`, `#3`, …"""
    row = pl.int_range(1, pl.len() + 1).cast(pl.String)
    named = frame.with_columns(
        pl.coalesce("identifier", pl.lit("spectrum-") + row).alias("identifier"),
        pl.col("identifier").alias("_old"),
    )
    while True:
        turn = pl.int_range(1, pl.len() + 1).over("identifier")
        unique = pl.when(turn > 1).then(pl.col("identifier") + "#" + turn.cast(pl.String)).otherwise("identifier")
        renamed = named.with_columns(unique.alias("identifier"))
        if renamed["identifier"].n_unique() == renamed.height:
            break
        named = renamed
    reason = pl.lit("was ") + pl.col("_old").fill_null("absent")
    outcome = change(renamed, pl.col("identifier").ne_missing(pl.col("_old")), reason)
    return Outcome(outcome.frame.drop("_old"), changed=outcome.changed)


def derive_ms_level(frame: pl.DataFrame) -> Outcome:
    """No MS level stated, but a precursor m/z or an adduct, and no hard ionisation: MS/MS."""
    soft = ~pl.col("ionization").fill_null("").str.contains(_HARD_IONISATION) if "ionization" in frame.columns else True
    precursor = pl.col("precursor_mz").is_not_null() | pl.col("adduct").is_not_null()
    where = pl.col("ms_level").is_null() & precursor & soft
    return change(frame, where, "MS level not stated, taken as 2", pl.lit(2, dtype=pl.Int8).alias("ms_level"))


def require_ms2(frame: pl.DataFrame) -> Outcome:
    """MS level 2. (`MSn` without a number counts as above 2.)"""
    level = pl.col("ms_level").cast(pl.String).fill_null("not known")
    return drop(frame, pl.col("ms_level").fill_null(0) != 2, pl.lit("MS level ") + level)


def require_finite_peaks(frame: pl.DataFrame) -> Outcome:
    """Every m/z is finite and positive, every intensity finite and not negative."""
    mz, intensity = pl.element(), pl.element()
    bad_mz = pl.col("mzs").list.eval(mz.is_null() | ~mz.is_finite() | (mz <= 0)).list.any()
    bad_intensity = (
        pl.col("intensities").list.eval(intensity.is_null() | ~intensity.is_finite() | (intensity < 0)).list.any()
    )
    reason = pl.when(bad_mz).then(pl.lit("an m/z that is not a positive number"))
    return drop(frame, bad_mz | bad_intensity, reason.otherwise(pl.lit("a negative or infinite intensity, or none")))


def mark_unread_adducts(frame: pl.DataFrame) -> Outcome:
    """The source states an adduct that cannot be read; it counts as unknown (marked by the readers)."""
    return mark(frame, pl.col("flags").list.contains("adduct-not-read"), "adduct-not-read", "adduct cannot be read")


def mark_charge_conflicts(frame: pl.DataFrame) -> Outcome:
    """The source states a charge that contradicts its adduct; the adduct wins (marked by the readers)."""
    return mark(frame, pl.col("flags").list.contains("charge-conflict"), "charge-conflict", pl.col("adduct"))
