"""From a catalogue entry or a file to a stored dataset: find the file, read, curate, save."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from ..errors import DataError, FormatError
from ..lineage import SIMULATION, hash_of
from ..provenance import file_hash, now
from ..spectra import formats
from ..spectra.energy import energy_report, with_energies
from . import sirius, store
from .catalogue import OWN, Entry, entry
from .curate import curate
from .download import Progress, fetch
from .ledger import Ledger, LedgerEntry
from .rules.outcome import EXAMPLES

Say = Callable[[str], None]


@dataclass(frozen=True)
class Imported:
    """The stored dataset, and what could not be read."""

    dataset: store.Dataset
    errors: Sequence[FormatError]


def add(
    name: str,
    paths: Sequence[Path] = (),
    *,
    as_name: str | None = None,
    license: str | None = None,
    strict: bool = False,
    say: Say | None = None,
    progress: Progress | None = None,
) -> Imported:
    """Import a dataset of the catalogue, from local `paths` or by download.

    Args:
        name: of the catalogue; `file` for one's own, which needs `paths` and `as_name`.
        paths: local copies; none means download.
        as_name: name in the store, default the catalogue's.
        license: of records that state none.
        strict: stop at the first record that cannot be read, instead of counting it in the ledger.

    Raises:
        DataError, FormatError, ConfigError: nothing is stored then, what was stored before stays.
    """
    chosen = entry(name)
    target = as_name or (None if name == OWN else name)
    if target is None:
        raise DataError("a file of your own needs a name", remedy="add --as NAME, e.g. --as mylib")
    store.check_name(target)
    for path in paths:
        if not path.exists():
            raise DataError("no such file or folder", where=str(path), remedy="check the path after --from")
    if not paths and not chosen.files:
        raise DataError(f"{name!r} has nothing to download", remedy="give --from PATH")
    tell = say or (lambda _: None)
    local = list(paths) or download(chosen, say=tell, progress=progress)
    frame, errors, used = _read(local, chosen, "raise" if strict else "skip", tell)
    ledger = Ledger((_read_entry(frame, errors),))
    frame, ledger = _prepare(frame, chosen, license, ledger)
    tell(f"curating {frame.height:,} spectra")
    curated, rules = curate(frame, chosen.curation())
    info = _info(chosen, local, used, frame, curated)
    return Imported(store.save(target, curated, ledger.add(*rules), info), errors)


def download(chosen: Entry, say: Say | None = None, progress: Progress | None = None) -> list[Path]:
    """Every file of a catalogue entry, checked against its checksum."""
    paths = []
    for source in chosen.files:
        if say:
            say(f"downloading {source.name}")
        paths.append(fetch(source, progress))
    return paths


def _read(paths: Sequence[Path], chosen: Entry, on_error: str, say: Say) -> tuple[pl.DataFrame, list[FormatError], str]:
    frames, errors, used = [], [], []
    for path in paths:
        say(f"reading {path.name}")
        # by content, so that a local copy in another format is read too; SIRIUS exports come with a table of labels
        result = sirius.read(path, on_error) if chosen.format == "sirius" else formats.read(path, on_error=on_error)
        frames.append(result.frame)
        errors.extend(result.errors)
        used.append(result.format)
    frame = pl.concat([f for f in frames if f.width] or frames, how="diagonal_relaxed")
    if frame.is_empty():
        first = errors[0] if errors else FormatError("the file holds no record", where=str(paths[0]))
        raise DataError(f"no spectrum could be read: {first.message}", where=first.where, remedy=first.remedy)
    return frame, errors, "+".join(dict.fromkeys(used))


def _read_entry(frame: pl.DataFrame, errors: Sequence[FormatError]) -> LedgerEntry:
    examples = [f"{error.where or '?'}: {error.message}" for error in errors[:EXAMPLES]]
    note = "Records of the source; those that cannot be read are left out."
    return LedgerEntry("require_readable_record", frame.height + len(errors), len(errors), examples=examples, note=note)


def _prepare(frame: pl.DataFrame, chosen: Entry, license: str | None, ledger: Ledger) -> tuple[pl.DataFrame, Ledger]:
    """Defaults that the entry states for its records, and the subset of contributors it names."""
    for column, value in (("license", license or chosen.default_license), ("source", chosen.default_source)):
        if value and column in frame.columns:
            frame = frame.with_columns(pl.col(column).fill_null(value))
        elif value:
            frame = frame.with_columns(pl.lit(value).alias(column))
    if chosen.energy_unit:
        frame = with_energies(
            frame.drop(_ENERGY, strict=False).with_columns(collision_energy_unit=pl.lit(chosen.energy_unit))
        )
    if chosen.sources:
        kept = frame.filter(pl.col("source").is_in(chosen.sources))
        note = f"Contributor is {' or '.join(chosen.sources)}."
        ledger = ledger.add(LedgerEntry("require_source", frame.height, frame.height - kept.height, note=note))
        frame = kept
        if frame.is_empty():
            raise DataError(f"no record of {', '.join(chosen.sources)}", remedy="import the whole MassBank release")
    return frame, ledger


_ENERGY = ("collision_energy", "collision_energy_kind", "collision_energy_origin", "collision_energy_steps")


def _simulation(path: Path) -> dict[str, str]:
    """Where simulated spectra come from: models that learn them inherit from whoever predicted them (`lineage`)."""
    folder = (path if path.is_dir() else path.parent).resolve()
    if not (folder / SIMULATION).is_file():
        return {}
    return {"simulation": str(folder), "simulation_hash": hash_of(str(folder)) or ""}


def _info(chosen: Entry, paths: Sequence[Path], used: str, raw: pl.DataFrame, curated: pl.DataFrame) -> dict[str, Any]:
    """What dataset.json says beyond the counts: provenance, citation, and the energies before and after curation."""
    sources = [
        {"path": str(path.resolve()), "checksum": f"sha256:{file_hash(path)}" if path.is_file() else ""}
        | _simulation(path)
        for path in paths
    ]
    return {
        "title": chosen.title,
        "catalogue": chosen.name,
        "catalogue_revision": chosen.revision,
        "homepage": chosen.homepage,
        "citation": chosen.citation,
        "doi": chosen.doi,
        "license_note": chosen.license,
        "notes": chosen.notes,
        "format": used,
        "sources": sources,
        "urls": [source.url for source in chosen.files],
        "rules": list(chosen.curation()),
        "imported": now(),
        "energies": {"as read": energy_report(raw).to_dicts(), "curated": energy_report(curated).to_dicts()},
    }
