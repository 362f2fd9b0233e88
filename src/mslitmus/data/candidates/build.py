"""Build a candidate set from molecule lists. A pool depends on its molecule, the lists and the settings alone, so a set
can be extended, and a build that was stopped goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

import polars as pl

from ...chem.molecule import RDKIT_VERSION
from ...errors import DataError
from ...provenance import write_parquet
from ...schemas import CANDIDATES
from . import calibrate, library, workers
from .filling import fill
from .lists import MoleculeList, own_forms
from .reference import Reference
from .sets import KINDS, CandidateSet, draw, first, home, in_hash_order

_VERSION = 3  # of the way pools are made; part of their hash
_PART = 16  # molecules


@dataclass(frozen=True)
class PoolSettings:
    """How a pool is made.

    Args:
        kind: `mass`, real candidates within `ppm` of the truth's monoisotopic mass; `formula`, of its formula.
        size: at most so many candidates, the truth included.
        ppm: half width of the mass window.
        fill: fill up with decoys where real candidates are fewer than `size`.
        min_real: a molecule with fewer real candidates, itself included, gets no pool.
    """

    kind: Literal["mass", "formula"] = "mass"
    size: int = 64
    ppm: float = 10.0
    fill: bool = True
    min_real: int = 1

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise DataError(f"no kind of candidates {self.kind!r}", remedy=f"use {' or '.join(KINDS)}")
        if self.size < 2 or self.min_real < 1 or not 0 < self.ppm < 1e5:
            remedy = "size from 2, min_real from 1, ppm above 0"
            raise DataError(f"a pool of size {self.size}, {self.ppm} ppm, {self.min_real} real ones", remedy=remedy)


def build(
    molecules: pl.DataFrame,
    lists: Sequence[MoleculeList],
    settings: PoolSettings | None = None,
    progress: Callable[[int, int], None] | None = None,
    *,
    name: str | None = None,
    processes: int = 2,
) -> CandidateSet:
    """Pools for `molecules` (inchikey14, smiles) from `lists` (the dataset's own list among them).

    Finished pools are kept in parts under the store, by lists and settings: a second call, with the same or more
    molecules, makes only what is absent. The set is not saved under its name; `CandidateSet.save` does that.

    Args:
        progress: called with (molecules done, molecules).
        name: default `<kind>-<size>`.

    Raises DataError for settings that cannot be and where no molecule has a pool.
    """
    chosen = settings or PoolSettings()
    reference = Reference.of(lists)
    source = {"reference": reference.hash, "like": lists[0].name, "rdkit": RDKIT_VERSION, "version": _VERSION}
    recipe = asdict(chosen) | source
    folder = home() / ".parts" / _digest(recipe)
    materials = home() / ".parts" / _digest(source)
    wanted = molecules.select("inchikey14", "smiles").drop_nulls().unique("inchikey14").sort("inchikey14")
    done = [part for part in _parts(folder) if part.height]
    seen = pl.concat([pl.Series("molecule", [], pl.String), *(part.get_column("molecule") for part in done)]).unique()
    missing = wanted.filter(~pl.col("inchikey14").is_in(seen.implode()))
    if progress is not None:
        progress(wanted.height - missing.height, wanted.height)
    if missing.height:
        folder.mkdir(parents=True, exist_ok=True)
        prepare(reference, lists[0].name, chosen, materials, processes)
        rows = missing.rows()
        chunks = [(folder, materials, chosen, rows[i : i + _PART]) for i in range(0, len(rows), _PART)]
        count = wanted.height - missing.height
        for chunk, made in zip(chunks, workers.apply(f"{__name__}:make_part", chunks, processes), strict=True):
            done.append(made)
            count += len(chunk[3])
            if progress is not None:
                progress(count, wanted.height)
    pools = pl.concat([pl.DataFrame(schema=CANDIDATES), *done])
    pools = pools.filter(pl.col("molecule").is_in(wanted.get_column("inchikey14").implode()))
    if pools.is_empty():
        raise DataError("no molecule has a pool", remedy="check that `molecules` has inchikey14 and smiles")
    described = recipe | {"lists": {each.name: each.hash for each in lists}}
    return CandidateSet.make(name or f"{chosen.kind}-{chosen.size}", chosen.kind, described, pools)


def prepare(reference: Reference, like: str, settings: PoolSettings, folder: Path, processes: int) -> None:
    """Write what the workers read: the real molecules and, where pools are filled, what decoys are made from."""
    if not (folder / "reference.parquet").is_file():
        reference.save(folder / "reference.parquet")
    if settings.fill and not (folder / "halves.parquet").is_file():
        library.make(reference, like, folder, processes)
    if settings.fill and not (folder / "likeness.npz").is_file():
        calibrate.learn(reference, like, folder, processes).save(folder)


def make_part(task: tuple[Path, Path, PoolSettings, list[tuple[str, str]]]) -> pl.DataFrame:
    """Pools of a few molecules, kept on disk as one part. Runs in a worker."""
    folder, materials, settings, molecules = task
    pools = [make_pool(key, smiles, settings, materials) for key, smiles in molecules]
    part = pl.concat([pl.DataFrame(schema=CANDIDATES), *pools])
    write_parquet(folder / f"part-{draw(*(key for key, _ in molecules)):016x}.parquet", part)
    return part


def make_pool(key: str, smiles: str, settings: PoolSettings, materials: Path) -> pl.DataFrame:
    """The pool of one molecule, schema `CANDIDATES`; empty where it does not parse or `min_real` is not met."""
    reference = Reference.load(materials / "reference.parquet")
    truth = true_row(key, smiles, reference)
    if truth is None:
        return pl.DataFrame(schema=CANDIDATES)
    members = real_members(truth, reference, settings)
    if members.height < settings.min_real:
        return pl.DataFrame(schema=CANDIDATES)
    made = [members.select(list(CANDIDATES))]
    if settings.fill and members.height < settings.size:
        made.append(fill(key, members, settings.size, materials))
    return in_hash_order(pl.concat(made))


def true_row(key: str, smiles: str, reference: Reference) -> dict[str, Any] | None:
    """The truth's row, from the lists where they have it, else from its own SMILES; none where that does not parse."""
    row = reference.row_of.get(key)
    if row is not None:
        return reference.frame.row(row, named=True)
    own = own_forms([(key, smiles)])
    return own[0] | {"origin": "given"} if own else None


def real_members(truth: dict[str, Any], reference: Reference, settings: PoolSettings) -> pl.DataFrame:
    """The truth and what the lists offer: no other tautomer of anything that is in, `settings.size` rows at most."""
    mass, key = truth["exact_mass"], truth["inchikey14"]
    near = (
        reference.window(mass, settings.ppm) if settings.kind == "mass" else reference.isomers(truth["formula"], mass)
    )
    others = near.filter((pl.col("inchikey14") != key) & (pl.col("tautomer") != truth["tautomer"]))
    others = others.unique("tautomer", keep="first", maintain_order=True)
    rows = pl.concat([pl.DataFrame([truth], schema=others.schema), others])
    named = rows.rename({"inchikey14": "candidate"}).with_columns(pl.lit(key).alias("molecule"))
    return first(named, settings.size, "real")


def _digest(recipe: dict[str, Any]) -> str:
    return blake2b(json.dumps(recipe, sort_keys=True).encode(), digest_size=8).hexdigest()


def _parts(folder: Path) -> Iterator[pl.DataFrame]:
    """Finished parts; one that cannot be read is made again."""
    for path in sorted(folder.glob("part-*.parquet")):
        try:
            yield pl.read_parquet(path)
        except (OSError, pl.exceptions.PolarsError):
            path.unlink(missing_ok=True)
