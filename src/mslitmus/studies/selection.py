"""Which records of a dataset take part in a study: each filter counted, none silent."""

from __future__ import annotations

from hashlib import blake2b

import polars as pl

from ..data.ledger import Ledger, LedgerEntry
from ..data.store import Dataset, keep_licenses
from ..errors import ConfigError, DataError
from ..tasks.protocol import Task
from .config import DataConfig


def select(dataset: Dataset, data: DataConfig, task: Task) -> tuple[pl.DataFrame, Ledger]:
    """The study's rows and a ledger of what was left out. Raises DataError if nothing is left."""
    frame, entries = dataset.frame(), []
    if data.licenses is not None:
        kept = keep_licenses(frame, data.licenses)
        entries.append(entry("keep_license", frame, kept))
        frame = kept
    steps: list[tuple[str, pl.Expr]] = []
    for column, values in (
        ("ion_mode", data.ion_modes),
        ("adduct", data.adducts),
        ("instrument_type", data.instrument_types),
        ("collision_energy_kind", data.energy_kinds),
    ):
        if values is not None:
            steps.append((f"keep_{column}", pl.col(column).is_in(values, nulls_equal=True)))
    steps += [(f"require_{column}", pl.col(column).is_not_null()) for column in data.require]
    if data.max_precursor_mz is not None:
        steps.append(("keep_precursor_mz_below", pl.col("precursor_mz") <= data.max_precursor_mz))
    if data.simulation_challenge is not None:
        steps.append(("keep_simulation_challenge", pl.col("simulation_challenge") == data.simulation_challenge))
    steps.append(("keep_min_peaks", pl.col("mzs").list.len() >= data.min_peaks))
    flagged = pl.col("flags").list
    steps += [(f"exclude_{flag}", ~flagged.contains(flag).fill_null(False)) for flag in data.exclude_flags]
    eligible = task.eligible(frame)
    entries.append(entry(f"eligible_for_{task.name}", frame, eligible))
    frame = eligible
    for rule, keep in steps:
        kept = frame.filter(keep.fill_null(False))
        entries.append(entry(rule, frame, kept))
        frame = kept
    if data.held_out_by is not None:
        kept = frame.join(_unseen(data.held_out_by), on="inchikey14", how="anti", maintain_order="left")
        entries.append(entry("leave_out_held_out", frame, kept))
        frame = kept
    if data.max_spectra_per_molecule is not None:
        kept = at_most(frame, data.max_spectra_per_molecule)
        entries.append(entry("keep_max_spectra_per_molecule", frame, kept))
        frame = kept
    if frame.is_empty():
        empty = next(e.rule for e in entries if e.dropped == e.rows_in)
        raise DataError(
            f"no record of {dataset.name!r} is left after {empty}", where="data", remedy="widen the filters"
        )
    return frame, Ledger(tuple(entries))


def _unseen(reference: str) -> pl.DataFrame:
    """InChIKey-14 of what a study holds out, validation and test of every split. Raises ConfigError."""
    from .files import find, load
    from .held_out import held_out  # which selects the records of that study itself

    study = load(find(reference))
    if study.data.held_out_by is not None:
        what = f"{reference} itself leaves out what {study.data.held_out_by} holds out"
        raise ConfigError(what, where="data.held_out_by", remedy="name that study, or one that leaves nothing out")
    return held_out([study]).molecules.select("inchikey14").drop_nulls().unique()


def at_most(frame: pl.DataFrame, limit: int | None) -> pl.DataFrame:
    """At most `limit` spectra a molecule, drawn by a hash of the identifier; all of them where `limit` is None."""
    if limit is None:
        return frame
    place = (
        frame.select("inchikey14", _lots(frame["identifier"]))
        .select(pl.col("lot").rank("ordinal").over("inchikey14"))
        .to_series()
    )
    return frame.filter(place <= limit)


def few_molecules(frame: pl.DataFrame, limit: int | None) -> pl.DataFrame:
    """The spectra of at most `limit` molecules, drawn by a hash of the InChIKey-14; all where `limit` is None."""
    if limit is None:
        return frame
    return frame.filter(_lots(frame["inchikey14"]).rank("dense") <= limit)


def _lots(names: pl.Series) -> pl.Series:
    """A hash of each name: their order is a draw that does not depend on what else is there."""
    lots = [blake2b(name.encode(), digest_size=8).digest() for name in names]
    return pl.Series("lot", lots, dtype=pl.Binary)


def entry(rule: str, before: pl.DataFrame, after: pl.DataFrame, note: str = "study filter") -> LedgerEntry:
    examples: list[str] = []
    if after.height < before.height:
        examples = before.join(after.select("identifier"), on="identifier", how="anti")["identifier"].head(5).to_list()
    return LedgerEntry(
        rule=rule,
        rows_in=before.height,
        dropped=before.height - after.height,
        changed=0,
        marked=0,
        examples=examples,
        note=note,
    )
