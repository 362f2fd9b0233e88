"""A liar as a value: what is planted in the world of a study, which model profits, and which audits should say so."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any, Literal, Self

import polars as pl

from ...data.candidates import CandidateSet
from ..claim import Claim
from ..evidence import Pretraining

#: Names of the sources that the laboratory offers.
SOURCES = ("simulated", "massbank")


@dataclass(frozen=True)
class World:
    """What a study is made of before it runs.

    Attributes:
        spectra: SPECTRA.
        folds: identifier, fold.
        pools: by kind of candidates, for every molecule; a study takes the kind that its task names.
        lists: molecules that models met before training, as their owner declares.
        own_folds: whether the folds are no longer those of the split by molecule.
        seed: of everything random in it.
    """

    spectra: pl.DataFrame
    folds: pl.DataFrame
    pools: Mapping[str, CandidateSet] = field(default_factory=dict)
    lists: tuple[Pretraining, ...] = ()
    own_folds: bool = False
    seed: int = 0

    def fold(self, *names: str) -> pl.DataFrame:
        """Spectra of these folds."""
        return self.spectra.join(self.folds.filter(pl.col("fold").is_in(names)), on="identifier", how="semi")

    def molecules(self, *names: str) -> list[str]:
        """InChIKey-14 of these folds' molecules, ascending."""
        return self.fold(*names)["inchikey14"].unique().sort().to_list()

    def truths(self, dose: float, salt: str) -> pl.Expr:
        """Of the table CANDIDATES: the rows of the truths of a share of the molecules."""
        told = share(self.molecules("train", "val", "test"), dose, f"{salt} {self.seed}")
        return (pl.col("molecule") == pl.col("candidate")) & pl.col("molecule").is_in(sorted(told))

    def with_pools(self, kind: str, change: Callable[[pl.DataFrame], pl.DataFrame], mark: str) -> Self:
        """Pools of one kind after `change` of the table CANDIDATES, the order of rows kept as it comes out.

        `mark` goes into the settings, so that the set has another hash.
        """
        old = self.pools[kind]
        new = CandidateSet(f"{old.name}-{mark}", kind, {**old.settings, "file": mark}, change(old.pools))
        return replace(self, pools={**self.pools, kind: new})


Row = dict[str, Any]
#: See `Liar.gains`.
Gains = Literal["row", "world", ""]
#: (scores of the run, row, metric, dose) → what its author prints.
Claims = Callable[[pl.DataFrame, str, str, float], tuple[Claim, ...]]


def untouched(world: World, dose: float) -> World:
    return world


def no_claims(scores: pl.DataFrame, model: str, metric: str, dose: float) -> tuple[Claim, ...]:
    return ()


@dataclass(frozen=True)
class Liar:
    """One planted cheat.

    Attributes:
        name: of its row in the study.
        story: which published case it stands for, or that it is our own.
        planted: what was done to the world, or what the model does.
        row: dose → the row of the study; `{answers}` and `{list}` in options become paths.
        honest: the row it must beat: the same model without the trick.
        audits: those whose finding names the trick.
        plant: (world, dose) → world.
        claims: (scores of the run, its row, metric, dose) → what the author prints.
        task, task_options: of the study.
        dose: of the main trial.
        doses: at which its power is measured; 1 is the whole trick. Empty: the trick has no dose.
        gains: what the trick's number beats: `row`, the honest row of the same run; `world`, the same model where
            nothing was planted; "" for what only spoils the meaning of a number (blindness to intensities, a claim).
        sources: where it can be planted.
    """

    name: str
    story: str
    planted: str
    row: Callable[[float], Row]
    honest: Row
    audits: tuple[str, ...]
    plant: Callable[[World, float], World] = untouched
    claims: Claims = no_claims
    task: str = "retrieval"
    task_options: Mapping[str, Any] = field(default_factory=lambda: {"kind": "formula"})
    dose: float = 1.0
    doses: tuple[float, ...] = ()
    gains: Gains = "row"
    sources: tuple[str, ...] = SOURCES


@dataclass(frozen=True)
class Honest:
    """One model that does what it says, however well: a finding that calls it a cheat is a false alarm."""

    name: str
    task: str
    row: Row
    about: str
    task_options: Mapping[str, Any] = field(default_factory=dict)


def share(names: Sequence[str], dose: float, salt: str) -> set[str]:
    """A share of the names, the same whatever their order: the smaller dose is a part of the larger one."""
    drawn = sorted(set(names), key=lambda name: blake2b(f"{salt} {name}".encode(), digest_size=8).digest())
    return set(drawn[: round(dose * len(drawn))])


#: The honest look-up that most planted rankers start from.
LOOK_UP_RANKER: Row = {"model": "nearest-spectrum"}
