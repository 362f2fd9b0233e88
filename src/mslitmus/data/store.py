"""The store of curated datasets: one folder a dataset under `MSLITMUS_HOME`, superseded and never edited.

    <home>/datasets/<name>/      spectra.parquet  dataset.json  ledger.json
    <home>/datasets/<name>@<n>/  an older revision, loadable by that name

A save writes a folder of its own and moves it into place, so that a kill at any moment leaves the old dataset or the
new one.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import polars as pl

from .. import __version__
from ..errors import DataError
from ..provenance import now, table_hash, write_json, write_parquet
from ..schemas import SPECTRA, conform
from .ledger import Ledger

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_LONGEST_NAME = 100
_BETWEEN_RENAMES, _DAY = 0.05, 86_400.0  # s
_FILES = ("spectra.parquet", "dataset.json", "ledger.json")


def home() -> Path:
    """Folder of everything mslitmus keeps: the environment variable MSLITMUS_HOME, else ~/.cache/mslitmus."""
    stated = os.environ.get("MSLITMUS_HOME")
    return Path(stated).expanduser() if stated else Path.home() / ".cache" / "mslitmus"


@dataclass(frozen=True)
class Dataset:
    """A curated dataset on disk. `info` is dataset.json; spectra are read when asked for."""

    name: str
    info: Mapping[str, Any]
    folder: Path = field(repr=False)

    @property
    def hash(self) -> str:
        """Hash of the spectra table's contents (`provenance.table_hash`)."""
        return str(self.info["hash"])

    @property
    def simulated(self) -> bool:
        return bool(self.info.get("simulated", False))

    @property
    def ledger(self) -> Ledger:
        return Ledger.from_json((self.folder / "ledger.json").read_text(encoding="utf-8"))

    def frame(self, licenses: Iterable[str] | None = None) -> pl.DataFrame:
        """The spectra, schema `SPECTRA`. With `licenses`, only rows under one of them (case does not matter).

        They are those of `hash`, also where a later import has taken the name meanwhile. Raises DataError for a licence
        that no row of the dataset carries, and for a file that is gone or cannot be read.
        """
        path = _with_hash(self.folder, self.hash) / "spectra.parquet"
        try:
            spectra = pl.read_parquet(path)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise DataError(
                f"the spectra cannot be read: {error}", where=str(path), remedy=f"import {self.name} again"
            ) from error
        return spectra if licenses is None else keep_licenses(spectra, licenses)


def keep_licenses(spectra: pl.DataFrame, licenses: Iterable[str]) -> pl.DataFrame:
    """Rows under one of `licenses`; `unstated` keeps rows that name none. Raises DataError for an unknown licence."""
    column = pl.col("license").fill_null("unstated")
    known = {str(name): int(n) for name, n in spectra.select(column).to_series().value_counts().rows()}
    by_key: dict[str, list[str]] = {}  # one licence may stand under several spellings, CC BY and CC-BY
    for name in known:
        by_key.setdefault(_license_key(name), []).append(name)
    wanted = []
    for license_name in [licenses] if isinstance(licenses, str) else licenses:
        key = _license_key(license_name)
        if key not in by_key:
            close = get_close_matches(key, by_key, n=1)
            hint = f"did you mean {by_key[close[0]][0]!r}? " if close else ""
            listing = ", ".join(
                f"{name} ({n:,})" for name, n in sorted(known.items(), key=lambda item: (-item[1], item[0]))
            )
            raise DataError(f"no spectrum has licence {license_name!r}", remedy=f"{hint}licences here: {listing}")
        wanted += by_key[key]
    return spectra.filter(column.is_in(wanted))


def _license_key(text: str) -> str:
    return re.sub(r"[\s_-]+", " ", text).strip().casefold()


def names() -> list[str]:
    """Names of the datasets here, sorted; older revisions (`name@n`) not among them."""
    folder = home() / "datasets"
    if not folder.is_dir():
        return []
    stems = {entry.name.partition("@")[0] for entry in folder.iterdir() if not entry.name.startswith(".")}
    return sorted(stem for stem in stems if _complete(_restore(folder / stem)))


def load(name: str) -> Dataset:
    """The dataset of this name, or of an older revision, `name@n`. Raises DataError if absent or damaged."""
    folder = home() / "datasets" / name
    check_name(name.partition("@")[0])
    if not _complete(_restore(folder)):
        if folder.is_dir():
            absent = ", ".join(f for f in _FILES if not (folder / f).is_file())
            raise DataError(
                f"dataset {name!r} is damaged, absent: {absent}", where=str(folder), remedy="import it again"
            )
        raise DataError(f"no dataset {name!r} in {home()}", remedy=_how_to_get(name))
    return Dataset(name, _info(folder), folder)


def _how_to_get(name: str) -> str:
    """What to do about a dataset that is not here: a misspelt name, one of the catalogue, or a file of one's own."""
    from .catalogue import OWN, entries  # above the store in what it needs, and asked for in an error only

    bare, offered = name.partition("@")[0], [each for each in entries() if each != OWN]
    if bare in offered:
        return f"`mslitmus data get {bare}` downloads it, `mslitmus data add {bare} --from PATH` imports a copy"
    known = sorted({*names(), "simulated", *offered})
    close = get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(map(repr, close))}?" if close else f"here: {', '.join(names()) or 'none'};"
    return f"{hint} `mslitmus data list` shows what can be had, `mslitmus data add file --from PATH` imports your own"


def _info(folder: Path) -> dict[str, Any]:
    """dataset.json. Raises DataError where it is no JSON or lacks what every dataset has."""
    try:
        info = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
        absent = [key for key in ("hash", "revision", "counts", "licenses", "distributions") if key not in info]
    except (ValueError, TypeError) as error:
        raise DataError(f"dataset.json is damaged: {error}", where=str(folder), remedy="import it again") from error
    if absent:
        raise DataError(f"dataset.json lacks {', '.join(absent)}", where=str(folder), remedy="import it again")
    return dict(info)


def save(name: str, frame: pl.DataFrame, ledger: Ledger, info: Mapping[str, Any]) -> Dataset:
    """Store curated spectra under `name`. Other contents already there become the revision `name@n`.

    Counts, licences, hash, revision, date and version are added to `info`. A damaged dataset of that name is set aside
    as a revision. Raises SchemaError for a table that does not keep the contract, DataError for identifiers that
    repeat, an empty table, or a disk that refuses.
    """
    check_name(name)
    spectra = conform(frame, SPECTRA, where=name)
    if spectra.is_empty():
        raise DataError(f"nothing to store as {name!r}: no spectrum is left", remedy="look at the ledger of the import")
    if (
        repeated := spectra.filter(pl.col("identifier").is_duplicated())
        .get_column("identifier")
        .unique()
        .head(3)
        .to_list()
    ):
        raise DataError(f"identifiers repeat: {', '.join(map(repr, repeated))}", where=name, remedy="make them unique")
    folder = home() / "datasets" / name
    _restore(folder)
    digest = table_hash(spectra)
    try:
        old = _sound(name) if folder.is_dir() and _complete(folder) else None
        revision = 1 if old is None else int(old.info["revision"]) + (old.hash != digest)
        full = dict(info) | summarise(spectra) | {"name": name, "hash": digest, "revision": revision}
        full |= {"saved": now(), "mslitmus": __version__}
        _write(folder, spectra, ledger, full, old)
    except OSError as error:
        raise DataError(
            f"cannot write: {error}", where=str(folder), remedy="free some space, or set MSLITMUS_HOME"
        ) from error
    return Dataset(name, full, folder)


def _with_hash(folder: Path, digest: str) -> Path:
    """This folder, or the revision of it that holds these contents."""
    for place in (folder, *_revisions(folder)):
        with contextlib.suppress(OSError, DataError):  # moved or damaged: not the one
            if _info(place)["hash"] == digest:
                return place
    raise DataError(f"contents {digest} are gone", where=str(folder), remedy="load the dataset again")


def _sound(name: str) -> Dataset | None:
    """The dataset, or none where it is damaged: what the advice `import it again` meets."""
    try:
        return load(name)
    except DataError:
        return None


def _write(folder: Path, spectra: pl.DataFrame, ledger: Ledger, info: Mapping[str, Any], old: Dataset | None) -> None:
    temporary = folder.with_name(f".{folder.name}.tmp{os.getpid()}")
    for left in (temporary, *_abandoned(folder)):
        shutil.rmtree(left, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        write_parquet(temporary / "spectra.parquet", spectra)
        write_json(temporary / "ledger.json", ledger.to_json())
        write_json(temporary / "dataset.json", info)
        if folder.is_dir():
            aside = folder.with_name(f"{folder.name}@{_free_revision(folder, old)}")
            os.replace(folder, aside)  # a kill here: `_restore` puts it back
            os.replace(temporary, folder)
            if old is not None and old.hash == info["hash"]:
                shutil.rmtree(aside)
        else:
            os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _abandoned(folder: Path) -> list[Path]:
    """What killed saves of this name left behind, a day old or more, so that no save under way is meant."""
    found = folder.parent.glob(f".{folder.name}.tmp*")
    return [path for path in found if time.time() - path.stat().st_mtime > _DAY]


def _free_revision(folder: Path, old: Dataset | None) -> int:
    number = int(old.info["revision"]) if old else 0
    while folder.with_name(f"{folder.name}@{number}").exists():
        number += 1
    return number


def _restore(folder: Path) -> Path:
    """Undo a save that was killed between its two renames: the newest complete revision takes the name again."""
    if not folder.exists() and (complete := [p for p in _revisions(folder) if _complete(p)]):
        time.sleep(_BETWEEN_RENAMES)  # another process may be at it just now
        if not folder.exists():
            with contextlib.suppress(OSError):  # it was quicker
                os.replace(complete[0], folder)
    return folder


def _revisions(folder: Path) -> list[Path]:
    """`name@n` beside `name`, the newest first; none of a name that is a revision itself."""
    if "@" in folder.name or not folder.parent.is_dir():
        return []
    found = [p for p in folder.parent.glob(f"{folder.name}@*") if p.name.partition("@")[2].isdigit()]
    return sorted(found, key=lambda p: int(p.name.partition("@")[2]), reverse=True)


def _complete(folder: Path) -> bool:
    return all((folder / name).is_file() for name in _FILES)


def summarise(spectra: pl.DataFrame) -> dict[str, Any]:
    """Counts that `data list` and `data show` print without reading the spectra."""

    def counts(column: str) -> dict[str, int]:
        values = spectra.get_column(column).fill_null("unstated").value_counts(sort=True)
        return {str(value): int(n) for value, n in values.rows()}

    flags = spectra.get_column("flags").explode().drop_nulls().value_counts(sort=True)
    columns = ("license", "source", "instrument_type", "adduct", "ion_mode", "collision_energy_kind")
    return {
        "counts": {
            "spectra": spectra.height,
            "molecules": spectra.get_column("inchikey14").drop_nulls().n_unique(),
            "peaks": int(spectra.get_column("mzs").list.len().sum()),
        },
        "licenses": counts("license"),
        "distributions": {column: counts(column) for column in columns},
        "flags": {str(flag): int(n) for flag, n in flags.rows()},
        "simulated": bool((spectra.get_column("flags").list.contains("simulated")).any()),
    }


def check_name(name: str) -> None:
    """Raises DataError for what cannot be the name of a dataset."""
    if not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
        shown = name if len(name) <= _LONGEST_NAME else f"{name[:20]}…"
        remedy = f"use up to {_LONGEST_NAME} letters, digits, dot, dash and underscore, e.g. my-lib"
        raise DataError(f"not a dataset name: {shown!r}", remedy=remedy)
