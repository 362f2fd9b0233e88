"""A candidate set: for every molecule the pool of molecules that it could be mistaken for.

    <folder>/  pools.parquet  candidates.json

Pools are in hash order, so that position says nothing. What is drawn from a pool is drawn by a hash salted with the
molecule: the first n in the shown order would put a truth that has to stay at the end.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any

import polars as pl

from ... import __version__
from ...errors import DataError
from ...provenance import now, table_hash, write_json, write_parquet
from ...schemas import CANDIDATES, conform
from .. import store

KINDS = ("mass", "formula")
#: Origins of made-up candidates start so.
DECOY = "decoy"


@dataclass(frozen=True)
class CandidateSet:
    """Pools of candidates, schema `CANDIDATES`: molecules ascending, hash order within a molecule.

    The truth of a pool is the candidate whose id is the molecule's. `settings` say how the pools were made: all that
    `build` was given, the hashes of the lists, and what was done since (`subsample`, `truth: absent`).
    """

    name: str
    kind: str
    settings: Mapping[str, Any]
    pools: pl.DataFrame = field(repr=False)

    @staticmethod
    def make(name: str, kind: str, settings: Mapping[str, Any], pools: pl.DataFrame) -> CandidateSet:
        """From rows in any order. Raises DataError for an unknown kind, nulls and candidates that repeat in a pool."""
        store.check_name(name)
        if kind not in KINDS:
            raise DataError(f"no kind of candidates {kind!r}", where=name, remedy=f"use {' or '.join(KINDS)}")
        table = conform(pools, CANDIDATES, where=name)
        if any(table.null_count().row(0)):
            raise DataError("a candidate lacks a value", where=name, remedy="fill or drop the row")
        if (twice := table.filter(pl.struct("molecule", "candidate").is_duplicated())).height:
            row = twice.row(0, named=True)
            where = f"{name}, pool of {row['molecule']}"
            raise DataError(f"candidate {row['candidate']} repeats", where=where, remedy="keep one row of each")
        return CandidateSet(name, kind, dict(settings), in_hash_order(table))

    @cached_property
    def hash(self) -> str:
        """Of contents and settings, first 16 hex digits; the name does not count."""
        settings = json.dumps([self.kind, dict(self.settings)], sort_keys=True)
        return blake2b((table_hash(self.pools) + settings).encode(), digest_size=8).hexdigest()

    @cached_property
    def molecules(self) -> list[str]:
        """InChIKey-14 of the molecules that have a pool, ascending."""
        return self.pools.get_column("molecule").unique().sort().to_list()

    def of(self, molecules: Iterable[str | None]) -> pl.DataFrame:
        """One row a given molecule, in order: molecule, candidates, candidate_smiles (lists; null without a pool)."""
        wanted = pl.DataFrame({"molecule": pl.Series(list(molecules), dtype=pl.String)})
        asked = self.pools.filter(pl.col("molecule").is_in(wanted.get_column("molecule").unique().implode()))
        lists = asked.group_by("molecule", maintain_order=True).agg(
            pl.col("candidate").alias("candidates"), pl.col("smiles").alias("candidate_smiles")
        )
        return wanted.join(lists, on="molecule", how="left", maintain_order="left")

    def sizes(self) -> pl.DataFrame:
        """One row a molecule: molecule, candidates, real (not made up; the truth is one), truth (whether it is in)."""
        return self.pools.group_by("molecule", maintain_order=True).agg(
            pl.len().cast(pl.Int64).alias("candidates"),
            (~is_decoy()).sum().cast(pl.Int64).alias("real"),
            (pl.col("candidate") == pl.col("molecule")).any().alias("truth"),
        )

    def without_truth(self) -> CandidateSet:
        """The truth-absent arm: the same pools, the truth taken out. Pools that held nothing else have no row left."""
        rest = self.pools.filter(pl.col("candidate") != pl.col("molecule"))
        return CandidateSet(f"{self.name}-absent", self.kind, dict(self.settings) | {"truth": "absent"}, rest)

    def real_only(self) -> CandidateSet:
        """The same pools without made-up candidates."""
        rest = self.pools.filter(~is_decoy())
        return CandidateSet(f"{self.name}-real", self.kind, dict(self.settings) | {"fill": False}, rest)

    def select(self, molecules: Iterable[str]) -> CandidateSet:
        """The pools of some molecules."""
        wanted = pl.Series(sorted(set(molecules)), dtype=pl.String).implode()
        return CandidateSet(self.name, self.kind, self.settings, self.pools.filter(pl.col("molecule").is_in(wanted)))

    def save(self, folder: Path | None = None) -> Path:
        """Write to `folder`, or under its name in the store. Raises DataError where the disk refuses."""
        place = folder or home() / self.name
        info = {
            "name": self.name,
            "kind": self.kind,
            "settings": dict(self.settings),
            "hash": self.hash,
            "molecules": len(self.molecules),
            "candidates": self.pools.height,
            "origins": origins(self.pools),
            "saved": now(),
            "mslitmus": __version__,
        }
        try:
            place.mkdir(parents=True, exist_ok=True)
            write_parquet(place / "pools.parquet", self.pools)
            write_json(place / "candidates.json", info)
        except OSError as error:
            raise DataError(f"cannot write: {error}", where=str(place), remedy="free some space") from error
        return place

    @staticmethod
    def load(folder: Path) -> CandidateSet:
        """What `save` wrote. Raises DataError where it is absent, damaged or has been edited."""
        try:
            info = json.loads((folder / "candidates.json").read_text(encoding="utf-8"))
            pools = conform(pl.read_parquet(folder / "pools.parquet"), CANDIDATES, where=str(folder))
            loaded = CandidateSet(info["name"], info["kind"], info["settings"], pools)
            stated = info["hash"]
        except (OSError, ValueError, KeyError, TypeError, pl.exceptions.PolarsError) as error:
            remedy = "build it again: mslitmus candidates build"
            raise DataError(f"no candidate set that can be read: {error}", where=str(folder), remedy=remedy) from error
        if loaded.hash != stated:
            remedy = "build it again: mslitmus candidates build"
            raise DataError("contents do not fit the hash beside them", where=str(folder), remedy=remedy)
        return loaded


def subsample(candidates: CandidateSet, size: int, seed: int = 0) -> CandidateSet:
    """Pools of at most `size` candidates, the truth among them where it was before.

    Nested: with one seed, a smaller pool is a part of every larger one. Raises DataError for a size below 1.
    """
    if size < 1:
        raise DataError(f"a pool of {size} candidates", remedy="use a size of 1 or more")
    kept = first(candidates.pools, size, f"subsample {seed}")
    settings = dict(candidates.settings) | {"size": size, "subsample": seed}
    return CandidateSet(f"{candidates.name}-{size}", candidates.kind, settings, in_hash_order(kept))


def first(pools: pl.DataFrame, size: int, salt: str) -> pl.DataFrame:
    """Up to `size` rows a molecule: the truth, then by a hash of salt, molecule and candidate."""
    pairs = zip(pools.get_column("molecule").to_list(), pools.get_column("candidate").to_list(), strict=True)
    drawn = pl.Series("drawn", [0 if m == c else 1 + draw(salt, m, c) // 2 for m, c in pairs], dtype=pl.UInt64)
    rank = pl.col("drawn").rank("ordinal").over("molecule")
    return pools.with_columns(drawn).filter(rank <= size).drop("drawn")


def in_hash_order(pools: pl.DataFrame) -> pl.DataFrame:
    """Molecules ascending; within one, by the hash of the candidate's id."""
    keys = pools.get_column("candidate").unique().to_list()
    order = pl.DataFrame({"candidate": keys, "order": pl.Series([draw(k) for k in keys], dtype=pl.UInt64)})
    joined = pools.join(order.cast({"candidate": pl.String()}), on="candidate", how="left", maintain_order="left")
    return joined.sort("molecule", "order", "candidate").drop("order")


def draw(*words: str) -> int:
    """64 bits that depend on the words alone (BLAKE2b): the only source of chance here."""
    return int.from_bytes(blake2b("\x1f".join(words).encode(), digest_size=8).digest(), "big")


def is_decoy() -> pl.Expr:
    """Whether a row of `CANDIDATES` is made up."""
    return pl.col("origin").str.starts_with(DECOY)


def origins(pools: pl.DataFrame) -> dict[str, int]:
    """How many candidates come from where."""
    return {str(o): int(n) for o, n in pools.get_column("origin").value_counts(sort=True).sort("origin").rows()}


def home() -> Path:
    """Where candidate sets are kept."""
    return store.home() / "candidates"


def names() -> list[str]:
    """Names of the sets in the store."""
    return sorted(path.parent.name for path in home().glob("*/candidates.json"))


def candidate_set(name_or_path: str | Path) -> CandidateSet:
    """A stored set by name, or by the path of its folder. Raises DataError with the names there are."""
    path = Path(name_or_path)
    for folder in (home() / path, path):
        if (folder / "candidates.json").is_file():
            return CandidateSet.load(folder)
    raise DataError(
        f"no candidate set {str(name_or_path)!r}",
        where=str(home()),
        remedy=f"here: {', '.join(names()) or 'none'}; `mslitmus candidates build` makes one",
    )
