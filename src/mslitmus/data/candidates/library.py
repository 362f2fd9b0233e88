"""What decoys are made from and judged by: halves of real molecules, and how often each atom environment occurs.

    <folder>/  environments.parquet (environment, count)  halves.parquet (smiles, code, count)

A half is one side of a cut at a single bond. Two halves whose formulae add up to the wanted one make a decoy that
shares one new bond with nothing, and owes nothing to the truth.
"""

from __future__ import annotations

from bisect import bisect
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from random import Random

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...chem.edits import halves
from ...chem.formula import parse_formula
from ...chem.molecule import Mol, parse
from ...chem.naturalness import environments
from ...errors import ChemistryError
from ...provenance import write_parquet
from . import workers
from .reference import Reference
from .sets import draw

_CUT = 20_000  # molecules that halves are taken from: the first list's, then others by hash
_CHUNK = 500
_BITS = {"H": 8, "C": 8, "N": 5, "O": 6, "S": 4, "P": 4, "F": 5, "Cl": 4, "Br": 3, "I": 3, "Si": 4}
_DOUBT = 0.5
_TEMPER = 0.75  # a half that n molecules have is drawn with weight n^0.75


def code(formula: Mapping[str, int]) -> int | None:
    """A formula as one integer; codes add up as formulae do. None for other elements than these eleven."""
    total, shift = 0, 0
    for element, bits in _BITS.items():
        count = formula.get(element, 0)
        if count >= 1 << bits:
            return None
        total |= count << shift
        shift += bits
    return total if set(formula) <= set(_BITS) else None


@dataclass(frozen=True)
class Library:
    """The two tables, in memory."""

    environments: pl.DataFrame = field(repr=False)
    halves: pl.DataFrame = field(repr=False)

    @cached_property
    def count_of(self) -> dict[int, int]:
        """Environment (radius 0 to 2) → molecules of the lists that have it."""
        return dict(self.environments.iter_rows())

    @cached_property
    def _blocks(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Distinct codes ascending, where each begins in the table, and the running sum of weights (one longer)."""
        codes, starts = np.unique(self.halves.get_column("code").to_numpy(), return_index=True)
        weights = self.halves.get_column("count").to_numpy() ** _TEMPER
        return codes, np.append(starts, len(weights)), np.concatenate(([0.0], np.cumsum(weights)))

    @cached_property
    def _texts(self) -> list[str]:
        return self.halves.get_column("smiles").to_list()

    def plausible(self, molecule: Mol, random: Random) -> bool:
        """Every atom with its neighbours (radius 1) must occur in a real molecule; for each atom whose surroundings
        (radius 2) do not, half are refused."""
        known = self.count_of
        if not all(environment in known for environment in environments(molecule, 1)):
            return False
        unseen = sum(environment not in known for environment in environments(molecule))
        return unseen == 0 or random.random() < _DOUBT**unseen

    def rarity(self, molecule: Mol, own: int) -> NDArray[np.float64]:
        """(4,) how rare its environments are: how many in no, in up to 3, in up to 30 other molecules, mean ln(1 + n).

        `own` is 1 for a molecule of the lists: it does not count for itself.
        """
        seen = np.array([self.count_of.get(e, own) - own for e in environments(molecule)], dtype=np.float64)
        return np.array([(seen <= 0).sum(), (seen <= 3).sum(), (seen <= 30).sum(), np.log1p(seen.clip(0)).mean()])

    def pairs(self, formula: str, random: Random) -> Iterator[tuple[str, str]]:
        """Halves whose formulae add up to `formula`, drawn for ever (with repeats); nothing where none fit."""
        try:
            counts = dict(parse_formula(formula).counts)
        except ChemistryError:  # a real neighbour in mass may hold uranium
            return
        target = code(counts) if set(counts) <= set(_BITS) else None
        if target is None or not self._texts:
            return
        codes, starts, running = self._blocks
        partner = np.searchsorted(codes, target - codes)
        fits = (partner < len(codes)) & (codes[np.minimum(partner, len(codes) - 1)] == target - codes)
        left = np.flatnonzero(fits)
        right = partner[left]
        if not len(left):
            return
        mass = (running[starts[left + 1]] - running[starts[left]]) * (
            running[starts[right + 1]] - running[starts[right]]
        )
        cumulative = np.cumsum(mass).tolist()
        flat = self._running_list
        while True:
            chosen = min(bisect(cumulative, random.random() * cumulative[-1]), len(left) - 1)
            picks = []
            for block in (left[chosen], right[chosen]):
                low, high = int(starts[block]), int(starts[block + 1])
                place = flat[low] + random.random() * (flat[high] - flat[low])
                picks.append(self._texts[min(max(bisect(flat, place, low, high + 1) - 1, low), high - 1)])
            yield picks[0], picks[1]

    @cached_property
    def _running_list(self) -> list[float]:
        running: list[float] = self._blocks[2].tolist()
        return running

    @staticmethod
    def load(folder: Path) -> Library:
        """What `make` wrote, once a process."""
        return _load(folder)


@lru_cache(maxsize=2)
def _load(folder: Path) -> Library:
    return Library(*(pl.read_parquet(folder / f"{name}.parquet") for name in ("environments", "halves")))


def make(reference: Reference, first_list: str, folder: Path, processes: int) -> None:
    """Write both tables into `folder` (150,000 molecules: about a minute on two processes)."""
    rows = reference.frame.select("inchikey14", "smiles", "origin").rows()
    ranked = sorted(rows, key=lambda row: (row[2] != first_list, draw("halves", row[0])))
    texts = [row[1] for row in ranked]
    chunks = [(texts[i : i + _CHUNK], i < _CUT) for i in range(0, len(texts), _CHUNK)]
    seen: Counter[int] = Counter()
    pieces: Counter[tuple[str, int]] = Counter()
    for found, cut in workers.apply(f"{__name__}:take_apart", chunks, processes):
        seen.update(found)
        pieces.update(cut)
    table = pl.DataFrame(sorted(seen.items()), schema={"environment": pl.Int64, "count": pl.Int64}, orient="row")
    write_parquet(folder / "environments.parquet", table)
    rows_of = [(smiles, number, count) for (smiles, number), count in pieces.items()]
    schema = {"smiles": pl.String, "code": pl.Int64, "count": pl.Int64}
    write_parquet(folder / "halves.parquet", pl.DataFrame(rows_of, schema=schema, orient="row").sort("code", "smiles"))


def take_apart(task: tuple[list[str], bool]) -> tuple[Counter[int], Counter[tuple[str, int]]]:
    """Environments and, if asked, halves of some molecules. Runs in a worker."""
    texts, cut = task
    seen: Counter[int] = Counter()
    pieces: Counter[tuple[str, int]] = Counter()
    for text in texts:
        molecule = parse(text)
        seen.update(environments(molecule))
        if cut and "." not in text:
            found = {(smiles, code(formula)) for smiles, formula in halves(molecule, Random(draw("cut", text)))}
            pieces.update((smiles, number) for smiles, number in found if number is not None)
    return seen, pieces
