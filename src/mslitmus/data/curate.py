"""Curation: named rules in a fixed order, each counted in the ledger. Nothing is dropped silently.

Verbs say what a rule may do: `require_` and `drop_` leave rows out, `derive_` and `repair_` change values, `mark_`
adds a flag.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import polars as pl

from ..errors import DataError, SchemaError, unknown_name
from ..schemas import SPECTRA, conform
from .ledger import Ledger, LedgerEntry
from .rules import peaks, precursor, records, structure
from .rules.outcome import Outcome

Rule = Callable[[pl.DataFrame], Outcome]

#: Every rule by name, in the order in which they run.
RULES: dict[str, Rule] = {
    rule.__name__: rule
    for rule in (
        records.repair_identifiers,
        records.mark_unread_adducts,
        records.mark_charge_conflicts,
        records.derive_ms_level,
        records.require_ms2,
        records.require_finite_peaks,
        structure.require_structure,
        structure.require_readable_structure,
        structure.repair_inchikey14,
        structure.derive_identity,
        structure.repair_formula,
        precursor.mark_unit_resolution,
        precursor.derive_adduct,
        precursor.derive_precursor_mz,
        precursor.require_precursor_mz,
        precursor.require_adduct_fits_ion_mode,
        precursor.require_precursor_agrees,
        precursor.derive_parent_mass,
        precursor.derive_precursor_formula,
        precursor.derive_fragmentation,
        precursor.derive_collision_energy,
        peaks.repair_peaks,
        peaks.require_fragment,
        peaks.mark_conflicting_labels,
        peaks.mark_duplicates,
        peaks.drop_conflicting_labels,
        peaks.drop_duplicates,
    )
}
#: Rules that run only where a catalogue entry or caller asks for them.
OPTIONAL = ("require_structure", "drop_conflicting_labels", "drop_duplicates")
DEFAULT_RULES = tuple(name for name in RULES if name not in OPTIONAL)
#: A library of identified molecules: every spectrum has its structure.
LIBRARY_RULES = tuple(name for name in RULES if name not in OPTIONAL[1:])
# Later rules use columns that these add.
_ALWAYS = ("require_readable_structure", "repair_inchikey14", "derive_identity", "repair_formula")


def curate(
    frame: pl.DataFrame, rules: Sequence[str] | None = None, progress: Callable[[str], None] | None = None
) -> tuple[pl.DataFrame, Ledger]:
    """Run `rules` (default `DEFAULT_RULES`) over a harmonised frame, always in the order of `RULES`.

    Args:
        frame: SPECTRA columns plus raw extras, as `spectra.formats.read` returns it.
        rules: names out of `RULES`; those that give the molecule its identity run in any case.
        progress: told the name of each rule before it runs.

    Returns:
        the curated spectra in schema SPECTRA, and the ledger, one entry a rule.

    Raises:
        DataError: a rule that leaves nothing. ConfigError: a rule that does not exist. SchemaError: a column of the
        schema that does not cast, or unequally many m/z and intensities.
    """
    chosen = DEFAULT_RULES if rules is None else tuple(rules)
    for name in chosen:
        if name not in RULES:
            raise unknown_name("rule", name, RULES)
    current = _with_all_columns(frame)
    entries: list[LedgerEntry] = []
    for name, rule in RULES.items():
        if name not in chosen and name not in _ALWAYS:
            continue
        if progress:
            progress(name)
        outcome = rule(current)
        entries.append(outcome.entry(name, current.height, _note(rule)))
        if outcome.frame.is_empty() and not current.is_empty():
            why = "; ".join(entries[-1].examples[:2])
            raise DataError(
                f"{name} leaves none of {current.height:,} spectra ({why})",
                remedy=f"the records must keep the rule: {_note(rule)}",
            )
        current = outcome.frame
    return conform(current), Ledger(entries)


def _note(rule: Rule) -> str:
    return " ".join((rule.__doc__ or "").split("\n\n")[0].split())


def _with_all_columns(frame: pl.DataFrame) -> pl.DataFrame:
    """Every schema column present and typed, so that rules need not ask; extras stay."""
    absent = [pl.lit(None, dtype=dtype).alias(name) for name, dtype in SPECTRA.items() if name not in frame.columns]
    empty = pl.lit([], dtype=pl.List(pl.String))
    other = [pl.col(name).cast(dtype) for name, dtype in SPECTRA.items() if frame.schema.get(name, dtype) != dtype]
    try:
        full = frame.with_columns(*absent, *other).with_columns(pl.col("flags").fill_null(empty))
    except pl.exceptions.PolarsError as error:
        raise SchemaError(f"a column does not cast: {error}", remedy="see docs/schema.md for the types") from error
    sizes = [pl.col(name).list.len().fill_null(0) for name in ("mzs", "intensities")]
    if (bad := full.filter(sizes[0] != sizes[1])).height:
        where = f"spectrum {bad['identifier'][0]}"
        raise SchemaError("unequally many m/z and intensities", where=where, remedy="repair the peak list")
    return full


__all__ = ["DEFAULT_RULES", "LIBRARY_RULES", "OPTIONAL", "RULES", "Ledger", "LedgerEntry", "curate"]
