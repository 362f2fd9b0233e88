"""The `mces` split: molecules that differ by fewer than 10 bonds, directly or in steps, stay together."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import polars as pl

from ...chem.distance import cluster
from ...chem.molecule import RDKIT_VERSION
from ...errors import SplitError
from ...provenance import write_json, write_parquet
from ...schemas import FOLD_NAMES
from ..store import home
from .allocate import linked
from .grouped import DEFAULT_FRACTIONS, by_key
from .split import Assignment

#: MassSpecGym's rule (Bushuiev et al. 2024): molecules nearer than this are linked.
THRESHOLD = 10.0
_TIME_LIMIT = 10.0  # s a pair


@dataclass(frozen=True, eq=False)
class MoleculeClusters:
    """Single-linkage MCES clusters of molecules by InChIKey-14.

    Attributes:
        table: `inchikey14`, `cluster`: its first InChIKey-14 names a cluster, so that names do not depend on
            what else is clustered as long as the cluster stays the same.
        screened, solved, undecided: pairs, see `chem.distance.Clustering`.
    """

    table: pl.DataFrame
    screened: int
    solved: int
    undecided: int


def by_mces(
    frame: pl.DataFrame,
    *,
    seed: int,
    fractions: Sequence[float] = DEFAULT_FRACTIONS,
    balance: str = "spectra",
    threshold: float = THRESHOLD,
    processes: int | None = 1,
) -> Assignment:
    """`mces`: single-linkage clusters at MCES < threshold, so that no two molecules of two folds are nearer than that.

    Pairs that the time limit (10 s) leaves undecided are linked. The giant component trains, and is told in the notes.
    Args:
        processes: for the distances, see `chem.distance.mces_many`; it changes nothing else.
    """
    if not threshold > 0:
        raise SplitError(f"threshold {threshold!r}", remedy="an MCES distance above 0; MassSpecGym takes 10")
    found = molecule_clusters(frame, threshold, processes=processes)
    cluster_of = dict(found.table.iter_rows())
    made = by_key(
        frame,
        lambda rows: pl.Series(
            "key",
            [
                cluster_of.get(key) if text is not None else None
                for key, text in rows["inchikey14", "smiles"].iter_rows()
            ],
            dtype=pl.String,
        ),
        ("inchikey14",),
        seed,
        fractions,
        balance,
    )
    parameters = {**made.parameters, "threshold": threshold}
    return replace(made, parameters=parameters, notes=(*made.notes, *_notes(found, made.folds, threshold)))


def molecule_clusters(
    frame: pl.DataFrame,
    threshold: float = THRESHOLD,
    *,
    processes: int | None = 1,
    progress: Callable[[str], None] | None = None,
) -> MoleculeClusters:
    """Clusters of the molecules of a frame with `inchikey14` and `smiles`; rows that lack one play no part.

    All SMILES of one InChIKey-14 are one molecule. The result is kept in `home()/mces/` under a hash of the molecules,
    the threshold and RDKit's version, and read from there the next time; distances in `pairs.sqlite` beside it.
    Raises ChemistryError for a SMILES that does not parse.
    """
    rows = frame.select("inchikey14", "smiles").drop_nulls().unique().sort("inchikey14", "smiles")
    digest = sha256(json.dumps([rows.rows(), threshold, _TIME_LIMIT, RDKIT_VERSION]).encode()).hexdigest()[:16]
    folder = home() / "mces"
    known = _read(folder, digest)
    if known is not None:
        return known
    folder.mkdir(parents=True, exist_ok=True)
    made = cluster(
        rows["smiles"].to_list(), threshold, _TIME_LIMIT, processes, cache=folder / "pairs.sqlite", progress=progress
    )
    pairs = rows.join(made.table, on="smiles").sort("inchikey14", "smiles")
    group_of = linked(pairs["inchikey14"].to_list(), pairs["cluster"].cast(pl.String).to_list()) if rows.height else {}
    first: dict[str, str] = {}
    for key in sorted(group_of):
        first.setdefault(group_of[key], key)
    table = pl.DataFrame(
        {"inchikey14": sorted(group_of), "cluster": [first[group_of[key]] for key in sorted(group_of)]},
        schema={"inchikey14": pl.String, "cluster": pl.String},
    )
    found = MoleculeClusters(table, made.screened, made.solved, made.undecided)
    write_parquet(folder / f"clusters-{digest}.parquet", table)
    counts = {"screened": made.screened, "solved": made.solved, "undecided": made.undecided}
    write_json(folder / f"clusters-{digest}.json", {"threshold": threshold, "rdkit": RDKIT_VERSION, **counts})
    return found


def _read(folder: Path, digest: str) -> MoleculeClusters | None:
    """What `molecule_clusters` wrote; None where a file is absent or damaged, so that it is made again."""
    try:
        table = pl.read_parquet(folder / f"clusters-{digest}.parquet").select("inchikey14", "cluster")
        record = json.loads((folder / f"clusters-{digest}.json").read_text(encoding="utf-8"))
        return MoleculeClusters(table, record["screened"], record["solved"], record["undecided"])
    except (OSError, KeyError, ValueError, pl.exceptions.PolarsError):
        return None


def _notes(found: MoleculeClusters, folds: pl.DataFrame, threshold: float) -> tuple[str, ...]:
    """The giant component, the number of clusters, and pairs that were linked for want of time."""
    if found.table.is_empty():
        return ()
    sizes = found.table.group_by("cluster").len().sort(["len", "cluster"], descending=[True, False])
    giant, size = sizes.row(0)
    count, molecules = sizes.height, found.table.height
    fold = dict(folds.select("group", "fold").unique().iter_rows()).get(giant, FOLD_NAMES[0])
    notes = [
        f"{molecules:,} molecules in {count:,} clusters of single linkage at MCES < {threshold:g}.",
        f"The largest cluster holds {size:,} molecules ({size / molecules:.0%}) and is in {fold}.",
    ]
    if found.undecided:
        notes.append(f"{found.undecided:,} pairs stayed undecided within {_TIME_LIMIT:g} s and are linked.")
    return tuple(notes)
